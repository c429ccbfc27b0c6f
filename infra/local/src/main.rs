//! `image-catalog`: the whole catalog in one process.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use image_catalog::commands::{aws_config, keys, reconcile, replay, serve};
use image_catalog::options::{Command, Options};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let ended = match &options.command {
        Some(Command::AwsConfig(command)) => aws_config::run(command),
        Some(Command::Reconcile(command)) => reconcile::run(&options, command).await,
        Some(Command::Replay(command)) => {
            replay::run(&options, command).await.map(|()| ExitCode::SUCCESS)
        }
        Some(Command::Keys(command)) => {
            keys::run(&options, command).await.map(|()| ExitCode::SUCCESS)
        }
        None => serve::run(&options).await.map(|()| ExitCode::SUCCESS),
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{}", catalog::table::causes(&*error));
            ExitCode::FAILURE
        }
    }
}

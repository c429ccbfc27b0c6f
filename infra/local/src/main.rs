//! `image-catalog`: the whole catalog in one process.

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use catalog::table::causes;
use image_catalog::commands::{
    aws_config, completions, health, keys, ls, man, progress, reconcile, replay, serve, status,
};
use image_catalog::options::{Command, Options};
use mimalloc::MiMalloc;
use tracing_subscriber::EnvFilter;

/// That of glibc keeps much of what was freed, for each of many threads: with it, the program takes
/// twice the memory.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::from_command_line();
    let level = match options.command {
        // The log of the requests is the catalog's.
        Some(Command::Ls(_) | Command::Status(_)) => "warn,aws_config=error",
        _ => "info",
    };
    // After each error of the embedded engine, as of a full disk, the SDK would log that it has no
    // connection to close.
    let level = format!("{level},aws_smithy_runtime::client::http::connection_poisoning=off");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| progress::Log)
        // They would be written to the same place, and it panics where that is closed or full.
        .log_internal_errors(false)
        .with_ansi(console::colors_enabled_stderr())
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
        Some(Command::Health) => health::run(&options).await.map(|()| ExitCode::SUCCESS),
        Some(Command::Ls(command)) => ls::run(&options, command).await.map(|()| ExitCode::SUCCESS),
        Some(Command::Status(command)) => {
            status::run(&options, command).await.map(|()| ExitCode::SUCCESS)
        }
        Some(Command::Completions(command)) => {
            completions::run(command).map(|()| ExitCode::SUCCESS)
        }
        Some(Command::Man(command)) => man::run(command).map(|()| ExitCode::SUCCESS),
        None => serve::run(&options).await.map(|()| ExitCode::SUCCESS),
    };
    match ended {
        Ok(code) => code,
        // Nobody reads the output any longer, as in `| head`.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            let error = causes(&*error);
            match options.command {
                None => tracing::error!("{error}"),
                // As the errors of the options.
                Some(_) => drop(writeln!(io::stderr(), "error: {error}")),
            }
            ExitCode::FAILURE
        }
    }
}

/// Whether it is the error of a write to the standard output, which a reader has closed.
fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

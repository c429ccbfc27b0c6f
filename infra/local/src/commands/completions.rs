//! `image-catalog completions`: the completions of a shell.

use std::error::Error;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::print_line;
use crate::options::Options;

/// The options of `image-catalog completions`.
#[derive(Debug, Clone, Args)]
pub struct CompletionsOptions {
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub fn run(command: &CompletionsOptions) -> Result<(), Box<dyn Error>> {
    // It panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut Options::command(), "image-catalog", &mut script);
    // For bash, clap_complete 4.6.12 writes the hyphen of the program's name in two ways.
    let script =
        String::from_utf8_lossy(&script).replace("image__subcmd__catalog", "image__catalog");
    Ok(print_line(script.trim_end())?)
}

//! `image-catalog man`: the manual pages.

use std::error::Error;

use clap::{Args, CommandFactory as _};
use clap_mangen::Man;

use super::print_line;
use crate::options::Options;

/// The options of `image-catalog man`.
#[derive(Debug, Clone, Args)]
pub struct ManOptions {
    /// Command whose page is printed, such as ls or keys add [default: the page of image-catalog
    /// itself]
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
}

/// Prints a page.
pub fn run(command: &ManOptions) -> Result<(), Box<dyn Error>> {
    let mut documented = Options::command();
    // Completes the names and the options of the commands.
    documented.build();
    for name in &command.command {
        let found = documented.find_subcommand(name).cloned();
        documented = found.ok_or_else(|| format!("there is no command '{name}'"))?;
    }
    let mut page = Vec::new();
    Man::new(documented).render(&mut page)?;
    Ok(print_line(String::from_utf8_lossy(&page).trim_end())?)
}

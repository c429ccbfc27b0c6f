//! The commands of `image-catalog`.

pub mod aws_config;
pub mod completions;
mod greeting;
pub mod health;
pub mod keys;
pub mod ls;
pub mod man;
pub mod progress;
pub mod reconcile;
pub mod replay;
pub mod serve;
pub mod status;

use std::io::{self, Write as _};

use catalog::Timestamp;
use clap::ValueEnum;

/// The form of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum OutputFormat {
    #[default]
    Table,
    Json,
}

/// Writes a line to the standard output, or says why it cannot: `println!` panics then.
fn print_line(line: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}

/// Writes a line about work that goes on where nobody reads it, as in `| head`.
fn report(line: &str) -> io::Result<()> {
    match progress::suspend(|| print_line(line)) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// A text of others, without the control characters that a terminal would obey.
pub(crate) fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// JSON of others, in which characters are escaped that a terminal would obey. Those below U+0020
/// are escaped in all JSON.
fn printable_json(json: &str) -> String {
    let mut printable = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '\u{7f}'..='\u{9f}' => printable += &format!("\\u{:04x}", u32::from(character)),
            character => printable.push(character),
        }
    }
    printable
}

/// A time in a table, in whole seconds.
fn time(time: Option<Timestamp>) -> String {
    time.map_or_else(unknown, |time| format!("{:.0}", jiff::Timestamp::from(time)))
}

/// In a table, in place of what is not known.
fn unknown() -> String {
    "-".to_owned()
}

/// A text as a shell reads it: in quotation marks if it has characters of another meaning.
fn shell_word(text: &str) -> String {
    let is_plain =
        |character: char| character.is_alphanumeric() || "/._-+:@%,=".contains(character);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

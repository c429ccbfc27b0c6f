//! The commands of `image-catalog`.

pub mod aws_config;
mod greeting;
pub mod health;
pub mod keys;
pub mod reconcile;
pub mod replay;
pub mod serve;

use std::io::{self, Write as _};

/// Writes a line to the standard output, or says why it cannot: `println!` panics then.
fn print_line(line: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
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

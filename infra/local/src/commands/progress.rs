//! The progress of commands that may take long, on the standard error if that is a terminal. It is
//! removed when it is dropped.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressFinish, ProgressStyle};

/// How often the time is drawn.
const TICK: Duration = Duration::from_millis(250);

/// What is drawn, and must give way to other lines.
static DRAWN: OnceLock<MultiProgress> = OnceLock::new();

/// A bar of a known length.
pub(super) fn bar(length: usize, position: &str) -> ProgressBar {
    start(ProgressBar::new(length as u64), &format!("{{bar:40}} {position}, {{eta}} left"))
}

/// For what has no known length.
pub(super) fn spinner(position: &str) -> ProgressBar {
    start(ProgressBar::new_spinner(), &format!("{{spinner}} {position}, {{elapsed}}"))
}

fn start(bar: ProgressBar, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template);
    let bar = DRAWN.get_or_init(MultiProgress::new).add(bar.with_finish(ProgressFinish::AndClear));
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(TICK);
    bar
}

/// Writes lines, while no progress is drawn.
pub(super) fn suspend<T>(write: impl FnOnce() -> T) -> T {
    match DRAWN.get() {
        Some(drawn) => drawn.suspend(write),
        None => write(),
    }
}

/// The standard error of the log.
#[derive(Debug)]
pub struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

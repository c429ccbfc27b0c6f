//! The table of the results.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use end_to_end::harness::print;

use crate::rounds::{Samples, Spread};

/// What a row is to be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bar {
    AtMost(f64),
    AtLeast(f64),
    /// It explains another row.
    None,
}

/// A result.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) bar: Bar,
    pub(crate) measured: Spread,
    /// Of the bar and of what was measured; empty for ratios.
    pub(crate) unit: &'static str,
    /// What the ratio is made of.
    pub(crate) figures: String,
}

/// The requests a second of one contender.
#[derive(Debug)]
pub(crate) struct Throughput {
    pub(crate) request: &'static str,
    pub(crate) server: &'static str,
    pub(crate) connections: usize,
    pub(crate) requests_per_second: f64,
}

#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    pub(crate) throughput: Vec<Throughput>,
    /// What was not measured, and why.
    pub(crate) skipped: Vec<String>,
}

impl Bar {
    pub(crate) fn is_met(self, measured: f64) -> Option<bool> {
        match self {
            Self::AtMost(bar) => Some(measured <= bar),
            Self::AtLeast(bar) => Some(measured >= bar),
            Self::None => None,
        }
    }
}

impl Report {
    /// Adds the ratio of times, or of requests a second.
    pub(crate) fn ratio(&mut self, what: &str, bar: Bar, ratio: &Samples, figures: String) {
        self.add(Row { what: what.to_owned(), bar, measured: ratio.spread(), unit: "", figures });
    }

    /// Adds a single measurement.
    pub(crate) fn exact(&mut self, what: &str, at_most: f64, measured: f64, unit: &'static str) {
        let measured = Spread { median: measured, quartiles: (measured, measured) };
        let (what, bar) = (what.to_owned(), Bar::AtMost(at_most));
        self.add(Row { what, bar, measured, unit, figures: String::new() });
    }

    pub(crate) fn add(&mut self, row: Row) {
        print(row.line());
        self.rows.push(row);
    }

    /// Writes the table. `cold_start` has the rows of the cold start, which another program
    /// measures.
    pub(crate) fn write(&self, file: &Path, cold_start: &Path) {
        let mut text = String::from(
            "| what | bar | measured | middle half of the rounds | figures | met |\n\
             | --- | --- | --- | --- | --- | --- |\n",
        );
        for row in &self.rows {
            writeln!(text, "{}", row.line()).unwrap();
        }
        if cold_start.exists() {
            text += &fs::read_to_string(cold_start).unwrap();
        }
        for skipped in &self.skipped {
            writeln!(text, "\n{skipped}").unwrap();
        }
        fs::write(file, text).unwrap();
    }
}

impl Row {
    fn line(&self) -> String {
        let Self { what, bar, measured, unit, figures } = self;
        let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
        let bar_text = match bar {
            Bar::AtMost(bar) => format!("≤ {bar}{unit}"),
            Bar::AtLeast(bar) => format!("≥ {bar}{unit}"),
            Bar::None => String::new(),
        };
        let met = match bar.is_met(measured.median) {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        let (low, high) = measured.quartiles;
        let spread = if low == high {
            String::new()
        } else {
            format!("{} to {}", rounded(low), rounded(high))
        };
        let median = rounded(measured.median);
        format!("| {what} | {bar_text} | {median}{unit} | {spread} | {figures} | {met} |")
    }
}

/// Three digits.
pub(crate) fn rounded(number: f64) -> String {
    match number {
        100.0.. => format!("{number:.0}"),
        10.0.. => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

/// "1.79 ms over 1.14 ms", of seconds.
pub(crate) fn times(this: &Samples, other: &Samples) -> String {
    format!("{} over {}", time(this.median()), time(other.median()))
}

fn time(seconds: f64) -> String {
    if seconds < 0.001 {
        format!("{} µs", rounded(seconds * 1e6))
    } else {
        format!("{} ms", rounded(seconds * 1e3))
    }
}

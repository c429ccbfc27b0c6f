//! `image-catalog status`: what a running catalog received, looks up and reconciles.

use std::error::Error;
use std::io;

use catalog::Timestamp;
use clap::Args;
use console::style;
use http::StatusCode;
use serde::Deserialize;

use super::{OutputFormat, print_line, printable, printable_json, time, unknown};
use crate::client::{ClientError, ClientOptions, Endpoint, Refusal};
use crate::options::Options;

/// The options of `image-catalog status`.
#[derive(Debug, Clone, Args)]
pub struct StatusOptions {
    /// Tables, or the JSON of GET /status
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: OutputFormat,
    #[command(flatten)]
    client: ClientOptions,
}

/// The response to `GET /status`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    version: String,
    since: Timestamp,
    sources: Vec<Source>,
    pending_lookups: Vec<PendingLookups>,
    registries: Vec<Registry>,
    table_error: Option<String>,
}

/// The deliveries of a source since the start of the process.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Source {
    source: String,
    subscription: Option<String>,
    last_delivery: Option<Timestamp>,
    deliveries: u64,
    applied: u64,
    ignored: u64,
    too_late: u64,
    malformed: u64,
    refused: u64,
    refusals: Vec<RefusedDelivery>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RefusedDelivery {
    time: Timestamp,
    status: u16,
    reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PendingLookups {
    registry: String,
    subscription: Option<String>,
    number: u64,
    oldest: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Registry {
    id: String,
    running_since: Option<Timestamp>,
    last_reconcile: Option<Reconcile>,
    next_reconcile: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reconcile {
    ended_at: Timestamp,
    repositories: u64,
    drift: u64,
    repaired: u64,
    not_repaired: u64,
    kept: u64,
    skipped: u64,
    failed: u64,
    error: Option<String>,
}

/// Prints the status. A table that the catalog cannot read is an error.
pub async fn run(options: &Options, command: &StatusOptions) -> Result<(), Box<dyn Error>> {
    let endpoint = Endpoint::open(options, &command.client).await?;
    let response = match endpoint.get("/status").await {
        Err(ClientError::Refused(Refusal { status: StatusCode::NOT_FOUND, .. })) => {
            return Err(
                "there is no status at this endpoint: only the standalone program has one, \
                        since version 0.2.0"
                    .into(),
            );
        }
        response => response?,
    };
    let status: Status = serde_json::from_str(&response).map_err(ClientError::from)?;
    match command.output {
        OutputFormat::Table => status.print()?,
        OutputFormat::Json => print_line(&printable_json(&response))?,
    }
    match status.table_error {
        Some(error) => {
            Err(format!("the catalog cannot read its table: {}", printable(&error)).into())
        }
        None => Ok(()),
    }
}

impl Status {
    fn print(&self) -> io::Result<()> {
        let (version, since) = (printable(&self.version), time(Some(self.since)));
        print_line(&format!("image-catalog {version}, running since {since}"))?;
        print_table(
            [
                "SOURCE",
                "SUBSCRIPTION",
                "LAST-DELIVERY",
                "DELIVERIES",
                "APPLIED",
                "IGNORED",
                "TOO-LATE",
                "MALFORMED",
                "REFUSED",
            ],
            self.sources.iter().map(Source::cells),
        )?;
        print_table(
            ["REFUSED-AT", "SOURCE", "SUBSCRIPTION", "STATUS", "REASON"],
            self.sources.iter().flat_map(Source::refusal_cells),
        )?;
        print_table(
            ["PENDING-LOOKUPS", "OLDEST", "SUBSCRIPTION", "REGISTRY"],
            self.pending_lookups.iter().map(PendingLookups::cells),
        )?;
        print_table(
            [
                "RECONCILED-AT",
                "REPOSITORIES",
                "DRIFT",
                "REPAIRED",
                "REMAINING",
                "NEXT",
                "REGISTRY",
                "ERROR",
            ],
            self.registries.iter().map(Registry::cells),
        )
    }
}

impl Source {
    fn cells(&self) -> [String; 9] {
        [
            text(Some(&self.source)),
            text(self.subscription.as_deref()),
            time(self.last_delivery),
            self.deliveries.to_string(),
            self.applied.to_string(),
            self.ignored.to_string(),
            self.too_late.to_string(),
            self.malformed.to_string(),
            self.refused.to_string(),
        ]
    }

    fn refusal_cells(&self) -> impl Iterator<Item = [String; 5]> {
        self.refusals.iter().map(|refusal| {
            [
                time(Some(refusal.time)),
                text(Some(&self.source)),
                text(self.subscription.as_deref()),
                refusal.status.to_string(),
                text(Some(&refusal.reason)),
            ]
        })
    }
}

impl PendingLookups {
    fn cells(&self) -> [String; 4] {
        [
            self.number.to_string(),
            time(self.oldest),
            text(self.subscription.as_deref()),
            text(Some(&self.registry)),
        ]
    }
}

impl Registry {
    fn cells(&self) -> [String; 8] {
        let last = self.last_reconcile.as_ref();
        let number = |number: fn(&Reconcile) -> u64| {
            text(last.map(|last| number(last).to_string()).as_deref())
        };
        let next = match self.running_since {
            Some(_) => "running".to_owned(),
            None => time(self.next_reconcile),
        };
        [
            time(last.map(|last| last.ended_at)),
            number(|last| last.repositories),
            number(|last| last.drift),
            number(|last| last.repaired),
            number(|last| last.not_repaired + last.kept + last.skipped + last.failed),
            next,
            text(Some(&self.id)),
            text(last.and_then(|last| last.error.as_deref())),
        ]
    }
}

fn text(text: Option<&str>) -> String {
    text.map_or_else(unknown, printable)
}

/// Prints a table, after an empty line, if it has rows. A column of numbers is aligned to the right.
fn print_table<const COLUMNS: usize>(
    titles: [&str; COLUMNS],
    rows: impl Iterator<Item = [String; COLUMNS]>,
) -> io::Result<()> {
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return Ok(());
    }
    let columns: [(usize, bool); COLUMNS] = std::array::from_fn(|column| {
        let cells = || rows.iter().map(|row| &row[column]);
        let width = cells().map(|cell| cell.chars().count()).max().unwrap_or_default();
        let is_number = |cell: &String| cell.bytes().all(|byte| byte.is_ascii_digit());
        let is_unknown = |cell: &String| *cell == unknown();
        let is_number =
            cells().any(is_number) && cells().all(|cell| is_number(cell) || is_unknown(cell));
        (width.max(titles[column].len()), is_number)
    });
    let line = |cells: [&str; COLUMNS]| {
        let cells = cells.iter().zip(columns).map(|(cell, (width, is_number))| match is_number {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    print_line("")?;
    print_line(&style(line(titles)).bold().to_string())?;
    rows.iter().try_for_each(|row| print_line(&line(row.each_ref().map(String::as_str))))
}

//! The rows of the table.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use flate2::Compression;
use flate2::write::DeflateEncoder;

use crate::function::{Function, Phase, Start};
use crate::services::Traffic;

/// The most that the first response may take over the hello world's.
const MAX_TIME: f64 = 1.15;

/// The most that the deployment package may take over the hello world's.
const MAX_SIZE: f64 = 1.3;

type Measure = fn(&Start) -> Duration;

/// The rows of a memory size. The functions are compared with the last one.
pub(crate) fn rows(
    memory: u64,
    functions: &[Function; 3],
    starts: &[Vec<Start>; 3],
) -> Vec<String> {
    let [this, warmed, plain] = starts.each_ref().map(Vec::as_slice);
    let first: Measure = |start| start.first.time;
    let whole: Measure = |start| start.init.time + start.first.time;
    let mut rows = vec![
        ratio(
            &format!("cold, {memory} MB, from the invocation to the response, over a hello world"),
            Some(MAX_TIME),
            (this, plain),
            first,
        ),
        ratio("the same over one that has sent its request in init", None, (this, warmed), first),
        ratio("the same, and init, over a hello world", None, (this, plain), whole),
    ];
    for (function, starts) in functions.iter().zip(starts) {
        let phase = |name: &str, phase: fn(&Start) -> &Phase| {
            let time = median(starts.iter().map(|start| milliseconds(phase(start).time)));
            let used = median(starts.iter().map(|start| milliseconds(phase(start).processor)));
            format!("{name} {time:.1} ms ({used:.1} ms of a processor)")
        };
        let phases = [
            phase("init", |start| &start.init),
            phase("first invocation", |start| &start.first),
            phase("second", |start| &start.second),
        ];
        rows.push(format!("| {}, {memory} MB | | | | {} | |", function.name, phases.join(", ")));
    }
    rows
}

/// What each function sent.
pub(crate) fn traffic(functions: &[Function; 3], starts: &[Vec<Start>; 3]) -> Vec<String> {
    let traffic = |traffic: &Traffic| {
        let Traffic { handshakes, requests } = traffic;
        let mut requests = requests.clone();
        requests.sort();
        let requests =
            if requests.is_empty() { "no request".to_owned() } else { requests.join(", ") };
        format!("{requests}, with {handshakes} handshakes")
    };
    let rows = functions.iter().zip(starts).map(|(function, starts)| {
        let Start { init, first, .. } = &starts[0];
        let (init, first) = (traffic(&init.traffic), traffic(&first.traffic));
        format!("| {}, sent | | | | init: {init}; first invocation: {first} | |", function.name)
    });
    rows.collect()
}

/// The deployment packages.
pub(crate) fn sizes(functions: &[Function; 3]) -> String {
    let [this, _, plain] = functions;
    let sizes = [this, plain].map(|function| package_size(&function.binary));
    let [this, plain] = sizes;
    let ratio = this / plain;
    let met = met(Some(MAX_SIZE), ratio);
    format!(
        "| the zip file over a hello world's | ≤ {MAX_SIZE} | {ratio:.2} | | {this:.2} MB over \
         {plain:.2} MB | {met} |"
    )
}

/// The size of a binary in a zip file, in MB.
fn package_size(binary: &Path) -> f64 {
    let mut file = File::open(binary).unwrap();
    let mut compressed = DeflateEncoder::new(Vec::new(), Compression::default());
    io::copy(&mut file, &mut compressed).unwrap();
    let length = u32::try_from(compressed.finish().unwrap().len()).unwrap();
    f64::from(length) / 1e6
}

fn ratio(
    what: &str,
    bar: Option<f64>,
    (this, other): (&[Start], &[Start]),
    measure: Measure,
) -> String {
    let times = |starts: &[Start]| -> Vec<f64> {
        starts.iter().map(|start| milliseconds(measure(start))).collect()
    };
    let (this, other) = (times(this), times(other));
    let mut ratios: Vec<f64> = this.iter().zip(&other).map(|(this, other)| this / other).collect();
    ratios.sort_by(f64::total_cmp);
    let at = |part: usize| ratios[(ratios.len() - 1) * part / 4];
    let met = met(bar, at(2));
    let bar = bar.map(|bar| format!("≤ {bar}")).unwrap_or_default();
    format!(
        "| {what} | {bar} | {:.2} | {:.2} to {:.2} | {:.1} ms over {:.1} ms | {met} |",
        at(2),
        at(1),
        at(3),
        median(this.into_iter()),
        median(other.into_iter()),
    )
}

fn met(bar: Option<f64>, measured: f64) -> &'static str {
    match bar {
        Some(bar) if measured <= bar => "yes",
        Some(_) => "**no**",
        None => "",
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

//! The start of the standalone program.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Instant;

use end_to_end::harness::{KilledOnDrop, command, folder};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::report::{Bar, Report, Row};
use crate::rounds::{in_turns, rounds};

pub(crate) fn measure(runtime: &Runtime, report: &mut Report) {
    let http = reqwest::Client::new();
    let start = || {
        let mut command = command(&folder("start"));
        command.args(["--data", "data", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped());
        let started = Instant::now();
        let mut process = KilledOnDrop(command.spawn().unwrap());
        let mut greeting = String::new();
        // It is read until the response is there: the greeting has further lines.
        let mut output = BufReader::new(process.stdout.take().unwrap());
        output.read_line(&mut greeting).unwrap();
        let address = greeting.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
        let request = http
            .post(format!("{address}/DescribeImages"))
            .json(&json!({ "repositoryName": "team/app" }))
            .send();
        // There is no repository.
        assert_eq!(runtime.block_on(request).unwrap().status(), http::StatusCode::BAD_REQUEST);
        let milliseconds = started.elapsed().as_secs_f64() * 1000.0;
        drop(output);
        milliseconds
    };
    let [milliseconds] = in_turns(rounds(), [&mut || start()]);
    report.add(Row {
        what: "standalone, from the start to the first response, on a new directory".to_owned(),
        bar: Bar::AtMost(50.0),
        measured: milliseconds.spread(),
        unit: "ms",
        figures: String::new(),
    });
}

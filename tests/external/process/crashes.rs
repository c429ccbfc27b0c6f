//! Nothing acknowledged is lost when the process is killed.

mod events;
mod listing;
mod writer;

use std::process::Stdio;
use std::time::{Duration, Instant};

use catalog::Timestamp;
use end_to_end::harness::{KilledOnDrop, Process, Random, binary, command, print};

use self::writer::Writer;
use super::folder;

/// Kills under load.
const KILLS_UNDER_LOAD: usize = 60;

/// Kills during the start. The first of them find no files.
const KILLS_WHILE_STARTING: usize = 15;
const MAX_START: u64 = 60;
const MAX_LOAD: u64 = 300;
const WRITERS: u64 = 4;

/// After a kill, acknowledged events are applied. Others are applied completely or not at all.
#[tokio::test]
async fn nothing_acknowledged_is_lost_and_nothing_is_half_applied() {
    let seed = std::env::var("SEED").map_or_else(
        |_| Timestamp::now().as_milliseconds().unsigned_abs(),
        |seed| seed.parse().unwrap(),
    );
    print(format!("process: kills: SEED={seed}"));
    let folder = folder("kills");
    let start = || {
        let mut command = command(&folder);
        command.args(["--data", "data", "--listen", "127.0.0.1:0"]).env("RUST_LOG", "warn");
        command
    };
    // The build is not measured.
    binary();
    let mut random = Random(seed);
    let mut writers: Vec<Writer> =
        (0..WRITERS).map(|number| Writer::new(number, random.next())).collect();
    let started = Instant::now();
    let mut kills_while_starting = 0;
    for _ in 0..KILLS_UNDER_LOAD {
        // The first half before any load, when the files are created; the others between kills
        // under load.
        while kills_while_starting < KILLS_WHILE_STARTING / 2
            || (kills_while_starting < KILLS_WHILE_STARTING && random.below(5) == 0)
        {
            let mut child = KilledOnDrop(start().stdout(Stdio::null()).spawn().unwrap());
            tokio::time::sleep(Duration::from_millis(random.below(MAX_START))).await;
            child.kill();
            kills_while_starting += 1;
        }
        let mut process = Process::start(start());
        for writer in &mut writers {
            writer.check(&process, seed).await;
        }
        let working: Vec<_> = writers
            .drain(..)
            .map(|mut writer| {
                let (http, url) = (process.http.clone(), process.url.clone());
                tokio::spawn(async move {
                    writer.work(&http, &url).await;
                    writer
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(random.below(MAX_LOAD))).await;
        process.child.kill();
        for writer in working {
            writers.push(writer.await.unwrap());
        }
    }
    let mut process = Process::start(start());
    for writer in &mut writers {
        writer.check(&process, seed).await;
    }
    process.stop();
    let process = Process::start(start());
    for writer in &mut writers {
        writer.check(&process, seed).await;
    }
    let sum = |count: fn(&Writer) -> usize| writers.iter().map(count).sum::<usize>();
    print(format!(
        "process: {KILLS_UNDER_LOAD} kills under load and {kills_while_starting} while starting in {:.1} s: \
         {} events, {} acknowledged; of {} unacknowledged {} were found applied, {} not applied, {} make no difference",
        started.elapsed().as_secs_f64(),
        sum(|writer| writer.acknowledged + writer.unacknowledged),
        sum(|writer| writer.acknowledged),
        sum(|writer| writer.unacknowledged),
        sum(|writer| writer.found_applied),
        sum(|writer| writer.found_missing),
        sum(|writer| writer.unacknowledged - writer.found_applied - writer.found_missing),
    ));
    assert!(sum(|writer| writer.acknowledged) > KILLS_UNDER_LOAD, "there was some load");
    assert!(
        sum(|writer| writer.unacknowledged) > KILLS_UNDER_LOAD / 2,
        "the kills came while events did"
    );
}

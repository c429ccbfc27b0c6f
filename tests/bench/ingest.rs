//! A batch of events over the transactions that it becomes.

use std::time::{Duration, Instant};

use end_to_end::harness::{Store, queue, time};
use image_catalog::aws::dynamodb::Engine;
use ingest_events::batch::ReceivedMessage;
use tokio::runtime::Runtime;

use crate::images::push_event;
use crate::recorder::{Recorder, transact};
use crate::report::{Bar, Report, times};
use crate::rounds::{in_turns, rounds};

/// Messages of a batch, as `template.yaml` defines it, each with one event.
const BATCH: u64 = 10;

/// Batches of a round.
const BATCHES: u64 = 20;

const REPOSITORY: &str = "team/app";

fn batches() -> Vec<Vec<ReceivedMessage>> {
    let message = |number: u64| {
        let event = push_event(REPOSITORY, number).to_string();
        let received_at = time(0).to_string();
        queue::received_message(&number.to_string(), &event, &[("receivedAt", &received_at)])
    };
    (0..BATCHES).map(|batch| (0..BATCH).map(|it| message(batch * BATCH + it)).collect()).collect()
}

pub(crate) fn measure(runtime: &Runtime, report: &mut Report) {
    let apply = async |store: &Store| {
        let (ingest, batches) = (store.ingest(), batches());
        let started = Instant::now();
        for batch in batches {
            let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
            assert!(queue::apply_batch(&ingest, batch, deadline).await.is_empty());
        }
        started.elapsed().as_secs_f64() / BATCHES as f64
    };
    let recorder = Recorder::default();
    let transactions = runtime.block_on(async {
        let store = Store::new(recorder.client(&Engine::in_memory().unwrap())).await;
        apply(&store).await;
        recorder.take_transactions()
    });
    let replay = async |store: &Store| {
        let transactions = transactions.clone();
        let started = Instant::now();
        for transaction in transactions {
            transact(&store.table.client, transaction).await;
        }
        started.elapsed().as_secs_f64() / BATCHES as f64
    };
    let [ingest, bare] = in_turns(
        rounds(),
        [&mut || runtime.block_on(async { apply(&Store::in_memory().await).await }), &mut || {
            runtime.block_on(async { replay(&Store::in_memory().await).await })
        }],
    );
    report.ratio(
        &format!("ingest of a batch of {BATCH} pushes, over its transactions by the SDK"),
        Bar::AtMost(1.3),
        &ingest.over(&bare),
        format!(
            "{}; {} transactions a batch",
            times(&ingest, &bare),
            transactions.len() as f64 / BATCHES as f64
        ),
    );
}

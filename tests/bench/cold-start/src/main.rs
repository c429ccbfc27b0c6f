//! `make bench-cold`: how the function `describe-images` starts, beside a hello world with one
//! GetItem, with the share of a processor of several memory sizes. The services are behind TLS. The
//! rows of the table, which those of `make bench` continue, go to `target/bench/cold-start.md`.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on fails")]

mod function;
mod quota;
mod report;
mod runtime_api;
mod services;

use std::env;
use std::fs;
use std::path::Path;

use catalog::{Change, ChangeKind};
use describe_images::page_token::Keyring;
use end_to_end::harness::{Store, api_gateway_event, digest, print, repository, tag, time};
use image_catalog::aws::dynamodb::Engine;

use crate::function::Function;
use crate::quota::Quota;
use crate::services::Services;

/// The sizes of the memory that are measured, in MB.
const MEMORY: [u64; 3] = [128, 512, 1769];

/// The images of the repository.
const IMAGES: u64 = 10;

/// How often each function starts with each memory.
fn rounds() -> usize {
    env::var("ROUNDS").map_or(15, |rounds| rounds.parse().unwrap())
}

#[tokio::main]
async fn main() {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target");
    let folder = target.join("bench");
    fs::create_dir_all(&folder).unwrap();
    let engine = Engine::in_memory().unwrap();
    let store = Store::new(engine.client()).await;
    for number in 1..=IMAGES {
        let change = Change {
            repository: repository("team/app"),
            time: time(i64::try_from(number).unwrap()),
            kind: ChangeKind::ImagePushed {
                digest: digest(number),
                tag: Some(tag(&format!("v{number}"))),
                content: catalog::change::Content::default(),
            },
        };
        store.writer.apply(&change).await.unwrap();
    }
    let key = Keyring::generate_key().unwrap();
    let services = Services::start(engine, key, &folder).await;
    let release = target.join("release");
    let item = [("PARTITION", "123456789012/team/app"), ("SORT", "repository")];
    // The last one is what the others are compared with.
    let functions = [
        Function {
            name: "describe-images",
            binary: release.join("describe-images"),
            variables: Vec::new(),
            event: api_gateway_event(r#"{"repositoryName":"team/app"}"#),
            expected: "imageDetails",
        },
        Function {
            name: "warmed hello world",
            binary: release.join("hello-world"),
            variables: [&item[..], &[("WARMED", "true")]].concat(),
            event: api_gateway_event("{}"),
            expected: "hello",
        },
        Function {
            name: "hello world",
            binary: release.join("hello-world"),
            variables: item.to_vec(),
            event: api_gateway_event("{}"),
            expected: "hello",
        },
    ];
    let quota = Quota::create();
    let quota = quota.inspect_err(|error| print(format!("there is no quota: {error}"))).ok();
    let mut lines = Vec::new();
    for memory in MEMORY {
        let mut starts = [const { Vec::new() }; 3];
        for _ in 0..rounds() {
            for (function, starts) in functions.iter().zip(&mut starts) {
                let quota = quota.as_ref().map(|quota| (quota, memory));
                starts.push(function.start(&services, quota).await);
            }
        }
        lines.extend(report::rows(memory, &functions, &starts));
        if memory == MEMORY[MEMORY.len() - 1] {
            lines.extend(report::traffic(&functions, &starts));
        }
        if quota.is_none() {
            break;
        }
    }
    lines.push(report::sizes(&functions));
    lines.iter().for_each(print);
    fs::write(folder.join("cold-start.md"), lines.join("\n") + "\n").unwrap();
}

//! The signatures of requests: the catalog's decisions are those of a verifier that is written with
//! botocore.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use catalog::{Change, ChangeKind, Repository, RepositoryStatement, Service};
use end_to_end::harness::{Catalog, Ended, REGION, Store, print, repository, require, time, tools};
use serde_json::{Value, json};

/// Of the random requests, unless it is set by `SEED` in the environment.
const SEED: &str = "20150830";

const REQUESTS: u64 = 3_000;

/// Changes after which no request is accepted, whatever the signature.
const NEVER_ACCEPTED: [&str; 4] = ["wrong_secret", "unknown_key", "other_region", "signature"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn botocore_accepts_what_the_catalog_accepts() {
    let test = "botocore_accepts_what_the_catalog_accepts";
    let Some(python) = require(test, tools().join("python/bin/python3")) else { return };
    let store = Store::in_memory().await;
    for service in Service::ALL {
        let repository = Repository { service, ..repository("team/app") };
        let kind = ChangeKind::RepositoryStated(RepositoryStatement::default());
        store.writer.apply(&Change { repository, time: time(0), kind }).await.unwrap();
    }
    let arn = "arn:aws:iam::123456789012:user/reader";
    let callers = json!([
        { "accessKeyId": "AKIDREADER", "secretAccessKey": "reader's", "arn": arn },
        {
            "accessKeyId": "ASIASESSION", "secretAccessKey": "s/e+s", "sessionToken": "a/b+c==",
            "arn": arn
        },
        {
            "accessKeyId": "ASIAEXPIRED", "secretAccessKey": "s", "sessionToken": "t", "arn": arn,
            "expiration": "2026-01-01T00:00:00+00:00"
        },
    ]);
    let catalog = Catalog::start_for(store, &callers, None).await;

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("external/signatures/compare.py");
    let mut command = Command::new(python);
    // Without files of bytecode beside the scripts.
    command.arg("-B").arg(script);
    command.args([&catalog.url, &callers.to_string(), REGION]);
    let seed = std::env::var("SEED").unwrap_or(SEED.to_owned());
    command.args([&seed, &REQUESTS.to_string()]);
    let started = Instant::now();
    let ended = tokio::task::block_in_place(|| Ended::run(&mut command));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let (sent, served) = (report["sent"].as_u64().unwrap(), report["served"].as_u64().unwrap());
    let changes = report["changes"].as_object().unwrap();
    print(format!(
        "{sent} signed requests of {} kinds, seed {seed}, {served} served, in {:.1} s: {}",
        3 * changes.len(),
        started.elapsed().as_secs_f64(),
        report["errors"]
    ));
    let differences = report["differences"].as_array().unwrap();
    let first: Vec<&Value> = differences.iter().take(3).collect();
    assert!(first.is_empty(), "{} differences, such as {first:#?}", differences.len());
    assert_eq!(sent, REQUESTS);
    assert!(served > REQUESTS / 10, "{served}");
    for error in [
        "None",
        "MissingAuthenticationTokenException",
        "IncompleteSignatureException",
        "UnrecognizedClientException",
        "ExpiredTokenException",
        "InvalidSignatureException",
    ] {
        assert!(report["errors"][error].as_u64() > Some(10), "{error}: {}", report["errors"]);
    }
    for (change, signings) in changes {
        for signing in ["header", "date", "query"] {
            let count = |what: &str| signings[signing][what].as_u64().unwrap_or_default();
            assert!(count("accepted") + count("refused") >= 20, "{change} {signing}");
            let is_accepted = count("accepted") > 0;
            assert!(!is_accepted || !NEVER_ACCEPTED.contains(&change.as_str()), "{change}");
            assert!(is_accepted || change != "nothing", "{signing}");
        }
    }
}

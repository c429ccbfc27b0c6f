//! The standalone program, and the emulators of AWS that have DescribeImages. Each has the same
//! images, which it received through its own API.

use std::fs;
use std::process::{Command, Stdio};

use aws_sdk_ecr::config::{BehaviorVersion, Credentials, Region};
use end_to_end::harness::{
    KilledOnDrop, Process, REGION, REGISTRY, find, folder, free_port, tools, wait_until_ready,
};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::images::{manifest, push_event, tag};

/// Events of a delivery.
const BATCH: usize = 50;

/// A server, until it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) url: String,
    _process: KilledOnDrop,
}

/// The name of a repository, and how many images it has.
pub(crate) type Repository = (&'static str, u64);

/// The standalone program with its database in a file, with images in repositories.
pub(crate) fn program(runtime: &Runtime, repositories: &[Repository]) -> Server {
    let Process { child, http, url, .. } = Process::start_with_data(&folder("program"));
    let pushes = |&(repository, images): &Repository| {
        (0..images).map(move |number| push_event(repository, number))
    };
    let events: Vec<Value> = repositories.iter().flat_map(pushes).collect();
    runtime.block_on(async {
        for events in events.chunks(BATCH) {
            let response = http.post(format!("{url}/events/ecr")).json(events).send().await;
            assert_eq!(response.unwrap().status(), http::StatusCode::OK);
        }
    });
    Server { name: "image-catalog", url, _process: child }
}

/// MiniStack; `None` if it is not installed.
pub(crate) fn ministack(runtime: &Runtime, repositories: &[Repository]) -> Option<Server> {
    let program = find(&tools().join("ministack/bin/ministack"))?;
    let port = free_port();
    let mut command = Command::new(program);
    command
        .env("GATEWAY_PORT", port.to_string())
        .env("MINISTACK_HOST", "127.0.0.1")
        .env("MINISTACK_ACCOUNT_ID", REGISTRY);
    Some(emulator("MiniStack", command, port, runtime, repositories))
}

/// fakecloud; `None` if it is not installed.
pub(crate) fn fakecloud(runtime: &Runtime, repositories: &[Repository]) -> Option<Server> {
    let program = find(&tools().join("fakecloud/bin/fakecloud"))?;
    let port = free_port();
    let mut command = Command::new(program);
    command.args(["--addr", &format!("127.0.0.1:{port}")]).args([
        "--region",
        REGION,
        "--account-id",
        REGISTRY,
    ]);
    Some(emulator("fakecloud", command, port, runtime, repositories))
}

fn emulator(
    name: &'static str,
    mut command: Command,
    port: u16,
    runtime: &Runtime,
    repositories: &[Repository],
) -> Server {
    let folder = folder(name);
    let log = fs::File::create(folder.join("log")).unwrap();
    command.current_dir(&folder).env("HOME", &folder).stdin(Stdio::null());
    command.stdout(log.try_clone().unwrap()).stderr(log);
    let process = KilledOnDrop(command.spawn().unwrap());
    let url = format!("http://127.0.0.1:{port}");
    let configuration = aws_sdk_ecr::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(REGION))
        .credentials_provider(Credentials::new("test", "test", None, None, "bench"))
        .endpoint_url(&url)
        .build();
    runtime.block_on(async {
        wait_until_ready(&url).await;
        let client = aws_sdk_ecr::Client::from_conf(configuration);
        for &(repository, images) in repositories {
            client.create_repository().repository_name(repository).send().await.unwrap();
            for number in 0..images {
                let put = client.put_image().repository_name(repository);
                let put = put.image_manifest(manifest(number).to_string()).image_tag(tag(number));
                put.send().await.unwrap();
            }
        }
    });
    Server { name, url, _process: process }
}

//! A start of a function.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use end_to_end::harness::{KilledOnDrop, REGION, REGISTRY};
use serde_json::Value;

use crate::quota::Quota;
use crate::runtime_api::RuntimeApi;
use crate::services::{Services, Traffic};

/// A function, as it is measured.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) binary: PathBuf,
    pub(crate) variables: Vec<(&'static str, &'static str)>,
    pub(crate) event: Value,
    /// In the response to the event.
    pub(crate) expected: &'static str,
}

/// A part of a start.
#[derive(Debug, Clone, Default)]
pub(crate) struct Phase {
    pub(crate) time: Duration,
    /// The time of processors.
    pub(crate) processor: Duration,
    pub(crate) traffic: Traffic,
}

/// A start.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    /// From the start of the process until it requests an event.
    pub(crate) init: Phase,
    /// The first invocation, until its response.
    pub(crate) first: Phase,
    /// The second.
    pub(crate) second: Phase,
}

impl Function {
    /// Starts it, and invokes it twice. The quota of the memory, in MB, begins with the first
    /// invocation: Lambda does not limit the init phase to it.
    pub(crate) async fn start(&self, services: &Services, quota: Option<(&Quota, u64)>) -> Start {
        let mut runtime_api = RuntimeApi::start().await;
        if let Some((quota, _)) = quota {
            quota.lift().unwrap();
        }
        services.take();
        let started = Instant::now();
        let process = KilledOnDrop(self.command(services, quota, &runtime_api).spawn().unwrap());
        let id = process.0.id();
        let ready = runtime_api.ready().await;
        let used = processor_time(id);
        let init = Phase { time: ready - started, processor: used, traffic: services.take() };
        if let Some((quota, memory)) = quota {
            quota.limit(memory).unwrap();
        }
        let mut used_before = used;
        let mut phases = Vec::new();
        for _ in 0..2 {
            let (time, response) = runtime_api.invoke(&self.event).await;
            let response = response.to_string();
            assert!(response.contains(self.expected), "{}: {response}", self.name);
            // What it does after the response belongs to the invocation.
            runtime_api.ready().await;
            let used = processor_time(id);
            let traffic = services.take();
            phases.push(Phase { time, processor: used.saturating_sub(used_before), traffic });
            used_before = used;
        }
        let [first, second] = phases.try_into().unwrap();
        Start { init, first, second }
    }

    fn command(
        &self,
        services: &Services,
        quota: Option<(&Quota, u64)>,
        runtime_api: &RuntimeApi,
    ) -> Command {
        // The shell becomes the function.
        let mut command = Command::new("/bin/sh");
        command.args(["-c", r#"[ -z "$1" ] || echo $$ > "$1"; exec "$0""#]).arg(&self.binary);
        command.arg(quota.map_or_else(PathBuf::new, |(quota, _)| quota.processes()));
        command
            .env_clear()
            .envs([
                ("AWS_LAMBDA_RUNTIME_API", runtime_api.address.as_str()),
                ("AWS_LAMBDA_FUNCTION_NAME", self.name),
                ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
                ("AWS_REGION", REGION),
                ("AWS_ACCESS_KEY_ID", "key"),
                ("AWS_SECRET_ACCESS_KEY", "secret of the function"),
                ("AWS_SESSION_TOKEN", "token of the function"),
                ("AWS_ENDPOINT_URL", &services.others),
                ("AWS_ENDPOINT_URL_DYNAMODB", &services.dynamodb),
                ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &services.secrets_manager),
                ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &services.others),
                ("TABLE_NAME", "image-catalog"),
                ("REGISTRY_ID", REGISTRY),
                ("STACK_NAME", "catalog"),
                (
                    "PAGE_TOKEN_SECRET_ARN",
                    "arn:aws:secretsmanager:us-east-1:123456789012:secret:page-tokens",
                ),
            ])
            .env("SSL_CERT_FILE", &services.authorities)
            .envs(self.variables.iter().copied())
            .stdout(Stdio::null());
        command
    }
}

/// The time of processors that all threads of a process have used.
fn processor_time(process: u32) -> Duration {
    let tasks = Path::new("/proc").join(process.to_string()).join("task");
    let nanoseconds = fs::read_dir(tasks).unwrap().filter_map(|task| {
        let statistics = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        statistics.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

//! `image-catalog replay`: applies events again.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_sqs::types::MessageSystemAttributeName;
use catalog::table::causes;
use catalog::{RegistryId, Timestamp};
use clap::Args;
use events::Message;
use ingest_events::Ingest;
use ingest_events::message::{MessageError, apply_delivery, apply_message};
use ingest_events::source::Origin;
use registries::Source;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{printable, progress, report};
use crate::data;
use crate::options::Options;

/// Messages of one response; SQS's maximum.
const MAX_MESSAGES: i32 = 10;

/// How long SQS waits for messages until the queue counts as empty, in seconds.
const WAIT_TIME: i32 = 2;

/// For one message.
const TIMEOUT: Duration = Duration::from_mins(1);

/// How long messages that could not be applied stay invisible in the queue, in seconds.
const VISIBILITY_TIMEOUT: i32 = 3600;

/// The options of `image-catalog replay`.
#[derive(Debug, Clone, Args)]
pub struct ReplayOptions {
    /// JSON file of deliveries, one after the other, each as its registry sent it
    #[arg(long, value_name = "FILE", required_unless_present = "queue", conflicts_with = "queue")]
    file: Option<PathBuf>,
    /// Their source, such as ecr or harbor
    #[arg(long, value_name = "SOURCE", default_value = "ecr", conflicts_with = "queue")]
    source: Source,
    /// The id of their subscription, which also has their source
    #[arg(long, value_name = "ID", conflicts_with_all = ["queue", "source"])]
    subscription: Option<String>,
    /// Time of events that contain none [default: when the file was last modified]
    #[arg(long, value_name = "TIME", conflicts_with = "queue")]
    received_at: Option<Timestamp>,
    /// URL of an SQS queue, such as the dead-letter queue
    #[arg(long, value_name = "URL")]
    queue: Option<String>,
}

/// The results of the deliveries.
#[derive(Default)]
struct Summary {
    applied: usize,
    too_late: usize,
    failed: usize,
}

impl Summary {
    /// Adds the result of a delivery: how many of its events came too late to make a difference.
    fn add(&mut self, delivery: &str, result: Result<usize, MessageError>) -> io::Result<()> {
        match result {
            Ok(0) => {
                self.applied += 1;
                Ok(())
            }
            Ok(events) => {
                self.too_late += 1;
                report(&format!("{delivery}: {events} events came too late to make a difference"))
            }
            Err(error) => {
                self.failed += 1;
                // It may contain a value of the event.
                report(&format!("{delivery}: {}", printable(&causes(&error))))
            }
        }
    }

    fn print(&self) -> Result<(), Box<dyn Error>> {
        let too_late = match self.too_late {
            0 => String::new(),
            too_late => format!("{too_late} too late, "),
        };
        let Self { applied, failed, .. } = self;
        report(&format!("{applied} deliveries applied, {too_late}{failed} not applied"))?;
        match self.failed {
            0 => Ok(()),
            failed => Err(format!("{failed} deliveries could not be applied").into()),
        }
    }
}

/// Applies the events, and prints the reasons of those that could not be applied. Messages that could
/// not be applied stay in their queue.
pub async fn run(options: &Options, command: &ReplayOptions) -> Result<(), Box<dyn Error>> {
    let subscriptions = options.read_subscriptions()?.unwrap_or_default();
    let ecr = options.ecr().await?;
    let table = match &command.queue {
        Some(_) => data::open_existing_table(options).await?,
        None => data::open_table(options).await?.table,
    };
    let ingest = options.ingest(table, subscriptions, ecr);
    let registry = &options.registry;
    let summary = match (&command.file, &command.queue) {
        (Some(file), _) => command.replay_file(file, &ingest, options).await?,
        (None, Some(queue)) => {
            replay_queue(queue, &ingest, registry, &options.aws().await?).await?
        }
        (None, None) => Summary::default(),
    };
    summary.print()
}

impl ReplayOptions {
    async fn replay_file(
        &self,
        file: &PathBuf,
        ingest: &Ingest,
        options: &Options,
    ) -> Result<Summary, Box<dyn Error>> {
        let named = |error: std::io::Error| format!("{}: {error}", file.display());
        let received_at = match self.received_at {
            Some(time) => time,
            None => {
                let written =
                    std::fs::metadata(file).and_then(|data| data.modified()).map_err(named)?;
                let since = written.duration_since(std::time::UNIX_EPOCH)?;
                Timestamp::from_milliseconds(i64::try_from(since.as_millis())?)?
            }
        };
        let origin = match &self.subscription {
            Some(id) => Origin::from_subscription(ingest.subscription(id).await?, received_at),
            None => Origin {
                service: options.service,
                ..Origin::new(self.source, options.registry.clone(), received_at)
            },
        };
        let text = std::fs::read_to_string(file).map_err(named)?;
        let mut summary = Summary::default();
        let bar = progress::bar(text.len(), "{bytes} of {total_bytes}");
        let mut deliveries = serde_json::Deserializer::from_str(&text).into_iter::<Box<RawValue>>();
        let mut number = 0;
        while let Some(delivery) = deliveries.next() {
            number += 1;
            let name = format!("delivery {number}");
            let delivery = match delivery {
                Ok(delivery) => delivery,
                // What follows it cannot be read either.
                Err(error) => {
                    report(&format!("{name}: {error}"))?;
                    summary.failed += 1;
                    break;
                }
            };
            let delivery = delivery.get().as_bytes();
            let deadline = Instant::now() + TIMEOUT;
            let completed = async {
                apply_delivery(ingest, &origin, delivery).await?.complete(ingest, deadline).await
            };
            summary.add(&name, completed.await)?;
            bar.set_position(deliveries.byte_offset() as u64);
        }
        Ok(summary)
    }
}

async fn replay_queue(
    queue: &str,
    ingest: &Ingest,
    default_registry: &RegistryId,
    configuration: &SdkConfig,
) -> Result<Summary, Box<dyn Error>> {
    let client = aws_sdk_sqs::Client::new(configuration);
    let mut summary = Summary::default();
    let mut failed = Vec::new();
    let bar = progress::spinner("{pos} messages");
    loop {
        let received = client
            .receive_message()
            .queue_url(queue)
            .max_number_of_messages(MAX_MESSAGES)
            .wait_time_seconds(WAIT_TIME)
            .visibility_timeout(VISIBILITY_TIMEOUT)
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .send()
            .await
            .map_err(|error| causes(&error))?;
        let messages = received.messages.unwrap_or_default();
        if messages.is_empty() {
            break;
        }
        for message in messages {
            let name = message.message_id.clone().unwrap_or_default();
            let deadline = Instant::now() + TIMEOUT;
            let applied = apply_message(ingest, default_registry, &Message::from(&message)).await;
            let result = async { applied?.complete(ingest, deadline).await }.await;
            if result.is_ok() {
                let delete = client
                    .delete_message()
                    .queue_url(queue)
                    .set_receipt_handle(message.receipt_handle);
                delete.send().await.map_err(|error| causes(&error))?;
            } else {
                failed.push(message.receipt_handle);
            }
            summary.add(&format!("message {name}"), result)?;
            bar.inc(1);
        }
    }
    for handle in failed {
        let put_back =
            client.change_message_visibility().queue_url(queue).set_receipt_handle(handle);
        put_back.visibility_timeout(0).send().await.map_err(|error| causes(&error))?;
    }
    Ok(summary)
}

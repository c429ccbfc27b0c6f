//! `image-catalog replay`: applies events again.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use catalog::table::causes;
use catalog::{RegistryId, Timestamp};
use clap::Args;
use ingest_events::Ingest;
use ingest_events::handler::{self, Delivery, RECEIVED_AT};
use ingest_events::source::Origin;
use serde_json::value::RawValue;
use subscriptions::Source;
use tokio::time::Instant;

/// The most messages that SQS gives at once.
const MESSAGES_AT_ONCE: i32 = 10;

/// How long a queue is waited for until it counts as empty, in seconds.
const PATIENCE: i32 = 2;

/// How long one message may take.
const TIMEOUT: Duration = Duration::from_mins(1);

/// How long, in seconds, messages that could not be applied stay away from the queue.
const ABSENCE: i32 = 3600;

/// The options of `image-catalog replay`.
#[derive(Debug, Clone, Args)]
pub struct ReplayOptions {
    /// JSON file of deliveries, one after the other, each as its registry sent it
    #[arg(long, value_name = "FILE", required_unless_present = "queue", conflicts_with = "queue")]
    file: Option<PathBuf>,
    /// What kind of registry they are from, such as ecr or harbor
    #[arg(long, value_name = "SOURCE", value_parser = parse_source, default_value = "ecr", conflicts_with = "queue")]
    source: Source,
    /// The subscription that they are of, which tells their source, too
    #[arg(long, value_name = "ID", conflicts_with_all = ["queue", "source"])]
    subscription: Option<String>,
    /// When they came, for those that tell no time; else when the file was last written
    #[arg(long, value_name = "TIME", conflicts_with = "queue")]
    received_at: Option<Timestamp>,
    /// Address of an SQS queue, such as that of unapplied events
    #[arg(long, value_name = "URL")]
    queue: Option<String>,
}

fn parse_source(name: &str) -> Result<Source, String> {
    let names = Source::ALL.map(Source::as_str).join(", ");
    Source::of_name(name).ok_or_else(|| format!("the sources are {names}"))
}

/// What became of deliveries.
#[derive(Default)]
struct Replayed {
    applied: usize,
    too_late: usize,
    failed: usize,
}

impl Replayed {
    /// Notes what became of a delivery, of which so many events came too late to make a difference.
    fn note(&mut self, delivery: &str, outcome: Result<usize, String>) {
        match outcome {
            Ok(0) => self.applied += 1,
            Ok(events) => {
                self.too_late += 1;
                println!("{delivery}: {events} events came too late to make a difference");
            }
            Err(reason) => {
                self.failed += 1;
                println!("{delivery}: {reason}");
            }
        }
    }
}

impl ReplayOptions {
    /// Whether they are taken out of a queue.
    #[must_use]
    pub fn empties_a_queue(&self) -> bool {
        self.queue.is_some()
    }

    /// Applies the events, and prints which could not be applied and why. Those of a queue stay
    /// there.
    ///
    /// # Errors
    /// File or queue cannot be read, or something could not be applied.
    pub async fn run(
        &self,
        ingest: &Ingest,
        default_registry: &RegistryId,
        configuration: &SdkConfig,
    ) -> Result<(), Box<dyn Error>> {
        let replayed = match (&self.file, &self.queue) {
            (Some(file), _) => self.replay_file(file, ingest, default_registry).await?,
            (None, Some(queue)) => {
                replay_queue(queue, ingest, default_registry, configuration).await?
            }
            (None, None) => Replayed::default(),
        };
        print!("{} deliveries applied, ", replayed.applied);
        if replayed.too_late > 0 {
            print!("{} too late, ", replayed.too_late);
        }
        println!("{} not applied", replayed.failed);
        match replayed.failed {
            0 => Ok(()),
            failed => Err(format!("{failed} deliveries could not be applied").into()),
        }
    }

    async fn replay_file(
        &self,
        file: &PathBuf,
        ingest: &Ingest,
        default_registry: &RegistryId,
    ) -> Result<Replayed, Box<dyn Error>> {
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
            Some(id) => Origin::of(ingest.subscription(id).await?, received_at),
            None => Origin::new(self.source, default_registry.clone(), received_at),
        };
        let text = std::fs::read_to_string(file).map_err(named)?;
        let mut replayed = Replayed::default();
        for (number, delivery) in
            serde_json::Deserializer::from_str(&text).into_iter::<Box<RawValue>>().enumerate()
        {
            let name = format!("delivery {}", number + 1);
            let delivery =
                delivery.map_err(|error| format!("{name} of {}: {error}", file.display()))?;
            let report = ingest.ingest(&origin, delivery.get().as_bytes()).await;
            replayed.note(
                &name,
                match report.map_err(|error| error.to_string()) {
                    Ok(report) => report
                        .malformed
                        .first()
                        .map_or(Ok(report.too_late), |event| Err(event.reason.clone())),
                    Err(reason) => Err(reason),
                },
            );
        }
        Ok(replayed)
    }
}

async fn replay_queue(
    queue: &str,
    ingest: &Ingest,
    default_registry: &RegistryId,
    configuration: &SdkConfig,
) -> Result<Replayed, Box<dyn Error>> {
    let client = aws_sdk_sqs::Client::new(configuration);
    let mut replayed = Replayed::default();
    let mut failed = Vec::new();
    loop {
        let received = client
            .receive_message()
            .queue_url(queue)
            .max_number_of_messages(MESSAGES_AT_ONCE)
            .wait_time_seconds(PATIENCE)
            .visibility_timeout(ABSENCE)
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
            let outcome =
                handler::apply(ingest, default_registry, delivery(&message), deadline).await;
            if outcome.is_ok() {
                let delete = client
                    .delete_message()
                    .queue_url(queue)
                    .set_receipt_handle(message.receipt_handle);
                delete.send().await.map_err(|error| causes(&error))?;
            } else {
                failed.push(message.receipt_handle);
            }
            replayed.note(&format!("message {name}"), outcome);
        }
    }
    for handle in failed {
        let put_back =
            client.change_message_visibility().queue_url(queue).set_receipt_handle(handle);
        put_back.visibility_timeout(0).send().await.map_err(|error| causes(&error))?;
    }
    Ok(replayed)
}

fn delivery(message: &Message) -> Delivery<'_> {
    let attribute = |name: &str| {
        let attributes = message.message_attributes.as_ref()?;
        attributes.get(name)?.string_value.as_deref()
    };
    let sent_at = || {
        let attributes = message.attributes.as_ref()?;
        let sent_at = attributes.get(&MessageSystemAttributeName::SentTimestamp)?;
        Timestamp::from_milliseconds(sent_at.parse().ok()?).ok()
    };
    let received_at = attribute(RECEIVED_AT).and_then(|time| time.parse().ok());
    Delivery {
        body: message.body.as_deref().unwrap_or_default(),
        subscription: attribute("subscription"),
        received_at: received_at.or_else(sent_at).unwrap_or_else(Timestamp::now),
    }
}

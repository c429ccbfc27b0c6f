//! A client that sends events while the program is killed, and checks the listings afterwards.

use catalog::{Change, ChangeKind, Repository};
use end_to_end::harness::{OCI_INDEX, Process, Random, repository, time};
use serde_json::Value;

use super::events::{Event, ecr_event, notification};
use super::listing::{expected, list};

/// Sends events about repositories of its own, one after the other, each later than the last.
pub(super) struct Writer {
    pub(super) random: Random,
    pub(super) milliseconds: i64,
    pub(super) repositories: Vec<Known>,
    /// The event in flight when the process was killed.
    pub(super) unknown: Option<Event>,
    /// The first event to send next.
    pub(super) repeated: Option<Event>,
    pub(super) acknowledged: usize,
    pub(super) unacknowledged: usize,
    pub(super) found_applied: usize,
    pub(super) found_missing: usize,
}

/// A repository, and the changes that were certainly applied.
pub(super) struct Known {
    pub(super) repository: Repository,
    pub(super) changes: Vec<Change>,
}

impl Writer {
    pub(super) fn new(number: u64, seed: u64) -> Self {
        let known = |source| Known {
            repository: repository(&format!("writer-{number}/{source}")),
            changes: Vec::new(),
        };
        Self {
            random: Random(seed),
            milliseconds: 0,
            repositories: vec![known("ecr"), known("distribution")],
            unknown: None,
            repeated: None,
            acknowledged: 0,
            unacknowledged: 0,
            found_applied: 0,
            found_missing: 0,
        }
    }

    /// Sends events until the process is killed.
    pub(super) async fn work(&mut self, http: &reqwest::Client, url: &str) {
        loop {
            let event = match self.repeated.take() {
                Some(event) => event,
                None => self.event(),
            };
            match http.post(format!("{url}{}", event.path)).json(&event.body).send().await {
                Ok(response) => {
                    let status = response.status();
                    let report = response.text().await.unwrap_or_default();
                    assert!(status.is_success(), "{status} {report} for {}", event.body);
                    if let Ok(report) = serde_json::from_str::<Value>(&report) {
                        assert_eq!(report["applied"], 1, "{report} for {}", event.body);
                    }
                    self.acknowledged += 1;
                    self.known(&event).changes.push(event.change);
                }
                // It was not sent.
                Err(error) if error.is_connect() => return,
                Err(_) => {
                    self.unacknowledged += 1;
                    self.unknown = Some(event);
                    return;
                }
            }
        }
    }

    /// Checks the listings against all acknowledged events, with or without the event in flight.
    pub(super) async fn check(&mut self, process: &Process, seed: u64) {
        let unknown = self.unknown.take();
        for known in &mut self.repositories {
            let listed = list(process, &known.repository).await;
            let without = expected(&known.repository, &known.changes);
            let Some(event) =
                unknown.as_ref().filter(|event| event.change.repository == known.repository)
            else {
                assert_eq!(listed, without, "SEED={seed}: {}", known.repository);
                continue;
            };
            known.changes.push(event.change.clone());
            let with = expected(&known.repository, &known.changes);
            if event.change.kind == ChangeKind::RepositoryDeleted {
                // It is applied image by image, and must be sent again until it is acknowledged.
                let left = listed.unwrap_or_default();
                let before = without.unwrap_or_default();
                assert!(left.iter().all(|image| before.contains(image)), "SEED={seed}: {left:#?}");
                assert_eq!(
                    send_again(process, event).await,
                    with,
                    "SEED={seed}: after {}",
                    event.body
                );
                self.found_applied += usize::from(left.is_empty());
                self.found_missing += usize::from(left.len() == before.len() && !before.is_empty());
            } else if without_index_sizes(&with) == without_index_sizes(&without) {
                assert_eq!(
                    without_index_sizes(&listed),
                    without_index_sizes(&with),
                    "SEED={seed}: {}",
                    known.repository
                );
                // Later events may depend on it.
                assert_eq!(
                    send_again(process, event).await,
                    with,
                    "SEED={seed}: after {}",
                    event.body
                );
            } else if listed == with {
                self.found_applied += 1;
                self.repeated = Some(event.clone()).filter(|_| self.random.below(2) == 0);
            } else if listed == without {
                self.found_missing += 1;
                known.changes.pop();
                self.repeated = Some(event.clone()).filter(|_| self.random.below(2) == 0);
            } else if without_index_sizes(&listed) == without_index_sizes(&with) {
                // An index gets its size in a transaction after that of the manifest.
                self.found_applied += 1;
                assert_eq!(
                    send_again(process, event).await,
                    with,
                    "SEED={seed}: after {}",
                    event.body
                );
            } else {
                panic!(
                    "SEED={seed}: {} is {listed:#?}\nneither with {} {with:#?}\nnor without it {without:#?}",
                    known.repository, event.body
                );
            }
        }
    }

    pub(super) fn known(&mut self, event: &Event) -> &mut Known {
        let is_same = |known: &&mut Known| known.repository == event.change.repository;
        self.repositories.iter_mut().find(is_same).unwrap()
    }

    pub(super) fn event(&mut self) -> Event {
        self.milliseconds += 1 + i64::try_from(self.random.below(2_000)).unwrap();
        let random = &mut self.random;
        let at = time(self.milliseconds);
        let from_ecr = random.below(2) == 0;
        let repository = self.repositories[usize::from(!from_ecr)].repository.clone();
        let (body, kind) = if from_ecr {
            ecr_event(random, &repository, at)
        } else {
            notification(random, &repository, at)
        };
        let path = if from_ecr { "/events/ecr" } else { "/events/distribution" };
        Event { path, body, change: Change { repository, time: at, kind } }
    }
}

/// Sends an event again, and lists its repository.
pub(super) async fn send_again(process: &Process, event: &Event) -> Option<Vec<Value>> {
    let url = format!("{}{}", process.url, event.path);
    let status = process.http.post(url).json(&event.body).send().await.unwrap().status();
    assert!(status.is_success(), "{status} for {}", event.body);
    list(process, &event.change.repository).await
}

/// Images without the sizes of indexes.
pub(super) fn without_index_sizes(images: &Option<Vec<Value>>) -> Option<Vec<Value>> {
    let mut images = images.clone();
    for image in images.iter_mut().flatten().filter_map(Value::as_object_mut) {
        if image.get("imageManifestMediaType").is_some_and(|media_type| media_type == OCI_INDEX) {
            image.remove("imageSizeInBytes");
        }
    }
    images
}

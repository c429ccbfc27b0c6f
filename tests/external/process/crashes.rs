//! Kills, after which nothing acknowledged is lost.

use std::process::Stdio;
use std::time::{Duration, Instant};

use catalog::change::Content;
use catalog::image::{Image, Scan};
use catalog::{Change, ChangeKind, Digest, Repository, Tag, Timestamp};
use end_to_end::harness::{
    KilledOnDrop, OCI_CONFIGURATION, OCI_IMAGE, OCI_INDEX, OCI_LAYER, Process, REGION, REGISTRY,
    Random, binary, command, digest, print, repository, tag, time,
};
use end_to_end::reference::model;
use serde_json::{Value, json};

use super::{event_bridge_event, folder};

/// Kills while events come in.
const KILLS_UNDER_LOAD: usize = 60;

/// Kills of a process that has not come up yet, the first of them with nothing on disk.
const KILLS_WHILE_STARTING: usize = 15;
const LONGEST_START: u64 = 60;
const LONGEST_LOAD: u64 = 300;
const WRITERS: u64 = 4;
const TAGS: [&str; 4] = ["latest", "v1", "v2", "v3"];

/// Digests 7 and 8 are indexes.
const DIGESTS: u64 = 8;

/// What was answered with success is there after a kill; what was not answered is there wholly
/// or not at all.
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
    // Building it is not measured.
    binary();
    let mut random = Random(seed);
    let mut writers: Vec<Writer> =
        (0..WRITERS).map(|number| Writer::new(number, random.next())).collect();
    let started = Instant::now();
    let mut kills_while_starting = 0;
    for _ in 0..KILLS_UNDER_LOAD {
        // All at first, when the files are made; later now and then.
        while kills_while_starting < KILLS_WHILE_STARTING / 2
            || (kills_while_starting < KILLS_WHILE_STARTING && random.below(5) == 0)
        {
            let mut child = KilledOnDrop(start().stdout(Stdio::null()).spawn().unwrap());
            tokio::time::sleep(Duration::from_millis(random.below(LONGEST_START))).await;
            child.kill();
            kills_while_starting += 1;
        }
        let mut process = Process::start(start());
        for writer in &mut writers {
            writer.compare(&process, seed).await;
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
        tokio::time::sleep(Duration::from_millis(random.below(LONGEST_LOAD))).await;
        process.child.kill();
        for writer in working {
            writers.push(writer.await.unwrap());
        }
    }
    let mut process = Process::start(start());
    for writer in &mut writers {
        writer.compare(&process, seed).await;
    }
    process.stop();
    let process = Process::start(start());
    for writer in &mut writers {
        writer.compare(&process, seed).await;
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

/// An event as it is sent, and what it means.
#[derive(Clone)]
struct Event {
    path: &'static str,
    body: Value,
    change: Change,
}

/// Sends events about repositories of its own, one after the other, each later than the last.
struct Writer {
    random: Random,
    milliseconds: i64,
    repositories: Vec<Known>,
    /// What was on its way when the process died.
    unknown: Option<Event>,
    /// To be sent before anything else.
    repeated: Option<Event>,
    acknowledged: usize,
    unacknowledged: usize,
    found_applied: usize,
    found_missing: usize,
}

/// A repository, and what certainly happened to it.
struct Known {
    repository: Repository,
    changes: Vec<Change>,
}

impl Writer {
    fn new(number: u64, seed: u64) -> Self {
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

    /// Sends events until the process is gone.
    async fn work(&mut self, http: &reqwest::Client, url: &str) {
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
                // It was never sent.
                Err(error) if error.is_connect() => return,
                Err(_) => {
                    self.unacknowledged += 1;
                    self.unknown = Some(event);
                    return;
                }
            }
        }
    }

    /// Holds what the catalog says against everything that was acknowledged, with or without
    /// the event of which it is not known.
    async fn compare(&mut self, process: &Process, seed: u64) {
        let unknown = self.unknown.take();
        for known in &mut self.repositories {
            let listed = list(&process, &known.repository).await;
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
                // It takes effect image by image, and is to be sent until it is acknowledged.
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
                // What comes later may depend on it.
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
                // The indexes that list a manifest are told its size once it is there.
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

    fn known(&mut self, event: &Event) -> &mut Known {
        let is_same = |known: &&mut Known| known.repository == event.change.repository;
        self.repositories.iter_mut().find(is_same).unwrap()
    }

    /// The next event.
    fn event(&mut self) -> Event {
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

/// Sends an event once more, and lists its repository then.
async fn send_again(process: &Process, event: &Event) -> Option<Vec<Value>> {
    let url = format!("{}{}", process.url, event.path);
    let status = process.http.post(url).json(&event.body).send().await.unwrap().status();
    assert!(status.is_success(), "{status} for {}", event.body);
    list(&process, &event.change.repository).await
}

/// A list of images without the sizes of its indexes.
fn without_index_sizes(images: &Option<Vec<Value>>) -> Option<Vec<Value>> {
    let mut images = images.clone();
    for image in images.iter_mut().flatten().filter_map(Value::as_object_mut) {
        if image.get("imageManifestMediaType").is_some_and(|media_type| media_type == OCI_INDEX) {
            image.remove("imageSizeInBytes");
        }
    }
    images
}

fn any_digest(random: &mut Random) -> Digest {
    digest(1 + random.below(DIGESTS))
}

fn any_tag(random: &mut Random) -> Tag {
    tag(TAGS[usize::try_from(random.below(4)).unwrap()])
}

fn ecr_event(random: &mut Random, repository: &Repository, at: Timestamp) -> (Value, ChangeKind) {
    let name = repository.name.as_str();
    let (digest, tag) = (any_digest(random), any_tag(random));
    let action = |action: &str, members: Value| {
        let mut detail = json!({
            "result": "SUCCESS",
            "repository-name": name,
            "image-digest": digest,
            "action-type": action
        });
        detail.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        event_bridge_event("ECR Image Action", at, &detail)
    };
    let record = |event: &str| {
        json!({
            "eventSource": "ecr.amazonaws.com",
            "eventName": event,
            "eventTime": at,
            "awsRegion": REGION,
            "recipientAccountId": REGISTRY,
            "requestParameters": { "repositoryName": name }
        })
    };
    match random.below(21) {
        0..10 => {
            let tag = Some(tag).filter(|_| random.below(5) > 0);
            let content = if random.below(2) == 0 {
                Content::default()
            } else {
                Content {
                    manifest_media_type: Some(OCI_IMAGE.to_owned()),
                    artifact_media_type: Some(OCI_CONFIGURATION.to_owned()),
                    ..Content::default()
                }
            };
            let mut members = json!({ "image-tag": tag.as_ref().map_or("", Tag::as_str) });
            if content != Content::default() {
                members["manifest-media-type"] = json!(content.manifest_media_type);
                members["artifact-media-type"] = json!(content.artifact_media_type);
            }
            (
                action("PUSH", members),
                ChangeKind::ImagePushed { digest: digest.clone(), tag, content },
            )
        }
        10..14 => (
            action("DELETE", json!({ "image-tag": tag })),
            ChangeKind::ImageUntagged { digest: digest.clone(), tag },
        ),
        14 | 15 => {
            (action("DELETE", json!({})), ChangeKind::ImageDeleted { digest: digest.clone() })
        }
        16 => (
            action("UPDATE_STORAGE_CLASS", json!({ "target-storage-class": "ARCHIVE" })),
            ChangeKind::ImageArchived { digest: digest.clone() },
        ),
        17 => (
            action("UPDATE_STORAGE_CLASS", json!({ "target-storage-class": "STANDARD" })),
            ChangeKind::ImageRestored { digest: digest.clone(), activated_at: at },
        ),
        18 => {
            let high = i64::try_from(random.below(9)).unwrap();
            let detail = json!({
                "scan-status": "COMPLETE",
                "repository-name": name,
                "image-digest": digest,
                "finding-severity-counts": { "HIGH": high },
                "image-tags": []
            });
            let scan = Scan {
                status: "COMPLETE".to_owned(),
                finding_severity_counts: Some([("HIGH".to_owned(), high)].into()),
                completed_at: at,
            };
            let event = event_bridge_event("ECR Image Scan", at, &detail);
            (event, ChangeKind::ImageScanned { digest: digest.clone(), scan })
        }
        19 => (record("DeleteRepository"), ChangeKind::RepositoryDeleted),
        _ => (record("CreateRepository"), ChangeKind::RepositoryCreated),
    }
}

fn notification(
    random: &mut Random,
    repository: &Repository,
    at: Timestamp,
) -> (Value, ChangeKind) {
    let name = repository.name.as_str();
    let number = 1 + random.below(DIGESTS);
    let (digest, tag) = (digest(number), any_tag(random));
    let notification = |action: &str, target: Value| {
        let mut target = target;
        target["repository"] = json!(name);
        json!({ "events": [{ "timestamp": at, "action": action, "target": target }] })
    };
    let media_type = if number > 6 { OCI_INDEX } else { OCI_IMAGE };
    match random.below(20) {
        0..14 => {
            let tag = Some(tag).filter(|_| random.below(5) > 0);
            let mut content =
                Content { manifest_media_type: Some(media_type.to_owned()), ..Content::default() };
            let mut target = json!({ "mediaType": media_type, "digest": digest, "size": 500 });
            if let Some(tag) = &tag {
                target["tag"] = json!(tag);
            }
            let reference = |media_type: &str, size: u64, digest: &Digest| {
                let mut reference = json!({ "mediaType": media_type, "size": size });
                reference["digest"] = json!(digest);
                reference
            };
            match number {
                7 | 8 => {
                    let manifests = if number == 7 { 1..=3 } else { 4..=5 };
                    let manifests: Vec<Digest> =
                        manifests.map(end_to_end::harness::digest).collect();
                    target["references"] =
                        manifests.iter().map(|digest| reference(OCI_IMAGE, 500, digest)).collect();
                    content.manifests = Some(manifests);
                }
                // Now and then a notification tells nothing of what is in the image.
                _ if random.below(4) > 0 => {
                    target["references"] = json!([
                        reference(OCI_CONFIGURATION, 1_000 * number, &digest),
                        reference(OCI_LAYER, number, &digest)
                    ]);
                    content.artifact_media_type = Some(OCI_CONFIGURATION.to_owned());
                    content.size_in_bytes = i64::try_from(1_001 * number).ok();
                }
                _ => {}
            }
            (notification("push", target), ChangeKind::ImagePushed { digest, tag, content })
        }
        14 | 15 => (
            notification("pull", json!({ "mediaType": media_type, "digest": digest })),
            ChangeKind::ImagePulled { digest },
        ),
        16 | 17 => (
            notification("delete", json!({ "digest": digest })),
            ChangeKind::ImageDeleted { digest },
        ),
        _ => (notification("delete", json!({ "tag": tag })), ChangeKind::TagDeleted { tag }),
    }
}

/// What the catalog should list after these changes; nothing if the repository does not exist.
fn expected(repository: &Repository, changes: &[Change]) -> Option<Vec<Value>> {
    let images = model::fold(changes)?;
    Some(images.iter().map(|image| detail(repository, image)).collect())
}

/// An image as the private service writes it, but for times, which are in milliseconds.
fn detail(repository: &Repository, image: &Image) -> Value {
    let milliseconds = |time: Timestamp| json!(time.as_milliseconds());
    let tags = (!image.image_tags.is_empty()).then(|| json!(image.image_tags));
    let scan_status = image.scan.as_ref().map(|scan| json!({ "status": scan.status }));
    let scan_summary = image.scan.as_ref().map(|scan| {
        json!({
            "imageScanCompletedAt": milliseconds(scan.completed_at),
            "findingSeverityCounts": scan.finding_severity_counts
        })
    });
    let members = [
        ("registryId", Some(json!(REGISTRY))),
        ("repositoryName", Some(json!(repository.name.as_str()))),
        ("imageDigest", Some(json!(image.image_digest))),
        ("imageTags", tags),
        ("imageSizeInBytes", image.image_size_in_bytes.map(|size| json!(size))),
        ("imagePushedAt", Some(milliseconds(image.image_pushed_at))),
        ("imageStatus", Some(json!(image.image_status.as_str()))),
        (
            "imageManifestMediaType",
            image.image_manifest_media_type.as_ref().map(|kind| json!(kind)),
        ),
        ("artifactMediaType", image.artifact_media_type.as_ref().map(|kind| json!(kind))),
        ("imageScanStatus", scan_status),
        ("imageScanFindingsSummary", scan_summary),
        ("lastRecordedPullTime", image.last_recorded_pull_time.map(milliseconds)),
        ("lastArchivedAt", image.last_archived_at.map(milliseconds)),
        ("lastActivatedAt", image.last_activated_at.map(milliseconds)),
    ];
    let present = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(present.collect())
}

/// All images of a repository with times in milliseconds; nothing if it does not exist.
async fn list(process: &Process, repository: &Repository) -> Option<Vec<Value>> {
    let request = json!({
        "repositoryName": repository.name.as_str(),
        "maxResults": 1000,
        "filter": { "imageStatus": "ANY" }
    });
    match process.describe(request).await {
        Ok(mut page) => {
            let details = page["imageDetails"].as_array_mut().unwrap();
            details.iter_mut().for_each(seconds_to_milliseconds);
            Some(details.clone())
        }
        Err(error) => {
            assert_eq!(error["__type"], "RepositoryNotFoundException", "{error}");
            None
        }
    }
}

fn seconds_to_milliseconds(detail: &mut Value) {
    for time in [
        "/imagePushedAt",
        "/lastRecordedPullTime",
        "/lastArchivedAt",
        "/lastActivatedAt",
        "/imageScanFindingsSummary/imageScanCompletedAt",
    ] {
        if let Some(time) = detail.pointer_mut(time) {
            *time = json!((time.as_f64().unwrap() * 1000.0).round() as i64);
        }
    }
}

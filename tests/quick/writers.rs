//! What each sender of events may change: every subscription and delivery, as a webhook and as a
//! message of the queue (R55).

mod queue;
mod webhooks;

use std::collections::{BTreeMap, BTreeSet};

use catalog::Service;
use catalog::table::Item;
use end_to_end::harness::{OCI_IMAGE, REGION, REGISTRY, Store, digest, time};
use registries::Source;
use serde_json::{Value, json};

/// The registry ids of the first and the second subscription. Neither is the default registry.
const FIRST: &str = "111111111111";
const SECOND: &str = "222222222222";

/// The first subscription: a name for the matrix, its prefix and its service.
struct Kind {
    name: &'static str,
    prefix: Option<&'static str>,
    service: Option<Service>,
}

const KINDS: [Kind; 4] = [
    Kind { name: "", prefix: None, service: None },
    Kind { name: "prefix", prefix: Some("team"), service: None },
    Kind { name: "public", prefix: None, service: Some(Service::EcrPublic) },
    Kind { name: "public prefix", prefix: Some("team"), service: Some(Service::EcrPublic) },
];

/// All sources, each with the kinds of subscriptions that it can have. The events of Amazon's
/// services name their service.
fn rows() -> impl Iterator<Item = (Source, &'static Kind)> {
    let kinds =
        Source::ALL.into_iter().flat_map(|source| KINDS.iter().map(move |kind| (source, kind)));
    kinds.filter(|(source, kind)| *source != Source::Ecr || kind.service.is_none())
}

/// The repository in an event. Only Amazon's events contain a registry and a service.
#[derive(Clone, Copy)]
struct Named {
    registry: &'static str,
    service: Service,
    name: &'static str,
}

const NAMED: Named = Named { registry: FIRST, service: Service::Ecr, name: "team/app" };

/// What the first subscription may be sent.
const EVENTS: [(&str, Named); 5] = [
    ("an event", NAMED),
    ("of another registry", Named { registry: SECOND, ..NAMED }),
    ("of another prefix", Named { name: "other/app", ..NAMED }),
    ("of the other service", Named { service: Service::EcrPublic, ..NAMED }),
    ("with an invalid name", Named { name: "team/../app", ..NAMED }),
];

/// The repository that an event with the first subscription changes, or `None` if it may not.
fn changed_by_first(source: Source, kind: &Kind, event: Named) -> Option<String> {
    if event.name.contains("..") {
        return None;
    }
    if source == Source::Ecr {
        let is_within = kind.prefix.is_none_or(|_| event.name.starts_with("team/"));
        return (event.registry == FIRST && is_within).then(|| own_repository(event));
    }
    let name =
        kind.prefix.map_or(event.name.to_owned(), |prefix| format!("{prefix}/{}", event.name));
    Some(repository(kind.service.unwrap_or_default(), FIRST, &name))
}

/// The same with the second subscription, which has a registry and nothing else.
fn changed_by_second(source: Source, event: Named) -> Option<String> {
    if event.name.contains("..") {
        return None;
    }
    match source {
        Source::Ecr => (event.registry == SECOND).then(|| own_repository(event)),
        _ => Some(repository(Service::Ecr, SECOND, event.name)),
    }
}

/// The repository that one of Amazon's events names.
fn own_repository(event: Named) -> String {
    repository(event.service, event.registry, event.name)
}

fn repository(service: Service, registry: &str, name: &str) -> String {
    match service {
        Service::Ecr => format!("{registry}/{name}"),
        Service::EcrPublic => format!("ecr-public/{registry}/{name}"),
    }
}

/// The subscriptions `first` and `second` of a source, and `third` of another one, each with its id
/// as its secret.
fn subscriptions(source: Source, kind: &Kind) -> Value {
    let another = if source == Source::Zot { Source::Harbor } else { Source::Zot };
    let subscription = |id: &str, source: Source, registry: &str| {
        let credential = match source {
            Source::Distribution | Source::Zot => {
                json!({ "basic": { "username": "catalog", "password": id } })
            }
            Source::Github | Source::Artifactory => json!({ "hmac": id }),
            _ => json!({ "bearer": id }),
        };
        let mut subscription = json!({
            "id": id, "source": source.as_str(), "registryId": registry, "credential": credential,
        });
        // Their events contain no digests, so that there are lookups, where nothing listens.
        if matches!(source, Source::Quay | Source::DockerHub) {
            subscription["registryUrl"] = json!("http://127.0.0.1:9");
        }
        subscription
    };
    let mut first = subscription("first", source, FIRST);
    first["repositoryPrefix"] = json!(kind.prefix);
    first["service"] = json!(kind.service.map(Service::as_str));
    json!([first, subscription("second", source, SECOND), subscription("third", another, FIRST)])
}

/// A push, of another image and at another time for each number.
fn event(source: Source, Named { registry, service, name }: Named, number: u64) -> String {
    let (digest, seconds) = (digest(number), i64::try_from(number).unwrap());
    let time = time(seconds * 1000);
    let (epoch_seconds, tag) = (time.as_milliseconds() / 1000, format!("v{number}"));
    let event = match source {
        Source::Ecr if service == Service::Ecr => json!({
            "detail-type": "ECR Image Action", "source": "aws.ecr", "account": registry,
            "region": REGION, "time": time,
            "detail": {
                "result": "SUCCESS", "action-type": "PUSH", "repository-name": name,
                "image-digest": digest, "image-tag": "latest",
            },
        }),
        Source::Ecr => json!({
            "eventSource": "ecr-public.amazonaws.com", "eventName": "CreateRepository",
            "awsRegion": "us-east-1", "eventTime": time, "recipientAccountId": registry,
            "requestParameters": { "repositoryName": name },
        }),
        Source::Distribution => json!({ "events": [{
            "timestamp": time, "action": "push",
            "target": { "mediaType": OCI_IMAGE, "digest": digest, "repository": name },
        }] }),
        Source::Harbor => json!({
            "type": "PUSH_ARTIFACT", "occur_at": epoch_seconds,
            "event_data": {
                "resources": [{ "digest": digest, "tag": "latest" }],
                "repository": { "repo_full_name": name },
            },
        }),
        Source::Quay => json!({ "repository": name, "updated_tags": [tag] }),
        Source::Github => json!({
            "action": "published",
            "registry_package": { "package_version": {
                "package_url": format!("ghcr.io/{name}:latest"),
                "container_metadata": { "manifest": { "digest": digest } },
            } },
        }),
        Source::DockerHub => json!({
            "push_data": { "pushed_at": epoch_seconds, "tag": tag },
            "repository": { "repo_name": name },
        }),
        Source::Artifactory => {
            let (repository, image) = name.split_once('/').unwrap();
            json!({
                "event_type": "pushed", "repo_key": repository, "image_name": image,
                "name": "manifest.json", "tag": "latest",
                "sha256": &digest.as_str()["sha256:".len()..],
            })
        }
        Source::Zot => json!({
            "specversion": "1.0", "type": "zotregistry.image.updated", "time": time,
            "data": {
                "name": name, "reference": "latest", "digest": digest, "mediaType": OCI_IMAGE,
            },
        }),
    };
    event.to_string()
}

/// The items of a table, by their keys.
type Items = BTreeMap<(String, String), Item>;

async fn scan(store: &Store) -> Items {
    let scan = store.table.client.scan().table_name(&store.table.name);
    let items = scan.into_paginator().items().send();
    let items = items.collect::<Result<Vec<_>, _>>().await.unwrap();
    let key = |item: &Item, name: &str| item[name].as_s().unwrap().clone();
    items.into_iter().map(|item| ((key(&item, "repository"), key(&item, "sort")), item)).collect()
}

/// The repositories that changed between two scans: their items, or lookups for them.
fn changed(before: &Items, after: &Items) -> BTreeSet<String> {
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let changed = keys.into_iter().filter(|key| before.get(*key) != after.get(*key));
    changed
        .map(|(partition, sort)| match (partition.as_str(), sort.split_once('#')) {
            ("pending", Some((repository, _))) => repository.to_owned(),
            // The description of a repository is in the partition of its registry.
            (registry, Some(("repository", name))) => format!("{registry}/{name}"),
            _ => partition.clone(),
        })
        .collect()
}

/// The line of a matrix.
fn line(source: Source, kind: &str, letters: &[char]) -> String {
    let letters: String = letters.iter().map(|letter| format!(" {letter}")).collect();
    format!("{:<27}{letters}\n", format!("{source} {kind}"))
}

/// The default registry, which counts where there are no subscriptions.
const DEFAULT: &str = REGISTRY;

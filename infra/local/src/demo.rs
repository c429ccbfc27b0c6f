//! The sample images of `--demo`: the repositories of a shop, in both services, from the events that
//! Amazon ECR, Amazon ECR Public and a CNCF distribution registry send. Their digests are the same at
//! every start. Their times are relative to it.

mod events;
mod manifest;

use catalog::{RegistryId, Service, Timestamp};
use ingest_events::Ingest;
use ingest_events::ingest::IngestError;
use ingest_events::source::Origin;
use registries::credential::Credential;
use registries::{Source, Subscription};
use serde_json::{Value, json};
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;
use url::Url;

use self::events::{Events, Repository};
use self::manifest::{AMD64, ARM64, Manifest, commit, number};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Applies the events to an empty table, without a line in the log for each of them.
pub async fn fill(ingest: &Ingest, registry: &RegistryId, region: &str) -> Result<(), IngestError> {
    let now = Timestamp::now();
    apply(ingest, registry, region, now).with_subscriber(NoSubscriber::default()).await
}

async fn apply(
    ingest: &Ingest,
    registry: &RegistryId,
    region: &str,
    now: Timestamp,
) -> Result<(), IngestError> {
    let mut events = Events {
        registry: registry.as_str().to_owned(),
        region: region.to_owned(),
        // Amazon's events have whole seconds.
        now: Timestamp::from_milliseconds(now.as_seconds() * 1000).unwrap_or(now),
        amazon: Vec::new(),
        distribution: Vec::new(),
    };
    shop_api(&mut events);
    shop_chart(&mut events);
    shop_web(&mut events);
    shop_worker(&mut events);
    tools_cli(&mut events);
    vendor_postgres(&mut events);

    let amazon = Origin::new(Source::Ecr, registry.clone(), now);
    ingest.ingest(&amazon, json!(events.amazon).to_string().as_bytes()).await?;
    let notification = json!({ "events": events.distribution }).to_string();
    ingest.ingest(&distribution(registry, now), notification.as_bytes()).await?;
    Ok(())
}

/// A registry with an address, so that its repositories have a URI.
fn distribution(registry: &RegistryId, now: Timestamp) -> Origin {
    let subscription = Subscription {
        id: "vendor".to_owned(),
        source: Source::Distribution,
        registry_id: registry.clone(),
        service: None,
        repository_prefix: None,
        credential: Credential::Bearer(String::new()),
        registry_url: Url::parse("https://registry.example.com").ok(),
        registry_hosts: Vec::new(),
        registry_credential: None,
    };
    Origin::from_subscription(subscription, now)
}

/// Releases for two platforms, with attestations; the later ones with a signature and an SBOM.
fn shop_api(events: &mut Events) {
    const API: Repository = Repository { service: Service::Ecr, name: "shop/api" };
    let releases: [(&str, &[&str], u64); 8] = [
        ("1.2.0", &["1.2", "1", "latest"], 118),
        ("1.2.1", &["1.2", "1", "latest"], 104),
        ("1.3.0", &["1.3", "1", "latest"], 76),
        ("1.3.1", &["1.3", "1", "latest"], 62),
        ("1.4.0", &["1.4", "1", "latest"], 34),
        ("1.4.1", &["1.4", "1", "latest"], 20),
        ("1.4.2", &["1.4", "1", "latest"], 6),
        ("2.0.0-rc.1", &[], 1),
    ];
    let settings = json!({
        "imageTagMutability": "MUTABLE",
        "imageScanningConfiguration": { "scanOnPush": true },
        "tags": [{ "key": "team", "value": "checkout" }],
    });
    events.create_repository(API, 120 * DAY, settings);
    for (release, (version, moved, days)) in releases.into_iter().enumerate() {
        let ago = days * DAY + 3 * HOUR;
        let build = |platform: &str| {
            let name = format!("shop/api {version} {platform}");
            let base = format!("debian 12 {platform}");
            (Manifest::image(&name, &base, 84), Manifest::attestation(&format!("{name} build")))
        };
        let [(amd64, amd64_build), (arm64, arm64_build)] = ["amd64", "arm64"].map(build);
        for (manifest, seconds) in
            [(&amd64, 50), (&arm64, 45), (&amd64_build, 40), (&arm64_build, 35)]
        {
            events.put_image(API, manifest, None, ago + seconds);
        }
        let index =
            Manifest::index(&[(&amd64, AMD64), (&arm64, ARM64)], &[&amd64_build, &arm64_build]);
        events.put_image(API, &index, Some(version), ago + 30);
        for (tag, seconds) in moved.iter().zip([20, 15, 10]) {
            events.put_image(API, &index, Some(tag), ago + seconds);
        }
        let counts = match release {
            0..3 => json!({ "CRITICAL": 1, "HIGH": 6 - release, "MEDIUM": 21, "LOW": 40 }),
            3..6 => json!({ "HIGH": 2, "MEDIUM": 12 - release, "LOW": 31 }),
            _ => json!({ "MEDIUM": 3, "LOW": 28 }),
        };
        for image in [&amd64, &arm64] {
            events.scan(API, image, ago - 2 * MINUTE, counts.clone());
        }
        if release >= 3 {
            events.put_image(API, &Manifest::signature(&index), None, ago - 3 * MINUTE);
            events.put_image(API, &Manifest::sbom(&index), None, ago - 4 * MINUTE);
        }
        if release < 2 {
            for manifest in [&index, &amd64, &arm64, &amd64_build, &arm64_build] {
                events.archive(API, manifest, 14 * DAY);
            }
        }
    }
}

/// Helm charts, with tags that cannot move.
fn shop_chart(events: &mut Events) {
    const CHART: Repository = Repository { service: Service::Ecr, name: "shop/chart" };
    events.create_repository(CHART, 95 * DAY, json!({ "imageTagMutability": "IMMUTABLE" }));
    let versions =
        ["0.5.0", "0.5.1", "0.5.2", "0.6.0", "0.6.1", "0.6.2", "0.7.0", "0.7.1", "1.0.0"];
    for (version, ago) in
        versions.into_iter().zip((0..).map(|past: u64| 92 * DAY - past * 11 * DAY))
    {
        let chart = Manifest::chart(&format!("shop/chart {version}"));
        events.put_image(CHART, &chart, Some(version), ago);
    }
}

/// An image for each commit, of which `latest` is the last, and previews, which move one tag.
fn shop_web(events: &mut Events) {
    const WEB: Repository = Repository { service: Service::Ecr, name: "shop/web" };
    const COMMITS: u64 = 34;
    let settings = json!({ "imageScanningConfiguration": { "scanOnPush": true } });
    events.create_repository(WEB, 90 * DAY, settings);
    let scan = |events: &mut Events, image: &Manifest, name: &str, ago: u64| {
        let found = number(name);
        let counts = json!({
            "HIGH": found % 3, "MEDIUM": found % 7, "LOW": found % 19, "INFORMATIONAL": found % 4,
        });
        events.scan(WEB, image, ago - MINUTE, without_zeros(counts));
    };
    for number in 0..COMMITS {
        let name = format!("shop/web {number}");
        let image = Manifest::docker_image(&name, "nginx 1.27", 19);
        let ago = (COMMITS - number) * 58 * HOUR;
        events.put_image(WEB, &image, Some(&format!("main-{}", commit(&name))), ago + 20);
        events.put_image(WEB, &image, Some("latest"), ago + 15);
        if number % 6 == 5 {
            events.put_image(WEB, &image, Some(&format!("3.8.{}", number / 6)), ago + 10);
        }
        scan(events, &image, &name, ago);
        if number < 8 {
            events.archive(WEB, &image, 21 * DAY);
        }
    }
    for number in 0..9 {
        let name = format!("shop/web preview {number}");
        let image = Manifest::docker_image(&name, "nginx 1.27", 20);
        let ago = (9 - number) * 31 * HOUR;
        events.put_image(WEB, &image, Some("preview"), ago);
        scan(events, &image, &name, ago);
    }
}

/// Images that Amazon Inspector scans. The tag `stable` went back to an earlier release.
fn shop_worker(events: &mut Events) {
    const WORKER: Repository = Repository { service: Service::Ecr, name: "shop/worker" };
    let settings = json!({
        "imageTagMutability": "IMMUTABLE_WITH_EXCLUSION",
        "imageTagMutabilityExclusionFilters": [{ "filterType": "WILDCARD", "filter": "stable" }],
    });
    events.create_repository(WORKER, 130 * DAY, settings);
    let versions = [
        "0.9.0", "0.9.1", "0.9.2", "0.9.3", "0.9.4", "0.10.0", "0.10.1", "0.10.2", "0.11.0",
        "0.11.1", "0.12.0", "0.12.1", "0.12.2", "0.13.0",
    ];
    let mut stable = None;
    for (version, ago) in
        versions.into_iter().zip((0..).map(|past: u64| 126 * DAY - past * 9 * DAY))
    {
        let name = format!("shop/worker {version}");
        let image = Manifest::image(&name, "distroless amd64", 41);
        events.put_image(WORKER, &image, Some(version), ago);
        events.put_image(WORKER, &image, Some("stable"), ago - HOUR);
        let (high, medium) = (number(&name) % 2, number(&name) % 5);
        let counts = json!({ "HIGH": high, "MEDIUM": medium, "TOTAL": high + medium });
        events.inspect(WORKER, &image, ago - 5 * MINUTE, counts);
        if ago > 90 * DAY {
            events.archive(WORKER, &image, 25 * DAY);
        }
        if version == "0.12.2" {
            stable = Some(image);
        }
    }
    if let Some(image) = stable {
        events.put_image(WORKER, &image, Some("stable"), 7 * DAY);
    }
}

/// Signed releases in Amazon ECR Public.
fn tools_cli(events: &mut Events) {
    const CLI: Repository = Repository { service: Service::EcrPublic, name: "tools/cli" };
    events.create_repository(CLI, 115 * DAY, json!({}));
    let versions = ["v0.3.0", "v0.3.1", "v0.4.0", "v0.4.1", "v0.5.0", "v0.6.0"];
    for (version, ago) in
        versions.into_iter().zip((0..).map(|past: u64| 110 * DAY - past * 19 * DAY))
    {
        let build = |platform: &str| {
            Manifest::image(&format!("tools/cli {version} {platform}"), "static", 11)
        };
        let [amd64, arm64] = ["amd64", "arm64"].map(build);
        let index = Manifest::index(&[(&amd64, AMD64), (&arm64, ARM64)], &[]);
        events.put_image(CLI, &amd64, None, ago + 40);
        events.put_image(CLI, &arm64, None, ago + 35);
        events.put_image(CLI, &index, Some(version), ago + 30);
        events.put_image(CLI, &index, Some("latest"), ago + 20);
        events.put_image(CLI, &Manifest::signature(&index), None, ago + 10);
    }
}

/// Copies of another registry's images, in a CNCF distribution registry, which reports pulls.
fn vendor_postgres(events: &mut Events) {
    const NAME: &str = "vendor/postgres";
    let copies: [(&str, &[&str], u64); 5] = [
        ("16.3", &["16"], 80),
        ("16.4", &["16"], 52),
        ("17.0", &["17", "latest"], 38),
        ("16.6", &["16"], 12),
        ("17.2", &["17", "latest"], 11),
    ];
    for (version, moved, days) in copies {
        let ago = days * DAY + HOUR;
        let build = |platform: &str| {
            Manifest::image(&format!("postgres {version} {platform}"), "debian 12", 118)
        };
        let [amd64, arm64] = ["amd64", "arm64"].map(build);
        let index = Manifest::index(&[(&amd64, AMD64), (&arm64, ARM64)], &[]);
        events.notify("push", NAME, &amd64, None, ago + 40);
        events.notify("push", NAME, &arm64, None, ago + 35);
        events.notify("push", NAME, &index, Some(version), ago + 30);
        for (tag, seconds) in moved.iter().zip([20, 15]) {
            events.notify("push", NAME, &index, Some(tag), ago + seconds);
        }
        if days < 40 {
            events.notify("pull", NAME, &index, Some(version), days * HOUR);
            events.notify("pull", NAME, &amd64, None, days * HOUR);
        }
    }
}

/// The counts of a scan, without the severities of which it found nothing.
fn without_zeros(mut counts: Value) -> Value {
    if let Some(counts) = counts.as_object_mut() {
        counts.retain(|_, count| *count != json!(0));
    }
    counts
}

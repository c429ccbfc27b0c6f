//! Drift of scans between Amazon ECR and the catalog.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use catalog::image::{FindingsSummary, Scan};
use catalog::{Change, ChangeKind, RegistryId, Service, Timestamp};
use end_to_end::harness::{
    InProcess, REGISTRY, Store, configuration, digest, json_response, repository, time,
};
use reconcile::{Reconcile, ReconcileJob, Repaired};
use registries::{EcrClient, Registries, RegistryTarget, Subscriptions};
use secret::Secret;
use serde_json::{Value, json};

use super::listed;

/// A catalog, and an Amazon ECR whose repository `app` has these images in this minute of 2026.
struct Setup {
    store: Store,
    reconcile: Reconcile,
    images: Arc<Mutex<Vec<Value>>>,
    minute: Arc<AtomicU32>,
}

impl Setup {
    async fn new() -> Self {
        let store = Store::in_memory().await;
        let images: Arc<Mutex<Vec<Value>>> = Arc::default();
        let minute = Arc::new(AtomicU32::new(10));
        let (described, clock) = (Arc::clone(&images), Arc::clone(&minute));
        let ecr = EcrClient::new(&configuration(InProcess(move |_| {
            let body = json!({ "imageDetails": *described.lock().unwrap() });
            let mut response = json_response(200, &body);
            let minute = clock.load(Ordering::Relaxed);
            let date = format!("Thu, 01 Jan 2026 00:{minute}:00 GMT");
            response.headers_mut().insert("date", date);
            async move { Ok(response) }
        })));
        let subscriptions = Arc::new(Secret::known(Subscriptions::default()));
        let reconcile = Reconcile {
            reader: store.reader.clone(),
            writer: store.writer.clone(),
            registries: Registries::new(subscriptions, Some(ecr)),
            max_tags: usize::MAX,
        };
        Self { store, reconcile, images, minute }
    }

    /// A minute later, Amazon ECR has images, pushed at the beginning of the year, each with these
    /// members.
    fn has(&self, members: &[Value]) {
        let image = |(number, members): (u64, &Value)| {
            let mut image = json!({
                "imageDigest": digest(number),
                "imagePushedAt": 1_767_225_600,
                "imageStatus": "ACTIVE",
            });
            image.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
            image
        };
        self.minute.fetch_add(1, Ordering::Relaxed);
        *self.images.lock().unwrap() = (1..).zip(members).map(image).collect();
    }

    /// The kinds of the changes, and their results.
    async fn reconcile(&self) -> (Vec<Change>, Repaired) {
        let account = RegistryId::parse(REGISTRY).unwrap();
        let target = RegistryTarget::from_account(Service::Ecr, account);
        let job = ReconcileJob { name: "app".to_owned(), prune: false, after: None };
        let drift = self.reconcile.find_drift(&target, &job).await.unwrap();
        let repaired = self.reconcile.repair(&drift, None).await.unwrap();
        (drift.changes, repaired)
    }

    async fn scans(&self) -> Vec<Option<Scan>> {
        let images = listed(&self.store, &repository("app")).await.unwrap();
        images.into_iter().map(|image| image.scan).collect()
    }

    async fn scanned(&self, at: Timestamp, scan: Scan) {
        let kind = ChangeKind::ImageScanned { digest: digest(1), scan };
        let change = Change { repository: repository("app"), time: at, kind };
        self.store.writer.apply(&change).await.unwrap();
    }
}

fn complete() -> Value {
    json!({
        "imageScanStatus": { "status": "COMPLETE", "description": "The scan was completed." },
        "imageScanFindingsSummary": {
            "imageScanCompletedAt": 1_767_225_601.25,
            "vulnerabilitySourceUpdatedAt": 1_767_225_600.5,
            "findingSeverityCounts": { "HIGH": 2 },
        },
    })
}

#[tokio::test]
async fn r60_what_ecr_states_of_scans_is_taken_over() {
    let setup = Setup::new().await;
    setup.has(&[
        complete(),
        json!({ "imageScanStatus": { "status": "PENDING" } }),
        json!({ "imageScanStatus": {
            "status": "FAILED", "description": "UnsupportedImageError: no packages",
        } }),
        json!({
            "imageScanStatus": {
                "status": "ACTIVE", "description": "Continuous scan is selected for image.",
            },
            "imageScanFindingsSummary": { "findingSeverityCounts": {} },
        }),
        json!({}),
    ]);
    let (changes, repaired) = setup.reconcile().await;
    assert_eq!(repaired.repaired, changes.len(), "{repaired:?}");
    let expected = [
        Some(Scan {
            status: Some("COMPLETE".to_owned()),
            description: Some("The scan was completed.".to_owned()),
            findings: Some(FindingsSummary {
                completed_at: Some(time(1250)),
                vulnerability_source_updated_at: Some(time(500)),
                finding_severity_counts: Some([("HIGH".to_owned(), 2)].into()),
            }),
        }),
        Some(Scan::with_status("PENDING")),
        Some(Scan {
            description: Some("UnsupportedImageError: no packages".to_owned()),
            ..Scan::with_status("FAILED")
        }),
        Some(Scan {
            description: Some("Continuous scan is selected for image.".to_owned()),
            findings: Some(FindingsSummary {
                finding_severity_counts: Some([].into()),
                ..FindingsSummary::default()
            }),
            ..Scan::with_status("ACTIVE")
        }),
        None,
    ];
    assert_eq!(setup.scans().await, expected);
    let (changes, _) = setup.reconcile().await;
    assert_eq!(changes, [], "there is no drift any longer");
}

#[tokio::test]
async fn r60_a_scan_that_ecr_no_longer_has_goes_away() {
    let setup = Setup::new().await;
    setup.has(&[complete()]);
    setup.reconcile().await;
    setup.has(&[json!({})]);
    let (changes, repaired) = setup.reconcile().await;
    assert_eq!((changes.len(), repaired.repaired), (1, 1), "{changes:#?}");
    assert_eq!(setup.scans().await, [None]);
    assert_eq!(setup.reconcile().await.0, [], "there is no drift any longer");
}

/// The push was lost, but not the event of a scan, which Amazon ECR no longer has.
#[tokio::test]
async fn r60_a_scan_of_an_image_that_was_lost_goes_away() {
    let setup = Setup::new().await;
    setup.scanned(time(1000), Scan::with_status("FAILED")).await;
    setup.has(&[json!({})]);
    let (_, repaired) = setup.reconcile().await;
    assert!(repaired.failed.is_empty(), "{repaired:?}");
    assert_eq!(setup.scans().await, [None]);
    assert_eq!(setup.reconcile().await.0, [], "there is no drift any longer");
}

/// Events have whole seconds, and not all members. So Amazon ECR's own statement replaces an
/// earlier event's. The observation is of a minute before the response.
#[tokio::test]
async fn r60_of_an_event_and_an_observation_the_later_one_counts() {
    let setup = Setup::new().await;
    setup.has(&[complete()]);
    setup.reconcile().await;
    // The event of that scan comes late, and changes nothing.
    let event = Scan::complete(time(1000), Some([("HIGH".to_owned(), 2)].into()));
    setup.scanned(time(1000), event).await;
    assert_eq!(setup.reconcile().await.0, []);
    // A scan after the observation, of which the response may not know yet.
    let newer = Scan::with_status("IN_PROGRESS");
    setup.scanned(time(10 * 60_000 + 1), newer.clone()).await;
    let (changes, repaired) = setup.reconcile().await;
    assert_eq!((changes.len(), repaired.superseded), (1, 1), "{repaired:?}");
    assert_eq!(setup.scans().await, [Some(newer)]);
}

//! DescribeRepositories of both services.

use std::collections::BTreeSet;

use catalog::{ChangeKind, RepositoryStatement};
use end_to_end::harness::{digest, print, repository, time};
use serde_json::{Value, json};

use super::{INVALID_TOKEN, PRIVATE_NAME, PUBLIC_NAME, Reply, Wire, at};

const DESCRIBE_REPOSITORIES: &str = "AmazonEC2ContainerRegistry_V20150921.DescribeRepositories";
const PUBLIC: &str = "SpencerFrontendService.DescribeRepositories";
const OTHER_REGISTRY: &str = "210987654321";

async fn describe(wire: &Wire, body: Value) -> Reply {
    wire.post(DESCRIBE_REPOSITORIES, body.to_string()).await
}

#[track_caller]
fn names(reply: &Reply) -> Vec<String> {
    assert_eq!(reply.status, 200, "{reply:?}");
    let repositories = reply.json["repositories"].as_array().unwrap();
    let name = |repository: &Value| repository["repositoryName"].as_str().unwrap().to_owned();
    repositories.iter().map(name).collect()
}

/// A record of a call of Amazon ECR.
fn record(call: &str, time: &str, request: &Value, response: &Value) -> String {
    json!({
        "eventTime": time,
        "eventSource": "ecr.amazonaws.com",
        "eventName": call,
        "awsRegion": "us-east-1",
        "requestParameters": request,
        "responseElements": response,
        "recipientAccountId": "123456789012",
    })
    .to_string()
}

#[tokio::test]
async fn r62_a_created_repository_has_what_the_call_and_later_ones_state() {
    let wire = Wire::start().await;
    let created = json!({ "repository": {
        "repositoryArn": "arn:aws:ecr:us-east-1:123456789012:repository/team/app",
        "registryId": "123456789012",
        "repositoryName": "team/app",
        "repositoryUri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/team/app",
        "createdAt": "Nov 22, 2026 10:00:00 AM",
        "imageTagMutability": "IMMUTABLE",
        "imageScanningConfiguration": { "scanOnPush": true },
        "encryptionConfiguration": { "encryptionType": "KMS", "kmsKey": "arn:aws:kms:us-east-1:123456789012:key/1" },
    }});
    let request = json!({ "repositoryName": "team/app" });
    let event = record("CreateRepository", "2026-11-22T10:00:00Z", &request, &created);
    wire.ingest("/events/ecr", event).await;
    let reply = describe(&wire, json!({ "repositoryNames": ["team/app"] })).await;
    assert_eq!(
        reply.body,
        r#"{"repositories":[{"repositoryArn":"arn:aws:ecr:us-east-1:123456789012:repository/team/app","registryId":"123456789012","repositoryName":"team/app","repositoryUri":"123456789012.dkr.ecr.us-east-1.amazonaws.com/team/app","createdAt":1795341600,"imageTagMutability":"IMMUTABLE","imageScanningConfiguration":{"scanOnPush":true},"encryptionConfiguration":{"encryptionType":"KMS","kmsKey":"arn:aws:kms:us-east-1:123456789012:key/1"}}]}"#
    );

    let filters = json!([{ "filterType": "WILDCARD", "filter": "latest" }]);
    let request = json!({
        "repositoryName": "team/app", "imageTagMutability": "IMMUTABLE_WITH_EXCLUSION",
        "imageTagMutabilityExclusionFilters": filters,
    });
    let event = record("PutImageTagMutability", "2026-11-22T11:00:00Z", &request, &request);
    wire.ingest("/events/ecr", event).await;
    let request = json!({
        "repositoryName": "team/app", "imageScanningConfiguration": { "scanOnPush": false },
    });
    let later = record("PutImageScanningConfiguration", "2026-11-22T12:00:00Z", &request, &request);
    let request = json!({
        "repositoryName": "team/app", "imageScanningConfiguration": { "scanOnPush": true },
    });
    let late = record("PutImageScanningConfiguration", "2026-11-22T11:30:00Z", &request, &request);
    wire.ingest("/events/ecr", later).await;
    wire.ingest("/events/ecr", late).await;
    let reply = describe(&wire, json!({})).await;
    assert_eq!(
        reply.body,
        r#"{"repositories":[{"repositoryArn":"arn:aws:ecr:us-east-1:123456789012:repository/team/app","registryId":"123456789012","repositoryName":"team/app","repositoryUri":"123456789012.dkr.ecr.us-east-1.amazonaws.com/team/app","createdAt":1795341600,"imageTagMutability":"IMMUTABLE_WITH_EXCLUSION","imageTagMutabilityExclusionFilters":[{"filterType":"WILDCARD","filter":"latest"}],"imageScanningConfiguration":{"scanOnPush":false},"encryptionConfiguration":{"encryptionType":"KMS","kmsKey":"arn:aws:kms:us-east-1:123456789012:key/1"}}]}"#
    );
}

#[tokio::test]
async fn r62_what_is_not_stated_is_the_default_of_the_service_or_absent() {
    let wire = Wire::start().await;
    wire.push("app", at("2026-11-22T10:00:00.5Z"), 1, None).await;
    wire.push("app", at("2026-11-22T09:00:00Z"), 2, None).await;
    wire.push("app", at("2026-11-22T11:00:00Z"), 3, None).await;
    let reply = describe(&wire, json!({})).await;
    assert_eq!(
        reply.body,
        r#"{"repositories":[{"repositoryArn":"arn:aws:ecr:us-east-1:123456789012:repository/app","registryId":"123456789012","repositoryName":"app","createdAt":1795338000,"imageTagMutability":"MUTABLE","imageScanningConfiguration":{"scanOnPush":false},"encryptionConfiguration":{"encryptionType":"AES256"}}]}"#
    );
    let reply = wire.post(PUBLIC, "{}").await;
    assert_eq!(
        reply.body,
        r#"{"repositories":[{"repositoryArn":"arn:aws:ecr-public::123456789012:repository/app","registryId":"123456789012","repositoryName":"app","createdAt":1795338000}]}"#
    );
}

/// Of one that is deleted and created again, nothing is left of before.
#[tokio::test]
async fn r62_a_deleted_repository_does_not_exist_and_a_new_one_begins_anew() {
    let wire = Wire::start().await;
    let state = async |at: i64, uri: &str| {
        let statement = RepositoryStatement {
            created_at: Some(time(at)),
            uri: Some(uri.to_owned()),
            scan_on_push: Some(uri == "first"),
            ..RepositoryStatement::default()
        };
        wire.apply(&repository("app"), time(at), ChangeKind::RepositoryStated(statement)).await;
    };
    state(1_000, "first").await;
    wire.apply(&repository("app"), time(2_000), ChangeKind::RepositoryDeleted).await;
    assert_eq!(names(&describe(&wire, json!({})).await), [""; 0]);
    let missing = describe(&wire, json!({ "repositoryNames": ["app"] })).await;
    missing.assert_no_repository("app", "123456789012");

    wire.push("app", time(4_000), 1, None).await;
    let reply = describe(&wire, json!({})).await;
    let known = &reply.json["repositories"][0];
    let created_at = time(4_000).as_milliseconds() / 1000;
    assert_eq!((&known["createdAt"], known.get("repositoryUri")), (&json!(created_at), None));
    assert_eq!(known["imageScanningConfiguration"], json!({ "scanOnPush": false }));

    state(3_000, "second").await;
    state(1_500, "late").await;
    let reply = describe(&wire, json!({})).await;
    let known = &reply.json["repositories"][0];
    let created_at = time(3_000).as_milliseconds() / 1000;
    assert_eq!(
        (&known["createdAt"], &known["repositoryUri"]),
        (&json!(created_at), &json!("second"))
    );
}

/// The deletion arrives last. An image was deleted, too, and pushed again since.
#[tokio::test]
async fn r48_r62_a_late_deletion_does_not_hide_a_repository_that_is_there() {
    let wire = Wire::start().await;
    let push = async |at: i64, number: u64| wire.push("app", time(at), number, None).await;
    push(5_000, 2).await;
    push(12_000, 1).await;
    let deleted = ChangeKind::ImageDeleted { digest: digest(1) };
    wire.apply(&repository("app"), time(15_000), deleted).await;
    push(20_000, 1).await;
    wire.apply(&repository("app"), time(10_000), ChangeKind::RepositoryDeleted).await;
    let reply = describe(&wire, json!({ "repositoryNames": ["app"] })).await;
    let created_at = time(20_000).as_milliseconds() / 1000;
    assert_eq!(reply.json["repositories"][0]["createdAt"], created_at);
}

/// An event of an image shows where the repository is, and not that it exists.
#[tokio::test]
async fn r48_r62_a_deletion_is_no_evidence_of_a_repository() {
    let wire = Wire::start().await;
    let event = json!({
        "version": "0", "detail-type": "ECR Image Action", "source": "aws.ecr",
        "account": "123456789012", "time": "2026-11-22T00:00:50Z", "region": "us-east-1",
        "detail": {
            "action-type": "DELETE", "result": "SUCCESS", "repository-name": "app",
            "image-digest": format!("sha256:{:064x}", 1), "image-tag": "v1",
        },
    });
    wire.ingest("/events/ecr", event.to_string()).await;
    let request = json!({ "repositoryName": "app" });
    let deleted = record("DeleteRepository", "2026-11-22T00:00:40Z", &request, &json!(null));
    wire.ingest("/events/ecr", deleted).await;
    let missing = describe(&wire, json!({ "repositoryNames": ["app"] })).await;
    missing.assert_no_repository("app", "123456789012");
}

/// CloudTrail tells whole seconds.
#[tokio::test]
async fn r62_a_call_of_the_same_second_comes_after_the_creation() {
    let created = json!({ "repositoryName": "app", "imageTagMutability": "MUTABLE" });
    let put = json!({ "repositoryName": "app", "imageTagMutability": "IMMUTABLE" });
    let events = [("CreateRepository", created), ("PutImageTagMutability", put)]
        .map(|(call, request)| record(call, "2026-11-22T10:00:00Z", &request, &json!(null)));
    for order in [[0, 1], [1, 0]] {
        let wire = Wire::start().await;
        for number in order {
            wire.ingest("/events/ecr", events[number].clone()).await;
        }
        let reply = describe(&wire, json!({})).await;
        assert_eq!(reply.json["repositories"][0]["imageTagMutability"], "IMMUTABLE");
    }
}

#[tokio::test]
async fn r62_repositories_are_in_the_order_of_their_names_page_by_page() {
    let wire = Wire::start().await;
    let all =
        ["aa", "aa-b", "aa.b", "aa/b", "aa/b-c", "aa/b/c", "aa0", "aa_b", "aab", "team/app", "z0"];
    for name in all.iter().rev() {
        wire.create(name).await;
    }
    assert!(all.is_sorted());
    assert_eq!(names(&describe(&wire, json!({})).await), all);
    for target in [DESCRIBE_REPOSITORIES, PUBLIC] {
        for size in 1..=all.len() + 1 {
            let (mut request, mut listed) = (json!({ "maxResults": size }), Vec::new());
            loop {
                let page = wire.post(target, request.to_string()).await;
                listed.extend(names(&page));
                let is_last = listed.len() == all.len();
                assert!(names(&page).len() == size || is_last, "{page:?}");
                assert_eq!(page.next_token().is_none(), is_last, "{page:?}");
                match page.next_token() {
                    Some(token) => request["nextToken"] = json!(token),
                    None => break,
                }
            }
            assert_eq!(listed, all);
        }
    }
}

/// A listing returns each repository that is there all the time exactly once.
#[tokio::test]
async fn r62_repositories_come_and_go_while_they_are_listed() {
    let wire = Wire::start().await;
    for name in ["aa", "bb", "cc", "dd"] {
        wire.create(name).await;
    }
    let first = describe(&wire, json!({ "maxResults": 2 })).await;
    assert_eq!(names(&first), ["aa", "bb"]);
    wire.apply(&repository("bb"), time(1), ChangeKind::RepositoryDeleted).await;
    wire.apply(&repository("cc"), time(1), ChangeKind::RepositoryDeleted).await;
    wire.create("ab").await;
    wire.create("bc").await;
    let rest = describe(&wire, json!({ "nextToken": first.next_token() })).await;
    assert_eq!((names(&rest), rest.next_token()), (vec!["bc".into(), "dd".into()], None));
}

#[tokio::test]
async fn r62_repositories_by_name_come_in_the_order_of_the_request_once() {
    let wire = Wire::start().await;
    for name in ["aa", "bb", "cc"] {
        wire.create(name).await;
    }
    let request = json!({ "repositoryNames": ["cc", "aa", "cc"], "registryId": "123456789012" });
    let reply = describe(&wire, request).await;
    assert_eq!((names(&reply), reply.next_token()), (vec!["cc".into(), "aa".into()], None));
    let missing = describe(&wire, json!({ "repositoryNames": ["aa", "no", "none"] })).await;
    missing.assert_no_repository("no", "123456789012");
    let request = json!({ "repositoryNames": ["aa"], "registryId": OTHER_REGISTRY });
    describe(&wire, request).await.assert_no_repository("aa", OTHER_REGISTRY);
    assert_eq!(names(&describe(&wire, json!({ "registryId": OTHER_REGISTRY })).await), [""; 0]);
}

#[tokio::test]
async fn r62_a_token_belongs_to_the_operation_the_service_and_the_registry() {
    let wire = Wire::start().await;
    for name in ["aa", "bb"] {
        wire.create(name).await;
    }
    let first = describe(&wire, json!({ "maxResults": 1 })).await;
    let token = json!({ "nextToken": first.next_token(), "repositoryName": "aa" });
    wire.post(PUBLIC, token.to_string()).await.assert_invalid(INVALID_TOKEN);
    wire.ecr(token.clone()).await.assert_invalid(INVALID_TOKEN);
    let mut other = token.clone();
    other["registryId"] = json!(OTHER_REGISTRY);
    describe(&wire, other).await.assert_invalid(INVALID_TOKEN);
    assert_eq!(names(&describe(&wire, token).await), ["bb"]);
    wire.push("aa", time(0), 1, None).await;
    wire.push("aa", time(0), 2, None).await;
    let images = wire.ecr(json!({ "repositoryName": "aa", "maxResults": 1 })).await;
    let token = json!({ "nextToken": images.next_token() });
    describe(&wire, token).await.assert_invalid(INVALID_TOKEN);
    for token in ["", "x"] {
        describe(&wire, json!({ "nextToken": token })).await.assert_invalid(INVALID_TOKEN);
    }
}

#[tokio::test]
async fn r62_a_request_is_validated() {
    let wire = Wire::start().await;
    let violates = async |body: Value, member: &str, constraint: &str| {
        describe(&wire, body).await.assert_violates(member, constraint);
    };
    let too_short = "'Member must have length greater than or equal to 1'";
    violates(json!({ "repositoryNames": [] }), "repositoryNames", too_short).await;
    let hundred_and_one: Vec<String> = (0..101).map(|number| format!("app-{number}")).collect();
    let too_long = "'Member must have length less than or equal to 100'";
    violates(json!({ "repositoryNames": hundred_and_one }), "repositoryNames", too_long).await;
    violates(json!({ "repositoryNames": ["aa", "A!"] }), "repositoryNames", PRIVATE_NAME).await;
    violates(json!({ "repositoryNames": [null] }), "repositoryNames", "'must not be null'").await;
    let registry = "'must satisfy regular expression [0-9]{12}'";
    violates(json!({ "registryId": "1" }), "registryId", registry).await;
    let too_small = "'Member must have value greater than or equal to 1'";
    violates(json!({ "maxResults": 0 }), "maxResults", too_small).await;
    let too_large = "'Member must have value less than or equal to 1000'";
    violates(json!({ "maxResults": 1001 }), "maxResults", too_large).await;
    let excluded = "'must not be specified when repositoryNames is specified'";
    for (member, value) in [("maxResults", json!(1)), ("nextToken", json!("x"))] {
        let body = json!({ "repositoryNames": ["aa"], member: value });
        violates(body, member, excluded).await;
    }
    let reply = wire.post(PUBLIC, r#"{"repositoryNames":["a__b"]}"#).await;
    reply.assert_violates("repositoryNames", PUBLIC_NAME);
    for (body, message) in [
        (json!({ "repositoryNames": "aa" }), "STRING_VALUE can not be converted to a List"),
        (json!({ "repositoryNames": [5] }), "NUMBER_VALUE can not be converted to a String"),
        (json!({ "maxResults": "5" }), "STRING_VALUE can not be converted to an Integer"),
    ] {
        describe(&wire, body).await.assert_serialization(message);
    }
}

/// The repositories of other products have their own host and name.
#[tokio::test]
async fn r62_the_uri_is_what_docker_pulls() {
    let wire = Wire::start().await;
    let uri = async |name: &str| {
        let reply = describe(&wire, json!({ "repositoryNames": [name] })).await;
        reply.json["repositories"][0]["repositoryUri"].as_str().map(str::to_owned)
    };
    let event = json!({
        "version": "0", "detail-type": "ECR Image Action", "source": "aws.ecr",
        "account": "123456789012", "time": "2026-11-22T00:00:00Z", "region": "us-east-1",
        "detail": {
            "action-type": "PUSH", "result": "SUCCESS", "repository-name": "of-ecr",
            "image-digest": format!("sha256:{:064x}", 1), "image-tag": "v1",
        },
    });
    wire.ingest("/events/ecr", event.to_string()).await;
    let expected = "123456789012.dkr.ecr.us-east-1.amazonaws.com/of-ecr";
    assert_eq!(uri("of-ecr").await.as_deref(), Some(expected));
    let distribution = json!({ "events": [{
        "id": "1", "timestamp": "2026-11-22T00:00:00Z", "action": "push",
        "target": {
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "tag": "v1",
            "repository": "of-nowhere", "digest": format!("sha256:{:064x}", 1),
        },
    }]});
    wire.ingest("/events/distribution", distribution.to_string()).await;
    assert_eq!(uri("of-nowhere").await, None);
}

/// Units do not depend on the number of repositories.
#[tokio::test]
async fn r62_a_page_costs_what_it_weighs() {
    let mut costs = BTreeSet::new();
    for repositories in [40, 1000] {
        let wire = Wire::start().await;
        for number in 0..repositories {
            wire.create(&format!("app-{number:05}")).await;
        }
        let registry = &repository("any").registry;
        let store = wire.store();
        let service = catalog::Service::Ecr;
        let page = store.reader.list_repositories(service, registry, None, 20).await.unwrap();
        let (last, _) = page.repositories.last_key_value().unwrap();
        let next = store.reader.list_repositories(service, registry, Some(last), 20).await.unwrap();
        assert_eq!((page.repositories.len(), next.repositories.len()), (20, 20));
        costs.extend([page.consumed_capacity, next.consumed_capacity].map(f64::to_bits));
    }
    let costs: Vec<f64> = costs.into_iter().map(f64::from_bits).collect();
    print(format!("a page of 20 repositories: {costs:?} read units"));
    assert_eq!(costs.len(), 1, "{costs:?}");
}

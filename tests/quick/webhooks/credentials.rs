//! Authentication of senders of webhooks.

use aws_lc_rs::hmac;
use catalog::RegistryId;
use end_to_end::harness::{Catalog, REGION, Store, digest, sample};
use serde_json::{Value, json};

use super::{REGISTRY, SOURCES, catalog, images, report, send};

#[tokio::test]
async fn without_a_credential_a_webhook_is_refused_and_nothing_is_applied() {
    let catalog = catalog().await;
    let unauthorized =
        (401, json!({ "message": "the credential of a subscription must be shown" }));
    for source in SOURCES {
        let url = format!("{}/events/{source}", catalog.url);
        let right = format!("Bearer token of {source}");
        let other = SOURCES.iter().find(|other| **other != source).unwrap();
        for (url, headers) in [
            (url.clone(), vec![]),
            (url.clone(), vec![("authorization", "Bearer ")]),
            (url.clone(), vec![("authorization", "")]),
            (url.clone(), vec![("authorization", "Bearer token of nobody")]),
            (url.clone(), vec![("authorization", "Basic dG9rZW46b2Y=")]),
            (url.clone(), vec![("x-jfrog-event-auth", "Bearer")]),
            (url.clone(), vec![("x-hub-signature-256", "sha256=00")]),
            (format!("{url}?token=wrong"), vec![]),
            (format!("{url}?token="), vec![]),
            // A valid token, but of another subscription.
            (format!("{url}?subscription={other}-1"), vec![("authorization", right.as_str())]),
            (format!("{url}?subscription=none"), vec![("authorization", right.as_str())]),
        ] {
            assert_eq!(send(&url, &headers, "{}").await, unauthorized, "{url} {headers:?}");
        }
    }
    let everything =
        catalog.store.table.client.scan().table_name(&catalog.store.table.name).send().await;
    assert_eq!(everything.unwrap().count, 1, "nothing but the number of the format");
    // The response does not reveal which sources have a subscription.
    let (status, response) =
        send(&format!("{}/events/carrier-pigeon", catalog.url), &[], "{}").await;
    assert_eq!(
        (status, response),
        (404, json!({ "message": "there is no source 'carrier-pigeon'" }))
    );
}

#[tokio::test]
async fn the_token_of_a_sender_without_headers_is_in_the_address() {
    let catalog = catalog().await;
    for (source, body) in
        [("quay", sample("quay/repo-push.json")), ("docker-hub", sample("docker-hub/push.json"))]
    {
        let url = format!("{}/events/{source}?token=token%20of%20{source}", catalog.url);
        assert_eq!(send(&url, &[], body).await, (200, report(1, 0)));
    }
    // Other products can send headers, and have to.
    let url = format!("{}/events/harbor?token=token%20of%20harbor", catalog.url);
    assert_eq!(send(&url, &[], sample("harbor/push-artifact.json")).await.0, 401);
}

pub(crate) fn signature(key: &str, body: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), body.as_bytes());
    tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn signatures_and_passwords_and_prefixes() {
    let subscriptions = json!([
        {
            "id": "github", "source": "github", "registryId": REGISTRY, "repositoryPrefix": "ghcr",
            "credential": { "hmac": "It's a Secret to Everybody" }
        },
        {
            "id": "artifactory", "source": "artifactory", "registryId": REGISTRY,
            "credential": { "hmac": "key" }
        },
        {
            "id": "harbor", "source": "harbor", "registryId": "000000000001",
            "credential": { "basic": { "username": "harbor", "password": "pass:word" } }
        },
        {
            "id": "harbor-2", "source": "harbor", "registryId": REGISTRY,
            "credential": { "basic": { "username": "harbor", "password": "another" } }
        },
    ]);
    let catalog = Catalog::start_subscribed(Store::in_memory().await, &subscriptions).await;

    // The example of GitHub's documentation.
    let body = "Hello, World!";
    let documented = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    assert_eq!(signature("It's a Secret to Everybody", body), documented);
    let body = sample("github-packages/package-published-docker.json");
    let url = format!("{}/events/github", catalog.url);
    let right = format!("sha256={}", signature("It's a Secret to Everybody", &body));
    assert_eq!(
        send(&url, &[("x-hub-signature-256", &right)], body.clone()).await,
        (200, report(1, 0))
    );
    assert_eq!(images(&catalog, "ghcr/codertocat/hello-world").await.as_array().unwrap().len(), 1);
    for wrong in [
        format!("sha256={}", signature("another key", &body)),
        format!("sha256={}", signature("It's a Secret to Everybody", &format!("{body} "))),
        "sha256=".to_owned(),
        right[..right.len() - 2].to_owned(),
        "sha256=zz".to_owned(),
    ] {
        assert_eq!(
            send(&url, &[("x-hub-signature-256", &wrong)], body.clone()).await.0,
            401,
            "{wrong}"
        );
    }
    assert_eq!(send(&url, &[("x-hub-signature", &right)], body).await.0, 401, "the old header");

    let body = sample("jfrog-artifactory/docker-pushed.json");
    let url = format!("{}/events/artifactory", catalog.url);
    let right = signature("key", &body);
    assert_eq!(send(&url, &[("x-jfrog-event-auth", "key")], body.clone()).await.0, 401);
    assert_eq!(send(&url, &[("x-jfrog-event-auth", &right)], body).await, (200, report(1, 0)));

    // The signature is not of the headers, from which a CloudEvent could be made.
    let body = sample("jfrog-artifactory/docker-pushed.json");
    let headers = [
        ("x-jfrog-event-auth", right.as_str()),
        ("ce-specversion", "1.0"),
        ("ce-domain", "docker"),
        ("ce-event_type", "deleted"),
    ];
    assert_eq!(send(&url, &headers, body).await, (200, report(1, 0)));
    let listed = images(&catalog, "docker-remote-cache/library/ubuntu").await;
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");

    // Two subscriptions of one source: the credential identifies them.
    let body = sample("harbor/push-artifact.json");
    let url = format!("{}/events/harbor", catalog.url);
    let basic = |pair: &str| format!("Basic {}", aws_smithy_types::base64::encode(pair));
    assert_eq!(
        send(&url, &[("authorization", &basic("harbor:another"))], body.clone()).await.0,
        200
    );
    assert_eq!(images(&catalog, "harbor/alpine").await.as_array().unwrap().len(), 1);
    assert_eq!(
        send(&url, &[("authorization", &basic("harbor:pass:word"))], body.clone()).await.0,
        200
    );
    assert_eq!(send(&url, &[("authorization", &basic("harbor:wrong"))], body).await.0, 401);
    let first = json!({ "registryId": "000000000001", "repositoryName": "harbor/alpine" });
    let target = ("x-amz-target", "AmazonEC2ContainerRegistry_V20150921.DescribeImages");
    let (status, _) = send(&catalog.url, &[target], first.to_string()).await;
    assert_eq!(status, 200);
}

#[test]
fn an_invalid_list_of_subscriptions_names_its_error() {
    let right = json!({
        "id": "a", "source": "harbor", "registryId": REGISTRY, "credential": { "bearer": "token" },
    });
    let with = |name: &str, value: Value| {
        let mut subscription = right.clone();
        subscription[name] = value;
        json!([subscription])
    };
    for (list, expected) in [
        (json!([right, right]), "the subscription 'a': an earlier subscription has the same id"),
        (with("id", json!("a b")), "1 to 64 letters"),
        (with("id", json!("ecr")), "'ecr' stands for the account's own registry of that service"),
        (with("source", json!("carrier-pigeon")), "unknown variant `carrier-pigeon`"),
        (with("registryId", json!("1")), "must have length greater than or equal to 12"),
        (with("credential", json!({ "bearer": "" })), "its credential is empty"),
        (with("credential", json!({ "hmac": "key" })), "harbor does not sign its events"),
        (with("repositoryPrefix", json!("Upper")), "no repository can begin with 'Upper/'"),
        (with("registryUrl", json!("ftp://host")), "is not an http or https URL"),
        (with("registryUrl", json!("https://host/path")), "must have no path"),
        (with("registryUrl", json!("https://host?query")), "must have no path"),
        (with("registryurl", json!("https://host")), "unknown field `registryurl`"),
        (json!({}), "invalid type"),
    ] {
        let error = registries::Subscriptions::parse(&list.to_string()).unwrap_err().to_string();
        assert!(error.contains(expected), "{list}: {error}");
    }
    let parsed = registries::Subscriptions::parse(&json!([right]).to_string()).unwrap();
    assert_eq!(parsed.get("a").unwrap().registry_id, RegistryId::parse(REGISTRY).unwrap());
    assert!(!format!("{parsed:?}").contains("token"), "no secret is ever printed");
    let with_slash = with("registryUrl", json!("https://host:5000/")).to_string();
    registries::Subscriptions::parse(&with_slash).unwrap();
}

#[tokio::test]
async fn an_event_changes_only_the_repositories_of_its_subscription() {
    let subscriptions = json!([{
        "id": "team",
        "source": "ecr",
        "registryId": REGISTRY,
        "repositoryPrefix": "team",
        "credential": { "bearer": "token" },
    }]);
    let catalog = Catalog::start_subscribed(Store::in_memory().await, &subscriptions).await;
    let url = format!("{}/events/ecr", catalog.url);
    let deliver = async |action: &str, account: &str, repository: &str| {
        let event = json!({
            "detail-type": "ECR Image Action",
            "source": "aws.ecr",
            "account": account,
            "region": REGION,
            "time": "2026-01-01T00:00:00Z",
            "detail": {
                "result": "SUCCESS",
                "action-type": action,
                "repository-name": repository,
                "image-digest": digest(1),
                "image-tag": "latest",
            },
        });
        send(&url, &[("authorization", "Bearer token")], event.to_string()).await
    };
    assert_eq!(deliver("PUSH", REGISTRY, "team/app").await, (200, report(1, 0)));
    let others =
        [("222222222222", "team/app"), (REGISTRY, "other/app"), (REGISTRY, "teamwork/app")];
    for (account, repository) in others {
        for action in ["PUSH", "DELETE"] {
            let (status, response) = deliver(action, account, repository).await;
            let reason = format!("the subscription 'team' may not change {account}/{repository}");
            assert_eq!(
                (status, &response["malformed"]),
                (400, &json!([{ "event": 0, "reason": reason }]))
            );
        }
    }
    let scan = catalog.store.table.client.scan().table_name(&catalog.store.table.name);
    let items = scan.send().await.unwrap().items.unwrap();
    let partitions: std::collections::BTreeSet<&str> = items
        .iter()
        .filter_map(|item| item.get("repository")?.as_s().ok())
        .map(String::as_str)
        .collect();
    assert!(partitions.iter().all(|name| !name.contains("222222222222")), "{partitions:?}");
    assert!(partitions.iter().all(|name| !name.contains("other/app")), "{partitions:?}");
    assert_eq!(images(&catalog, "team/app").await.as_array().unwrap().len(), 1);
}

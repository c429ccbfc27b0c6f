//! Page tokens: opaque, sealed, and bound to their listing.

use std::collections::BTreeSet;

use catalog::change::Content;
use catalog::image::ImageStatus;
use catalog::{ChangeKind, Digest, RegistryId, Repository, RepositoryName, Service};
use describe_images::page_token::Keyring;
use end_to_end::harness::{Catalog, REGISTRY, Store, digest, repository, time};
use serde_json::{Value, json};

use super::rows::{Row, put_rows};
use super::{ECR, ECR_PUBLIC, INVALID_TOKEN, Wire, digests, listed, pushed};

#[tokio::test]
async fn r35_a_token_is_opaque_url_safe_and_short() {
    let wire = Wire::start().await;
    let longest_name = "a".repeat(256);
    let longest_digest = Digest::parse(&format!("{:a<255}", "sha256:")).unwrap();
    for number in 0..2 {
        let digest = if number == 0 { longest_digest.clone() } else { digest(number) };
        let kind = ChangeKind::ImagePushed { digest, tag: None, content: Content::default() };
        wire.apply(&repository(&longest_name), time(1 - i64::try_from(number).unwrap()), kind)
            .await;
    }
    let mut tokens = BTreeSet::new();
    for _ in 0..10 {
        let page = wire.ecr(json!({ "repositoryName": longest_name, "maxResults": 1 })).await;
        assert_eq!(page.digests(), [longest_digest.as_str()]);
        let token = page.next_token().unwrap();
        assert!(token.len() < 1024, "{}", token.len());
        let is_url_safe =
            |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
        assert!(token.chars().all(is_url_safe), "{token}");
        // The token does not contain the position, neither plainly nor in Base64.
        assert!(!token.contains("aaaaaaaa") && !token.contains("YWFhYWFh"), "{token}");
        let request = json!({ "repositoryName": longest_name, "nextToken": token });
        assert_eq!(wire.ecr(request).await.digests(), digests([1]));
        tokens.insert(token);
    }
    assert_eq!(tokens.len(), 10, "equal positions make different tokens");
}

#[tokio::test]
async fn r35_a_token_may_be_used_twice_and_with_another_page_size() {
    let (wire, token) = listed().await;
    let send = async |max_results: Value| {
        wire.ecr(json!({ "repositoryName": "app", "nextToken": token, "maxResults": max_results }))
            .await
    };
    for _ in 0..2 {
        assert_eq!(send(json!(null)).await.digests(), digests([2, 3, 4]));
        assert_eq!(send(json!(1)).await.digests(), digests([2]));
        assert_eq!(send(json!(3)).await.digests(), digests([2, 3, 4]));
        assert_eq!(send(json!(1000)).await.digests(), digests([2, 3, 4]));
        let page = send(json!(2)).await;
        assert_eq!(page.digests(), digests([2, 3]));
        let request = json!({ "repositoryName": "app", "nextToken": page.next_token() });
        assert_eq!(wire.ecr(request).await.digests(), digests([4]));
    }
}

#[tokio::test]
async fn r35_a_token_belongs_to_service_registry_and_repository() {
    let wire = Wire::start().await;
    let repository = |registry: &str, name: &str| Repository {
        service: Service::Ecr,
        registry: RegistryId::parse(registry).unwrap(),
        name: RepositoryName::parse(name).unwrap(),
    };
    // All have the same images, so that only the token differs.
    let repositories = [
        (REGISTRY, "app"),
        (REGISTRY, "ap"),
        (REGISTRY, "app/app"),
        ("210987654321", "app"),
        ("210987654321", "ap"),
    ];
    let mut tokens = Vec::new();
    for (registry, name) in repositories {
        for number in 1..=2 {
            let kind = pushed(number, None, Content::default());
            wire.apply(&repository(registry, name), time(0), kind).await;
        }
        for target in [ECR, ECR_PUBLIC] {
            let request =
                json!({ "repositoryName": name, "registryId": registry, "maxResults": 1 });
            let token = wire.post(target, request.to_string()).await.next_token().unwrap();
            tokens.push((target, registry, name, token));
        }
    }
    for (of_target, of_registry, of_name, token) in &tokens {
        for (target, registry, name, _) in &tokens {
            let request =
                json!({ "repositoryName": name, "registryId": registry, "nextToken": token });
            let reply = wire.post(target, request.to_string()).await;
            if (of_target, of_registry, of_name) == (target, registry, name) {
                assert_eq!(reply.digests(), digests([2]));
            } else {
                reply.assert_invalid(INVALID_TOKEN);
            }
        }
    }
    // The default registry is the same, explicit or not.
    let request = json!({ "repositoryName": "app", "nextToken": tokens[0].3 });
    assert_eq!(wire.ecr(request).await.digests(), digests([2]));
}

#[tokio::test]
async fn r35_a_token_belongs_to_its_filter() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let rows: Vec<Row> = (0..12)
        .map(|number| {
            let status = ImageStatus::ALL[usize::try_from(number % 3).unwrap()];
            Row::new(number, time(0), status, if number % 2 == 0 { &["v1"] } else { &[] })
        })
        .collect();
    put_rows(wire.store(), &repository("app"), &rows).await;
    let filters: Vec<(&str, &str)> = ["TAGGED", "UNTAGGED", "ANY"]
        .into_iter()
        .flat_map(|tags| ["ACTIVE", "ARCHIVED", "ACTIVATING", "ANY"].map(|status| (tags, status)))
        .collect();
    let send = async |filter: Value, token: Option<&str>| {
        wire.ecr(json!({ "repositoryName": "app", "filter": filter, "maxResults": 1, "nextToken": token }))
            .await
    };
    let filter = |(tags, status): (&str, &str)| json!({ "tagStatus": tags, "imageStatus": status });
    for of in &filters {
        let token = send(filter(*of), None).await.next_token().unwrap();
        for with in &filters {
            let reply = send(filter(*with), Some(&token)).await;
            if of == with {
                assert_eq!(reply.status, 200, "{of:?}");
            } else {
                reply.assert_invalid(INVALID_TOKEN);
            }
        }
        // A missing member has its default here, too.
        for (shorter, same_as) in [
            (json!(null), ("ANY", "ACTIVE")),
            (json!({}), ("ANY", "ACTIVE")),
            (json!({ "tagStatus": "TAGGED" }), ("TAGGED", "ACTIVE")),
            (json!({ "imageStatus": "ANY" }), ("ANY", "ANY")),
        ] {
            let status = send(shorter, Some(&token)).await.status;
            assert_eq!(status, if *of == same_as { 200 } else { 400 });
        }
    }
}

#[tokio::test]
async fn r35_a_token_with_any_bit_changed_is_refused() {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (wire, token) = listed().await;
    let mut altered = Vec::new();
    for index in 0..token.len() {
        let character = token.as_bytes()[index];
        let replace = |other: char| format!("{}{other}{}", &token[..index], &token[index + 1..]);
        // The bits of the text, and the bits that the text encodes, including the unused bits of
        // the last character.
        altered.extend((0..8).map(|bit| replace(char::from(character ^ (1 << bit)))));
        let value = ALPHABET.iter().position(|other| *other == character).unwrap();
        altered.extend((0..6).map(|bit| replace(char::from(ALPHABET[value ^ (1 << bit)]))));
    }
    assert!(altered.len() > 2000);
    for altered in altered {
        assert_ne!(altered, token);
        let reply = wire.ecr(json!({ "repositoryName": "app", "nextToken": altered })).await;
        reply.assert_invalid(INVALID_TOKEN);
    }
    assert_eq!(wire.ecr(json!({ "repositoryName": "app", "nextToken": token })).await.status, 200);
}

#[tokio::test]
async fn r35_whatever_else_is_no_token_is_refused_with_the_same_error() {
    let (wire, token) = listed().await;
    let page = wire.ecr(json!({ "repositoryName": "app", "maxResults": 2 })).await;
    let other_token = page.next_token().unwrap();
    let (half, rest) = token.split_at(token.len() / 2);
    let mut bad = vec![
        String::new(),
        " ".to_owned(),
        "x".to_owned(),
        "null".to_owned(),
        "é".to_owned(),
        "\0".to_owned(),
        "-1".to_owned(),
        digest(1).to_string(),
        format!(" {token}"),
        format!("{token} "),
        format!("{token}\n"),
        format!("{token}="),
        format!("{token}=="),
        format!("{token}A"),
        format!("{token}AAAA"),
        format!("A{token}"),
        format!("{token}{token}"),
        format!("{half}{}", &other_token[half.len()..]),
        format!("{half} {rest}"),
        token.to_uppercase(),
        token.to_lowercase(),
        token.chars().rev().collect(),
        "A".repeat(token.len()),
        "A".repeat(1024),
        "A".repeat(1025),
        "A".repeat(500_000),
        "é".repeat(100_000),
    ];
    bad.extend((1..token.len()).map(|length| token[..length].to_owned()));
    for target in [ECR, ECR_PUBLIC] {
        for token in &bad {
            let request = json!({ "repositoryName": "app", "nextToken": token });
            wire.post(target, request.to_string()).await.assert_invalid(INVALID_TOKEN);
        }
    }
    let request = json!({ "repositoryName": "app", "nextToken": "" });
    assert_eq!(
        wire.ecr(request).await.body,
        r#"{"__type":"InvalidParameterException","message":"Invalid parameter at 'nextToken' failed to satisfy constraint: 'Invalid token'"}"#
    );
}

#[tokio::test]
async fn r35_tokens_outlive_restarts_and_new_keys_but_not_the_removal_of_their_key() {
    let (old, new) = (Keyring::generate_key().unwrap(), Keyring::generate_key().unwrap());
    let store = Store::in_memory().await;
    let restart = async |keys: String| Wire::of(Catalog::start_with(store.clone(), &keys).await);
    let go_on = async |wire: &Wire, token: &str| {
        wire.ecr(json!({ "repositoryName": "app", "maxResults": 1, "nextToken": token })).await
    };
    let before = restart(old.clone()).await;
    for number in 1..=3 {
        before.push("app", time(0), number, None).await;
    }
    let request = json!({ "repositoryName": "app", "maxResults": 1 });
    let token = before.ecr(request.clone()).await.next_token().unwrap();
    drop(before);

    assert_eq!(
        go_on(&restart(old.clone()).await, &token).await.digests(),
        digests([2]),
        "restarted"
    );
    let rotated = restart(format!("{new}{old}")).await;
    let page = go_on(&rotated, &token).await;
    assert_eq!(page.digests(), digests([2]), "with a new key before the old one");
    let new_token = page.next_token().unwrap();
    let removed = restart(new.clone()).await;
    go_on(&removed, &token).await.assert_invalid(INVALID_TOKEN);
    assert_eq!(go_on(&removed, &new_token).await.digests(), digests([3]), "the first key seals");
    let back = restart(old).await;
    go_on(&back, &new_token).await.assert_invalid(INVALID_TOKEN);
    assert_eq!(go_on(&back, &token).await.digests(), digests([2]));
}

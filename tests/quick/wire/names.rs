//! Constraints of `repositoryName` and `registryId`.

use end_to_end::harness::{REGISTRY, time};
use serde_json::json;

use super::{ECR, ECR_PUBLIC, PRIVATE_NAME, PUBLIC_NAME, Wire, digests};

#[tokio::test]
async fn r12_r13_a_repository_name_must_be_given() {
    let wire = Wire::start().await;
    let message = r#"{"__type":"InvalidParameterException","message":"Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must not be null'"}"#;
    for body in
        [json!({}), json!({ "repositoryName": null }), json!({ "registryId": "x", "imageIds": [] })]
    {
        for target in [ECR, ECR_PUBLIC] {
            let reply = wire.post(target, body.to_string()).await;
            assert_eq!((reply.status, reply.body.as_str()), (400, message));
        }
    }
}

#[tokio::test]
async fn r14_repository_name_length_is_checked_before_the_pattern() {
    let wire = Wire::start().await;
    for target in [ECR, ECR_PUBLIC] {
        let send = async |name: &str| {
            wire.post(target, json!({ "repositoryName": name }).to_string()).await
        };
        // "é" has one character and two bytes.
        for name in ["", "a", "A", "/", " ", "é"] {
            let reply = send(name).await;
            reply
                .assert_violates("repositoryName", "'must have length greater than or equal to 2'");
        }
        let most = if target == ECR { 256 } else { 205 };
        let too_long = format!("'must have length less than or equal to {most}'");
        for name in
            ["a".repeat(most + 1), "A".repeat(most + 1), "/".repeat(most + 1), "é".repeat(most + 1)]
        {
            send(&name).await.assert_violates("repositoryName", &too_long);
        }
        for name in ["a".repeat(most), "ab".to_owned()] {
            send(&name).await.assert_no_repository(&name, REGISTRY);
        }
        let pattern = if target == ECR { PRIVATE_NAME } else { PUBLIC_NAME };
        for name in ["A".repeat(most), "é".repeat(most), "aé".to_owned()] {
            send(&name).await.assert_violates("repositoryName", pattern);
        }
    }
}

#[tokio::test]
async fn r15_repository_name_pattern() {
    let wire = Wire::start().await;
    let good = [
        "ab",
        "a1",
        "00",
        "a.b",
        "a_b",
        "a-b",
        "a/b",
        "a/b/c/d/e/f",
        "team/app.x-y_z",
        "a.b_c-d/0",
        "1/2",
    ];
    let private_only = ["a__b", "a--b", "a---b", "a------b/c", "x/a__b", "a__b--c.d_e/f"];
    let bad = [
        "a___b",
        "a_-b",
        "a-_b",
        "_a",
        "a_",
        "-a",
        "a-",
        ".a",
        "a.",
        "a..b",
        "a._b",
        "a.-b",
        "AB",
        "aB",
        "/a",
        "a/",
        "a//b",
        "a/_b",
        "a b",
        " ab",
        "ab ",
        "ab\n",
        "\nab",
        "a\0b",
        "ab\u{feff}",
        "aé",
        "äb",
        "a:b",
        "a@b",
        "a+b",
        "a%2fb",
        "a\\b",
        "../a",
        "a/../b",
        "аb",
        "１２",
        "a__",
        "a/-b",
        "a'b",
        "a\"b",
    ];
    for (target, pattern) in [(ECR, PRIVATE_NAME), (ECR_PUBLIC, PUBLIC_NAME)] {
        let send = async |name: &str| {
            wire.post(target, json!({ "repositoryName": name }).to_string()).await
        };
        for name in good {
            send(name).await.assert_no_repository(name, REGISTRY);
        }
        for name in private_only {
            let reply = send(name).await;
            if target == ECR {
                reply.assert_no_repository(name, REGISTRY);
            } else {
                reply.assert_violates("repositoryName", pattern);
            }
        }
        for name in bad {
            send(name).await.assert_violates("repositoryName", pattern);
        }
    }
}

#[tokio::test]
async fn r15_the_pattern_stands_in_the_message_with_two_closing_quotes() {
    let wire = Wire::start().await;
    assert_eq!(
        wire.ecr(json!({ "repositoryName": "_a" })).await.body,
        r#"{"__type":"InvalidParameterException","message":"Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must satisfy regular expression '[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)*''"}"#
    );
    assert_eq!(
        wire.ecr_public(json!({ "repositoryName": "a__b" })).await.body,
        r#"{"__type":"InvalidParameterException","message":"Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must satisfy regular expression '(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*''"}"#
    );
}

#[tokio::test]
async fn r16_a_registry_id_has_twelve_digits() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, None).await;
    let bad = [
        "",
        "1",
        "12345678901",
        "1234567890123",
        "12345678901x",
        "x23456789012",
        " 123456789012",
        "123456789012\n",
        "1234 5678901",
        "-12345678901",
        "١٢٣٤٥٦٧٨٩٠١٢",
        "public",
    ];
    for target in [ECR, ECR_PUBLIC] {
        for id in bad {
            let request = json!({ "repositoryName": "app", "registryId": id });
            let reply = wire.post(target, request.to_string()).await;
            assert_eq!(
                reply.body,
                r#"{"__type":"InvalidParameterException","message":"Invalid parameter at 'registryId' failed to satisfy constraint: 'must satisfy regular expression [0-9]{12}'"}"#,
                "{id}"
            );
        }
        let request = json!({ "repositoryName": "app", "registryId": REGISTRY });
        assert_eq!(wire.post(target, request.to_string()).await.digests(), digests([1]));
    }
}

//! Constraints of `imageIds`.

use end_to_end::harness::{digest, time};
use serde_json::{Value, json};

use super::{DIGEST_CHARACTERS, ECR, ECR_PUBLIC, TAG_CHARACTERS, Wire, digests};

#[tokio::test]
async fn r17_one_to_a_hundred_image_ids() {
    let wire = Wire::start().await;
    for number in 1..=100 {
        wire.push("app", time(0), number, None).await;
    }
    let send = async |target: &str, image_ids: Value| {
        wire.post(target, json!({ "repositoryName": "app", "imageIds": image_ids }).to_string())
            .await
    };
    let by_digest = |number: u64| json!({ "imageDigest": digest(number).as_str() });
    for target in [ECR, ECR_PUBLIC] {
        let reply = send(target, json!([])).await;
        reply.assert_violates("imageIds", "'Member must have length greater than or equal to 1'");
        let hundred: Vec<Value> = (1..=100).rev().map(by_digest).collect();
        assert_eq!(send(target, json!(hundred)).await.digests(), digests((1..=100).rev()));
        // Duplicates count.
        assert_eq!(send(target, json!(vec![by_digest(7); 100])).await.digests(), digests([7]));
        let too_long = "'Member must have length less than or equal to 100'";
        for image_ids in [vec![by_digest(7); 101], vec![json!({}); 101], vec![json!(null); 5000]] {
            send(target, json!(image_ids)).await.assert_violates("imageIds", too_long);
        }
    }
}

#[tokio::test]
async fn r18_an_image_tag_is_checked() {
    let wire = Wire::start().await;
    wire.create("app").await;
    for target in [ECR, ECR_PUBLIC] {
        let send = async |tag: &str| {
            let request = json!({ "repositoryName": "app", "imageIds": [{ "imageTag": tag }] });
            wire.post(target, request.to_string()).await
        };
        for tag in [
            "a b", "a:b", "a@b", "a/b", "a+b", "é", "😀", "v1\n", "\n", "\0", "*", "a'b", "a\"b",
            "${x}",
        ] {
            send(tag).await.assert_violates("imageTag", TAG_CHARACTERS);
        }
        send("").await.assert_violates("imageTag", "'must have length greater than or equal to 1'");
        let too_long = send(&"v".repeat(301)).await;
        too_long.assert_violates("imageTag", "'must have length less than or equal to 300'");
        // Amazon ECR's expression allows a first character that the distribution specification does
        // not.
        let longest = "v".repeat(300);
        for tag in ["v1", "-", "_", ".", "..", "-v", "V1", "null", longest.as_str()] {
            send(tag).await.assert_no_image("null", tag);
        }
    }
}

#[tokio::test]
async fn r19_an_image_digest_is_checked() {
    let wire = Wire::start().await;
    wire.create("app").await;
    for target in [ECR, ECR_PUBLIC] {
        let send = async |digest: &str| {
            let request =
                json!({ "repositoryName": "app", "imageIds": [{ "imageDigest": digest }] });
            wire.post(target, request.to_string()).await
        };
        let bad = [
            "",
            "a",
            "a:",
            ":a",
            ":",
            "sha256",
            "sha256:",
            ":ab",
            "sha256:xyz",
            "sha256:ab:cd",
            "sha256:ab\n",
            " sha256:ab",
            "sha256: ab",
            "sha 256:ab",
            "sha256:é",
            "shä256:ab",
            "sha256:ab#",
            "sha256:a'b",
            "sha256:ａｂ",
        ];
        for digest in bad {
            send(digest).await.assert_violates("imageDigest", DIGEST_CHARACTERS);
        }
        let sha512 = format!("sha512:{}", "a".repeat(128));
        for digest in ["sha256:00", "a:0", "+-_.:f", "sha256+b64u:0123456789abcdef", &sha512] {
            send(digest).await.assert_no_image(digest, "null");
        }
    }
}

#[tokio::test]
async fn r19_the_expression_does_not_limit_the_length_of_a_digest() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let send = async |digest: &str| {
        wire.ecr(json!({ "repositoryName": "app", "imageIds": [{ "imageDigest": digest }] })).await
    };
    for length in [255, 256, 5000] {
        let digest = format!("{:a<length$}", "sha256:");
        send(&digest).await.assert_no_image(&digest, "null");
    }
    let other = format!("{:x<300}", "sha256:");
    send(&other).await.assert_violates("imageDigest", DIGEST_CHARACTERS);
}

#[tokio::test]
async fn r20_an_image_id_names_a_tag_or_a_digest() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, Some("v1")).await;
    for image_ids in
        [json!([{}]), json!([{ "imageTag": "v1" }, {}]), json!([null]), json!([{ "tag": "v1" }])]
    {
        for target in [ECR, ECR_PUBLIC] {
            let request = json!({ "repositoryName": "app", "imageIds": image_ids });
            let reply = wire.post(target, request.to_string()).await;
            assert_eq!(
                reply.body,
                r#"{"__type":"InvalidParameterException","message":"Invalid request parameters: both tag and digest cannot be null"}"#
            );
        }
    }
}

//! Bodies that are not JSON, and members of the wrong type.

use end_to_end::harness::{REGISTRY, time};
use serde_json::json;

use super::{ECR, ECR_PUBLIC, Wire};

#[tokio::test]
async fn r10_what_is_not_json_is_refused() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let bodies: [&[u8]; 24] = [
        b"{",
        b"}",
        b"x",
        b"{}{}",
        b"{} x",
        b"{repositoryName:\"app\"}",
        b"{'repositoryName':'app'}",
        b"{\"repositoryName\":\"app\",}",
        b"{\"repositoryName\":\"app\"",
        b"{\"repositoryName\":\"app",
        b"{\"repositoryName\" \"app\"}",
        b"{\"repositoryName\":\"app\"} // comment",
        b"{\"repositoryName\":\"app\",\"maxResults\":NaN}",
        b"{\"repositoryName\":\"app\",\"maxResults\":01}",
        b"{\"repositoryName\":\"app\",\"maxResults\":+1}",
        b"{\"repositoryName\":\"app\",\"maxResults\":1.}",
        b"{\"repositoryName\":\"a\np\"}",
        b"{\"repositoryName\":\"\\x61pp\"}",
        b"{\"repositoryName\":\"app\",\"unknown\":tru}",
        b"{\"repositoryName\":\"app\"}\0",
        b"\0",
        b"Action=DescribeImages&repositoryName=app",
        b"\xef\xbb\xbf{\"repositoryName\":\"app\"}",
        b"{\0\"\0r\0\"\0:\x001\0}\0",
    ];
    for body in bodies {
        for target in [ECR, ECR_PUBLIC] {
            let reply = wire.post(target, body.to_vec()).await;
            let escaped = body.escape_ascii();
            assert_eq!(
                (reply.status, &reply.json["__type"]),
                (400, &json!("SerializationException")),
                "{escaped}"
            );
            assert!(!reply.json["message"].as_str().unwrap().is_empty(), "{escaped}");
        }
    }
    let reply = wire.post(ECR, "{").await;
    insta::assert_snapshot!(reply.body, @r#"{"__type":"SerializationException","message":"The request body is not valid JSON: EOF while parsing an object at line 1 column 1"}"#);
}

#[tokio::test]
async fn r10_a_form_feed_is_no_json_whitespace() {
    let wire = Wire::start().await;
    wire.create("app").await;
    for body in ["\x0c{\"repositoryName\":\"app\"}", "{\"repositoryName\":\"app\"}\x0c", "\x0c"] {
        let reply = wire.post(ECR, body).await;
        assert_eq!(reply.json["__type"], "SerializationException", "{reply:?}");
    }
}

#[tokio::test]
async fn r10_what_is_no_object_is_refused() {
    let wire = Wire::start().await;
    for body in
        ["[]", "[{\"repositoryName\":\"app\"}]", "\"app\"", "5", "1.5", "true", "false", "null"]
    {
        wire.post(ECR, body).await.assert_serialization("The request body must be a JSON object.");
    }
}

#[tokio::test]
async fn r10_invalid_utf8_is_refused() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let invalid: [&[u8]; 6] =
        [b"\xff", b"\x80", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"];
    for bytes in invalid {
        let bodies = [
            [b"{\"repositoryName\":\"ap", bytes, b"\"}"].concat(),
            [b"{\"repositoryName\":\"app\",\"unknown\":\"", bytes, b"\"}"].concat(),
            [b"{\"repositoryName\":\"app\",\"", bytes, b"\":1}"].concat(),
            [b"{\"repositoryName\":\"app\",\"imageIds\":[{\"imageTag\":\"", bytes, b"\"}]}"]
                .concat(),
            [b"{\"repositoryName\":\"app\"}", bytes].concat(),
            bytes.to_vec(),
        ];
        for body in bodies {
            let escaped = body.escape_ascii().to_string();
            let reply = wire.post(ECR, body).await;
            assert_eq!(reply.json["__type"], "SerializationException", "{escaped}");
        }
    }
    // Escapes are decoded: this is "app".
    let reply = wire.post(ECR, r#"{"r\u0065positoryName":"a\u0070p"}"#).await;
    assert_eq!(reply.body, r#"{"imageDetails":[]}"#);
    let body = r#"{"repositoryName":"app","imageIds":[{"image\u0054ag":"\u00781"}],"filter":{"tag\u0053tatus":"AN\u0059"}}"#;
    wire.post(ECR, body).await.assert_no_image("null", "x1");
}

#[tokio::test]
async fn r11_a_member_of_the_wrong_type_is_refused() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, Some("v1")).await;
    let values = [
        (json!("x"), "STRING_VALUE"),
        (json!(5), "NUMBER_VALUE"),
        (json!(1.5), "NUMBER_VALUE"),
        (json!(123_456_789_012_u64), "NUMBER_VALUE"),
        (json!(true), "TRUE_VALUE"),
        (json!(false), "FALSE_VALUE"),
        (json!([]), "list"),
        (json!(["app"]), "list"),
        (json!({}), "structure"),
        (json!({ "imageTag": "v1" }), "structure"),
    ];
    let members = [
        ("/repositoryName", "String", "STRING_VALUE"),
        ("/registryId", "String", "STRING_VALUE"),
        ("/nextToken", "String", "STRING_VALUE"),
        ("/imageIds/0/imageTag", "String", "STRING_VALUE"),
        ("/imageIds/0/imageDigest", "String", "STRING_VALUE"),
        ("/filter/tagStatus", "String", "STRING_VALUE"),
        ("/filter/imageStatus", "String", "STRING_VALUE"),
        ("/maxResults", "Integer", "NUMBER_VALUE"),
        ("/imageIds", "List", "list"),
        ("/imageIds/0", "Structure", "structure"),
        ("/filter", "Structure", "structure"),
    ];
    for (member, wanted, right) in members {
        for (value, kind) in &values {
            // An Integer must be an integral number.
            if *kind == right && !(wanted == "Integer" && value.is_f64()) {
                continue;
            }
            let mut request = json!({
                "repositoryName": "app", "registryId": REGISTRY, "nextToken": "x", "maxResults": 1,
                "imageIds": [{ "imageTag": "v1", "imageDigest": "sha256:00" }],
                "filter": { "tagStatus": "ANY", "imageStatus": "ANY" },
            });
            *request.pointer_mut(member).unwrap() = value.clone();
            let article = if wanted == "Integer" { "an" } else { "a" };
            let message = match *kind {
                "list" => "Start of list found where not expected.".to_owned(),
                "structure" => "Start of structure or map found where not expected.".to_owned(),
                kind => format!("{kind} can not be converted to {article} {wanted}"),
            };
            wire.ecr(request.clone()).await.assert_serialization(&message);
            // In the public service's request the filter is not a member.
            if !member.starts_with("/filter") {
                wire.ecr_public(request).await.assert_serialization(&message);
            }
        }
    }
}

#[tokio::test]
async fn r11_the_type_of_every_image_id_is_checked() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let mut image_ids = vec![json!({ "imageTag": "v1" }); 101];
    image_ids[100] = json!("v1");
    let reply = wire.ecr(json!({ "repositoryName": "app", "imageIds": image_ids })).await;
    reply.assert_serialization("STRING_VALUE can not be converted to a Structure");
}

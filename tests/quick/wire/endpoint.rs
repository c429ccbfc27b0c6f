//! Paths, methods and targets.

use end_to_end::harness::time;
use reqwest::Method;
use serde_json::json;

use super::{ECR, ECR_PUBLIC, Wire};

#[tokio::test]
async fn r1_both_services_are_served_at_the_root() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, None).await;
    let body = json!({ "repositoryName": "app" });
    assert_eq!(wire.ecr(body.clone()).await.image()["imageStatus"], "ACTIVE");
    assert_eq!(wire.ecr_public(body.clone()).await.image().get("imageStatus"), None);
    // The query does not count, and header names are case-insensitive.
    let request = format!(
        "POST /?Action=x HTTP/1.1\r\nHost: localhost\r\nX-AMZ-TARGET: {ECR}\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.to_string().len()
    );
    assert_eq!(wire.raw(request.as_bytes()).await.image()["imageStatus"], "ACTIVE");
}

#[tokio::test]
async fn r1_any_content_type_and_none_is_accepted() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let body = r#"{"repositoryName":"app"}"#;
    assert_eq!(wire.post(ECR, body).await.body, r#"{"imageDetails":[]}"#);
    for content_type in
        ["application/x-amz-json-1.1", "application/json", "text/html; charset=utf-16", "", "?"]
    {
        let headers = [("x-amz-target", ECR), ("content-type", content_type)];
        let reply = wire.send(Method::POST, "/", &headers, body).await;
        assert_eq!(
            (reply.status, reply.body.as_str()),
            (200, r#"{"imageDetails":[]}"#),
            "{content_type}"
        );
    }
}

#[tokio::test]
async fn r1_describe_images_without_a_target_is_the_public_service() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, None).await;
    let send = async |headers: &[(&str, &str)]| {
        // The filter differs between the services, too: the public one ignores it.
        let body = r#"{"repositoryName":"app","filter":5}"#;
        wire.send(Method::POST, "/DescribeImages", headers, body).await
    };
    let public = send(&[]).await;
    assert_eq!(public.image().get("imageStatus"), None);
    assert_eq!(send(&[("x-amz-target", ECR_PUBLIC)]).await.body, public.body);
    let private = send(&[("x-amz-target", ECR)]).await;
    private.assert_serialization("NUMBER_VALUE can not be converted to a Structure");
    let reply = send(&[("x-amz-target", "SpencerFrontendService.describeImages")]).await;
    assert_eq!(reply.body, r#"{"__type":"UnknownOperationException"}"#);
}

#[tokio::test]
async fn r1_other_methods_are_not_allowed() {
    let wire = Wire::start().await;
    for path in ["/", "/DescribeImages"] {
        for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "post", "QUERY"]
        {
            let headers = [("x-amz-target", ECR)];
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let reply =
                wire.send(method.clone(), path, &headers, r#"{"repositoryName":"app"}"#).await;
            assert_eq!(
                (reply.status, reply.header("allow")),
                (405, Some("POST")),
                "{method} {path}"
            );
            let body =
                r#"{"__type":"MethodNotAllowedException","message":"The method must be POST."}"#;
            assert_eq!(reply.body, if method == "HEAD" { "" } else { body }, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn r1_other_paths_are_not_found() {
    let wire = Wire::start().await;
    let paths = [
        "//",
        "/describeimages",
        "/DescribeImages/",
        "/DescribeImages%20",
        "/%2F",
        "/v2/",
        "/é",
        "/events",
    ];
    for path in paths {
        for method in [Method::POST, Method::GET] {
            let headers = [("x-amz-target", ECR)];
            let reply = wire.send(method, path, &headers, r#"{"repositoryName":"app"}"#).await;
            reply.assert_error(
                404,
                "NotFoundException",
                "There is nothing at this path. DescribeImages is at / and /DescribeImages.",
            );
        }
    }
}

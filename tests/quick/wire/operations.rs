//! Operations that the catalog does not serve.

use reqwest::Method;

use super::{Reply, Wire};

#[tokio::test]
async fn r40_unknown_operations_have_no_message() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let body = r#"{"repositoryName":"app"}"#;
    let refused = |reply: Reply, what: &str| {
        let expected = (400, r#"{"__type":"UnknownOperationException"}"#);
        assert_eq!((reply.status, reply.body.as_str()), expected, "{what}");
        assert_eq!(reply.header("x-amzn-errortype"), Some("UnknownOperationException"), "{what}");
    };
    refused(wire.send(Method::POST, "/", &[], body).await, "no target");
    for target in [
        "",
        ".",
        "DescribeImages",
        ".DescribeImages",
        "AmazonEC2ContainerRegistry_V20150921",
        "AmazonEC2ContainerRegistry_V20150921.",
        "AmazonEC2ContainerRegistry_V20150921.NoSuch",
        "AmazonEC2ContainerRegistry_V20150921.DescribeImage",
        "AmazonEC2ContainerRegistry_V20150921.DescribeImagesX",
        "AmazonEC2ContainerRegistry_V20150921.DescribeImages.x",
        "AmazonEC2ContainerRegistry_V20150921..DescribeImages",
        "AmazonEC2ContainerRegistry_V20150921. DescribeImages",
        "AmazonEC2ContainerRegistry_V20150921#DescribeImages",
        "com.amazonaws.AmazonEC2ContainerRegistry_V20150921.DescribeImages",
        "AmazonEC2ContainerRegistry_V20150922.DescribeImages",
        "AmazonEC2ContainerRegistry.DescribeImages",
        "SpencerFrontendService.",
        "SpencerFrontendService.NoSuch",
        "SpencerFrontendService_V20201030.DescribeImages",
        "DynamoDB_20120810.GetItem",
        // Operation names are case-sensitive.
        "amazonec2containerregistry_v20150921.DescribeImages",
        "AmazonEC2ContainerRegistry_V20150921.describeImages",
        "AmazonEC2ContainerRegistry_V20150921.describeimages",
        "AmazonEC2ContainerRegistry_V20150921.DESCRIBEIMAGES",
        "AmazonEC2ContainerRegistry_V20150921.listImages",
        "spencerfrontendservice.DescribeImages",
        "SpencerFrontendService.describeImages",
        // An operation of the other service.
        "SpencerFrontendService.BatchGetImage",
        "SpencerFrontendService.ListImages",
        "SpencerFrontendService.DescribeImageScanFindings",
        "AmazonEC2ContainerRegistry_V20150921.DescribeImageTags",
        "AmazonEC2ContainerRegistry_V20150921.DescribeRegistries",
        "AmazonEC2ContainerRegistry_V20150921.GetRepositoryCatalogData",
    ] {
        refused(wire.post(target, body).await, target);
    }
    let head =
        b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\nX-Amz-Target: ";
    for target in
        [&b"\xff\xfe"[..], "AmazonEC2ContainerRegistry_V20150921.DescribeImagés".as_bytes()]
    {
        refused(wire.raw(&[head, target, b"\r\n\r\n"].concat()).await, "bytes outside ASCII");
    }
}

#[tokio::test]
async fn r40_operations_of_the_services_that_the_catalog_does_not_serve() {
    let wire = Wire::start().await;
    let private = "AmazonEC2ContainerRegistry_V20150921";
    let public = "SpencerFrontendService";
    for (service, operation) in [
        (private, "BatchGetImage"),
        (private, "BatchDeleteImage"),
        (private, "PutImage"),
        (private, "GetLifecyclePolicy"),
        (private, "DescribeImageScanFindings"),
        (private, "DescribeImageReplicationStatus"),
        (private, "GetAuthorizationToken"),
        (private, "UpdateImageStorageClass"),
        (private, "ListImageReferrers"),
        (private, "ValidatePullThroughCacheRule"),
        (public, "DeleteRepository"),
        (public, "BatchDeleteImage"),
        (public, "GetAuthorizationToken"),
        (public, "GetRepositoryCatalogData"),
        (public, "UploadLayerPart"),
    ] {
        for body in ["{}", "", "no JSON"] {
            let reply = wire.post(&format!("{service}.{operation}"), body).await;
            let message = format!("The action {operation} isn't supported by this catalog.");
            reply.assert_error(400, "UnsupportedCommandException", &message);
        }
    }
    let reply = wire.post("AmazonEC2ContainerRegistry_V20150921.PutImage", "{}").await;
    assert_eq!(
        reply.body,
        r#"{"__type":"UnsupportedCommandException","message":"The action PutImage isn't supported by this catalog."}"#
    );
}

//! DescribeRegistries of Amazon ECR Public.

use super::{INVALID_TOKEN, Wire};

const DESCRIBE_REGISTRIES: &str = "SpencerFrontendService.DescribeRegistries";

#[tokio::test]
async fn r65_the_registry_of_the_caller_has_no_known_alias() {
    let wire = Wire::start().await;
    for body in ["", "{}", r#"{"maxResults":1}"#] {
        let reply = wire.post(DESCRIBE_REGISTRIES, body).await;
        assert_eq!(
            reply.body,
            r#"{"registries":[{"registryId":"123456789012","registryArn":"arn:aws:ecr-public::123456789012:registry/123456789012","registryUri":"","verified":false,"aliases":[]}]}"#
        );
    }
    let reply = wire.post(DESCRIBE_REGISTRIES, r#"{"maxResults":0}"#).await;
    let constraint = "'Member must have value greater than or equal to 1'";
    reply.assert_violates("maxResults", constraint);
    wire.post(DESCRIBE_REGISTRIES, r#"{"nextToken":"x"}"#).await.assert_invalid(INVALID_TOKEN);
    let private = "AmazonEC2ContainerRegistry_V20150921.DescribeRegistries";
    let reply = wire.post(private, "{}").await;
    assert_eq!(reply.json["__type"], "UnknownOperationException");
}

//! Access keys of the catalog's own: the template has nothing for them until a parameter names their
//! secret.

use serde_json::{Value, json};

use super::{resources, transformed};

#[test]
fn everything_for_access_keys_follows_its_parameter() {
    let test = "everything_for_access_keys_follows_its_parameter";
    let Some(template) = transformed(test, &[]) else { return };
    assert_eq!(template["Parameters"]["CallersSecretArn"]["Default"], "");
    assert_eq!(
        template["Conditions"]["HasAccessKeys"],
        json!({ "Fn::Not": [{ "Fn::Equals": [{ "Ref": "CallersSecretArn" }, ""] }] })
    );
    assert_eq!(
        template["Conditions"]["HasAccessKeysAtDomainName"],
        json!({ "Fn::And": [{ "Condition": "HasAccessKeys" }, { "Condition": "HasDomainName" }] })
    );
    // Everything that can send a request of this API to the function.
    for name in ["KeysApi", "KeysIntegration", "KeysRoute", "KeysStage", "KeysPermission"] {
        assert_eq!(template["Resources"][name]["Condition"], "HasAccessKeys", "{name}");
    }
    let mapping = &template["Resources"]["KeysDomainNameMapping"];
    assert_eq!(mapping["Condition"], "HasAccessKeysAtDomainName");
    assert_eq!(mapping["Properties"]["ApiMappingKey"], "keys");
    assert_eq!(template["Outputs"]["KeysEndpoint"]["Condition"], "HasAccessKeys");

    let only_with =
        |value: Value| json!({ "Fn::If": ["HasAccessKeys", value, { "Ref": "AWS::NoValue" }] });
    let function = resources(&template, "AWS::Lambda::Function")["DescribeImages"];
    assert_eq!(
        function["Environment"]["Variables"]["CALLERS_SECRET_ARN"],
        only_with(json!({ "Ref": "CallersSecretArn" }))
    );
    let role = resources(&template, "AWS::IAM::Role")["DescribeImagesRole"];
    let statements = role["Policies"][0]["PolicyDocument"]["Statement"].as_array().unwrap();
    let of_secret = statements.iter().filter(|statement| statement.to_string().contains("Callers"));
    assert_eq!(
        of_secret.collect::<Vec<_>>(),
        [&only_with(json!({
            "Effect": "Allow",
            "Action": "secretsmanager:GetSecretValue",
            "Resource": { "Ref": "CallersSecretArn" },
        }))]
    );
    // No other function knows the keys.
    for (name, resource) in template["Resources"].as_object().unwrap() {
        let is_known = resource.to_string().contains("CallersSecretArn");
        assert!(!is_known || name.starts_with("DescribeImages"), "{name}");
    }
}

/// One route, which API Gateway authorizes nobody for, with a throttle of its own.
#[test]
fn the_api_of_access_keys_has_one_route() {
    let Some(template) = transformed("the_api_of_access_keys_has_one_route", &[]) else { return };
    let routes = resources(&template, "AWS::ApiGatewayV2::Route");
    assert_eq!(routes.keys().collect::<Vec<_>>(), [&"KeysRoute"]);
    let route = routes["KeysRoute"];
    assert_eq!(route["RouteKey"], "POST /");
    assert_eq!(route["AuthorizationType"], "NONE");
    let api = json!({ "Ref": "KeysApi" });
    for (resource_type, name) in [
        ("AWS::ApiGatewayV2::Route", "KeysRoute"),
        ("AWS::ApiGatewayV2::Integration", "KeysIntegration"),
        ("AWS::ApiGatewayV2::Stage", "KeysStage"),
        ("AWS::ApiGatewayV2::ApiMapping", "KeysDomainNameMapping"),
    ] {
        assert_eq!(resources(&template, resource_type)[name]["ApiId"], api, "{name}");
    }
    let integration = resources(&template, "AWS::ApiGatewayV2::Integration")["KeysIntegration"];
    assert_eq!(integration["IntegrationUri"], json!({ "Fn::GetAtt": ["DescribeImages", "Arn"] }));
    assert_eq!(integration["PayloadFormatVersion"], "2.0");
    let permission = resources(&template, "AWS::Lambda::Permission")["KeysPermission"];
    assert_eq!(permission["Principal"], "apigateway.amazonaws.com");
    assert!(
        permission["SourceArn"]["Fn::Sub"].as_str().unwrap().ends_with(":${KeysApi}/*/POST/"),
        "{permission}"
    );

    let stages = resources(&template, "AWS::ApiGatewayV2::Stage");
    let stage = stages["KeysStage"];
    assert_eq!(
        stage["DefaultRouteSettings"],
        json!({
            "ThrottlingRateLimit": { "Ref": "KeyRequestsPerSecond" },
            "ThrottlingBurstLimit": { "Ref": "KeyRequestBurst" },
        })
    );
    let (_, other) = stages.iter().find(|(name, _)| **name != "KeysStage").unwrap();
    assert_eq!(stage["AccessLogSettings"], other["AccessLogSettings"]);
    let default = |name: &str| template["Parameters"][name]["Default"].as_u64().unwrap();
    assert!(default("KeyRequestsPerSecond") < default("RequestsPerSecond"));
    assert!(default("KeyRequestBurst") < default("RequestBurst"));
}

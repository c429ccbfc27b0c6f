//! Access keys of the catalog's own: the template has nothing for them until a parameter names their
//! secret.

use serde_json::{Value, json};

use super::{resources, transformed};
use crate::deployment::root;

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

/// The alarms of requests watch this API, too, if it is there.
#[test]
fn the_alarms_of_requests_watch_the_api_of_access_keys() {
    let test = "the_alarms_of_requests_watch_the_api_of_access_keys";
    let Some(template) = transformed(test, &[]) else { return };
    let alarms = resources(&template, "AWS::CloudWatch::Alarm");
    let metric = |name: &str, api: &str| {
        json!({
            "Namespace": "AWS/ApiGateway",
            "MetricName": name,
            "Dimensions": [{ "Name": "ApiId", "Value": { "Ref": api } }],
        })
    };
    for (name, expected) in [
        ("RequestsFailAlarm", &[("5xx", "Sum"), ("Count", "Sum")][..]),
        ("RequestsAreSlowAlarm", &[("Latency", "p99")]),
    ] {
        let metrics = alarms[name]["Metrics"].as_array().unwrap();
        let is_conditional = |metric: &&Value| metric.get("Fn::If").is_some();
        let stats = |metrics: &[&Value]| -> Vec<Value> {
            metrics.iter().filter_map(|metric| metric.get("MetricStat").cloned()).collect()
        };
        let (with, always): (Vec<_>, Vec<_>) = metrics.iter().partition(is_conditional);
        let with: Vec<&Value> = with.iter().map(|metric| &metric["Fn::If"][1]).collect();
        for (metrics, api) in [(&always, "HttpApi"), (&with, "KeysApi")] {
            let expected = expected.iter().map(
                |(name, stat)| json!({ "Metric": metric(name, api), "Period": 300, "Stat": stat }),
            );
            assert_eq!(stats(metrics), expected.collect::<Vec<_>>(), "{name}: {api}");
        }
        for metric in metrics.iter().filter(is_conditional) {
            assert_eq!(metric["Fn::If"][0], "HasAccessKeys");
            assert_eq!(metric["Fn::If"][2], json!({ "Ref": "AWS::NoValue" }));
        }
        // The worse of the two, which needs the ids of both.
        let expression = &metrics[0]["Expression"]["Fn::Sub"];
        assert_eq!(expression[0], "MAX([FILL(iam, 0)${Keys}])");
        let keys = json!({ "Fn::If": ["HasAccessKeys", ", FILL(keys, 0)", ""] });
        assert_eq!(expression[1]["Keys"], keys);
        let ids: Vec<&Value> = always.iter().chain(&with).map(|metric| &metric["Id"]).collect();
        for id in ["iam", "keys"] {
            assert!(ids.contains(&&json!(id)), "{name}: {ids:?}");
        }
        let is_returned = |metric: &&&Value| metric["ReturnData"] != false;
        assert_eq!(always.iter().chain(&with).filter(is_returned).count(), 1, "{name}");
    }
    let percentages: Vec<&Value> = alarms["RequestsFailAlarm"]["Metrics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|metric| metric.pointer("/Fn::If/1").unwrap_or(metric))
        .filter(|metric| metric["Expression"].is_string())
        .map(|metric| &metric["Expression"])
        .collect();
    assert_eq!(percentages, ["100 * failed / requests", "100 * keysFailed / keysRequests"]);

    let unreadable = alarms["AccessKeysAreUnreadableAlarm"];
    assert_eq!(template["Resources"]["AccessKeysAreUnreadableAlarm"]["Condition"], "HasAccessKeys");
    assert_eq!(unreadable["MetricName"], "SecretReadsFailed");
    let dimensions = json!([
        { "Name": "Stack", "Value": { "Ref": "AWS::StackName" } },
        { "Name": "Secret", "Value": "Callers" },
    ]);
    assert_eq!(unreadable["Dimensions"], dimensions);
    // It comes while the keys are still in use.
    let seconds = unreadable["Period"].as_u64().unwrap();
    assert!(seconds < describe_images::access_keys::MAX_AGE.as_secs());
    // What the alarms cost that access keys add.
    let added: usize = alarms
        .values()
        .map(|alarm| {
            let metrics = alarm["Metrics"].as_array().map_or(&[][..], Vec::as_slice).iter();
            let with = metrics.filter(|metric| metric["Fn::If"][0] == "HasAccessKeys");
            with.filter(|metric| metric["Fn::If"][1].get("MetricStat").is_some()).count()
        })
        .sum::<usize>()
        + 1;
    let operations = std::fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let costs = format!("their secret is 0.40 $, {added} more metrics of alarms 0.{added}0 $");
    assert!(operations.contains(&costs), "{costs}");
}

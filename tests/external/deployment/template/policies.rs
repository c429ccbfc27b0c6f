//! Permissions.

use serde_json::{Value, json};

use super::{resources, transformed};

#[test]
fn every_route_but_that_of_webhooks_demands_a_signature() {
    let Some(template) = transformed("every_route_but_that_of_webhooks_demands_a_signature", &[])
    else {
        return;
    };
    // The tests in `access_keys` are about the other one.
    let apis = resources(&template, "AWS::ApiGatewayV2::Api");
    assert_eq!(apis.keys().collect::<Vec<_>>(), [&"HttpApi", &"KeysApi"]);
    let api = apis["HttpApi"];
    // A warning of the import does not fail a deployment.
    assert_eq!(api.get("FailOnWarnings"), None);
    let paths = api["Body"]["paths"].as_object().unwrap();
    assert_eq!(paths.keys().collect::<Vec<_>>(), ["/", "/DescribeImages", "/events/{source}"]);
    for (path, methods) in paths {
        // Registries that send webhooks are a choice; the route follows it.
        let (methods, is_webhook) = match methods.get("Fn::If") {
            Some(either) => {
                assert_eq!(either[0], "HasWebhooks");
                assert_eq!(either[2], json!({ "Ref": "AWS::NoValue" }));
                (json!({ "post": either[1]["post"]["Fn::If"][1] }), true)
            }
            None => (methods.clone(), false),
        };
        assert_eq!(path == "/events/{source}", is_webhook);
        assert_eq!(methods.as_object().unwrap().keys().collect::<Vec<_>>(), ["post"], "{path}");
        // Registries cannot sign requests. The function checks their credentials.
        let security = if is_webhook { "NONE" } else { "AWS_IAM" };
        assert_eq!(methods["post"]["security"], json!([{ security: [] }]), "{path}");
        assert_eq!(
            methods["post"]["x-amazon-apigateway-integration"]["payloadFormatVersion"],
            "2.0"
        );
    }
    let scheme = &api["Body"]["components"]["securitySchemes"]["AWS_IAM"];
    assert_eq!(scheme["x-amazon-apigateway-authtype"], "awsSigv4");

    let stages = resources(&template, "AWS::ApiGatewayV2::Stage");
    assert_eq!(stages.len(), 2);
    let (_, stage) = stages.iter().find(|(name, _)| **name != "KeysStage").unwrap();
    assert_eq!(
        stage["AccessLogSettings"]["DestinationArn"],
        json!({ "Fn::GetAtt": ["AccessLogGroup", "Arn"] })
    );
    let format = stage["AccessLogSettings"]["Format"].as_str().unwrap();
    let format_line: Value = serde_json::from_str(format).unwrap();
    assert_eq!(format_line["lambdaRequestId"], "$context.integration.requestId");
    assert!(!format.contains('\n') && !format.contains("authorization"), "{format}");
    assert_eq!(
        stage["DefaultRouteSettings"]["ThrottlingRateLimit"],
        json!({ "Ref": "RequestsPerSecond" })
    );
}

/// IAM actions and their resources.
fn statements(template: &Value, role: &str) -> Vec<(Vec<String>, Value)> {
    let role = resources(template, "AWS::IAM::Role")[role];
    assert!(role.get("ManagedPolicyArns").is_none(), "managed policies allow more than is needed");
    let [policy] = &role["Policies"].as_array().unwrap()[..] else { panic!("one policy") };
    let statements = policy["PolicyDocument"]["Statement"].as_array().unwrap();
    statements
        .iter()
        .map(|statement| {
            // Conditional statements are about tracing, access keys, Amazon ECR Public and other accounts.
            let statement = match statement.get("Fn::If") {
                Some(either) => &either[1],
                None => statement,
            };
            assert_eq!(statement["Effect"], "Allow");
            let actions = match &statement["Action"] {
                Value::String(action) => vec![action.clone()],
                actions => serde_json::from_value(actions.clone()).unwrap(),
            };
            (actions, statement["Resource"].clone())
        })
        .collect()
}

#[test]
fn roles_allow_what_their_functions_do_and_no_more() {
    let Some(template) = transformed("roles_allow_what_their_functions_do_and_no_more", &[]) else {
        return;
    };
    let arn = |name: &str| json!({ "Fn::GetAtt": [name, "Arn"] });
    let allowed = |actions: &[&str], resource: Value| {
        (actions.iter().map(|action| (*action).to_owned()).collect::<Vec<_>>(), resource)
    };
    // X-Ray has no resources.
    let tracing = allowed(&["xray:PutTraceSegments", "xray:PutTelemetryRecords"], json!("*"));
    let table = json!({ "Fn::If": [
        "HasOwnTable",
        arn("Table"),
        { "Fn::Sub": "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/${ExistingTable}" },
    ] });
    let index = json!({ "Fn::Sub": ["${TableArn}/index/tag-status", { "TableArn": table }] });
    let readers = allowed(
        &["sts:AssumeRole"],
        json!({ "Fn::Sub": "arn:${AWS::Partition}:iam::*:role/image-catalog-reader-${AWS::Region}" }),
    );
    assert_eq!(
        statements(&template, "DescribeImagesRole"),
        [
            allowed(
                &["dynamodb:Query", "dynamodb:GetItem", "dynamodb:BatchGetItem"],
                table.clone()
            ),
            allowed(&["dynamodb:Query"], index),
            allowed(&["secretsmanager:GetSecretValue"], json!({ "Ref": "PageTokenSecret" })),
            allowed(&["secretsmanager:GetSecretValue"], json!({ "Ref": "CallersSecretArn" })),
            allowed(&["logs:CreateLogStream", "logs:PutLogEvents"], arn("DescribeImagesLogGroup")),
            tracing.clone(),
        ]
    );
    assert_eq!(
        statements(&template, "IngestEventsRole"),
        [
            allowed(
                &[
                    "dynamodb:Query",
                    "dynamodb:Scan",
                    "dynamodb:GetItem",
                    "dynamodb:BatchGetItem",
                    "dynamodb:PutItem",
                    "dynamodb:DeleteItem",
                ],
                table.clone()
            ),
            allowed(&["secretsmanager:GetSecretValue"], json!({ "Ref": "SubscriptionsSecret" })),
            allowed(
                &["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"],
                arn("EventsQueue")
            ),
            allowed(&["sqs:SendMessage"], arn("UnappliedEventsQueue")),
            allowed(
                &["ecr:DescribeImages"],
                json!({ "Fn::Sub": "arn:${AWS::Partition}:ecr:${AWS::Region}:${AWS::AccountId}:repository/*" })
            ),
            allowed(
                &["ecr-public:DescribeImages"],
                json!({ "Fn::Sub": "arn:${AWS::Partition}:ecr-public::${AWS::AccountId}:repository/*" })
            ),
            readers.clone(),
            allowed(&["logs:CreateLogStream", "logs:PutLogEvents"], arn("IngestEventsLogGroup")),
            tracing.clone(),
        ]
    );
    assert_eq!(
        statements(&template, "ReconcileRole"),
        [
            allowed(
                &[
                    "dynamodb:Query",
                    "dynamodb:Scan",
                    "dynamodb:GetItem",
                    "dynamodb:BatchGetItem",
                    "dynamodb:PutItem",
                    "dynamodb:DeleteItem"
                ],
                table
            ),
            allowed(&["secretsmanager:GetSecretValue"], json!({ "Ref": "SubscriptionsSecret" })),
            allowed(
                &[
                    "sqs:ReceiveMessage",
                    "sqs:DeleteMessage",
                    "sqs:GetQueueAttributes",
                    "sqs:SendMessage"
                ],
                arn("ReconcileQueue")
            ),
            allowed(
                &["ecr:DescribeImages", "ecr:DescribeRepositories", "ecr:ListTagsForResource"],
                json!({ "Fn::Sub": "arn:${AWS::Partition}:ecr:${AWS::Region}:${AWS::AccountId}:repository/*" })
            ),
            allowed(
                &[
                    "ecr-public:DescribeImages",
                    "ecr-public:DescribeRepositories",
                    "ecr-public:ListTagsForResource"
                ],
                json!({ "Fn::Sub": "arn:${AWS::Partition}:ecr-public::${AWS::AccountId}:repository/*" })
            ),
            readers,
            allowed(&["logs:CreateLogStream", "logs:PutLogEvents"], arn("ReconcileLogGroup")),
            tracing.clone(),
        ]
    );
    assert_eq!(
        statements(&template, "ReceiveWebhookRole"),
        [
            allowed(&["sqs:SendMessage"], arn("EventsQueue")),
            allowed(&["secretsmanager:GetSecretValue"], json!({ "Ref": "SubscriptionsSecret" })),
            allowed(&["logs:CreateLogStream", "logs:PutLogEvents"], arn("ReceiveWebhookLogGroup")),
            tracing,
        ]
    );
    for (name, _) in resources(&template, "AWS::IAM::Role") {
        for (actions, resource) in statements(&template, name) {
            assert!(actions.iter().all(|action| !action.contains('*')), "{name}: {actions:?}");
            assert!(
                resource != "*" || actions.iter().all(|action| action.starts_with("xray:")),
                "{name}"
            );
        }
    }
    for (name, function) in resources(&template, "AWS::Lambda::Function") {
        assert_eq!(function["Role"], arn(&format!("{name}Role")));
    }
}

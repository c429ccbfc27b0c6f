//! The template: what its checkers say, and what CloudFormation makes of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};

use end_to_end::harness::{Moto, Store, print, require, sample, tools};
use reconcile::handler::Message;
use serde_json::{Value, json};

use crate::deployment::{built, root, succeed, tool};

#[test]
fn sam_and_cfn_lint_find_nothing() {
    let test = "sam_and_cfn_lint_find_nothing";
    let (Some(mut sam), Some(mut cfn_lint)) = (tool(test, "sam"), tool(test, "cfn-lint")) else {
        return;
    };
    succeed(sam.args(["validate", "--lint"]));
    succeed(cfn_lint.arg("template.yaml"));
}

#[test]
fn the_policy_check_fails_nothing_and_each_exception_has_a_reason() {
    let test = "the_policy_check_fails_nothing_and_each_exception_has_a_reason";
    let Some(checkov) = require(test, tools().join("checkov/bin/checkov")) else { return };
    let mut checkov = Command::new(checkov);
    checkov.current_dir(root()).args(["--file", "template.yaml", "--framework", "cloudformation"]);
    let output = succeed(checkov.args(["--output", "json", "--skip-download"]));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["summary"]["failed"], 0);
    assert_eq!(report["summary"]["parsing_errors"], 0);
    assert!(report["summary"]["passed"].as_u64() > Some(10), "{}", report["summary"]);
    let skipped = report["results"]["skipped_checks"].as_array().unwrap();
    for check in skipped {
        let reason = check["check_result"]["suppress_comment"].as_str().unwrap_or_default();
        assert!(reason.len() > 30, "{} of {}: {reason}", check["check_id"], check["resource"]);
    }
    print(format!("checkov: {}, each exception with its reason", report["summary"]));
}

pub(crate) const FUNCTIONS: [&str; 4] =
    ["DescribeImages", "ReceiveWebhook", "IngestEvents", "Reconcile"];

/// What CloudFormation makes of the template with some parameters.
fn transformed(test: &str, parameters: &[&str]) -> Option<Value> {
    let template = built(test)?.join("template.yaml");
    let mut python = tool(test, "python3")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("external/deployment/transform.py");
    let output = succeed(python.arg(script).arg(template).args(parameters));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn resources<'a>(template: &'a Value, resource_type: &str) -> BTreeMap<&'a str, &'a Value> {
    let resources = template["Resources"].as_object().unwrap();
    resources
        .iter()
        .filter(|(_, resource)| resource["Type"] == resource_type)
        .map(|(name, resource)| (name.as_str(), &resource["Properties"]))
        .collect()
}

#[test]
fn the_build_resolves_what_cloudformation_does_not_know() {
    let Some(built) = built("the_build_resolves_what_cloudformation_does_not_know") else { return };
    let template = std::fs::read_to_string(built.join("template.yaml")).unwrap();
    assert!(!template.contains(": &") && !template.contains("*id0"), "YAML aliases");
    for function in FUNCTIONS {
        assert!(built.join(function).join("bootstrap").is_file());
    }
}

#[test]
fn every_route_but_that_of_webhooks_demands_a_signature() {
    let Some(template) = transformed("every_route_but_that_of_webhooks_demands_a_signature", &[])
    else {
        return;
    };
    let [(_, api)] =
        resources(&template, "AWS::ApiGatewayV2::Api").into_iter().collect::<Vec<_>>()[..]
    else {
        panic!("one API");
    };
    let paths = api["Body"]["paths"].as_object().unwrap();
    assert_eq!(paths.keys().collect::<Vec<_>>(), ["/", "/DescribeImages", "/events/{source}"]);
    for (path, methods) in paths {
        assert_eq!(methods.as_object().unwrap().keys().collect::<Vec<_>>(), ["post"], "{path}");
        // Registries cannot sign; their function checks what they show.
        let security = if path == "/events/{source}" { "NONE" } else { "AWS_IAM" };
        assert_eq!(methods["post"]["security"], json!([{ security: [] }]), "{path}");
        assert_eq!(
            methods["post"]["x-amazon-apigateway-integration"]["payloadFormatVersion"],
            "2.0"
        );
    }
    let scheme = &api["Body"]["components"]["securitySchemes"]["AWS_IAM"];
    assert_eq!(scheme["x-amazon-apigateway-authtype"], "awsSigv4");

    let [(_, stage)] =
        resources(&template, "AWS::ApiGatewayV2::Stage").into_iter().collect::<Vec<_>>()[..]
    else {
        panic!("one stage");
    };
    assert_eq!(
        stage["AccessLogSettings"]["DestinationArn"],
        json!({ "Fn::GetAtt": ["AccessLogGroup", "Arn"] })
    );
    let format = stage["AccessLogSettings"]["Format"].as_str().unwrap();
    assert!(!format.contains('\n') && !format.contains("authorization"), "{format}");
    assert_eq!(
        stage["DefaultRouteSettings"]["ThrottlingRateLimit"],
        json!({ "Ref": "RequestsPerSecond" })
    );
}

/// What IAM actions are allowed on.
fn statements(template: &Value, role: &str) -> Vec<(Vec<String>, Value)> {
    let role = resources(template, "AWS::IAM::Role")[role];
    assert!(role.get("ManagedPolicyArns").is_none(), "managed policies allow more than is needed");
    let [policy] = &role["Policies"].as_array().unwrap()[..] else { panic!("one policy") };
    let statements = policy["PolicyDocument"]["Statement"].as_array().unwrap();
    statements
        .iter()
        .map(|statement| {
            // The one statement on a condition is about tracing.
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
    assert_eq!(
        statements(&template, "DescribeImagesRole"),
        [
            allowed(&["dynamodb:Query", "dynamodb:GetItem", "dynamodb:BatchGetItem"], arn("Table")),
            allowed(&["dynamodb:Query"], json!({ "Fn::Sub": "${Table.Arn}/index/tag-status" })),
            allowed(&["secretsmanager:GetSecretValue"], json!({ "Ref": "PageTokenSecret" })),
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
                arn("Table")
            ),
            allowed(&["secretsmanager:GetSecretValue"], json!({ "Ref": "SubscriptionsSecret" })),
            allowed(
                &["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"],
                arn("EventsQueue")
            ),
            allowed(&["sqs:SendMessage"], arn("UnappliedEventsQueue")),
            allowed(
                &["ecr:DescribeImages"],
                json!({ "Fn::Sub": [
                    "arn:${AWS::Partition}:ecr:${AWS::Region}:${Accounts}:repository/*",
                    { "Accounts": { "Fn::If": ["HasForwardingAccounts", "*", { "Ref": "AWS::AccountId" }] } },
                ] })
            ),
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
                arn("Table")
            ),
            allowed(&["dynamodb:Query"], json!({ "Fn::Sub": "${Table.Arn}/index/tag-status" })),
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
                &["ecr:DescribeImages", "ecr:DescribeRepositories"],
                json!({ "Fn::Sub": "arn:${AWS::Partition}:ecr:${AWS::Region}:${AWS::AccountId}:repository/*" })
            ),
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

#[test]
fn events_reach_the_queue_and_only_from_the_rules() {
    let Some(template) = transformed("events_reach_the_queue_and_only_from_the_rules", &[]) else {
        return;
    };
    let arn = |name: &str| json!({ "Fn::GetAtt": [name, "Arn"] });
    let policy = resources(&template, "AWS::SQS::QueuePolicy")["QueuePolicy"];
    assert_eq!(
        policy["PolicyDocument"]["Statement"],
        json!([{
            "Effect": "Allow",
            "Principal": { "Service": "events.amazonaws.com" },
            "Action": "sqs:SendMessage",
            "Resource": [arn("EventsQueue"), arn("UndeliveredEventsQueue")],
            "Condition": { "ArnEquals": { "aws:SourceArn": [arn("ImageEventsRule"), arn("ApiCallsRule"), arn("ReminderRule")] } },
        }])
    );
    let policy = resources(&template, "AWS::SQS::QueuePolicy")["ReconcileQueuePolicy"];
    assert_eq!(
        policy["PolicyDocument"]["Statement"],
        json!([{
            "Effect": "Allow",
            "Principal": { "Service": "events.amazonaws.com" },
            "Action": "sqs:SendMessage",
            "Resource": arn("ReconcileQueue"),
            "Condition": { "ArnEquals": { "aws:SourceArn": arn("ReconcileRule") } },
        }])
    );
    for (name, rule) in resources(&template, "AWS::Events::Rule") {
        let [target] = &rule["Targets"].as_array().unwrap()[..] else {
            panic!("{name}: one target")
        };
        let queue = if name == "ReconcileRule" { "ReconcileQueue" } else { "EventsQueue" };
        assert_eq!(target["Arn"], arn(queue));
        if rule.get("ScheduleExpression").is_some() {
            // The next one does as well.
            continue;
        }
        assert_eq!(target["DeadLetterConfig"]["Arn"], arn("UndeliveredEventsQueue"));
        assert_eq!(target["RetryPolicy"]["MaximumEventAgeInSeconds"], 86400);
    }
    for (name, queue) in resources(&template, "AWS::SQS::Queue") {
        assert_eq!(queue["SqsManagedSseEnabled"], true, "{name}");
    }
    for (queue, function) in [("EventsQueue", "IngestEvents"), ("ReconcileQueue", "Reconcile")] {
        let queue = resources(&template, "AWS::SQS::Queue")[queue];
        let function = resources(&template, "AWS::Lambda::Function")[function];
        assert_eq!(
            queue["VisibilityTimeout"].as_u64().unwrap(),
            6 * function["Timeout"].as_u64().unwrap()
        );
    }
    let mappings = resources(&template, "AWS::Lambda::EventSourceMapping");
    assert_eq!(mappings.len(), 2);
    for mapping in mappings.values() {
        assert_eq!(mapping["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
    }
}

/// What EventBridge sends on its schedule is what the function understands.
#[test]
fn the_schedule_has_everything_compared() {
    let Some(template) = transformed("the_schedule_has_everything_compared", &[]) else { return };
    let rule = &resources(&template, "AWS::Events::Rule")["ReconcileRule"];
    assert_eq!(rule["ScheduleExpression"], json!({ "Ref": "ReconcileSchedule" }));
    let input = rule["Targets"][0]["Input"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Message>(input).unwrap(), Message::Registries);
}

#[test]
fn protection_follows_its_parameter() {
    let test = "protection_follows_its_parameter";
    let Some(template) = transformed(test, &[]) else { return };
    assert_eq!(template["Parameters"]["ProtectData"]["Default"], "true");
    let table = &template["Resources"]["Table"];
    let retain = json!({ "Fn::If": ["IsProtected", "Retain", "Delete"] });
    assert_eq!(table["DeletionPolicy"], retain);
    assert_eq!(table["UpdateReplacePolicy"], retain);
    assert_eq!(
        table["Properties"]["DeletionProtectionEnabled"],
        json!({ "Fn::If": ["IsProtected", true, false] })
    );
    assert_eq!(
        table["Properties"]["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"],
        true
    );
    assert_eq!(table["Properties"]["SSESpecification"]["SSEEnabled"], true);
}

/// The metrics that alarms and the dashboard look at are those that the functions write.
#[test]
fn alarms_have_actions_and_the_dashboard_is_json() {
    let Some(template) = transformed("alarms_have_actions_and_the_dashboard_is_json", &[]) else {
        return;
    };
    let alarms = resources(&template, "AWS::CloudWatch::Alarm");
    assert_eq!(alarms.len(), 11);
    let operations = std::fs::read_to_string(root().join("docs/operations.md")).unwrap();
    for (name, alarm) in &alarms {
        let to_topic = json!([{ "Fn::If": ["HasAlarmTopic", { "Ref": "AlarmTopicArn" }, { "Ref": "AWS::NoValue" }] }]);
        assert_eq!(alarm["AlarmActions"], to_topic, "{name}");
        assert_eq!(alarm["OKActions"], to_topic, "{name}");
        assert!(
            operations.contains(&format!("`{name}`")),
            "docs/operations.md does not tell of {name}"
        );
    }
    let dashboard = resources(&template, "AWS::CloudWatch::Dashboard")["Dashboard"];
    let body = dashboard["DashboardBody"]["Fn::Sub"].as_str().unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    let widgets = body["widgets"].as_array().unwrap();
    assert!(widgets.len() > 5);
    for name in alarms.keys() {
        let arn = format!("${{{name}.Arn}}");
        assert!(
            widgets[0]["properties"]["alarms"].as_array().unwrap().contains(&json!(arn)),
            "{name}"
        );
    }
}

/// A stack of the template on a server of moto. It makes no alarms, no API, no secret and no queue
/// policy; those are looked at in the template.
struct Stack {
    moto: Moto,
    names: BTreeMap<String, String>,
    template: Value,
}

impl Stack {
    /// The one that tests which run at the same time share; it ends with the last of them.
    fn deploy(test: &str) -> Option<Arc<Self>> {
        static STACK: Mutex<Weak<Stack>> = Mutex::new(Weak::new());
        let mut shared = STACK.lock().unwrap();
        if let Some(stack) = shared.upgrade() {
            return Some(stack);
        }
        let stack = Arc::new(Self::create(test)?);
        *shared = Arc::downgrade(&stack);
        Some(stack)
    }

    fn create(test: &str) -> Option<Self> {
        let mut template = transformed(test, &["Architecture=x86_64"])?;
        let moto = Moto::start(test)?;
        require(test, tools().join("python/bin/aws"))?;
        moto.aws(&["s3api", "create-bucket", "--bucket", "functions"]);
        for function in FUNCTIONS {
            let archive = archive(test, function)?;
            let key = format!("{function}.zip");
            moto.aws(&[
                "s3api",
                "put-object",
                "--bucket",
                "functions",
                "--key",
                &key,
                "--body",
                &archive.to_string_lossy(),
            ]);
        }
        template.as_object_mut().unwrap().remove("Outputs");
        // The dashboard refers to the alarms.
        template["Resources"].as_object_mut().unwrap().retain(|_, resource| {
            !resource["Type"].as_str().unwrap().starts_with("AWS::CloudWatch::")
        });
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("template.json");
        std::fs::write(&file, template.to_string()).unwrap();
        moto.aws(&[
            "cloudformation",
            "create-stack",
            "--stack-name",
            "catalog",
            "--template-body",
            &format!("file://{}", file.display()),
            "--parameters",
            "ParameterKey=Architecture,ParameterValue=x86_64",
        ]);
        let stack = moto.aws(&["cloudformation", "describe-stacks", "--stack-name", "catalog"]);
        assert_eq!(stack["Stacks"][0]["StackStatus"], "CREATE_COMPLETE");
        let made =
            moto.aws(&["cloudformation", "describe-stack-resources", "--stack-name", "catalog"]);
        let names = made["StackResources"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|made| {
                let text = |name: &str| made[name].as_str().map(str::to_owned);
                Some((text("LogicalResourceId")?, text("PhysicalResourceId")?))
            })
            .collect();
        Some(Self { moto, names, template })
    }

    fn queue(&self, name: &str) -> BTreeMap<String, String> {
        let url = &self.names[name];
        let attributes = self.moto.aws(&[
            "sqs",
            "get-queue-attributes",
            "--queue-url",
            url,
            "--attribute-names",
            "All",
        ]);
        serde_json::from_value(attributes["Attributes"].clone()).unwrap()
    }
}

/// The archive that is uploaded of a function, made as SAM makes it.
fn archive(test: &str, function: &str) -> Option<PathBuf> {
    let bootstrap = built(test)?.join(function).join("bootstrap");
    let archive = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{function}.zip"));
    let mut python = tool(test, "python3")?;
    succeed(python.args(["-m", "zipfile", "--create"]).arg(&archive).arg(&bootstrap));
    let megabytes = |file: &Path| std::fs::metadata(file).unwrap().len() as f64 / 1e6;
    print(format!(
        "{function}: {:.1} MB, its archive {:.1} MB",
        megabytes(&bootstrap),
        megabytes(&archive)
    ));
    Some(archive)
}

#[tokio::test]
async fn the_deployed_table_is_the_one_that_the_code_defines() {
    let Some(stack) = Stack::deploy("the_deployed_table_is_the_one_that_the_code_defines") else {
        return;
    };
    let described = stack.moto.aws(&[
        "dynamodb",
        "describe-table",
        "--table-name",
        &stack.names["Table"],
    ])["Table"]
        .clone();

    let store = Store::in_memory().await;
    let client = &store.table.client;
    let defined =
        client.describe_table().table_name(&store.table.name).send().await.unwrap().table.unwrap();
    let keys = |schema: &[aws_sdk_dynamodb::types::KeySchemaElement]| -> Value {
        schema
            .iter()
            .map(|key| json!({ "AttributeName": key.attribute_name(), "KeyType": key.key_type().as_str() }))
            .collect()
    };
    assert_eq!(described["KeySchema"], keys(defined.key_schema()));
    let sorted = |attributes: Vec<(String, String)>| {
        let mut attributes = attributes;
        attributes.sort();
        attributes
    };
    let deployed_attributes =
        described["AttributeDefinitions"].as_array().unwrap().iter().map(|attribute| {
            let text = |name: &str| attribute[name].as_str().unwrap().to_owned();
            (text("AttributeName"), text("AttributeType"))
        });
    let defined_attributes = defined.attribute_definitions().iter().map(|attribute| {
        (attribute.attribute_name().to_owned(), attribute.attribute_type().as_str().to_owned())
    });
    assert_eq!(sorted(deployed_attributes.collect()), sorted(defined_attributes.collect()));
    let ([deployed], [defined_index]) = (
        &described["GlobalSecondaryIndexes"].as_array().unwrap()[..],
        defined.global_secondary_indexes(),
    ) else {
        panic!("one index");
    };
    assert_eq!(deployed["IndexName"], json!(defined_index.index_name().unwrap()));
    assert_eq!(deployed["KeySchema"], keys(defined_index.key_schema()));
    let projection = defined_index.projection().unwrap().projection_type().unwrap();
    assert_eq!(deployed["Projection"]["ProjectionType"], projection.as_str());
    let billing = defined.billing_mode_summary().unwrap().billing_mode().unwrap();
    assert_eq!(described["BillingModeSummary"]["BillingMode"], billing.as_str());

    // The server of moto ignores this part.
    let expiry = client.describe_time_to_live().table_name(&store.table.name).send().await.unwrap();
    let expiry = expiry.time_to_live_description.unwrap();
    assert_eq!(
        stack.template["Resources"]["Table"]["Properties"]["TimeToLiveSpecification"],
        json!({ "AttributeName": expiry.attribute_name.unwrap(), "Enabled": true })
    );
}

#[test]
fn what_cannot_be_applied_goes_to_a_queue_of_its_own() {
    let Some(stack) = Stack::deploy("what_cannot_be_applied_goes_to_a_queue_of_its_own") else {
        return;
    };
    let queue = stack.queue("EventsQueue");
    let redrive: Value = serde_json::from_str(&queue["RedrivePolicy"]).unwrap();
    assert_eq!(
        redrive["deadLetterTargetArn"],
        json!(stack.queue("UnappliedEventsQueue")["QueueArn"])
    );
    assert_eq!(redrive["maxReceiveCount"].to_string().trim_matches('"'), "5");
    assert_eq!(queue["VisibilityTimeout"], "360");
    let function = stack.moto.aws(&[
        "lambda",
        "get-function-configuration",
        "--function-name",
        &stack.names["IngestEvents"],
    ]);
    let variables = &function["Environment"]["Variables"];
    assert_eq!(variables["MAXIMUM_TRIES"].to_string().trim_matches('"'), "5");
    assert_eq!(variables["DEAD_LETTER_QUEUE_URL"], json!(stack.names["UnappliedEventsQueue"]));
    let queue = stack.queue("ReconcileQueue");
    let redrive: Value = serde_json::from_str(&queue["RedrivePolicy"]).unwrap();
    assert_eq!(
        redrive["deadLetterTargetArn"],
        json!(stack.queue("UncomparedRepositoriesQueue")["QueueArn"])
    );
    for name in [
        "EventsQueue",
        "UnappliedEventsQueue",
        "UndeliveredEventsQueue",
        "ReconcileQueue",
        "UncomparedRepositoriesQueue",
    ] {
        assert_eq!(stack.queue(name)["MessageRetentionPeriod"], "1209600", "{name}");
    }
}

#[test]
fn roles_are_for_lambda_alone() {
    let Some(stack) = Stack::deploy("roles_are_for_lambda_alone") else { return };
    for (role, policy) in [
        ("DescribeImagesRole", "describe-images"),
        ("ReceiveWebhookRole", "receive-webhook"),
        ("IngestEventsRole", "ingest-events"),
        ("ReconcileRole", "reconcile"),
    ] {
        let name = &stack.names[role];
        let made = stack.moto.aws(&["iam", "get-role", "--role-name", name]);
        assert_eq!(
            made["Role"]["AssumeRolePolicyDocument"]["Statement"],
            json!([{
                "Effect": "Allow",
                "Principal": { "Service": "lambda.amazonaws.com" },
                "Action": "sts:AssumeRole",
            }])
        );
        let attached = stack.moto.aws(&["iam", "list-attached-role-policies", "--role-name", name]);
        assert_eq!(attached["AttachedPolicies"], json!([]));
        let document = stack.moto.aws(&[
            "iam",
            "get-role-policy",
            "--role-name",
            name,
            "--policy-name",
            policy,
        ]);
        // The server of moto keeps it as Python writes it.
        let document = document["PolicyDocument"].as_str().unwrap();
        let document: Value =
            serde_json::from_str(&document.replace('\'', "\"").replace("None", "null")).unwrap();
        let statements = document["Statement"].as_array().unwrap();
        let [tables @ .., tracing] = &statements[..] else { panic!("{statements:?}") };
        assert_eq!(*tracing, Value::Null, "nothing is traced unless the parameter says so");
        for statement in tables {
            // It makes no secrets.
            let is_secret = statement["Action"] == "secretsmanager:GetSecretValue";
            let resource = statement["Resource"].as_str().unwrap_or_default();
            assert!(resource.starts_with("arn:aws:") || is_secret, "{role}: {statement}");
        }
    }
}

/// Each sample of an event, as EventBridge delivers it, and whether the catalog wants it.
fn eventbridge_samples() -> Vec<(&'static str, Value, bool)> {
    let event = |file: &'static str| -> Value {
        serde_json::from_str(&sample(&format!("aws-ecr/{file}"))).unwrap()
    };
    let mut samples: Vec<(&'static str, Value, bool)> = [
        "eventbridge-cloudtrail-create-repository.json",
        "image-action-archive.json",
        "image-action-delete.json",
        "image-action-push-media-types.json",
        "image-action-push-untagged.json",
        "image-action-push.json",
        "image-action-restore.json",
        "image-scan-basic.json",
        "pull-through-cache-action.json",
        "referrer-action-restore.json",
        "replication-action-failed.json",
        "replication-action-success.json",
    ]
    .map(|file| (file, event(file), true))
    .to_vec();
    for file in [
        "cloudtrail-create-repository.json",
        "cloudtrail-policy-execution.json",
        "cloudtrail-put-image.json",
    ] {
        let record = event(file);
        let detail_type = match record["eventType"].as_str() {
            Some("AwsServiceEvent") => "AWS Service Event via CloudTrail",
            _ => "AWS API Call via CloudTrail",
        };
        samples.push((
            file,
            json!({ "source": "aws.ecr", "detail-type": detail_type, "detail": record }),
            true,
        ));
    }
    // Changes of scan settings, what the catalog has no place for, and what others send.
    samples.push(("scan-resource-change.json", event("scan-resource-change.json"), false));
    let mut read = event("eventbridge-cloudtrail-create-repository.json");
    read["detail"]["eventName"] = json!("GetAuthorizationToken");
    samples.push(("a call that changes nothing", read, false));
    let mut other = event("image-action-push.json");
    other["source"] = json!("some.application");
    samples.push(("another source", other, false));
    samples
}

#[test]
fn the_rules_take_every_event_that_the_catalog_can_use() {
    let Some(stack) = Stack::deploy("the_rules_take_every_event_that_the_catalog_can_use") else {
        return;
    };
    let url = &stack.names["EventsQueue"];
    // To the server of moto, every event fits a rule that has a schedule and no pattern.
    let reminder = &stack.names["ReminderRule"];
    stack.moto.aws(&["events", "remove-targets", "--rule", reminder, "--ids", "events-queue"]);
    for (name, event, is_wanted) in eventbridge_samples() {
        let entry = json!([{
            "Source": event["source"],
            "DetailType": event["detail-type"],
            "Detail": event["detail"].to_string(),
        }]);
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("event.json");
        std::fs::write(&file, entry.to_string()).unwrap();
        let entries = format!("file://{}", file.display());
        let put = stack.moto.aws(&["events", "put-events", "--entries", &entries]);
        assert_eq!(put["FailedEntryCount"], 0, "{name}: {put}");
        let received = stack.moto.aws(&["sqs", "receive-message", "--queue-url", url]);
        let messages = received["Messages"].as_array().map_or(&[][..], Vec::as_slice);
        assert_eq!(messages.len(), usize::from(is_wanted), "{name}: {received}");
        if let [message] = messages {
            let delivered: Value = serde_json::from_str(message["Body"].as_str().unwrap()).unwrap();
            assert_eq!(delivered["detail"], event["detail"], "{name}");
            let handle = message["ReceiptHandle"].as_str().unwrap();
            stack.moto.aws(&[
                "sqs",
                "delete-message",
                "--queue-url",
                url,
                "--receipt-handle",
                handle,
            ]);
        }
    }
}

//! The template deployed to moto.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use end_to_end::harness::{Moto, Store, print, require, sample, temporary_folder, tools};
use serde_json::{Value, json};

use super::{FUNCTIONS, transformed};
use crate::deployment::{built, succeed, tool};

/// A stack of the template on a server of moto. It has no alarms, no API, no secret and no queue
/// policy; other tests check those in the template.
struct Stack {
    moto: Moto,
    names: BTreeMap<String, String>,
    template: Value,
}

impl Stack {
    /// The stack that concurrent tests share. It is deleted with the last of them.
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
        let (moto, template, file) = prepared(test, "template.json")?;
        moto.aws(&[
            "cloudformation",
            "create-stack",
            "--stack-name",
            "catalog",
            "--template-body",
            &format!("file://{}", file.display()),
            "--parameters",
            "ParameterKey=Architecture,ParameterValue=x86_64",
            "ParameterKey=Webhooks,ParameterValue=true",
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

/// A server of moto that has the functions' archives, the template without what moto does not have,
/// and its file.
pub(super) fn prepared(test: &str, file: &str) -> Option<(Moto, Value, PathBuf)> {
    let mut template = transformed(test, &["Architecture=x86_64"])?;
    let moto = Moto::start(test)?;
    require(test, tools().join("python/bin/aws"))?;
    moto.aws(&["s3api", "create-bucket", "--bucket", "functions"]);
    for function in FUNCTIONS {
        let archive = archive(test, function)?;
        let key = format!("{function}.zip");
        let put = ["s3api", "put-object", "--bucket", "functions", "--key", &key, "--body"];
        moto.aws(&[&put[..], &[&archive.to_string_lossy()]].concat());
    }
    template.as_object_mut().unwrap().remove("Outputs");
    // The dashboard refers to the alarms.
    template["Resources"]
        .as_object_mut()
        .unwrap()
        .retain(|_, resource| !resource["Type"].as_str().unwrap().starts_with("AWS::CloudWatch::"));
    let file = temporary_folder().join(file);
    std::fs::write(&file, template.to_string()).unwrap();
    Some((moto, template, file))
}

/// The archive that is uploaded for a function, made as SAM makes it.
fn archive(test: &str, function: &str) -> Option<PathBuf> {
    let bootstrap = built(test)?.join(function).join("bootstrap");
    let archive = temporary_folder().join(format!("{function}.zip"));
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
    assert_eq!(variables["MAX_RECEIVE_COUNT"].to_string().trim_matches('"'), "5");
    assert_eq!(variables["DEAD_LETTER_QUEUE_URL"], json!(stack.names["UnappliedEventsQueue"]));
    let queue = stack.queue("ReconcileQueue");
    let redrive: Value = serde_json::from_str(&queue["RedrivePolicy"]).unwrap();
    assert_eq!(
        redrive["deadLetterTargetArn"],
        json!(stack.queue("UnreconciledRepositoriesQueue")["QueueArn"])
    );
    for name in [
        "EventsQueue",
        "UnappliedEventsQueue",
        "UndeliveredEventsQueue",
        "ReconcileQueue",
        "UnreconciledRepositoriesQueue",
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
        assert_eq!(*tracing, Value::Null, "nothing is traced without the parameter");
        // No role of another account is assumed, and no access keys are read, without the parameter.
        for statement in tables.iter().filter(|statement| !statement.is_null()) {
            assert_ne!(statement["Action"], "sts:AssumeRole", "{role}");
            // It makes no secrets.
            let is_secret = statement["Action"] == "secretsmanager:GetSecretValue";
            let resource = statement["Resource"].as_str().unwrap_or_default();
            assert!(resource.starts_with("arn:aws:") || is_secret, "{role}: {statement}");
        }
    }
}

/// Each sample of an event, as EventBridge delivers it, and whether the catalog uses it.
fn eventbridge_samples() -> Vec<(&'static str, Value, bool)> {
    let parse = |path: &str| -> Value { serde_json::from_str(&sample(path)).unwrap() };
    let event = |file: &'static str| parse(&format!("aws-ecr/{file}"));
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
    for (file, is_wanted) in [
        ("cloudtrail-batch-delete-image.json", true),
        ("cloudtrail-create-repository.json", true),
        ("cloudtrail-delete-repository.json", true),
        ("cloudtrail-put-image.json", true),
        ("cloudtrail-tag-resource.json", true),
        ("cloudtrail-untag-resource.json", true),
    ] {
        let record = parse(&format!("aws-ecr-public/{file}"));
        let detail_type = "AWS API Call via CloudTrail";
        samples.push((
            file,
            json!({ "source": "aws.ecr-public", "detail-type": detail_type, "detail": record }),
            is_wanted,
        ));
    }
    let index = "eventbridge-cloudtrail-put-image-index.json";
    samples.push((index, parse(&format!("aws-ecr-public/{index}")), true));
    let inspected = sample("aws-inspector2/scan-image.json");
    samples.push(("Inspector2 Scan", serde_json::from_str(&inspected).unwrap(), true));
    let mut artifact = event("image-action-push.json");
    artifact["detail-type"] = json!("ECR Artifact Action");
    samples.push(("ECR Artifact Action", artifact, true));
    // Findings of scans, changes of scan settings, unsupported events, and events of other sources.
    let finding = sample("aws-inspector2/finding.json");
    samples.push(("Inspector2 Finding", serde_json::from_str(&finding).unwrap(), false));
    samples.push(("scan-resource-change.json", event("scan-resource-change.json"), false));
    let mut read = event("eventbridge-cloudtrail-create-repository.json");
    read["detail"]["eventName"] = json!("GetAuthorizationToken");
    samples.push(("a call that changes nothing", read, false));
    let mut other = event("image-action-push.json");
    other["source"] = json!("some.application");
    samples.push(("another source", other, false));
    samples
}

impl Stack {
    /// Sends an event, which must arrive in a queue, or not.
    fn send(&self, name: &str, event: &Value, queue: &str, arrives: bool) {
        let entry = json!([{
            "Source": event["source"],
            "DetailType": event["detail-type"],
            "Detail": event["detail"].to_string(),
        }]);
        let file = temporary_folder().join("event.json");
        std::fs::write(&file, entry.to_string()).unwrap();
        let entries = format!("file://{}", file.display());
        let put = self.moto.aws(&["events", "put-events", "--entries", &entries]);
        assert_eq!(put["FailedEntryCount"], 0, "{name}: {put}");
        let url = &self.names[queue];
        let received = self.moto.aws(&["sqs", "receive-message", "--queue-url", url]);
        let messages = received["Messages"].as_array().map_or(&[][..], Vec::as_slice);
        assert_eq!(messages.len(), usize::from(arrives), "{name}: {received}");
        if let [message] = messages {
            let delivered: Value = serde_json::from_str(message["Body"].as_str().unwrap()).unwrap();
            assert_eq!(delivered["detail"], event["detail"], "{name}");
            let handle = message["ReceiptHandle"].as_str().unwrap();
            let delete = ["sqs", "delete-message", "--queue-url", url, "--receipt-handle", handle];
            self.moto.aws(&delete);
        }
    }
}

#[test]
fn the_rules_take_every_event_that_the_catalog_can_use() {
    let Some(stack) = Stack::deploy("the_rules_take_every_event_that_the_catalog_can_use") else {
        return;
    };
    // moto matches every event with a rule that has a schedule and no pattern.
    for (rule, target) in
        [("RetryLookupsRule", "events-queue"), ("ReconcileRule", "reconcile-queue")]
    {
        let rule = &stack.names[rule];
        stack.moto.aws(&["events", "remove-targets", "--rule", rule, "--ids", target]);
    }
    for (name, event, is_wanted) in eventbridge_samples() {
        stack.send(name, &event, "EventsQueue", is_wanted);
    }

    // Once the stack is complete, everything is reconciled. moto delivers the event itself, instead
    // of the target's input.
    let described = stack.moto.aws(&["cloudformation", "describe-stacks"]);
    let id = &described["Stacks"][0]["StackId"];
    let other = json!("arn:aws:cloudformation:us-east-1:123456789012:stack/other/1");
    for (id, status, is_wanted) in [
        (id, "CREATE_IN_PROGRESS", false),
        (id, "CREATE_COMPLETE", true),
        (id, "UPDATE_COMPLETE", true),
        (id, "UPDATE_ROLLBACK_COMPLETE", false),
        (&other, "CREATE_COMPLETE", false),
    ] {
        let event = json!({
            "source": "aws.cloudformation",
            "detail-type": "CloudFormation Stack Status Change",
            "detail": { "stack-id": id, "status-details": { "status": status, "status-reason": "" } },
        });
        stack.send(status, &event, "ReconcileQueue", is_wanted);
    }
}

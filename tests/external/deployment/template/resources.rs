//! Rules, the schedule, protection and alarms.

use end_to_end::harness::sample;
use reconcile::job::Message;
use serde_json::{Value, json};

use super::{resources, transformed};
use crate::deployment::root;

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
            "Condition": { "ArnEquals": { "aws:SourceArn": [
                arn("ImageEventsRule"),
                arn("ApiCallsRule"),
                { "Fn::If": ["HasEcrPublic", arn("PublicApiCallsRule"), { "Ref": "AWS::NoValue" }] },
                arn("RetryLookupsRule"),
            ] } },
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
            "Condition": { "ArnEquals": { "aws:SourceArn": [
                arn("DeployedRule"),
                { "Fn::If": ["HasReconcileSchedule", arn("ReconcileRule"), { "Ref": "AWS::NoValue" }] },
            ] } },
        }])
    );
    for (name, rule) in resources(&template, "AWS::Events::Rule") {
        let [target] = &rule["Targets"].as_array().unwrap()[..] else {
            panic!("{name}: one target")
        };
        let reconciles = ["DeployedRule", "ReconcileRule"].contains(&name);
        assert_eq!(target["Arn"], arn(if reconciles { "ReconcileQueue" } else { "EventsQueue" }));
        if reconciles || rule.get("ScheduleExpression").is_some() {
            // A lost message of a schedule needs no dead letter: the next one follows.
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

/// The function understands the message that EventBridge sends on its schedule, and when the stack
/// is deployed.
#[test]
fn the_schedule_and_a_deployment_reconcile_everything() {
    let test = "the_schedule_and_a_deployment_reconcile_everything";
    let Some(template) = transformed(test, &[]) else { return };
    let rules = resources(&template, "AWS::Events::Rule");
    assert_eq!(rules["ReconcileRule"]["ScheduleExpression"], json!({ "Ref": "ReconcileSchedule" }));
    for rule in ["ReconcileRule", "DeployedRule"] {
        let input = rules[rule]["Targets"][0]["Input"].as_str().unwrap();
        assert_eq!(serde_json::from_str::<Message>(input).unwrap(), Message::Registries);
    }
    // So that the rule is in effect when the stack is complete.
    assert_eq!(template["Resources"]["Reconcile"]["DependsOn"], "DeployedRule");
}

/// Lambda stops a function after sixteen messages that cause each other.
#[test]
fn reconcile_may_send_messages_to_its_own_queue() {
    let test = "reconcile_may_send_messages_to_its_own_queue";
    let Some(template) = transformed(test, &[]) else { return };
    for (name, function) in resources(&template, "AWS::Lambda::Function") {
        let loops = (name == "Reconcile").then(|| json!("Allow"));
        assert_eq!(function.get("RecursiveLoop"), loops.as_ref(), "{name}");
    }
    let queue = resources(&template, "AWS::SQS::Queue")["ReconcileQueue"];
    assert_eq!(queue["RedrivePolicy"]["maxReceiveCount"], 5);
}

/// Lambda takes metrics, which have no level, for `INFO`.
#[test]
fn no_log_level_drops_metrics() {
    let Some(template) = transformed("no_log_level_drops_metrics", &[]) else { return };
    for (name, function) in resources(&template, "AWS::Lambda::Function") {
        assert_eq!(function["LoggingConfig"]["ApplicationLogLevel"], "DEBUG", "{name}");
        let level = &function["Environment"]["Variables"]["LOG_LEVEL"];
        assert_eq!(*level, json!({ "Ref": "LogLevel" }), "{name}");
    }
}

/// EventBridge delivers read-only management events, such as runs of lifecycle policies, to such
/// rules alone.
#[test]
fn rules_receive_runs_of_lifecycle_policies() {
    let Some(template) = transformed("rules_receive_runs_of_lifecycle_policies", &[]) else {
        return;
    };
    let run: Value =
        serde_json::from_str(&sample("aws-ecr/cloudtrail-policy-execution.json")).unwrap();
    assert_eq!(run["readOnly"], true);
    let rule = resources(&template, "AWS::Events::Rule")["ApiCallsRule"];
    let names = rule["EventPattern"]["detail"]["eventName"].as_array().unwrap();
    assert!(names.contains(&run["eventName"]));
    assert_eq!(rule["State"], "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS");
}

#[test]
fn protection_follows_its_parameter() {
    let test = "protection_follows_its_parameter";
    let Some(template) = transformed(test, &[]) else { return };
    assert_eq!(template["Parameters"]["ProtectData"]["Default"], "true");
    let table = &template["Resources"]["Table"];
    let retain = json!({ "Fn::If": ["IsProtected", "Retain", "Delete"] });
    for name in ["Table", "PageTokenSecret", "SubscriptionsSecret"] {
        let resource = &template["Resources"][name];
        assert_eq!(resource["DeletionPolicy"], retain, "{name}");
        assert_eq!(resource["UpdateReplacePolicy"], retain, "{name}");
    }
    assert_eq!(
        table["Properties"]["DeletionProtectionEnabled"],
        json!({ "Fn::If": ["IsProtected", true, false] })
    );
    assert_eq!(
        table["Properties"]["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"],
        true
    );
    // The default is the key that AWS owns; every other one costs requests to AWS KMS.
    assert_eq!(table["Properties"].get("SSESpecification"), None);
}

/// A table that a deleted stack left, or a restored one.
#[test]
fn an_existing_table_takes_the_place_of_a_new_one() {
    let test = "an_existing_table_takes_the_place_of_a_new_one";
    let Some(template) = transformed(test, &[]) else { return };
    assert_eq!(template["Parameters"]["ExistingTable"]["Default"], "");
    assert_eq!(template["Resources"]["Table"]["Condition"], "HasOwnTable");
    let name = json!({ "Fn::If": ["HasOwnTable", { "Ref": "Table" }, { "Ref": "ExistingTable" }] });
    for (function, properties) in resources(&template, "AWS::Lambda::Function") {
        let variables = properties["Environment"]["Variables"].as_object().unwrap();
        if function != "ReceiveWebhook" {
            assert_eq!(variables["TABLE_NAME"], name, "{function}");
        }
    }
    assert_eq!(template["Outputs"]["TableName"]["Value"], name);
    let mut text = template.to_string();
    for reference in
        [name, json!({ "Fn::GetAtt": ["Table", "Arn"] })].map(|reference| reference.to_string())
    {
        text = text.replace(&reference, "");
    }
    for reference in [r#"{"Ref":"Table"}"#, "${Table}", "${Table."] {
        assert!(!text.contains(reference), "{text}");
    }
}

/// Without webhooks, every request needs a signature.
#[test]
fn everything_for_webhooks_follows_its_parameter() {
    let test = "everything_for_webhooks_follows_its_parameter";
    let Some(template) = transformed(test, &[]) else { return };
    assert_eq!(template["Parameters"]["Webhooks"]["Default"], "false");
    for (name, resource) in template["Resources"].as_object().unwrap() {
        let is_conditional = resource["Condition"] == "HasWebhooks";
        assert_eq!(name.starts_with("ReceiveWebhook"), is_conditional, "{name}");
    }
    assert_eq!(template["Outputs"]["WebhookAddress"]["Condition"], "HasWebhooks");
}

/// Accounts by their ids, and those of an organization.
#[test]
fn accounts_forward_only_events_of_registries() {
    let test = "accounts_forward_only_events_of_registries";
    let Some(template) = transformed(test, &[]) else { return };
    let policies = resources(&template, "AWS::Events::EventBusPolicy");
    let sources = json!({ "events:source": ["aws.ecr", "aws.ecr-public", "aws.inspector2"] });
    let of_accounts = &policies["ForwardedEventsPolicy"]["Statement"];
    assert_eq!(of_accounts["Principal"], json!({ "AWS": { "Ref": "ForwardingAccounts" } }));
    assert_eq!(of_accounts["Condition"], json!({ "ForAllValues:StringEquals": sources }));
    let of_organization = &policies["OrganizationEventsPolicy"]["Statement"];
    assert_eq!(of_organization["Principal"], "*");
    let organization = json!({ "aws:PrincipalOrgID": { "Ref": "ForwardingOrganization" } });
    assert_eq!(
        of_organization["Condition"],
        json!({ "StringEquals": organization, "ForAllValues:StringEquals": sources })
    );
    for statement in [of_accounts, of_organization] {
        assert_eq!(statement["Action"], "events:PutEvents");
    }
}

/// DynamoDB's metrics of a table do not contain those of its index.
#[test]
fn the_alarm_of_throttles_watches_table_and_index() {
    let test = "the_alarm_of_throttles_watches_table_and_index";
    let Some(template) = transformed(test, &[]) else { return };
    let alarm = resources(&template, "AWS::CloudWatch::Alarm")["ThrottledAlarm"];
    let metrics = alarm["Metrics"].as_array().unwrap();
    // The most that an alarm may have.
    assert!(metrics.len() <= 10);
    let expression = alarm["Metrics"][0]["Expression"]["Fn::Sub"].to_string();
    let table =
        json!({ "Fn::If": ["HasOwnTable", { "Ref": "Table" }, { "Ref": "ExistingTable" }] });
    let table = json!({ "Name": "TableName", "Value": table });
    let index = json!({ "Name": "GlobalSecondaryIndexName", "Value": "tag-status" });
    for dimensions in [json!([table]), json!([table, index])] {
        for name in ["ReadThrottleEvents", "WriteThrottleEvents"] {
            let metric = json!({ "Namespace": "AWS/DynamoDB", "MetricName": name, "Dimensions": dimensions });
            let watched = metrics
                .iter()
                .find(|watched| watched["MetricStat"]["Metric"] == metric)
                .unwrap_or_else(|| panic!("{metric} is not watched"));
            assert!(expression.contains(&format!("FILL({}, 0)", watched["Id"].as_str().unwrap())));
        }
    }
}

/// Alarms and the dashboard use metrics that the functions write.
#[test]
fn alarms_have_actions_and_the_dashboard_is_json() {
    let Some(template) = transformed("alarms_have_actions_and_the_dashboard_is_json", &[]) else {
        return;
    };
    let alarms = resources(&template, "AWS::CloudWatch::Alarm");
    assert_eq!(alarms.len(), 14);
    let operations = std::fs::read_to_string(root().join("docs/operations.md")).unwrap();
    for (name, alarm) in &alarms {
        let to_topic = json!([{ "Fn::If": ["HasAlarmTopic", { "Ref": "AlarmTopicArn" }, { "Ref": "AWS::NoValue" }] }]);
        assert_eq!(alarm["AlarmActions"], to_topic, "{name}");
        assert_eq!(alarm["OKActions"], to_topic, "{name}");
        assert!(
            operations.contains(&format!("`{name}`")),
            "docs/operations.md does not mention {name}"
        );
    }
    // What the alarms cost that every stack has.
    let metrics = |name: &str| {
        let metrics = alarms[name]["Metrics"].as_array().map_or(&[][..], Vec::as_slice);
        metrics.iter().filter(|metric| metric.get("MetricStat").is_some()).count().max(1)
    };
    let unconditional =
        alarms.keys().filter(|name| template["Resources"][**name].get("Condition").is_none());
    let metrics: usize = unconditional.map(|name| metrics(name)).sum();
    assert!(operations.contains(&format!("| alarms: {metrics} metrics |")), "{metrics}");
    let dashboard = resources(&template, "AWS::CloudWatch::Dashboard")["Dashboard"];
    // With everything that is conditional, and without.
    let body = &dashboard["DashboardBody"]["Fn::Sub"];
    let with = |value: &Value, branch: usize| -> String {
        let conditional = &value["Fn::If"][branch];
        conditional["Fn::Sub"].as_str().or(conditional.as_str()).unwrap().to_owned()
    };
    let [nothing, everything] = [2, 1].map(|branch| {
        let alarms = body[1]["ConditionalAlarms"]["Fn::Join"][1].as_array().unwrap();
        let alarms: String = alarms.iter().map(|alarm| with(alarm, branch)).collect();
        let mut text = body[0].as_str().unwrap().replace("${ConditionalAlarms}", &alarms);
        for name in ["WebhookMetrics", "KeysRequestMetrics", "KeysLatencyMetrics"] {
            let metrics = with(&body[1][name], branch);
            text = text.replace(&format!("${{{name}}}"), &metrics);
        }
        serde_json::from_str::<Value>(&text).unwrap()
    });
    for (title, names) in [("Requests", &["4xx", "5xx"][..]), ("Latency (milliseconds)", &[])] {
        let metrics = |body: &Value| {
            let widgets = body["widgets"].as_array().unwrap().iter();
            let mut widget = widgets.filter(|widget| widget["properties"]["title"] == title);
            widget.next().unwrap()["properties"]["metrics"].as_array().unwrap().clone()
        };
        let of_keys: Vec<_> = metrics(&everything).split_off(metrics(&nothing).len());
        assert_eq!(of_keys.len(), 2, "{title}: {of_keys:?}");
        assert_eq!(of_keys[0][3], "${KeysApi}", "{title}");
        for (metric, name) in of_keys.iter().zip(names) {
            assert_eq!(metric[1], *name, "{title}");
        }
    }
    assert_eq!(nothing["widgets"][0]["properties"]["alarms"].as_array().unwrap().len(), 10);
    let body = everything;
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

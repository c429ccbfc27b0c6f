//! Rules, the schedule, protection and alarms.

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
            // A lost message of the schedule needs no dead letter: the next one follows.
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

/// The function understands the message that EventBridge sends on its schedule.
#[test]
fn the_schedule_reconciles_everything() {
    let Some(template) = transformed("the_schedule_reconciles_everything", &[]) else { return };
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

/// Alarms and the dashboard use metrics that the functions write.
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
            "docs/operations.md does not mention {name}"
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

//! Amazon ECR Public: what the template has for it, and the template that forwards its events to
//! other regions.

use end_to_end::harness::{Moto, require, tools};
use serde_json::{Value, json};

use super::{resources, transformed};
use crate::deployment::root;

/// Accounts without Amazon ECR Public, and other partitions, have nothing of it.
#[test]
fn everything_for_ecr_public_follows_its_parameter() {
    let test = "everything_for_ecr_public_follows_its_parameter";
    let Some(template) = transformed(test, &[]) else { return };
    assert_eq!(template["Parameters"]["EcrPublic"]["Default"], "true");
    assert_eq!(
        template["Conditions"]["HasEcrPublic"],
        json!({ "Fn::And": [
            { "Fn::Equals": [{ "Ref": "EcrPublic" }, "true"] },
            { "Fn::Equals": [{ "Ref": "AWS::Partition" }, "aws"] },
        ] })
    );
    assert_eq!(template["Resources"]["PublicApiCallsRule"]["Condition"], "HasEcrPublic");
    let reconcile = resources(&template, "AWS::Lambda::Function")["Reconcile"];
    assert_eq!(
        reconcile["Environment"]["Variables"]["ECR_PUBLIC"],
        json!({ "Fn::If": ["HasEcrPublic", "true", "false"] })
    );
    for (name, role) in resources(&template, "AWS::IAM::Role") {
        for statement in role["Policies"][0]["PolicyDocument"]["Statement"].as_array().unwrap() {
            if statement.to_string().contains("ecr-public") {
                assert_eq!(statement["Fn::If"][0], "HasEcrPublic", "{name}");
                assert_eq!(statement["Fn::If"][2], json!({ "Ref": "AWS::NoValue" }), "{name}");
            }
        }
    }
}

/// The rule in us-east-1 matches what the rule of the stack matches, and its role may do nothing
/// else.
#[test]
fn events_of_ecr_public_are_forwarded_to_the_region_of_the_stack() {
    let test = "events_of_ecr_public_are_forwarded_to_the_region_of_the_stack";
    let Some(template) = transformed(test, &[]) else { return };
    let Some(moto) = Moto::start(test) else { return };
    if require(test, tools().join("python/bin/aws")).is_none() {
        return;
    }
    let bus = "arn:aws:events:eu-central-1:123456789012:event-bus/default";
    let file = root().join("infra/forward-ecr-public.yaml");
    moto.aws(&[
        "cloudformation",
        "create-stack",
        "--stack-name",
        "forward",
        "--template-body",
        &format!("file://{}", file.display()),
        "--parameters",
        &format!("ParameterKey=EventBusArn,ParameterValue={bus}"),
    ]);
    let resource = |name: &str| {
        let stack = ["cloudformation", "describe-stack-resource", "--stack-name", "forward"];
        let made = moto.aws(&[&stack[..], &["--logical-resource-id", name]].concat());
        made["StackResourceDetail"]["PhysicalResourceId"].as_str().unwrap().to_owned()
    };
    let (rule, role) = (resource("PublicApiCallsRule"), resource("ForwardRole"));
    let described = moto.aws(&["events", "describe-rule", "--name", &rule]);
    let pattern: Value = serde_json::from_str(described["EventPattern"].as_str().unwrap()).unwrap();
    let of_stack = resources(&template, "AWS::Events::Rule")["PublicApiCallsRule"];
    assert_eq!(pattern, of_stack["EventPattern"]);

    let targets = moto.aws(&["events", "list-targets-by-rule", "--rule", &rule]);
    assert_eq!(targets["Targets"][0]["Arn"], bus);
    let made = moto.aws(&["iam", "get-role", "--role-name", &role]);
    assert_eq!(targets["Targets"][0]["RoleArn"], made["Role"]["Arn"]);
    let policy = ["iam", "get-role-policy", "--role-name", &role, "--policy-name", "forward"];
    let document = moto.aws(&policy)["PolicyDocument"].clone();
    let document: Value = match document.as_str() {
        // The server of moto keeps it as Python writes it.
        Some(text) => serde_json::from_str(&text.replace('\'', "\"")).unwrap(),
        None => document,
    };
    assert_eq!(
        document["Statement"],
        json!([{ "Effect": "Allow", "Action": "events:PutEvents", "Resource": bus }])
    );
}

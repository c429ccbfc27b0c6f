//! The template that forwards the events of another account, and lets the catalog read its
//! registries.

use end_to_end::harness::{Moto, require, tools};
use serde_json::{Value, json};

use super::{resources, transformed};
use crate::deployment::root;

const BUS: &str = "arn:aws:events:us-east-1:210987654321:event-bus/default";
const ROLES: [&str; 2] =
    ["arn:aws:iam::210987654321:role/ingest", "arn:aws:iam::210987654321:role/reconcile"];

#[test]
fn an_account_forwards_what_the_rules_match_and_is_read_by_the_functions_alone() {
    let test = "an_account_forwards_what_the_rules_match_and_is_read_by_the_functions_alone";
    let Some(template) = transformed(test, &[]) else { return };
    let Some(moto) = Moto::start(test) else { return };
    if require(test, tools().join("python/bin/aws")).is_none() {
        return;
    }
    let file = format!("file://{}", root().join("infra/forward-account.yaml").display());
    let roles = format!("ParameterKey=CatalogRoleArns,ParameterValue='{}'", ROLES.join(","));
    let bus = format!("ParameterKey=EventBusArn,ParameterValue={BUS}");
    let create = ["cloudformation", "create-stack", "--stack-name", "forward"];
    moto.aws(&[&create[..], &["--template-body", &file, "--parameters", &bus, &roles]].concat());
    let resource = |name: &str| {
        let stack = ["cloudformation", "describe-stack-resource", "--stack-name", "forward"];
        let made = moto.aws(&[&stack[..], &["--logical-resource-id", name]].concat());
        made["StackResourceDetail"]["PhysicalResourceId"].as_str().unwrap().to_owned()
    };
    let role = |name: &str| moto.aws(&["iam", "get-role", "--role-name", name])["Role"].clone();
    let forward = role(&resource("ForwardRole"));
    for name in ["ImageEventsRule", "ApiCallsRule", "PublicApiCallsRule"] {
        let rule = resource(name);
        let described = moto.aws(&["events", "describe-rule", "--name", &rule]);
        let pattern: Value =
            serde_json::from_str(described["EventPattern"].as_str().unwrap()).unwrap();
        let of_stack = resources(&template, "AWS::Events::Rule")[name];
        assert_eq!(pattern, of_stack["EventPattern"], "{name}");
        let state = of_stack.get("State").cloned().unwrap_or(json!("ENABLED"));
        assert_eq!(described["State"], state, "{name}");
        let targets = moto.aws(&["events", "list-targets-by-rule", "--rule", &rule]);
        assert_eq!(targets["Targets"][0]["Arn"], BUS, "{name}");
        assert_eq!(targets["Targets"][0]["RoleArn"], forward["Arn"], "{name}");
    }

    let document = |role: &str, policy: &str| {
        let get = ["iam", "get-role-policy", "--role-name", role, "--policy-name", policy];
        parsed(&moto.aws(&get)["PolicyDocument"])["Statement"].clone()
    };
    assert_eq!(
        document(&resource("ForwardRole"), "forward"),
        json!([{ "Effect": "Allow", "Action": "events:PutEvents", "Resource": BUS }])
    );

    // The name is the one that the functions make of an account.
    let reader = role("image-catalog-reader-us-east-1");
    assert_eq!(reader["RoleName"], resource("ReaderRole"));
    assert_eq!(
        parsed(&reader["AssumeRolePolicyDocument"])["Statement"],
        json!([{
            "Effect": "Allow",
            "Principal": { "AWS": "arn:aws:iam::210987654321:root" },
            "Action": "sts:AssumeRole",
            "Condition": { "ArnEquals": { "aws:PrincipalArn": ROLES } },
        }])
    );
    assert_eq!(
        document("image-catalog-reader-us-east-1", "read"),
        json!([
            {
                "Effect": "Allow",
                "Action": [
                    "ecr:DescribeImages",
                    "ecr:DescribeRepositories",
                    "ecr:ListTagsForResource",
                ],
                "Resource": "arn:aws:ecr:us-east-1:123456789012:repository/*",
            },
            {
                "Effect": "Allow",
                "Action": [
                    "ecr-public:DescribeImages",
                    "ecr-public:DescribeRepositories",
                    "ecr-public:ListTagsForResource",
                ],
                "Resource": "arn:aws:ecr-public::123456789012:repository/*",
            },
        ])
    );
}

/// The server of moto keeps some documents as Python writes them.
fn parsed(document: &Value) -> Value {
    match document.as_str() {
        Some(text) => serde_json::from_str(&text.replace('\'', "\"")).unwrap(),
        None => document.clone(),
    }
}

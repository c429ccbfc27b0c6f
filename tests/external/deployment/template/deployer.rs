//! The permissions of `infra/deployer.yaml`, and the deployment from CI.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use end_to_end::harness::{Moto, require, temporary_folder, tools};
use serde_json::{Value, json};

use super::stack::prepared;
use super::transformed;
use crate::deployment::{root, succeed, tool};

/// Creates the policy, and returns it.
fn policy(moto: &Moto) -> Value {
    let file = format!("file://{}", root().join("infra/deployer.yaml").display());
    let create = ["cloudformation", "create-stack", "--stack-name", "deployer"];
    moto.aws(&[&create[..], &["--template-body", &file]].concat());
    let listed = moto.aws(&["iam", "list-policies", "--scope", "Local"]);
    let arn = listed["Policies"][0]["Arn"].as_str().unwrap();
    let get = ["iam", "get-policy-version", "--policy-arn", arn, "--version-id", "v1"];
    moto.aws(&get)["PolicyVersion"]["Document"].clone()
}

fn actions(policy: &Value) -> BTreeSet<String> {
    let statements = policy["Statement"].as_array().unwrap().iter();
    statements
        .flat_map(|statement| match &statement["Action"] {
            Value::String(action) => vec![action.clone()],
            actions => serde_json::from_value(actions.clone()).unwrap(),
        })
        .collect()
}

/// moto checks the actions, but not their resources and conditions.
#[tokio::test]
async fn sam_deploys_and_deletes_with_the_permissions_of_a_deployer() {
    let test = "sam_deploys_and_deletes_with_the_permissions_of_a_deployer";
    let Some((moto, _, template)) = prepared(test, "deployed-from-ci.json") else { return };
    let Some(mut sam) = tool(test, "sam") else { return };
    // SAM makes it itself, with a bucket policy, which moto does not have.
    let bucket = json!({
        "Resources": { "SamCliSourceBucket": { "Type": "AWS::S3::Bucket" } },
        "Outputs": { "SourceBucket": { "Value": { "Ref": "SamCliSourceBucket" } } },
    });
    let create = ["cloudformation", "create-stack", "--stack-name", "aws-sam-cli-managed-default"];
    let tags = ["--tags", "Key=ManagedStackSource,Value=AwsSamCli"];
    moto.aws(&[&create[..], &tags, &["--template-body", &bucket.to_string()]].concat());

    let mut document = policy(&moto);
    for statement in document["Statement"].as_array_mut().unwrap() {
        statement["Resource"] = json!("*");
        statement.as_object_mut().unwrap().remove("Condition");
    }
    let file = temporary_folder().join("deployer.json");
    std::fs::write(&file, document.to_string()).unwrap();
    let file = format!("file://{}", file.display());
    moto.aws(&["iam", "create-user", "--user-name", "ci"]);
    let put = ["iam", "put-user-policy", "--user-name", "ci", "--policy-name", "deployer"];
    moto.aws(&[&put[..], &["--policy-document", &file]].concat());
    let key = moto.aws(&["iam", "create-access-key", "--user-name", "ci"])["AccessKey"].clone();
    let text = |name: &str| key[name].as_str().unwrap().to_owned();
    let authorize = async |from_request: &'static str| {
        let request = reqwest::Client::new().post(format!("{}/moto-api/reset-auth", moto.url));
        let request = request.header("content-type", "text/plain").body(from_request);
        assert!(request.send().await.unwrap().status().is_success());
    };
    authorize("0").await;
    let run = |sam: &mut Command, arguments: &[&str]| {
        sam.args(arguments)
            .arg("--config-file")
            .arg(root().join("samconfig.toml"))
            .stdin(Stdio::null())
            // moto knows only this name as the host of a bucket in the path.
            .env("AWS_ENDPOINT_URL", moto.url.replace("127.0.0.1", "localhost"))
            .env("AWS_ACCESS_KEY_ID", text("AccessKeyId"))
            .env("AWS_SECRET_ACCESS_KEY", text("SecretAccessKey"));
        succeed(sam)
    };
    sam.arg("deploy").arg("--template-file").arg(template);
    // moto deletes no table that is protected, although it would stay.
    run(&mut sam, &["--config-env", "ci", "--parameter-overrides", "ProtectData=false"]);
    authorize("inf").await;
    let describe = ["cloudformation", "describe-stacks"];
    let status = || {
        let described = moto.aws(&describe);
        let mut stacks = described["Stacks"].as_array().unwrap().iter();
        let stack = stacks.find(|stack| stack["StackName"] == "image-catalog")?;
        Some(stack["StackStatus"].as_str().unwrap().to_owned())
    };
    assert_eq!(status().unwrap(), "CREATE_COMPLETE");
    let buckets = moto.aws(&["s3api", "list-buckets"]);
    let bucket = buckets["Buckets"][0]["Name"].as_str().unwrap();
    let archives = || {
        let list = ["s3api", "list-objects-v2", "--bucket", bucket];
        moto.aws(&list)["Contents"].as_array().map_or(0, Vec::len)
    };
    assert!(archives() > 0);

    authorize("0").await;
    let Some(mut sam) = tool(test, "sam") else { return };
    let options = ["--no-prompts", "--stack-name", "image-catalog", "--region", "us-east-1"];
    run(&mut sam, &[&["delete"][..], &options].concat());
    authorize("inf").await;
    assert_eq!(status().as_deref().unwrap_or("DELETE_COMPLETE"), "DELETE_COMPLETE");
    assert_eq!(archives(), 0);
}

/// What makes, changes and deletes each type of resource.
const TYPES: [(&str, &[&str]); 21] = [
    ("AWS::ApiGatewayV2::Api", &["apigateway:POST", "apigateway:PUT", "apigateway:DELETE"]),
    ("AWS::ApiGatewayV2::ApiMapping", &["apigateway:POST", "apigateway:PATCH"]),
    ("AWS::ApiGatewayV2::Integration", &["apigateway:POST", "apigateway:PATCH"]),
    ("AWS::ApiGatewayV2::Route", &["apigateway:POST", "apigateway:PATCH"]),
    ("AWS::ApiGatewayV2::DomainName", &["apigateway:POST", "apigateway:PATCH"]),
    ("AWS::ApiGatewayV2::Stage", &["logs:CreateLogDelivery", "logs:PutResourcePolicy"]),
    ("AWS::CloudWatch::Alarm", &["cloudwatch:PutMetricAlarm", "cloudwatch:DeleteAlarms"]),
    ("AWS::CloudWatch::Dashboard", &["cloudwatch:PutDashboard", "cloudwatch:DeleteDashboards"]),
    (
        "AWS::DynamoDB::Table",
        &[
            "dynamodb:CreateTable",
            "dynamodb:UpdateTable",
            "dynamodb:DeleteTable",
            "dynamodb:UpdateTimeToLive",
            "dynamodb:UpdateContinuousBackups",
        ],
    ),
    ("AWS::Events::EventBusPolicy", &["events:PutPermission", "events:RemovePermission"]),
    (
        "AWS::Events::Rule",
        &["events:PutRule", "events:PutTargets", "events:RemoveTargets", "events:DeleteRule"],
    ),
    (
        "AWS::IAM::Role",
        &[
            "iam:CreateRole",
            "iam:PutRolePolicy",
            "iam:DeleteRolePolicy",
            "iam:DeleteRole",
            "iam:PassRole",
        ],
    ),
    (
        "AWS::Lambda::EventSourceMapping",
        &[
            "lambda:CreateEventSourceMapping",
            "lambda:UpdateEventSourceMapping",
            "lambda:DeleteEventSourceMapping",
        ],
    ),
    (
        "AWS::Lambda::Function",
        &[
            "lambda:CreateFunction",
            "lambda:UpdateFunctionCode",
            "lambda:UpdateFunctionConfiguration",
            "lambda:PutFunctionRecursionConfig",
            "lambda:DeleteFunction",
        ],
    ),
    ("AWS::Lambda::Permission", &["lambda:AddPermission", "lambda:RemovePermission"]),
    (
        "AWS::Logs::LogGroup",
        &["logs:CreateLogGroup", "logs:PutRetentionPolicy", "logs:DeleteLogGroup"],
    ),
    ("AWS::Route53::RecordSet", &["route53:ChangeResourceRecordSets", "route53:GetChange"]),
    ("AWS::SQS::Queue", &["sqs:CreateQueue", "sqs:SetQueueAttributes", "sqs:DeleteQueue"]),
    ("AWS::SQS::QueuePolicy", &["sqs:SetQueueAttributes"]),
    (
        "AWS::SecretsManager::Secret",
        &[
            "secretsmanager:CreateSecret",
            "secretsmanager:UpdateSecret",
            "secretsmanager:DeleteSecret",
            "secretsmanager:GetRandomPassword",
        ],
    ),
    // Of the artifacts that sam deploy uploads, and sam delete deletes.
    ("AWS::S3::Bucket", &["s3:CreateBucket", "s3:PutObject", "s3:DeleteObject"]),
];

#[test]
fn a_deployer_may_manage_every_type_of_resource() {
    let test = "a_deployer_may_manage_every_type_of_resource";
    let Some(template) = transformed(test, &[]) else { return };
    let Some(moto) = Moto::start(test) else { return };
    if require(test, tools().join("python/bin/aws")).is_none() {
        return;
    }
    let policy = policy(&moto);
    let allowed = actions(&policy);
    for (resource_type, actions) in TYPES {
        for action in actions {
            assert!(allowed.contains(*action), "{resource_type}: {action}");
        }
    }
    for (name, resource) in template["Resources"].as_object().unwrap() {
        let known = TYPES.iter().any(|(resource_type, _)| resource["Type"] == *resource_type);
        assert!(known, "{name}: which permissions does {} need?", resource["Type"]);
    }
    // IAM's limit of a managed policy, with the longest names of stacks, regions and partitions.
    let text = serde_json::to_string(&policy)
        .unwrap()
        .replace("image-catalog", &"a".repeat(30))
        .replace("us-east-1", "ap-southeast-9")
        .replace("arn:aws:", "arn:aws-us-gov:");
    assert!(text.len() <= 6144, "{} characters", text.len());
}

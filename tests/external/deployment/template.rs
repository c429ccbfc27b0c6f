//! The template: linters, and its transformation by CloudFormation.

mod access_keys;
mod deployer;
mod ecr_public;
mod forward_account;
mod linters;
mod policies;
mod resources;
mod stack;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::deployment::{built, succeed, tool};

pub(crate) const FUNCTIONS: [&str; 4] =
    ["DescribeImages", "ReceiveWebhook", "IngestEvents", "Reconcile"];

/// The template with some parameters, transformed as CloudFormation does.
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

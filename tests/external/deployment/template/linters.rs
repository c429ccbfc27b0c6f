//! Linters of the template.

use std::process::Command;

use end_to_end::harness::{print, require, tools};
use serde_json::Value;

use super::FUNCTIONS;
use crate::deployment::{built, root, succeed, tool};

/// The templates besides the stack's own.
const TEMPLATES: [&str; 3] =
    ["infra/deployer.yaml", "infra/forward-account.yaml", "infra/forward-ecr-public.yaml"];

#[test]
fn sam_and_cfn_lint_find_nothing() {
    let test = "sam_and_cfn_lint_find_nothing";
    let (Some(mut sam), Some(mut cfn_lint)) = (tool(test, "sam"), tool(test, "cfn-lint")) else {
        return;
    };
    succeed(sam.args(["validate", "--lint"]));
    succeed(cfn_lint.arg("template.yaml").args(TEMPLATES));
}

#[test]
fn the_policy_check_fails_nothing_and_each_exception_has_a_reason() {
    let test = "the_policy_check_fails_nothing_and_each_exception_has_a_reason";
    let Some(checkov) = require(test, tools().join("checkov/bin/checkov")) else { return };
    let mut checkov = Command::new(checkov);
    checkov.current_dir(root()).args(["--file", "template.yaml"]);
    checkov.args(TEMPLATES.iter().flat_map(|file| ["--file", *file]));
    checkov.args(["--framework", "cloudformation"]);
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

#[test]
fn the_build_resolves_what_cloudformation_does_not_support() {
    let Some(built) = built("the_build_resolves_what_cloudformation_does_not_support") else {
        return;
    };
    let template = std::fs::read_to_string(built.join("template.yaml")).unwrap();
    assert!(!template.contains(": &") && !template.contains("*id0"), "YAML aliases");
    for function in FUNCTIONS {
        assert!(built.join(function).join("bootstrap").is_file());
    }
}

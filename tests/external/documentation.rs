//! The commands in `README.md` and `docs/sources.md`, run as a reader pastes them. Of the fenced
//! blocks, those of `sh` are commands, and a block of `text` behind one is its output.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use end_to_end::harness::stand_in::{StandIn, image_manifest};
use end_to_end::harness::{
    Process, command, eventually, folder, require, sample, without_aws_configuration,
};
use futures_util::future::join_all;
use registries::{Source, Subscriptions};
use serde_json::{Value, json};

/// The address of a catalog in the documentation.
const ADDRESS: &str = "http://127.0.0.1:5015";

/// A fenced block: its language, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) language: String,
    pub(crate) text: String,
}

/// A file of the project.
pub(crate) fn document(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}

/// The sections of a document: the heading of each, and its blocks.
pub(crate) fn sections(document: &str) -> Vec<(String, Vec<Block>)> {
    let mut sections = Vec::new();
    for section in document.split("\n## ").skip(1) {
        let (heading, text) = section.split_once('\n').unwrap();
        let mut blocks = Vec::new();
        let mut parts = text.split("\n```");
        parts.next();
        while let Some(block) = parts.next() {
            let (language, text) = block.split_once('\n').unwrap();
            let (language, text) = (language.to_owned(), text.to_owned());
            blocks.push(Block { language, text });
            parts.next().unwrap_or_else(|| panic!("a block without an end in {heading}"));
        }
        sections.push((heading.to_owned(), blocks));
    }
    sections
}

/// The commands of a section, each with its output, if the document shows it.
pub(crate) fn commands(blocks: &[Block]) -> Vec<(String, Option<String>)> {
    let mut commands: Vec<(String, Option<String>)> = Vec::new();
    for block in blocks {
        match (block.language.as_str(), commands.last_mut()) {
            ("sh", _) => commands.push((block.text.clone(), None)),
            ("text", Some((_, output @ None))) => *output = Some(block.text.clone()),
            ("text", _) => panic!("an output without a command: {}", block.text),
            _ => {}
        }
    }
    commands
}

/// Runs a command in a folder, against the catalog at another address. Returns its output.
pub(crate) async fn paste(folder: &Path, url: &str, command: &str) -> String {
    let text = command.replace(ADDRESS, url);
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", &text]).current_dir(folder).env("AWS_PAGER", "");
    without_aws_configuration(&mut bash);
    let output = tokio::task::spawn_blocking(move || bash.output().unwrap()).await.unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {error}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// Runs the commands of a section, and compares their outputs. A lookup follows its event.
pub(crate) async fn run(folder: &Path, url: &str, commands: &[(String, Option<String>)]) {
    for (command, expected) in commands {
        match expected {
            Some(expected) if command.starts_with("aws ") => {
                eventually(command, async || paste(folder, url, command).await == *expected).await;
            }
            Some(expected) => assert_eq!(paste(folder, url, command).await, *expected, "{command}"),
            None => drop(paste(folder, url, command).await),
        }
    }
}

/// Whether the programs of the documentation are there.
pub(crate) fn has_programs(test: &str) -> bool {
    ["bash", "curl", "aws", "openssl"].iter().all(|program| require(test, program).is_some())
}

/// The subscriptions of a section, with the registry at another address: the one in the document
/// does not exist.
fn subscriptions(text: &str, registry: &StandIn) -> Value {
    Subscriptions::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let mut list: Value = serde_json::from_str(text).unwrap();
    for subscription in list.as_array_mut().unwrap() {
        let has_url = subscription.get("registryUrl").is_some();
        if has_url || subscription["source"] == "docker-hub" {
            subscription["registryUrl"] = json!(registry.url);
        }
    }
    list
}

/// Starts a catalog with the subscriptions of a section, and runs its commands. Returns the sources
/// of the subscriptions.
async fn try_source(heading: &str, blocks: &[Block]) -> Vec<String> {
    let registry = StandIn::start("shop/api", &[("1.4.2", image_manifest(100))]).await;
    let list = blocks.iter().find(|block| block.language == "json").unwrap();
    let list = subscriptions(&list.text, &registry);
    let folder = folder(&format!("documentation/{}", heading.to_lowercase().replace(' ', "-")));
    fs::create_dir_all(folder.join("work")).unwrap();
    fs::write(folder.join("work/subscriptions.json"), list.to_string()).unwrap();
    let mut command = command(&folder);
    command.args(["--in-memory", "--subscriptions", "subscriptions.json"]);
    let process = Process::start(command);
    let commands = commands(blocks);
    assert!(commands.len() >= 2, "{heading} has a sample, and what it leads to");
    run(&folder, &process.url, &commands).await;
    let is_ignored = |output: &Option<String>| {
        output.as_ref().is_some_and(|output| output.contains("\"ignored\":1"))
    };
    let tests = commands.iter().filter(|(_, output)| is_ignored(output)).count();
    assert_eq!(process.log().matches("received a test event").count(), tests, "{}", process.log());
    // Without the credential, the same samples are refused.
    for (sample, _) in commands.iter().filter(|(command, _)| command.contains("/events/")) {
        let without = sample.replace("-token", "-other").replace("github-secret", "other");
        let response = paste(&folder, &process.url, &without).await;
        assert!(response.contains("the credential of a subscription"), "{heading}: {response}");
    }
    let sources = list.as_array().unwrap().iter();
    sources.map(|subscription| subscription["source"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_source_works_as_its_section_says() {
    if !has_programs("every_source_works_as_its_section_says") {
        return;
    }
    let sections = sections(&document("docs/sources.md"));
    let tried =
        sections.iter().filter(|(_, blocks)| blocks.iter().any(|block| block.language == "sh"));
    let tried = tried.map(|(heading, blocks)| try_source(heading, blocks));
    let tried: BTreeSet<String> = join_all(tried).await.into_iter().flatten().collect();
    let all: BTreeSet<String> =
        Source::ALL.iter().map(|source| source.as_str().to_owned()).collect();
    assert_eq!(tried, all);
}

/// The samples of the documentation are short. They have no members that the product's lack.
#[test]
fn the_samples_have_members_of_real_events() {
    fn members(value: &Value, path: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(object) => {
                for (name, value) in object {
                    let path = format!("{path}.{name}");
                    found.insert(path.clone());
                    members(value, &path, found);
                }
            }
            Value::Array(list) => list.iter().for_each(|item| members(item, path, found)),
            _ => {}
        }
    }
    let samples = sections(&document("docs/sources.md"));
    for (heading, file) in [
        ("Amazon ECR", "aws-ecr/image-action-push.json"),
        ("CNCF distribution", "cncf-distribution/v2.8-push-manifest-tagged-with-references.json"),
        ("Harbor", "harbor/push-artifact.json"),
        ("Quay", "quay/repo-push-test-notification.json"),
        ("GitHub", "github-packages/registry_package-published-docker.json"),
        ("Docker Hub", "docker-hub/push.json"),
    ] {
        let (_, blocks) = samples.iter().find(|(name, _)| name == heading).unwrap();
        let (command, _) = &commands(blocks)[0];
        let (_, json) = command.split_once("'{").unwrap();
        let (json, _) = json.split_once("}'").unwrap();
        let shown: Value = serde_json::from_str(&format!("{{{json}}}")).unwrap();
        let (mut shown_members, mut real_members) = (BTreeSet::new(), BTreeSet::new());
        members(&shown, "", &mut shown_members);
        members(&serde_json::from_str(&sample(file)).unwrap(), "", &mut real_members);
        let unknown: Vec<&String> = shown_members.difference(&real_members).collect();
        assert!(unknown.is_empty(), "{heading}: {unknown:?}");
    }
}

#[tokio::test]
async fn the_first_commands_of_readme_work_as_printed() {
    if !has_programs("the_first_commands_of_readme_work_as_printed") {
        return;
    }
    let sections = sections(&document("README.md"));
    let (_, blocks) = sections.iter().find(|(heading, _)| heading == "Try it").unwrap();
    let commands = commands(blocks);
    let [(start, None), rest @ ..] = &commands[..] else { panic!("{commands:?}") };
    let options = start.trim().strip_prefix("cargo run -- ").unwrap();
    let folder = folder("documentation/readme");
    let mut command = command(&folder);
    command.args(options.split(' '));
    let process = Process::start(command);
    assert!(rest.len() == 1 && rest.iter().all(|(_, output)| output.is_some()), "{rest:?}");
    run(&folder, &process.url, rest).await;
}

/// Documents link to files that exist, and to their headings.
#[test]
fn every_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let documents = fs::read_dir(root.join("docs")).unwrap();
    let documents = documents.map(|entry| entry.unwrap().path());
    let documents: Vec<PathBuf> = documents
        .chain(
            ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"]
                .map(|name| root.join(name)),
        )
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    let mut broken = Vec::new();
    for path in documents {
        let text = fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let leads = link.contains("://")
                || target.exists()
                    && (fragment.is_empty() || headings(&target).contains(&fragment.to_owned()));
            if !leads {
                broken.push(format!("{}: {link}", path.file_name().unwrap().display()));
            }
        }
    }
    assert_eq!(broken, [""; 0]);
}

/// The headings of a document, as links name them.
fn headings(path: &Path) -> Vec<String> {
    let anchor = |heading: &str| {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let plain = heading.chars().filter(|each| each.is_alphanumeric() || " -_".contains(*each));
        plain.map(|each| if each == ' ' { '-' } else { each }).collect()
    };
    let text = fs::read_to_string(path).unwrap();
    text.lines().filter(|line| line.starts_with('#')).map(anchor).collect()
}

//! `make verify`: moto's Amazon ECR, a simulation of Amazon ECR Public, and a catalog that requires
//! signatures as API Gateway does. The test delivers the events of Amazon ECR, as EventBridge does.

use std::fs;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use end_to_end::harness::{
    KilledOnDrop, Moto, Process, REGION, REGISTRY, START_LIMIT, command, eventually,
    eventually_within, folder, free_port, require, tools, wait_until,
};
use serde_json::{Value, json};

use super::lookups::pushed;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/verify.py");

/// moto has no Amazon ECR Public.
const ECR_PUBLIC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/ecr_public.py");

const CREDENTIALS: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "ASIAREADER"),
    ("AWS_SECRET_ACCESS_KEY", "secret"),
    ("AWS_SESSION_TOKEN", "to/k+en=="),
];

fn serve(test: &str, moto: &Moto) -> Process {
    let folder = folder(test);
    let mut serving = command(&folder);
    let callers = json!([{
        "accessKeyId": "ASIAREADER", "secretAccessKey": "secret", "sessionToken": "to/k+en==",
        "arn": format!("arn:aws:iam::{REGISTRY}:user/reader"),
    }]);
    fs::write(folder.join("work/callers.json"), callers.to_string()).unwrap();
    serving.args(["--in-memory", "--ecr-lookups", "--callers", "callers.json"]);
    serving.args(["--signing-name", "execute-api"]).env("AWS_ENDPOINT_URL_ECR", &moto.url);
    serving.envs(CREDENTIALS);
    Process::start(serving)
}

/// The command for a catalog in this process.
fn verify(python: &str, path: &str, catalog: &Process, moto: &Moto, timeout: &str) -> Command {
    let mut command = Command::new(python);
    command
        .env_clear()
        .env("PATH", path)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(CREDENTIALS)
        .args([SCRIPT, &catalog.url, "--region", REGION, "--ecr-endpoint", &moto.url])
        .args(["--timeout", timeout])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Starts an Amazon ECR Public whose calls are recorded in a catalog. Returns its address.
fn ecr_public(python: &str, catalog: &Process) -> (String, KilledOnDrop) {
    let port = free_port();
    let events = format!("{}/events/ecr", catalog.url);
    let mut command = Command::new(python);
    command.args([ECR_PUBLIC, &port.to_string(), &events]).env_clear();
    let process = KilledOnDrop(command.spawn().unwrap());
    wait_until("ECR Public", START_LIMIT, || TcpStream::connect(("127.0.0.1", port)).is_ok());
    (format!("http://127.0.0.1:{port}"), process)
}

/// An event of Amazon ECR about the image of the script, as of now.
fn event(repository: &str, digest: &str, action: &str) -> String {
    let mut event: Value =
        serde_json::from_str(&pushed(repository, digest, Some("verify"))).unwrap();
    event["detail"]["action-type"] = json!(action);
    event["time"] = json!(catalog::Timestamp::now());
    event.to_string()
}

/// The images in moto, each as its repository and its digest.
async fn images(moto: &Moto) -> Vec<(String, String)> {
    let ask = async |operation: &str, request: Value| -> Value {
        let asked = reqwest::Client::new()
            .post(&moto.url)
            .header("x-amz-target", format!("AmazonEC2ContainerRegistry_V20150921.{operation}"))
            // moto finds the service in it.
            .header("authorization", "AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/ecr/x");
        asked.body(request.to_string()).send().await.unwrap().json().await.unwrap()
    };
    let mut images = Vec::new();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let listed = ask("DescribeRepositories", json!({})).await;
    for repository in listed["repositories"].as_array().unwrap() {
        let name = text(&repository["repositoryName"]);
        let described = ask("DescribeImages", json!({ "repositoryName": name })).await;
        let digests = described["imageDetails"].as_array().into_iter().flatten();
        images.extend(digests.map(|image| (name.clone(), text(&image["imageDigest"]))));
    }
    images
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_asks_with_every_client_and_prints_what_differs() {
    let test = "verify_asks_with_every_client_and_prints_what_differs";
    let (Some(python), Some(_), Some(moto)) = (
        require(test, tools().join("python/bin/python3")),
        require(test, "/usr/bin/curl"),
        Moto::start(test),
    ) else {
        return;
    };
    let catalog = serve(test, &moto);
    let path = format!("{}:/usr/bin:/bin", python.parent().unwrap().display());
    let python = python.to_str().unwrap();
    let (public_url, _public) = ecr_public(python, &catalog);
    let mut command = verify(python, &path, &catalog, &moto, "60");
    command.args(["--ecr-public", "--ecr-public-endpoint", &public_url]);
    let child = command.spawn().unwrap();

    let deliver = async |event: String| {
        let request = catalog.http.post(format!("{}/events/ecr", catalog.url)).body(event);
        request.send().await.unwrap().error_for_status().unwrap();
    };
    eventually("the image", async || !images(&moto).await.is_empty()).await;
    let (repository, digest) = images(&moto).await.remove(0);
    deliver(event(&repository, &digest, "PUSH")).await;
    // Every client asks before.
    let answered = Duration::from_mins(4);
    eventually_within(answered, "the deletion", async || images(&moto).await.is_empty()).await;
    deliver(event(&repository, &digest, "DELETE")).await;

    let output = tokio::task::block_in_place(|| child.wait_with_output()).unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    // moto has no imageStatus, and does not apply the filter UNTAGGED.
    let of_moto = |client: &str| {
        let status =
            r#"         imageDetails[0].imageStatus: Amazon ECR absent, the catalog "ACTIVE""#;
        let differs = |what: &str| format!("differs  {client}: DescribeImages, {what}");
        let mut lines = Vec::new();
        for what in ["all images", "the image of a tag", "the image of a digest"] {
            lines.extend([differs(what), status.to_owned()]);
        }
        lines.push(format!("same     {client}: DescribeImages, a tag that is not there"));
        if client != "curl /DescribeImages" {
            lines.extend(of_the_repository(client));
        }
        lines.extend([differs("tagged images"), status.to_owned()]);
        let unfiltered = "         imageDetails: Amazon ECR […], the catalog []";
        lines.extend([differs("untagged images"), unfiltered.to_owned()]);
        if client != "curl /DescribeImages" {
            lines.push(format!("same     {client}: ListImages, the ids of all images"));
        }
        lines
    };
    let of_public = |client: &str| {
        let mut lines = Vec::new();
        for what in
            ["all images", "the image of a tag", "the image of a digest", "a tag that is not there"]
        {
            lines.push(format!("same     {client}: DescribeImages, {what}"));
        }
        if client != "curl /DescribeImages" {
            lines.extend(of_the_repository(client));
        }
        lines
    };
    const CLIENTS: [&str; 4] = ["aws", "boto3", "curl /", "curl /DescribeImages"];
    let known = "after N s the catalog has the repository, the image and its size";
    let deleted = "after N s the catalog has deleted the image";
    let mut expected = vec![format!("pushed {digest} to {repository}:verify in Amazon ECR")];
    expected.push(known.to_owned());
    expected.extend(CLIENTS.iter().flat_map(|client| of_moto(client)));
    expected.push(deleted.to_owned());
    expected.push("pushed to Amazon ECR Public".to_owned());
    expected.push(known.to_owned());
    expected.extend(CLIENTS.iter().flat_map(|client| of_public(client)));
    expected.push(deleted.to_owned());
    expected.push("20 answers differ".to_owned());
    let printed: Vec<String> = printed.lines().map(without_values).collect();
    assert_eq!(printed, expected);
    assert_eq!(moto.aws(&["ecr", "describe-repositories"])["repositories"], json!([]));
}

fn of_the_repository(client: &str) -> [String; 2] {
    ["the repository", "a repository that is not there"]
        .map(|what| format!("same     {client}: DescribeRepositories, {what}"))
}

/// A catalog that gets no events, with AWS CLI 2 and without boto3.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_reports_events_that_do_not_come() {
    let test = "verify_reports_events_that_do_not_come";
    let (Some(_), Some(_), Some(_), Some(moto)) = (
        require(test, "/usr/bin/aws"),
        require(test, "/usr/bin/python3"),
        require(test, "/usr/bin/curl"),
        Moto::start(test),
    ) else {
        return;
    };
    let catalog = serve(test, &moto);
    let mut command = verify("/usr/bin/python3", "/usr/bin:/bin", &catalog, &moto, "0");
    let output = tokio::task::block_in_place(|| command.output()).unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    for line in [
        "skipped  boto3: No module named 'boto3'",
        "after 0 s the catalog still has not the repository, the image and its size",
        "differs  aws: DescribeImages, all images",
        "differs  aws: DescribeRepositories, the repository",
        "differs  curl /: ListImages, the ids of all images",
        "differs  curl /DescribeImages: DescribeImages, the image of a tag",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line}: {printed}");
    }
    assert!(printed.contains("RepositoryNotFoundException"), "{printed}");
    assert_eq!(moto.aws(&["ecr", "describe-repositories"])["repositories"], json!([]));
}

/// A line without its duration, and without the image in it.
fn without_values(line: &str) -> String {
    if line.starts_with("pushed ") && line.ends_with(" in Amazon ECR Public") {
        return "pushed to Amazon ECR Public".to_owned();
    }
    if let Some((_, rest)) = line.strip_prefix("after ").and_then(|rest| rest.split_once(" s ")) {
        return format!("after N s {rest}");
    }
    match (line.find('[').filter(|_| line.contains("ECR [{")), line.find("}], ")) {
        (Some(start), Some(end)) => format!("{}[…]{}", &line[..start], &line[end + 2..]),
        _ => line.to_owned(),
    }
}

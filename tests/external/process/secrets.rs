//! Secrets: they are in no log, and other users cannot read their files.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use end_to_end::harness::responder::{Responder, response};
use end_to_end::harness::{Process, command, eventually, print};
use serde_json::json;

use super::{folder, refused_start, run};

#[tokio::test]
async fn the_log_contains_no_secret_and_no_control_character() {
    let registry = Responder::start(|request| {
        if request.contains("/token") {
            response("200 OK", "", r#"{"token":"secret-of-the-registry"}"#)
        } else if request.contains("authorization: Bearer secret-of-the-registry") {
            response("404 Not Found", "", "")
        } else {
            let host = request.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
            let realm = format!("www-authenticate: Bearer realm=\"http://{host}/token\"\r\n");
            response("401 Unauthorized", &realm, "")
        }
    })
    .await;
    let folder = folder("secrets");
    let callers = folder.join("callers.json");
    fs::write(
        &callers,
        json!([{
            "accessKeyId": "AKIDEXAMPLE", "secretAccessKey": "secret-key",
            "sessionToken": "secret-session", "arn": "arn:aws:iam::123456789012:user/reader",
        }])
        .to_string(),
    )
    .unwrap();
    let subscriptions = folder.join("subscriptions.json");
    let subscription = json!([{
        "id": "quay", "source": "quay", "registryId": "123456789012",
        "credential": { "bearer": "secret-of-the-webhook" },
        "registryUrl": registry.url(),
        "registryCredential": { "username": "robot", "password": "secret-password" },
    }]);
    fs::write(&subscriptions, subscription.to_string()).unwrap();
    let mut command = command(&folder);
    command.args(["--data", "data", "--callers"]).arg(&callers);
    command.arg("--subscriptions").arg(&subscriptions).env("RUST_LOG", "trace");
    let process = Process::start(command);

    let event = r#"{"repository":"team/app\u001b[31m","updated_tags":["v1"]}"#;
    for (path, body) in [
        (
            "/events/quay?token=secret-of-the-webhook",
            r#"{"repository":"a/b","updated_tags":["v1"]}"#,
        ),
        ("/events/quay?token=secret-of-the-webhook", event),
        ("/events/quay?token=secret-guess", event),
        ("/events/%1b%5b31m?token=secret-of-the-webhook", event),
        ("/", r#"{"repositoryName":"team/app"}"#),
    ] {
        let mut request = process.http.post(format!("{}{path}", process.url)).body(body);
        if path == "/" {
            request = request
                .header("x-amz-target", "AmazonEC2ContainerRegistry_V20150921.DescribeImages")
                .header("x-amz-security-token", "secret-session")
                .header("x-amz-date", "20260101T000000Z")
                .header(
                    "authorization",
                    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/ecr/aws4_request, \
                     SignedHeaders=host;x-amz-date;x-amz-security-token;x-amz-target, \
                     Signature=secret-signature",
                );
        }
        let status = request.send().await.unwrap().status();
        assert!(!status.is_server_error(), "{path}: {status}");
    }
    let has_token = || registry.requests().iter().any(|request| request.contains("/token"));
    eventually("the token", async || has_token()).await;
    let looked_up = async || process.log().contains("the manifest was not found");
    eventually("the lookup", looked_up).await;
    let log = process.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("secret-")).collect();
    assert!(lines.is_empty(), "{lines:#?}");
    // Basic authentication has the password in base64.
    let password = aws_smithy_types::base64::encode("robot:secret-password");
    assert!(!log.contains(&password));
    assert!(!log.chars().any(|character| character.is_control() && character != '\n'), "{log}");
    assert_eq!(log.matches("refused a delivery").count(), 2, "{log}");
}

/// It is neither in the error nor in the greeting.
#[test]
fn a_user_in_a_url_is_refused_and_not_repeated() {
    let folder = folder("user_in_a_url");
    let url = "http://user:secret-password@127.0.0.1:9";
    let refused: [(&[&str], Option<&str>, i32); 10] = [
        (&["--registry-url", url], None, 2),
        (&["reconcile", "--from", url], None, 2),
        (&["ls", "--endpoint", url], None, 2),
        (&["aws-config", "--endpoint", url], None, 2),
        (&["--listen", "127.0.0.1:0"], Some("AWS_ENDPOINT_URL_DYNAMODB"), 1),
        (&["ls"], Some("AWS_ENDPOINT_URL"), 1),
        (&["reconcile", "--from", "ecr"], Some("AWS_ENDPOINT_URL_ECR"), 1),
        (&["--listen", "127.0.0.1:0", "--ecr-lookups"], Some("AWS_ENDPOINT_URL"), 1),
        (&["reconcile", "--from", "ecr-public"], Some("AWS_ENDPOINT_URL_ECR_PUBLIC"), 1),
        (&["keys", "list", "--secret", "keys"], Some("AWS_ENDPOINT_URL_SECRETS_MANAGER"), 1),
    ];
    for (arguments, variable, code) in refused {
        let variable = variable.map(|name| (name, url));
        let output = run(command(&folder).args(arguments).envs(variable));
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(output.stdout.is_empty() && !error.contains("secret-"), "{arguments:?}: {error}");
        assert!(error.contains("must not contain a user"), "{arguments:?}: {error}");
        assert!(error.ends_with('\n'), "{arguments:?}: {error}");
    }
    // This is no URL of a host.
    let without_scheme = "user:secret-password@127.0.0.1:9";
    let output = run(command(&folder).args(["--registry-url", without_scheme]));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("must not contain a user") && !error.contains("secret-"), "{error}");
    for (arguments, variable) in [
        (["reconcile", "--from", "ecr"], "AWS_ENDPOINT_URL_ECR"),
        (["--listen", "127.0.0.1:0", "--ecr-lookups"], "AWS_ENDPOINT_URL_DYNAMODB"),
    ] {
        let output = run(command(&folder).args(arguments).env(variable, without_scheme));
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{variable}: {error}");
        assert!(error.contains("it is not an http or https URL"), "{variable}: {error}");
        assert!(!error.contains("secret-"), "{variable}: {error}");
    }
    // This contains no user.
    let url = "http://127.0.0.1:9/a@b";
    let error = refused_start(&folder, command(&folder).args(["ls", "--endpoint", url]));
    assert!(error.contains(&format!("no response from {url}")), "{error}");
    // The engine of the options is not that of AWS, whatever the SDK is to ignore.
    let mut command = command(&folder);
    command.args(["--listen", "127.0.0.1:0"]).env("AWS_ENDPOINT_URL_DYNAMODB", url);
    command.env("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true");
    command.env("AWS_REGION", "us-east-1").env("AWS_MAX_ATTEMPTS", "1");
    command.envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")]);
    let error = refused_start(&folder, &mut command);
    assert!(error.contains(&format!("image-catalog in the DynamoDB at {url}: ")), "{error}");
    assert!(error.contains("Connection refused"), "{error}");
}

#[tokio::test]
async fn other_users_cannot_read_the_data_or_are_reported() {
    let folder = folder("permissions");
    let mut process = Process::start_with_data(&folder);
    process.push("team/app", 1, "v1").await;
    let data = folder.join("work/data");
    let files = || fs::read_dir(&data).unwrap().map(|file| file.unwrap().path());
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(data.clone()), 0o700);
    for file in files() {
        assert_eq!(mode(file.clone()), 0o600, "{}", file.display());
    }
    assert!(!process.log().contains("other users"), "{}", process.log());
    process.stop();
    for file in files() {
        fs::set_permissions(file, Permissions::from_mode(0o644)).unwrap();
    }
    let process = Process::start_with_data(&folder);
    for file in ["catalog.sqlite", "page-token-keys"] {
        let warning =
            format!("other users may read or change data/{file}: its permissions are 644");
        assert!(process.log().contains(&warning), "{}", process.log());
    }
}

/// As Kubernetes gives a secret to the group of a pod.
#[test]
fn the_owner_of_a_file_may_give_it_to_the_group_of_the_program() {
    if !rustix::process::geteuid().is_root() {
        print("skipped the_owner_of_a_file_may_give_it_to_the_group_of_the_program: needs root");
        return;
    }
    let folder = folder("permissions_of_group");
    let file = folder.join("work/subscriptions.json");
    fs::write(&file, "[]").unwrap();
    for (owner, mode, is_reported) in
        [(0, 0o600, false), (0, 0o640, true), (1, 0o440, false), (1, 0o460, true), (1, 0o444, true)]
    {
        std::os::unix::fs::chown(&file, Some(owner), None).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let _ = fs::remove_file(folder.join("log"));
        let mut command = command(&folder);
        command.args(["--in-memory", "--subscriptions", "subscriptions.json"]);
        let mut process = Process::start(command);
        process.stop();
        let log = process.log();
        assert_eq!(log.contains("other users"), is_reported, "{owner} {mode:o}: {log}");
    }
}

//! `image-catalog ls`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use end_to_end::harness::responder::{Responder, response};
use end_to_end::harness::{KilledOnDrop, Process, command, digest, push_event, require, sample};
use serde_json::{Value, json};

use super::{files, folder};

const ACCESS_KEY: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", "AKIDREADER"), ("AWS_SECRET_ACCESS_KEY", "the secret of tests")];

/// The exit code, the output and the errors.
type Listed = (Option<i32>, String, String);

fn ls(folder: &Path, arguments: &[&str]) -> Listed {
    ended(command(folder).arg("ls").args(arguments))
}

fn ended(command: &mut Command) -> Listed {
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// What a command that succeeds prints.
fn listed(folder: &Path, arguments: &[&str]) -> String {
    let (code, output, error) = ls(folder, arguments);
    assert_eq!((code, error.as_str()), (Some(0), ""), "{arguments:?}: {output}");
    output
}

/// The error of a command that lists nothing.
fn error(ended: Listed) -> String {
    let (code, output, error) = ended;
    assert_eq!((code, output.as_str()), (Some(1), ""), "{error}");
    error
}

/// A catalog of the directory `data` with images of all kinds.
async fn catalog(folder: &Path) -> Process {
    let process = Process::start_with_data(folder);
    let post = async |path: &str, body: String| {
        let request = process.http.post(format!("{}/events/{path}", process.url)).body(body);
        assert_eq!(request.send().await.unwrap().status(), http::StatusCode::OK);
    };
    for name in [
        "push-manifest-tagged-with-references",
        "push-manifest-by-digest",
        "push-index-tagged",
        "push-index-second-tag",
    ] {
        post("distribution", sample(&format!("cncf-distribution/v2.8-{name}.json"))).await;
    }
    let mut untagged = push_event("team/app", 1, "");
    untagged["detail"]["artifact-media-type"] = json!("application/vnd.oci.image.config.v1+json");
    let mut chart = push_event("team/chart", 2, "v1.0");
    chart["detail"]["artifact-media-type"] = json!("application/vnd.cncf.helm.config.v1+json");
    let created = sample("aws-ecr/cloudtrail-create-repository.json");
    let created = created.replace("us-east-2", "us-east-1").replace("testrepo", "team/empty");
    for event in [untagged.to_string(), chart.to_string(), created] {
        post("ecr", event).await;
    }
    process
}

/// The content of all files of a directory, by their names.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    files(directory).into_iter().map(|file| (file.clone(), fs::read(&file).unwrap())).collect()
}

/// Of a catalog that runs, of its data meanwhile, and of its data afterwards.
#[tokio::test]
async fn repositories_and_images_are_listed_in_columns() {
    let folder = folder("ls");
    let mut process = catalog(&folder).await;
    let requests: [&[&str]; 7] = [
        &[],
        &["team/app"],
        &["team/chart"],
        &["team/app", "--latest"],
        &["team/app", "--tag", "1.*"],
        &["team/app", "--untagged"],
        &["team/empty"],
    ];
    let outputs = |place: [&str; 2]| {
        let outputs = requests.map(|request| {
            let output = listed(&folder, &[request, &place].concat());
            format!("$ {}\n{output}", [&["ls"], request].concat().join(" "))
        });
        outputs.join("\n")
    };
    let running = outputs(["--endpoint", &process.url]);
    insta::assert_snapshot!(running, @r"
    $ ls
    CREATED               NAME
    2026-01-01T00:00:01Z  team/app
    2026-01-01T00:00:02Z  team/chart
    2018-07-11T22:17:43Z  team/empty

    $ ls team/app
    DIGEST                    SIZE  PUSHED                KIND      TAGS
    sha256:2e2ff5b19d32     2.04kB  2026-11-22T00:11:03Z  index     2.0.0,latest
    sha256:62fbf0db6532     2.04kB  2026-11-22T00:11:03Z  image     -
    sha256:63d78890b247     3.04kB  2026-11-22T00:11:03Z  image     1.0.0
    sha256:000000000000          -  2026-01-01T00:00:01Z  image     -

    $ ls team/chart
    DIGEST                    SIZE  PUSHED                KIND      TAGS
    sha256:000000000000          -  2026-01-01T00:00:02Z  artifact  v1.0

    $ ls team/app --latest
    DIGEST                    SIZE  PUSHED                KIND      TAGS
    sha256:2e2ff5b19d32     2.04kB  2026-11-22T00:11:03Z  index     2.0.0,latest

    $ ls team/app --tag 1.*
    DIGEST                    SIZE  PUSHED                KIND      TAGS
    sha256:63d78890b247     3.04kB  2026-11-22T00:11:03Z  image     1.0.0

    $ ls team/app --untagged
    DIGEST                    SIZE  PUSHED                KIND      TAGS
    sha256:62fbf0db6532     2.04kB  2026-11-22T00:11:03Z  image     -
    sha256:000000000000          -  2026-01-01T00:00:01Z  image     -

    $ ls team/empty
    DIGEST                    SIZE  PUSHED                KIND      TAGS
    ");
    assert_eq!(outputs(["--data", "data"]), running, "while it runs");
    process.stop();
    let before = contents(&folder.join("work/data"));
    assert_eq!(outputs(["--data", "data"]), running, "after it has ended");
    assert!(before == contents(&folder.join("work/data")), "{:?}", before.keys());
}

#[tokio::test]
async fn json_is_what_the_api_returns_with_one_item_in_a_line() {
    let folder = folder("ls_json");
    let process = catalog(&folder).await;
    let output = |arguments: &[&str]| {
        listed(&folder, &[arguments, &["-o", "json", "--endpoint", &process.url]].concat())
    };
    let images = process.describe(json!({ "repositoryName": "team/app" })).await.unwrap();
    let text = output(&["team/app"]);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), images["imageDetails"]);
    let lines: Vec<&str> = text.lines().collect();
    let count = images["imageDetails"].as_array().unwrap().len();
    assert_eq!((lines.len(), lines[0], lines[count + 1]), (count + 2, "[", "]"), "{text}");
    for line in &lines[1..=count] {
        serde_json::from_str::<Value>(line.trim_end_matches(',')).unwrap();
    }
    assert_eq!(output(&["team/empty"]), "[]\n");
    let repositories: Value = serde_json::from_str(&output(&[])).unwrap();
    let names = repositories.as_array().unwrap().iter().map(|one| &one["repositoryName"]);
    let names: Vec<&Value> = names.collect();
    assert_eq!(names, ["team/app", "team/chart", "team/empty"]);
    assert_eq!(repositories[0]["registryId"], "123456789012");
}

#[tokio::test]
async fn what_is_not_found_is_an_error_that_names_it() {
    let folder = folder("ls_not_found");
    let process = catalog(&folder).await;
    let error = |arguments: &[&str]| {
        error(ls(&folder, &[arguments, &["--endpoint", &process.url]].concat()))
    };
    insta::assert_snapshot!(
        [
            error(&["team/ap"]),
            error(&["team/app", "--service", "ecr-public"]),
            error(&["team/app", "--registry", "210987654321"]),
            error(&["team/app", "--tag", "v9"]),
            error(&["team/app", "--tag", "v9*"]),
            error(&["team/app", "--tag", "v9*", "-o", "json"]),
            error(&["team/app", "--tag", "v?"]),
            error(&["team/empty", "--latest"]),
            error(&["team/chart", "--latest", "--untagged"]),
        ]
        .concat(),
        @r"
    error: The repository with name 'team/ap' does not exist in the registry with id '123456789012' (RepositoryNotFoundException)
    error: The repository with name 'team/app' does not exist in the registry with id '123456789012' (RepositoryNotFoundException)
    error: The repository with name 'team/app' does not exist in the registry with id '210987654321' (RepositoryNotFoundException)
    error: The image with imageId {imageDigest:'null', imageTag:'v9'} does not exist within the repository with name 'team/app' in the registry with id '123456789012' (ImageNotFoundException)
    error: the repository 'team/app' has no image with a tag like 'v9*'
    error: the repository 'team/app' has no image with a tag like 'v9*'
    error: Invalid parameter at 'imageTag' failed to satisfy constraint: 'must satisfy regular expression '[a-zA-Z0-9-_.]+'' (InvalidParameterException)
    error: the repository 'team/empty' has no images
    error: the repository 'team/chart' has no image without tags
    "
    );
}

#[test]
fn options_that_do_not_fit_are_refused() {
    let folder = folder("ls_options");
    let wrong: [(&[&str], &[&str]); 7] = [
        (&["--latest"], &["<REPOSITORY>", "required"]),
        (&["--untagged"], &["<REPOSITORY>", "required"]),
        (&["team/app", "--tag", "v1", "--untagged"], &["--tag", "cannot be used with"]),
        (&["team/app", "--output", "xml"], &["'xml'", "table, json"]),
        (&["--signing-name", ""], &["--signing-name", "value"]),
        (&["--endpoint", "localhost:5015"], &["'localhost:5015'", "not an http or https URL"]),
        (&["--endpoint", "http://127.0.0.1", "--data", "x"], &["--endpoint", "--data"]),
    ];
    for (options, parts) in wrong {
        let (code, output, error) = ls(&folder, options);
        assert_eq!((code, output.as_str()), (Some(2), ""), "{options:?}: {error}");
        for part in parts {
            assert!(error.contains(part), "{options:?}: {part} is not in: {error}");
        }
    }
}

#[test]
fn nothing_is_created_where_there_is_no_catalog() {
    let folder = folder("ls_nothing");
    let work = folder.join("work");
    let no_catalog = |directory: &str| {
        format!(
            "error: there is no catalog in {}, and AWS_ENDPOINT_URL_DYNAMODB is not set; --data \
             names another directory, and --endpoint a running catalog\n",
            work.join(directory).display()
        )
    };
    assert_eq!(error(ls(&folder, &[])), no_catalog("image-catalog-data"));
    assert_eq!(error(ls(&folder, &["team/app", "--data", "data"])), no_catalog("data"));
    assert!(files(&work).is_empty());
    // Nor in a directory of something else.
    fs::create_dir(work.join("data")).unwrap();
    assert_eq!(error(ls(&folder, &["team/app", "--data", "data"])), no_catalog("data"));
    assert!(files(&work.join("data")).is_empty());
    // Whether there is one is not known.
    fs::write(work.join("file"), "").unwrap();
    let unknown = error(ls(&folder, &["--data", "file"]));
    assert_eq!(unknown, "error: file/catalog.sqlite: Not a directory (os error 20)\n");
}

#[tokio::test]
async fn a_file_that_is_no_catalog_is_left_as_it_is() {
    let folder = folder("ls_foreign");
    let data = folder.join("work/data");
    let file = data.join("catalog.sqlite");
    let make_sqlite = |mode: &str| {
        let other = rusqlite::Connection::open(&file).unwrap();
        other.pragma_update(None, "journal_mode", mode).unwrap();
        other.execute_batch("CREATE TABLE addresses (name TEXT)").unwrap();
    };
    let made: [&dyn Fn(); 4] = [
        &|| fs::write(&file, "").unwrap(),
        &|| fs::write(&file, "no database\n".repeat(100)).unwrap(),
        &|| make_sqlite("DELETE"),
        &|| make_sqlite("WAL"),
    ];
    let dry_run = ["reconcile", "--dry-run", "--from", "http://127.0.0.1:9"];
    for make in made {
        let _ = fs::remove_dir_all(&data);
        fs::create_dir(&data).unwrap();
        make();
        let before = contents(&data);
        for arguments in [&["ls"][..], &dry_run] {
            let error = error(ended(command(&folder).args(arguments).args(["--data", "data"])));
            let expected = "data/catalog.sqlite is not the database of a catalog with the table \
                            image-catalog\n";
            assert!(error.ends_with(expected), "{arguments:?}: {error}");
            assert!(before == contents(&data), "{arguments:?}: {:?}", contents(&data).keys());
        }
    }
    // Nor is a table created.
    fs::remove_dir_all(&data).unwrap();
    catalog(&folder).await.stop();
    let before = contents(&data);
    let other = error(ls(&folder, &["--data", "data", "--table", "other"]));
    assert!(other.ends_with("with the table other\n"), "{other}");
    assert!(before == contents(&data));
}

/// As in a directory that is read-only for the user: a directory has the name of the WAL.
#[tokio::test]
async fn where_sqlite_can_keep_no_files_the_error_says_so() {
    let folder = folder("ls_not_writable");
    catalog(&folder).await.stop();
    let data = folder.join("work/data");
    fs::create_dir(data.join("catalog.sqlite-wal")).unwrap();
    let error = error(ls(&folder, &["--data", "data"]));
    let expected = format!("error: the directory {} and the files in it must be", data.display());
    assert!(error.starts_with(&expected), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_pages_are_listed_with_the_newest_image_first() {
    let folder = folder("ls_pages");
    let process = Process::start_with_data(&folder);
    // Every second one has a tag.
    let events = (0..1500).map(|number| {
        push_event(
            "team/app",
            number,
            &if number % 2 == 0 { format!("v{number}") } else { String::new() },
        )
    });
    let events: Vec<Value> = events.collect();
    for events in events.chunks(100) {
        let request = process.http.post(format!("{}/events/ecr", process.url)).json(events);
        assert_eq!(request.send().await.unwrap().status(), http::StatusCode::OK);
    }
    let digests = |numbers: &mut dyn Iterator<Item = u64>| -> Vec<String> {
        numbers.map(|number| digest(number).to_string()).collect()
    };
    for place in [["--endpoint", &process.url], ["--data", "data"]] {
        let listed = |options: &[&str]| listed(&folder, &[&["team/app"], options, &place].concat());
        let described = |options: &[&str]| -> Vec<String> {
            let images = listed(&[options, &["-ojson"]].concat());
            let images: Value = serde_json::from_str(&images).unwrap();
            let images = images.as_array().unwrap().iter();
            images.map(|image| image["imageDigest"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(described(&[]), digests(&mut (0..1500).rev()));
        let untagged = digests(&mut (0..1500).rev().filter(|number| number % 2 == 1));
        assert_eq!(described(&["--untagged"]), untagged);
        assert_eq!(described(&["--tag", "v1*0"]).len(), 61);
        assert_eq!(described(&["--tag", "v1000"]), digests(&mut [1000].into_iter()));
        assert_eq!(described(&["--tag", "v1*0", "--latest"]), digests(&mut [1490].into_iter()));
        assert_eq!(described(&["--latest"]), digests(&mut [1499].into_iter()));
        let table = listed(&[]);
        assert_eq!(table.lines().count(), 1501);
        let column = table.find("TAGS").unwrap();
        for line in table.lines().skip(1) {
            assert_eq!(&line[column - 2..column], "  ", "{line}");
            assert!(!line[column..].contains(' '), "{line}");
        }
    }
    // One image is read for it.
    let requests = process.log().matches("answered a request").count();
    listed(&folder, &["team/app", "--latest", "--endpoint", &process.url]);
    let log = process.log();
    let line = log.lines().filter(|line| line.contains("answered a request")).nth(requests);
    assert!(line.unwrap().contains("items=1 "), "{line:?}");
    // As in `image-catalog ls … | head -2`.
    for output in ["table", "json"] {
        let mut command = command(&folder);
        command.args(["ls", "team/app", "-o", output, "--endpoint", &process.url]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut child = KilledOnDrop(child);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.next().unwrap().is_ok() && lines.next().unwrap().is_ok());
        drop(lines);
        let mut error = String::new();
        child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
        assert_eq!((child.wait().unwrap().code(), error.as_str()), (Some(0), ""));
    }
}

#[tokio::test]
async fn output_that_cannot_be_written_is_an_error() {
    let folder = folder("ls_full");
    catalog(&folder).await.stop();
    let mut command = command(&folder);
    command.args(["ls", "team/app", "--data", "data"]);
    command.stdout(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    assert_eq!(command.status().unwrap().code(), Some(1));
    let log = fs::read_to_string(folder.join("log")).unwrap();
    assert!(log.ends_with("error: No space left on device (os error 28)\n"), "{log}");
}

/// On a terminal, and not where `NO_COLOR` is set. In a pipe, there is no color.
#[tokio::test]
async fn a_terminal_shows_colors() {
    let Some(script) = require("the colors of a terminal", "script") else { return };
    let folder = folder("ls_colors");
    catalog(&folder).await.stop();
    let on_terminal = |variables: &[(&str, &str)]| {
        let mut program = command(&folder);
        program.args(["ls", "team/app", "--data", "data"]);
        let line = format!("{} ls team/app --data data", program.get_program().display());
        let mut terminal = Command::new(&script);
        terminal.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        terminal.current_dir(program.get_current_dir().unwrap()).stdin(Stdio::null());
        terminal.env_remove("NO_COLOR").env("TERM", "xterm").env("SHELL", "/bin/sh");
        terminal.env("HOME", program.get_current_dir().unwrap());
        let (code, output, error) = ended(terminal.envs(variables.iter().copied()));
        assert_eq!((code, error.as_str()), (Some(0), ""), "{output}");
        output.replace("\r\n", "\n")
    };
    let plain = listed(&folder, &["team/app", "--data", "data"]);
    let colored = on_terminal(&[]);
    insta::assert_snapshot!(colored.replace('\x1b', "␛"), @"
    ␛[1mDIGEST             ␛[0m  ␛[1m     SIZE␛[0m  ␛[1mPUSHED              ␛[0m  ␛[1mKIND    ␛[0m  ␛[1mTAGS␛[0m
    ␛[33msha256:2e2ff5b19d32␛[0m     2.04kB  2026-11-22T00:11:03Z  index     ␛[32m2.0.0,latest␛[0m
    ␛[33msha256:62fbf0db6532␛[0m     2.04kB  2026-11-22T00:11:03Z  image     ␛[2m-␛[0m
    ␛[33msha256:63d78890b247␛[0m     3.04kB  2026-11-22T00:11:03Z  image     ␛[32m1.0.0␛[0m
    ␛[33msha256:000000000000␛[0m          -  2026-01-01T00:00:01Z  image     ␛[2m-␛[0m
    ");
    assert_eq!(without_colors(&colored), plain);
    assert_eq!(on_terminal(&[("NO_COLOR", "1")]), plain);
    assert_eq!(on_terminal(&[("TERM", "dumb")]), plain);
}

/// A text without the sequences of colors.
fn without_colors(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').unwrap().1)
}

#[tokio::test]
async fn requests_are_signed_where_there_are_credentials() {
    let folder = folder("ls_signed");
    let mut process = catalog(&folder).await;
    process.stop();
    let callers = json!([{
        "accessKeyId": "AKIDREADER", "secretAccessKey": "the secret of tests",
        "arn": "arn:aws:iam::123456789012:user/reader",
    }]);
    fs::write(folder.join("work/callers.json"), callers.to_string()).unwrap();
    let mut server = command(&folder);
    server.args(["--data", "data", "--callers", "callers.json", "--region", "eu-central-1"]);
    let process = Process::start(server);
    let ls = |variables: &[(&str, &str)], options: &[&str]| {
        let mut command = command(&folder);
        command.args(["ls", "team/app", "--latest", "--endpoint", &process.url]).args(options);
        ended(command.envs(variables.iter().copied()))
    };
    let region = ["--region", "eu-central-1"];
    let (code, output, log) = ls(&ACCESS_KEY, &region);
    assert_eq!(code, Some(0), "{log}");
    assert!(output.contains("2.0.0,latest"), "{output}");
    let refused = "error: Missing Authentication Token (MissingAuthenticationTokenException)";
    let unsigned = format!("{refused}; no AWS credentials to sign the request with: ");
    let without_credentials = error(ls(&[], &region));
    assert!(without_credentials.starts_with(&unsigned), "{without_credentials}");
    assert_eq!(error(ls(&ACCESS_KEY, &["--no-sign-request"])), format!("{refused}\n"));
    let other_region = error(ls(&ACCESS_KEY, &[]));
    assert!(other_region.contains("a valid region, not 'us-east-1'"), "{other_region}");
    let other_name = error(ls(&ACCESS_KEY, &[&region[..], &["--signing-name", "s3"]].concat()));
    assert!(other_name.contains("'ecr'"), "{other_name}");
    let wrong = error(ls(&[ACCESS_KEY[0], ("AWS_SECRET_ACCESS_KEY", "wrong")], &region));
    assert!(wrong.contains("(InvalidSignatureException)"), "{wrong}");
    assert!(!wrong.contains("the secret of tests"), "{wrong}");
    // The region of the AWS configuration, if there is no option.
    let in_region = [ACCESS_KEY[0], ACCESS_KEY[1], ("AWS_REGION", "eu-central-1")];
    assert_eq!(ls(&in_region, &[]).0, Some(0));
    let given = error(ls(&in_region, &["--region", "us-east-1"]));
    assert!(given.contains("a valid region, not 'us-east-1'"), "{given}");
    fs::create_dir(folder.join("work/.aws")).unwrap();
    fs::write(folder.join("work/.aws/config"), "[default]\nregion = eu-central-1\n").unwrap();
    assert_eq!(ls(&ACCESS_KEY, &[]).0, Some(0));
}

/// With its own service and the region in the host name, except with a key of the catalog's own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_to_api_gateway_are_signed_for_it() {
    let folder = folder("ls_api_gateway");
    let proxy = Responder::start(|_| response("200 OK", "", r#"{"repositories":[]}"#)).await;
    let signed_for = |access_key_id: &str, options: &[&str]| {
        let mut command = command(&folder);
        command.args(["ls", "--endpoint"]);
        command.arg("http://abcdefghij.execute-api.eu-west-3.amazonaws.com").args(options);
        command.envs([ACCESS_KEY[1], ("AWS_ACCESS_KEY_ID", access_key_id)]);
        let (code, _, error) = ended(command.env("http_proxy", proxy.url()));
        assert_eq!(code, Some(0), "{error}");
        let request = proxy.requests().pop().unwrap();
        let (_, scope) = request.split_once("Credential=").unwrap();
        scope.split(',').next().unwrap().splitn(3, '/').nth(2).unwrap().to_owned()
    };
    assert_eq!(signed_for("AKIDREADER", &[]), "eu-west-3/execute-api/aws4_request");
    assert_eq!(signed_for("IMGCREADER", &[]), "us-east-1/ecr/aws4_request");
    let public = ["--service", "ecr-public", "--region", "eu-west-3"];
    assert_eq!(signed_for("IMGCREADER", &public), "eu-west-3/ecr-public/aws4_request");
    let named = signed_for("AKIDREADER", &["--signing-name", "ecr"]);
    assert_eq!(named, "eu-west-3/ecr/aws4_request");
}

/// Where the AWS CLI has it from. An option goes first.
#[tokio::test]
async fn the_endpoint_of_the_aws_configuration_is_used() {
    let folder = folder("ls_endpoint");
    let process = catalog(&folder).await;
    let nobody = "http://127.0.0.1:9";
    let ls = |variables: &[(&str, &str)], options: &[&str]| {
        let mut command = command(&folder);
        ended(command.arg("ls").args(options).envs(variables.iter().copied()))
    };
    let expected = listed(&folder, &["--endpoint", &process.url]);
    let public = ls(&[], &["--service", "ecr-public", "--endpoint", &process.url]).1;
    fs::create_dir(folder.join("work/.aws")).unwrap();
    let profile = format!(
        "[profile catalog]\nservices = catalog\n[services catalog]\n\
         ecr =\n  endpoint_url = {0}\necr_public =\n  endpoint_url = {0}\n",
        process.url
    );
    fs::write(folder.join("work/.aws/config"), profile).unwrap();
    type Found<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str], &'a str);
    let found: [Found<'_>; 9] = [
        (&[("AWS_ENDPOINT_URL", &process.url)], &[], &expected),
        (&[("AWS_ENDPOINT_URL", nobody), ("AWS_ENDPOINT_URL_ECR", &process.url)], &[], &expected),
        (
            &[("AWS_ENDPOINT_URL_ECR", nobody), ("AWS_ENDPOINT_URL_ECR_PUBLIC", &process.url)],
            &["--service", "ecr-public"],
            &public,
        ),
        (&[("AWS_ENDPOINT_URL", &process.url), ("AWS_ENDPOINT_URL_ECR", "")], &[], &expected),
        (&[("AWS_PROFILE", "catalog")], &[], &expected),
        (&[("AWS_PROFILE", "catalog")], &["--service", "ecr-public"], &public),
        (&[("AWS_ENDPOINT_URL", nobody)], &["--endpoint", &process.url], &expected),
        (&[("AWS_ENDPOINT_URL", nobody)], &["--data", "data"], &expected),
        (&[("AWS_ENDPOINT_URL_DYNAMODB", "")], &["--data", "data"], &expected),
    ];
    for (variables, options, expected) in found {
        let (code, output, error) = ls(variables, options);
        assert_eq!((code, output.as_str()), (Some(0), expected), "{variables:?}: {error}");
    }
    // To the AWS CLI, an empty variable is none.
    let none = error(ls(&[("AWS_ENDPOINT_URL", ""), ("AWS_ENDPOINT_URL_DYNAMODB", "")], &[]));
    assert!(none.starts_with("error: there is no catalog in "), "{none}");
    let unavailable = error(ls(&[("AWS_ENDPOINT_URL", nobody)], &[]));
    assert!(
        unavailable.starts_with("error: no response from http://127.0.0.1:9: "),
        "{unavailable}"
    );
    let invalid = error(ls(&[("AWS_ENDPOINT_URL", "127.0.0.1:9")], &[]));
    let reason = "error: the endpoint URL of the AWS configuration is not valid: it is not an http";
    assert!(invalid.starts_with(reason), "{invalid}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_a_catalog_is_named() {
    let folder = folder("ls_no_catalog");
    let error = async |respond: fn(&str) -> String| {
        let server = Responder::start(respond).await;
        let error = error(ls(&folder, &["--endpoint", &server.url()]));
        (error.replace(&server.url(), "URL"), server.requests().len())
    };
    let (page, _) = error(|_| response("200 OK", "", "<!DOCTYPE html>")).await;
    assert!(page.starts_with("error: the response is not that of a catalog: "), "{page}");
    let (missing, requests) = error(|_| response("404 Not Found", "", "<!DOCTYPE html>")).await;
    assert_eq!((missing.as_str(), requests), ("error: the status 404 Not Found\n", 1));
    let (moved, requests) =
        error(|_| response("302 Found", "location: http://127.0.0.1:9/\r\n", "")).await;
    assert_eq!((moved.as_str(), requests), ("error: the status 302 Found\n", 1));
    let escape = |_: &str| response("400 Bad Request", "", r#"{"message":"\u001b[2J"}"#);
    assert_eq!(error(escape).await.0, "error: the status 400 Bad Request: \u{fffd}[2J\n");
    // Of the catalog: a signature would not help. Of API Gateway: it is missing.
    let foreign = |_: &str| response("403 Forbidden", "", r#"{"message":"another host"}"#);
    let foreign = error(foreign).await.0;
    assert_eq!(foreign, "error: the status 403 Forbidden: another host\n");
    let unsigned = |_: &str| response("403 Forbidden", "", r#"{"message":"Forbidden"}"#);
    let unsigned = error(unsigned).await.0;
    let reason = "error: the status 403 Forbidden: Forbidden; no AWS credentials to sign";
    assert!(unsigned.starts_with(reason), "{unsigned}");
    // What may be answered later is requested again.
    let failed = |_: &str| response("503 Service Unavailable", "", "");
    assert_eq!(error(failed).await, ("error: the status 503 Service Unavailable\n".to_owned(), 3));
    let endless = |_: &str| "HTTP/1.1 200 OK\r\n\r\n".to_owned() + &" ".repeat(20 << 20);
    assert_eq!(
        error(endless).await.0,
        "error: the response of URL is longer than those of a catalog\n"
    );
}

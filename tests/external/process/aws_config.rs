//! `image-catalog aws-config`: the files that it writes and removes. With which signature clients
//! send requests then, `endpoint_rules` tests.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use end_to_end::harness::{Ended, KilledOnDrop, command};

use super::folder;

const FILES: [&str; 2] = [
    ".aws/models/ecr/2015-09-21/endpoint-rule-set-1.json",
    ".aws/models/ecr-public/2020-10-30/endpoint-rule-set-1.json",
];

const ENDPOINT: &str = "https://abcdefghij.execute-api.eu-central-1.amazonaws.com/";

/// Runs the command, with the folder `work` as its home directory.
fn aws_config(folder: &Path, options: &[&str]) -> Ended {
    let mut command = command(folder);
    command.arg("aws-config").args(options).env("RUST_LOG", "error");
    let ended = Ended::run(&mut command);
    let log = fs::read_to_string(folder.join("log")).unwrap();
    fs::remove_file(folder.join("log")).unwrap();
    let stdout = ended.stdout.replace(folder.to_str().unwrap(), "");
    // Without the time.
    let stderr = log.split_once(" ERROR ").map_or(log.as_str(), |(_, message)| message);
    let stderr = stderr.trim_start_matches("error: ");
    Ended { stdout, stderr: stderr.replace(folder.to_str().unwrap(), ""), ..ended }
}

/// The files of the home directory, each with its content.
fn contents(folder: &Path) -> [Option<String>; 2] {
    FILES.map(|file| fs::read_to_string(folder.join("work").join(file)).ok())
}

/// The files in the repository, with the catalog's own host name.
fn rule_sets(host: &str) -> [Option<String>; 2] {
    FILES.map(|file| {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/service-model");
        let path = models.join(Path::new(file).strip_prefix(".aws/models").unwrap());
        Some(fs::read_to_string(path).unwrap().replace("catalog.example.com", host))
    })
}

#[test]
fn it_writes_and_removes_the_rule_sets() {
    let folder = folder("aws_config");
    let ended = aws_config(&folder, &["--endpoint", ENDPOINT]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    insta::assert_snapshot!(ended.stdout, @r"
    Wrote /work/.aws/models/ecr/2015-09-21/endpoint-rule-set-1.json
    Wrote /work/.aws/models/ecr-public/2020-10-30/endpoint-rule-set-1.json

    The AWS CLI and boto3 sign requests to this endpoint for API Gateway now:

    aws ecr describe-images --endpoint-url https://abcdefghij.execute-api.eu-central-1.amazonaws.com --repository-name NAME

    To send every request of a shell to it:

    export AWS_ENDPOINT_URL_ECR=https://abcdefghij.execute-api.eu-central-1.amazonaws.com
    export AWS_ENDPOINT_URL_ECR_PUBLIC=https://abcdefghij.execute-api.eu-central-1.amazonaws.com

    Or every request with a profile, in ~/.aws/config:

    [profile image-catalog]
    services = image-catalog

    [services image-catalog]
    ecr =
      endpoint_url = https://abcdefghij.execute-api.eu-central-1.amazonaws.com
    ecr_public =
      endpoint_url = https://abcdefghij.execute-api.eu-central-1.amazonaws.com
    ");
    assert_eq!(contents(&folder), rule_sets("catalog.example.com"));

    // A second time, with other names: the catalog's own.
    for (endpoint, printed, host) in [
        ("https://images.example.org", "https://images.example.org", "images.example.org"),
        ("http://127.0.0.1:5015/path/", "http://127.0.0.1:5015/path", "127.0.0.1:5015"),
        ("https://Images.Example.org:443/", "https://images.example.org", "images.example.org"),
        (
            "https://images.example.org./keys",
            "https://images.example.org/keys",
            "images.example.org",
        ),
        (
            "https://images.example.org.:8443",
            "https://images.example.org:8443",
            "images.example.org:8443",
        ),
        ("https://b\u{fc}cher.example", "https://xn--bcher-kva.example", "xn--bcher-kva.example"),
    ] {
        let ended = aws_config(&folder, &["--endpoint", endpoint]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains("add --region REGION"), "{ended:?}");
        assert_eq!(contents(&folder), rule_sets(host));
        // Clients compare the name as a text.
        assert!(ended.stdout.contains(&format!("--endpoint-url {printed} ")), "{ended:?}");
        let is_changed = endpoint.trim_end_matches('/') != printed;
        assert_eq!(ended.stdout.contains("Write the endpoint as it is here"), is_changed);
    }
    for file in FILES {
        let folder = folder.join("work").join(file);
        let names = fs::read_dir(folder.parent().unwrap()).unwrap();
        let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["endpoint-rule-set-1.json"], "no draft is left");
    }

    // Another model beside it stays.
    let models = folder.join("work/.aws/models");
    fs::write(models.join("ecr/2015-09-21/waiters-2.json"), "{}").unwrap();
    let removed = aws_config(&folder, &["--remove"]);
    assert_eq!((removed.code, removed.stderr.as_str()), (Some(0), ""));
    insta::assert_snapshot!(removed.stdout, @r"
    Removed /work/.aws/models/ecr/2015-09-21/endpoint-rule-set-1.json
    Removed /work/.aws/models/ecr-public/2020-10-30/endpoint-rule-set-1.json
    ");
    assert!(models.join("ecr/2015-09-21/waiters-2.json").exists());
    assert!(!models.join("ecr-public").exists());

    let again = aws_config(&folder, &["--remove"]);
    assert_eq!((again.code, again.stderr.as_str()), (Some(0), ""));
    insta::assert_snapshot!(again.stdout, @r"
    There is no /work/.aws/models/ecr/2015-09-21/endpoint-rule-set-1.json
    There is no /work/.aws/models/ecr-public/2020-10-30/endpoint-rule-set-1.json
    ");
}

/// What cannot be written completely leaves the file as it was.
#[test]
fn a_file_is_replaced_as_a_whole() {
    let folder = folder("aws_config_whole");
    let models = folder.join("work/models of \"this\" user's");
    let options = ["--models", models.to_str().unwrap(), "--endpoint"];
    let installed = aws_config(&folder, &[&options[..], &[ENDPOINT]].concat());
    assert_eq!(installed.code, Some(0), "{installed:?}");
    // A shell that reads the line has the directory.
    let line = installed.stdout.lines().find(|line| line.starts_with("export AWS_DATA_PATH="));
    let line = line.unwrap().replace("/work/", &format!("{}/work/", folder.display()));
    let script = format!("{line}\nprintf %s \"$AWS_DATA_PATH\"");
    let ended = Ended::run(Command::new("/bin/sh").args(["-c", &script]));
    assert_eq!(ended.stdout, models.to_str().unwrap(), "{line}");

    // The file of a link is replaced, not the link.
    let path = models.join("ecr/2015-09-21/endpoint-rule-set-1.json");
    let elsewhere = folder.join("elsewhere.json");
    fs::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    let before = fs::read_to_string(&elsewhere).unwrap();
    let other = "https://images.example.org";
    let written = aws_config(&folder, &[&options[..], &[other]].concat());
    assert_eq!(written.code, Some(0), "{written:?}");
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    let after = fs::read_to_string(&elsewhere).unwrap();
    assert_eq!(after, before.replace("catalog.example.com", "images.example.org"));

    // Where the new file cannot be written, the former one stays.
    fs::remove_file(&path).unwrap();
    fs::write(&path, &before).unwrap();
    symlink("/dev/full", path.with_extension("image-catalog")).unwrap();
    let failed = aws_config(&folder, &[&options[..], &[other]].concat());
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.stderr.contains("No space left on device"), "{failed:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
}

#[test]
fn it_leaves_the_files_of_others() {
    let folder = folder("aws_config_of_others");
    let path = |index: usize| -> PathBuf { folder.join("work").join(FILES[index]) };
    let [Some(ours), _] = rule_sets("catalog.example.com") else { unreachable!() };
    let of_others = [
        "{}".to_owned(),
        String::new(),
        format!("{ours}\n"),
        ours.replace("\"execute-api\"", "\"ecr\""),
        ours.replace("\"catalog.example.com\"", "\"a\", \"b\""),
    ];
    for content in of_others {
        for index in [0, 1] {
            let installed = aws_config(&folder, &["--endpoint", ENDPOINT]);
            assert_eq!(installed.code, Some(0), "{installed:?}");
            fs::write(path(index), &content).unwrap();
            let mut expected = contents(&folder);
            let message = format!(
                "/work/{} is not as this version of image-catalog writes it, and is left as it is; \
                 remove it if you do not need it",
                FILES[index]
            );

            let refused = aws_config(&folder, &["--endpoint", "https://catalog.example.org"]);
            assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""), "{refused:?}");
            assert!(refused.stderr.contains(&message), "{refused:?}");
            assert_eq!(contents(&folder), expected);

            let removed = aws_config(&folder, &["--remove"]);
            assert_eq!(removed.code, Some(1), "{removed:?}");
            assert!(removed.stderr.contains(&message), "{removed:?}");
            expected[1 - index] = None;
            assert_eq!(contents(&folder), expected);
            fs::remove_file(path(index)).unwrap();
        }
    }
}

#[test]
fn endpoints_that_clients_cannot_have_are_refused() {
    let folder = folder("aws_config_endpoints");
    for (options, error) in [
        (&[][..], "the following required arguments were not provided:\n  --endpoint <URL>"),
        (&["--endpoint", "catalog.example.com"], "relative URL without a base"),
        (&["--endpoint", "ftp://catalog.example.com"], "it is not an http or https URL"),
        (&["--endpoint", "https://"], "empty host"),
        (&["--endpoint", "https://user@example.com"], "it must not contain a user"),
        (&["--endpoint", "https://example.com?a"], "it must not contain a query or a fragment"),
        (&["--endpoint", "https://example.com#a"], "it must not contain a query or a fragment"),
        (
            &["--endpoint", ENDPOINT, "--remove"],
            "'--endpoint <URL>' cannot be used with '--remove'",
        ),
    ] {
        let ended = aws_config(&folder, options);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{options:?}: {ended:?}");
        assert!(ended.stderr.contains(error), "{options:?}: {ended:?}");
    }
    assert_eq!(contents(&folder), [None, None]);
}

/// As in `image-catalog aws-config … | head -1`.
#[test]
fn all_files_are_written_where_nobody_reads_the_output() {
    let folder = folder("aws_config_unread");
    let mut command = command(&folder);
    command.args(["aws-config", "--endpoint", ENDPOINT]).stdout(Stdio::piped());
    let mut child = KilledOnDrop(command.spawn().unwrap());
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(fs::read_to_string(folder.join("log")).unwrap(), "");
    assert_eq!(contents(&folder), rule_sets("catalog.example.com"));
}

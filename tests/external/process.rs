//! The program `image-catalog` itself: its options, its signals, its files, and what survives when
//! it is killed.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::{AttributeValue, TimeToLiveSpecification};
use catalog::change::Content;
use catalog::image::{Image, Scan};
use catalog::table::FORMAT;
use catalog::{Change, ChangeKind, Digest, Repository, Table, Tag, Timestamp};
use describe_images::page_token::Keyring;
use end_to_end::harness::{
    DynamoDbLocal, KilledOnDrop, OCI_CONFIGURATION, OCI_IMAGE, OCI_INDEX, OCI_LAYER, Process,
    REGION, REGISTRY, Random, binary, command, digest, print, push_event, repository, require,
    sample, tag, tags_of, time, wait_until, without_aws_configuration,
};
use end_to_end::reference::model;
use serde_json::{Value, json};

/// How long a process may take to end, or to do anything else that is waited for.
const LIMIT: Duration = Duration::from_secs(5);
const OPTIONS: [&str; 13] = [
    "reconcile",
    "replay",
    "--listen",
    "--data",
    "--in-memory",
    "--registry",
    "--region",
    "--callers",
    "--signing-name",
    "--subscriptions",
    "--ask-ecr",
    "--table",
    "--demo",
];

mod options {
    use super::*;

    #[tokio::test]
    async fn the_commands_of_the_greeting_work_as_printed() {
        let mut command = command(&folder("greeting"));
        command.args([
            "--in-memory",
            "--demo",
            "--registry",
            "210987654321",
            "--region",
            "eu-central-1",
        ]);
        let process = Process::start(command);
        assert!(!process.log().contains("WARN"), "{}", process.log());
        let first = process.greeting.lines().next().unwrap();
        for part in [process.url.as_str(), "210987654321", "in memory"] {
            assert!(first.contains(part), "{first} does not name {part}");
        }
        let printed = |program: &str| {
            let of_program = |line: &&str| line.split_whitespace().next() == Some(program);
            process.greeting.lines().find(of_program).unwrap().trim().to_owned()
        };
        let (curl, aws) = (printed("curl"), printed("aws"));
        for (program, line) in [("curl", curl), ("aws", aws)] {
            if require("the commands of the greeting", program).is_none() {
                continue;
            }
            let mut shell = Command::new("sh");
            shell.args(["-c", &line]).env("AWS_PAGER", "");
            without_aws_configuration(&mut shell);
            let output = shell.output().unwrap();
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
            let images = answer["imageDetails"].as_array().unwrap();
            assert_eq!(
                images.len(),
                3,
                "{line}: the demonstration has an index of two images: {answer}"
            );
            assert!(images.iter().all(|image| image["registryId"] == "210987654321"), "{answer}");
        }
    }

    #[tokio::test]
    async fn a_demonstration_fills_an_empty_catalog_only() {
        let folder = folder("demonstration");
        let start = |options: &[&str]| {
            let mut command = command(&folder);
            command.args(["--data", "data"]).args(options);
            Process::start(command)
        };
        let mut process = start(&[]);
        process.push("other/app", 1, "v1").await;
        process.stop();

        let mut process = start(&["--demo"]);
        let error = process.describe(json!({ "repositoryName": "team/app" })).await.unwrap_err();
        assert_eq!(error["__type"], "RepositoryNotFoundException");
        assert_eq!(process.tags("other/app").await, ["v1"]);
        assert!(process.log().contains("the catalog is not empty"), "{}", process.log());
        process.stop();

        fs::remove_dir_all(folder.join("work/data")).unwrap();
        let mut process = start(&["--demo"]);
        let demonstration =
            process.describe(json!({ "repositoryName": "team/app" })).await.unwrap();
        assert_eq!(demonstration["imageDetails"].as_array().unwrap().len(), 3);
        process.stop();
        let process = start(&["--demo"]);
        assert_eq!(
            process.describe(json!({ "repositoryName": "team/app" })).await.unwrap(),
            demonstration
        );
    }

    #[test]
    fn help_lists_the_options() {
        let folder = folder("help");
        let output = run(command(&folder).arg("--help"));
        assert_eq!(output.status.code(), Some(0));
        let help = String::from_utf8(output.stdout).unwrap();
        for part in
            OPTIONS.iter().chain(&["AWS_ENDPOINT_URL_DYNAMODB", "RUST_LOG", "127.0.0.1:5015"])
        {
            assert!(help.contains(part), "the help does not name {part}:\n{help}");
        }
        assert!(files(&folder.join("work")).is_empty());
    }

    #[test]
    fn wrong_options_are_refused() {
        let folder = folder("wrong_options");
        let wrong: [(&[&str], &[&str]); 8] = [
            (&["--registry", "12"], &["--registry", "'12'", "length"]),
            (&["--registry", "12345678901x"], &["--registry", "'12345678901x'", "[0-9]{12}"]),
            (&["--listen", "nonsense"], &["--listen", "'nonsense'", "address"]),
            (&["--in-memory", "--data", "x"], &["--in-memory", "--data"]),
            (&["--data"], &["--data", "value"]),
            (&["--region"], &["--region", "value"]),
            (&["--unknown"], &["--unknown"]),
            (&["argument"], &["'argument'"]),
        ];
        for (options, parts) in wrong {
            let output = run(command(&folder).args(options));
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{options:?}: {error}");
            assert!(output.stdout.is_empty(), "{options:?}");
            for part in parts {
                assert!(error.contains(part), "{options:?}: {part} is not in: {error}");
            }
        }
        assert!(files(&folder.join("work")).is_empty());
    }

    #[test]
    fn a_port_in_use_is_named() {
        let folder = folder("port_in_use");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let output = run(command(&folder).args(["--listen", &address]));
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(&format!("cannot listen on {address}")), "{error}");
        assert!(error.contains("in use"), "{error}");
        assert!(output.stdout.is_empty(), "no greeting");
        assert!(
            files(&folder.join("work")).is_empty(),
            "the data of the other process is left alone"
        );
    }
}

mod replay {
    use super::*;

    fn replay(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output = run(command(folder).args(["replay", "--data", "data"]).args(arguments));
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    #[tokio::test]
    async fn a_file_of_events_is_applied_and_what_cannot_be_is_named() {
        let folder = folder("replay");
        let mut malformed = push_event("team/app", 2, "v2");
        malformed["time"] = json!("yesterday");
        // As they were written by hand, one on several lines, and a list of two.
        let events = format!(
            "{:#}\n{malformed}\n\n{}",
            push_event("team/app", 1, "v1"),
            json!([push_event("team/app", 3, "v3"), push_event("other/app", 4, "v4")])
        );
        fs::write(folder.join("work/events.json"), events).unwrap();
        for _ in 0..2 {
            let (status, said, log) = replay(&folder, &["--file", "events.json"]);
            assert_eq!(status, Some(1), "{log}");
            assert!(said.starts_with("delivery 2: 'time' is not valid: "), "{said}");
            assert!(said.ends_with("\n2 deliveries applied, 1 not applied\n"), "{said}");
            assert!(log.contains("1 deliveries could not be applied"), "{log}");
        }
        let process = Process::start_with_data(&folder);
        let mut tags = process.tags("team/app").await;
        tags.sort();
        assert_eq!(tags, ["v1", "v3"]);
        assert_eq!(process.tags("other/app").await, ["v4"]);
    }

    /// They count as being as old as the file, however often they are applied.
    #[tokio::test]
    async fn events_that_tell_no_time_are_as_old_as_their_file() {
        let folder = folder("replay_times");
        let file = folder.join("work/webhooks.json");
        fs::write(&file, sample("jfrog-artifactory/docker-pushed.json")).unwrap();
        let written = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        fs::File::options().write(true).open(&file).unwrap().set_modified(written).unwrap();
        let repository = "docker-remote-cache/library/ubuntu";
        let pushed_at = async || {
            let process = Process::start_with_data(&folder);
            let described =
                process.describe(json!({ "repositoryName": repository })).await.unwrap();
            described["imageDetails"][0]["imagePushedAt"].clone()
        };
        for _ in 0..2 {
            let (status, said, log) =
                replay(&folder, &["--file", "webhooks.json", "--source", "artifactory"]);
            assert_eq!(
                (status, said.as_str()),
                (Some(0), "1 deliveries applied, 0 not applied\n"),
                "{log}"
            );
            assert_eq!(pushed_at().await, 1_767_225_600.0);
        }
        let earlier = ["--source", "artifactory", "--received-at", "2025-12-31T00:00:00Z"];
        assert_eq!(
            replay(&folder, &[&["--file", "webhooks.json"], &earlier[..]].concat()).0,
            Some(0)
        );
        assert_eq!(pushed_at().await, 1_767_139_200.0);
    }

    #[test]
    fn what_cannot_be_replayed_is_said() {
        let folder = folder("replay_wrong");
        fs::write(folder.join("work/cut.json"), r#"{"detail-type": "ECR"#).unwrap();
        for (arguments, code, part) in [
            // Nothing is taken out of a queue for a catalog that is not there.
            (
                &["--queue", "http://127.0.0.1:9/queue"][..],
                1,
                "there is no catalog in data, and AWS_ENDPOINT_URL_DYNAMODB",
            ),
            (&["--file", "missing.json"], 1, "missing.json: No such file"),
            (&["--file", "cut.json"], 1, "delivery 1 of cut.json: EOF while parsing"),
            (&["--file", "cut.json", "--subscription", "x"], 1, "there is no subscription x"),
            (
                &["--file", "cut.json", "--source", "pigeon"],
                2,
                "the sources are ecr, distribution, harbor",
            ),
            (&["--file", "cut.json", "--received-at", "noon"], 2, "--received-at"),
            (&[], 2, "--file <FILE>"),
        ] {
            let (status, said, log) = replay(&folder, arguments);
            assert_eq!(status, Some(code), "{arguments:?}: {log}");
            assert!(log.contains(part) && said.is_empty(), "{arguments:?}: {log}");
        }
    }
}

mod reconcile {
    use end_to_end::harness::stand_in::{StandIn, digest_of, image_manifest, index_manifest};

    use super::*;

    /// The registry has an index that no item of the table has room for.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_cannot_be_repaired_is_named_and_counted_apart() {
        let folder = folder("not_repaired");
        let huge = index_manifest(1001);
        let registry =
            StandIn::start("team/app", &[("one", image_manifest(1)), ("huge", huge.clone())]).await;
        let difference = format!(
            "{REGISTRY}/team/app: the image {} is there, and what its manifest says",
            digest_of(&huge)
        );
        let failed = format!(
            "not repaired: {difference}: an image has more tags, or lists more manifests, than one DynamoDB item can hold"
        );
        // The repository, an image, and both tags, and then nothing new.
        for repaired in [4, 0] {
            let output = run(command(&folder).args([
                "reconcile",
                "--data",
                "data",
                "--from",
                &registry.url,
            ]));
            let (said, log) =
                (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr));
            assert_eq!(output.status.code(), Some(1), "{said}{log:?}");
            let lines: Vec<&str> = said.lines().collect();
            assert!(
                lines.contains(&difference.as_str()) && lines.contains(&failed.as_str()),
                "{said}"
            );
            let sum =
                format!("1 repositories compared, {repaired} differences repaired, 1 not repaired");
            assert_eq!(lines.last(), Some(&sum.as_str()), "{said}");
            assert!(log.unwrap().contains("1 differences could not be repaired"));
        }
        let process = Process::start_with_data(&folder);
        assert_eq!(process.tags("team/app").await, ["huge", "one"]);
    }
}

mod signals {
    use super::*;

    #[tokio::test]
    async fn requests_under_way_are_answered_after_sigterm() {
        requests_under_way_are_answered("TERM").await;
    }

    #[tokio::test]
    async fn requests_under_way_are_answered_after_sigint() {
        requests_under_way_are_answered("INT").await;
    }

    async fn requests_under_way_are_answered(signal: &str) {
        let folder = folder(&format!("signal_{signal}"));
        let mut process = Process::start_with_data(&folder);
        // None of these may keep the process from ending.
        let silent = TcpStream::connect(process.address()).unwrap();
        let mut idle = TcpStream::connect(process.address()).unwrap();
        idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: catalog\r\n\r\n").unwrap();
        assert!(read_until(&mut idle, "ok\n").starts_with("HTTP/1.1 200 "));

        let event = push_event("team/app", 1, "v1").to_string();
        let describe = json!({ "repositoryName": "team/app" }).to_string();
        let mut event = HalfSent::start(process.address(), "/events/ecr", &event);
        let mut describe = HalfSent::start(process.address(), "/", &describe);

        let signalled = Instant::now();
        process.signal(signal);
        wait_until("new connections to be refused", LIMIT, || {
            TcpStream::connect(process.address()).is_err()
        });
        assert!(
            process.child.try_wait().unwrap().is_none(),
            "the process waits for what is under way"
        );

        assert!(event.finish().starts_with("HTTP/1.1 200 "));
        let described = describe.finish();
        assert!(
            described.starts_with("HTTP/1.1 200 ") && described.contains(r#""imageTags":["v1"]"#),
            "{described}"
        );
        let answered = Instant::now();
        let status = process.ended();
        assert_eq!(status.code(), Some(0), "{}", process.log());
        print(format!(
            "process: SIG{signal}: ended {:.1} ms after the last request under way was \
             answered, {:.1} ms after the signal",
            answered.elapsed().as_secs_f64() * 1000.0,
            signalled.elapsed().as_secs_f64() * 1000.0,
        ));
        drop((silent, idle));

        let process = Process::start_with_data(&folder);
        assert_eq!(process.tags("team/app").await, ["v1"], "the event was applied");
    }

    /// A request of which the process has the head and half the body, and asks for more.
    struct HalfSent {
        stream: TcpStream,
        rest: Vec<u8>,
    }

    impl HalfSent {
        fn start(address: SocketAddr, path: &str, body: &str) -> Self {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(LIMIT)).unwrap();
            let (half, rest) = body.as_bytes().split_at(body.len() / 2);
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: catalog\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\
                 X-Amz-Target: AmazonEC2ContainerRegistry_V20150921.DescribeImages\r\nConnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).unwrap();
            // The process asks for the body once it deals with the request.
            assert!(read_until(&mut stream, "\r\n\r\n").starts_with("HTTP/1.1 100 "));
            stream.write_all(half).unwrap();
            Self { stream, rest: rest.to_vec() }
        }

        fn finish(&mut self) -> String {
            self.stream.write_all(&self.rest).unwrap();
            let mut response = String::new();
            self.stream.read_to_string(&mut response).unwrap();
            response
        }
    }

    fn read_until(stream: &mut TcpStream, end: &str) -> String {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut read = String::new();
        while !read.ends_with(end) {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            read.push(char::from(byte[0]));
        }
        read
    }
}

mod page_tokens {
    use super::*;

    #[tokio::test]
    async fn only_the_owner_can_read_the_keys() {
        let folder = folder("key_file_mode");
        let _process = Process::start_with_data(&folder);
        let mode = |path: &str| {
            fs::metadata(folder.join("work").join(path)).unwrap().permissions().mode() & 0o7777
        };
        assert_eq!(mode("data/page-token-keys"), 0o600);
        assert_eq!(mode("data"), 0o700);
    }

    #[tokio::test]
    async fn tokens_outlive_a_restart_and_a_rotation() {
        let folder = folder("rotation");
        let mut process = Process::start_with_data(&folder);
        for number in 1..=3 {
            process.push("team/app", number, &format!("v{number}")).await;
        }
        let old = first_page(&process).await;
        assert_eq!(page(&process, &old).await.unwrap(), ["v2"]);
        process.stop();

        let mut process = Process::start_with_data(&folder);
        assert_eq!(page(&process, &old).await.unwrap(), ["v2"], "after a restart");
        process.stop();

        let key = fs::read_to_string(key_file(&folder)).unwrap();
        let new_key = Keyring::generate_key().unwrap();
        fs::write(key_file(&folder), format!("{new_key}{key}")).unwrap();
        let mut process = Process::start_with_data(&folder);
        assert_eq!(page(&process, &old).await.unwrap(), ["v2"], "after a new key was put on top");
        let new = first_page(&process).await;
        process.stop();

        fs::write(key_file(&folder), &new_key).unwrap();
        let process = Process::start_with_data(&folder);
        assert_eq!(page(&process, &new).await.unwrap(), ["v2"], "the key on top sealed the token");
        let error = page(&process, &old).await.unwrap_err();
        assert_eq!(error["__type"], "InvalidParameterException", "after the old key was removed");
        assert_eq!(
            error["message"],
            "Invalid parameter at 'nextToken' failed to satisfy constraint: 'Invalid token'"
        );
    }

    #[test]
    fn a_broken_key_file_is_named_and_kept() {
        let folder = folder("broken_keys");
        fs::create_dir_all(key_file(&folder).parent().unwrap()).unwrap();
        let key = Keyring::generate_key().unwrap();
        for text in ["", "\n", "nonsense\n", &key[1..], &format!("{key}{}", &key[1..])] {
            fs::write(key_file(&folder), text).unwrap();
            let output = run(command(&folder).args(["--data", "data", "--listen", "127.0.0.1:0"]));
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{text:?}: {error}");
            assert!(error.contains("data/page-token-keys: "), "{text:?}: {error}");
            assert!(error.contains("64 hexadecimal digits"), "{text:?}: {error}");
            assert!(!error.contains(&key[1..10]), "a key is in the log: {error}");
            assert!(output.stdout.is_empty(), "no greeting");
            assert_eq!(fs::read_to_string(key_file(&folder)).unwrap(), text);
        }
    }

    fn key_file(folder: &Path) -> PathBuf {
        folder.join("work/data/page-token-keys")
    }

    /// The token after a first page of one.
    async fn first_page(process: &Process) -> String {
        let request = json!({ "repositoryName": "team/app", "maxResults": 1 });
        let page = process.describe(request).await.unwrap();
        assert_eq!(page["imageDetails"][0]["imageTags"], json!(["v3"]));
        page["nextToken"].as_str().unwrap().to_owned()
    }

    /// The tags on the page that a token leads to, or the error.
    async fn page(process: &Process, token: &str) -> Result<Vec<String>, Value> {
        let request = json!({ "repositoryName": "team/app", "maxResults": 1, "nextToken": token });
        process.describe(request).await.map(|page| tags_of(&page))
    }
}

mod crashes {
    use super::*;

    /// Kills while events come in.
    const KILLS_UNDER_LOAD: usize = 60;
    /// Kills of a process that has not come up yet, the first of them with nothing on disk.
    const KILLS_WHILE_STARTING: usize = 15;
    const LONGEST_START: u64 = 60;
    const LONGEST_LOAD: u64 = 300;
    const WRITERS: u64 = 4;
    const TAGS: [&str; 4] = ["latest", "v1", "v2", "v3"];
    /// Digests 7 and 8 are indexes.
    const DIGESTS: u64 = 8;

    /// What was answered with success is there after a kill; what was not answered is there wholly
    /// or not at all.
    #[tokio::test]
    async fn nothing_acknowledged_is_lost_and_nothing_is_half_applied() {
        let seed = std::env::var("SEED").map_or_else(
            |_| Timestamp::now().as_milliseconds().unsigned_abs(),
            |seed| seed.parse().unwrap(),
        );
        print(format!("process: kills: SEED={seed}"));
        let folder = folder("kills");
        let start = || {
            let mut command = command(&folder);
            command.args(["--data", "data", "--listen", "127.0.0.1:0"]).env("RUST_LOG", "warn");
            command
        };
        // Building it is not measured.
        binary();
        let mut random = Random(seed);
        let mut writers: Vec<Writer> =
            (0..WRITERS).map(|number| Writer::new(number, random.next())).collect();
        let started = Instant::now();
        let mut kills_while_starting = 0;
        for _ in 0..KILLS_UNDER_LOAD {
            // All at first, when the files are made; later now and then.
            while kills_while_starting < KILLS_WHILE_STARTING / 2
                || (kills_while_starting < KILLS_WHILE_STARTING && random.below(5) == 0)
            {
                let mut child = KilledOnDrop(start().stdout(Stdio::null()).spawn().unwrap());
                tokio::time::sleep(Duration::from_millis(random.below(LONGEST_START))).await;
                child.kill();
                kills_while_starting += 1;
            }
            let mut process = Process::start(start());
            for writer in &mut writers {
                writer.compare(&process, seed).await;
            }
            let working: Vec<_> = writers
                .drain(..)
                .map(|mut writer| {
                    let (http, url) = (process.http.clone(), process.url.clone());
                    tokio::spawn(async move {
                        writer.work(&http, &url).await;
                        writer
                    })
                })
                .collect();
            tokio::time::sleep(Duration::from_millis(random.below(LONGEST_LOAD))).await;
            process.child.kill();
            for writer in working {
                writers.push(writer.await.unwrap());
            }
        }
        let mut process = Process::start(start());
        for writer in &mut writers {
            writer.compare(&process, seed).await;
        }
        process.stop();
        let process = Process::start(start());
        for writer in &mut writers {
            writer.compare(&process, seed).await;
        }
        let sum = |count: fn(&Writer) -> usize| writers.iter().map(count).sum::<usize>();
        print(format!(
            "process: {KILLS_UNDER_LOAD} kills under load and {kills_while_starting} while starting in {:.1} s: \
             {} events, {} acknowledged; of {} unacknowledged {} were found applied, {} not applied, {} make no difference",
            started.elapsed().as_secs_f64(),
            sum(|writer| writer.acknowledged + writer.unacknowledged),
            sum(|writer| writer.acknowledged),
            sum(|writer| writer.unacknowledged),
            sum(|writer| writer.found_applied),
            sum(|writer| writer.found_missing),
            sum(|writer| writer.unacknowledged - writer.found_applied - writer.found_missing),
        ));
        assert!(sum(|writer| writer.acknowledged) > KILLS_UNDER_LOAD, "there was some load");
        assert!(
            sum(|writer| writer.unacknowledged) > KILLS_UNDER_LOAD / 2,
            "the kills came while events did"
        );
    }

    /// An event as it is sent, and what it means.
    #[derive(Clone)]
    struct Event {
        path: &'static str,
        body: Value,
        change: Change,
    }

    /// Sends events about repositories of its own, one after the other, each later than the last.
    struct Writer {
        random: Random,
        milliseconds: i64,
        repositories: Vec<Known>,
        /// What was on its way when the process died.
        unknown: Option<Event>,
        /// To be sent before anything else.
        repeated: Option<Event>,
        acknowledged: usize,
        unacknowledged: usize,
        found_applied: usize,
        found_missing: usize,
    }

    /// A repository, and what certainly happened to it.
    struct Known {
        repository: Repository,
        changes: Vec<Change>,
    }

    impl Writer {
        fn new(number: u64, seed: u64) -> Self {
            let known = |source| Known {
                repository: repository(&format!("writer-{number}/{source}")),
                changes: Vec::new(),
            };
            Self {
                random: Random(seed),
                milliseconds: 0,
                repositories: vec![known("ecr"), known("distribution")],
                unknown: None,
                repeated: None,
                acknowledged: 0,
                unacknowledged: 0,
                found_applied: 0,
                found_missing: 0,
            }
        }

        /// Sends events until the process is gone.
        async fn work(&mut self, http: &reqwest::Client, url: &str) {
            loop {
                let event = match self.repeated.take() {
                    Some(event) => event,
                    None => self.event(),
                };
                match http.post(format!("{url}{}", event.path)).json(&event.body).send().await {
                    Ok(response) => {
                        let status = response.status();
                        let report = response.text().await.unwrap_or_default();
                        assert!(status.is_success(), "{status} {report} for {}", event.body);
                        if let Ok(report) = serde_json::from_str::<Value>(&report) {
                            assert_eq!(report["applied"], 1, "{report} for {}", event.body);
                        }
                        self.acknowledged += 1;
                        self.known(&event).changes.push(event.change);
                    }
                    // It was never sent.
                    Err(error) if error.is_connect() => return,
                    Err(_) => {
                        self.unacknowledged += 1;
                        self.unknown = Some(event);
                        return;
                    }
                }
            }
        }

        /// Holds what the catalog says against everything that was acknowledged, with or without
        /// the event of which it is not known.
        async fn compare(&mut self, process: &Process, seed: u64) {
            let unknown = self.unknown.take();
            for known in &mut self.repositories {
                let listed = list(&process, &known.repository).await;
                let without = expected(&known.repository, &known.changes);
                let Some(event) =
                    unknown.as_ref().filter(|event| event.change.repository == known.repository)
                else {
                    assert_eq!(listed, without, "SEED={seed}: {}", known.repository);
                    continue;
                };
                known.changes.push(event.change.clone());
                let with = expected(&known.repository, &known.changes);
                if event.change.kind == ChangeKind::RepositoryDeleted {
                    // It takes effect image by image, and is to be sent until it is acknowledged.
                    let left = listed.unwrap_or_default();
                    let before = without.unwrap_or_default();
                    assert!(
                        left.iter().all(|image| before.contains(image)),
                        "SEED={seed}: {left:#?}"
                    );
                    assert_eq!(
                        send_again(process, event).await,
                        with,
                        "SEED={seed}: after {}",
                        event.body
                    );
                    self.found_applied += usize::from(left.is_empty());
                    self.found_missing +=
                        usize::from(left.len() == before.len() && !before.is_empty());
                } else if without_index_sizes(&with) == without_index_sizes(&without) {
                    assert_eq!(
                        without_index_sizes(&listed),
                        without_index_sizes(&with),
                        "SEED={seed}: {}",
                        known.repository
                    );
                    // What comes later may depend on it.
                    assert_eq!(
                        send_again(process, event).await,
                        with,
                        "SEED={seed}: after {}",
                        event.body
                    );
                } else if listed == with {
                    self.found_applied += 1;
                    self.repeated = Some(event.clone()).filter(|_| self.random.below(2) == 0);
                } else if listed == without {
                    self.found_missing += 1;
                    known.changes.pop();
                    self.repeated = Some(event.clone()).filter(|_| self.random.below(2) == 0);
                } else if without_index_sizes(&listed) == without_index_sizes(&with) {
                    // The indexes that list a manifest are told its size once it is there.
                    self.found_applied += 1;
                    assert_eq!(
                        send_again(process, event).await,
                        with,
                        "SEED={seed}: after {}",
                        event.body
                    );
                } else {
                    panic!(
                        "SEED={seed}: {} is {listed:#?}\nneither with {} {with:#?}\nnor without it {without:#?}",
                        known.repository, event.body
                    );
                }
            }
        }

        fn known(&mut self, event: &Event) -> &mut Known {
            let is_same = |known: &&mut Known| known.repository == event.change.repository;
            self.repositories.iter_mut().find(is_same).unwrap()
        }

        /// The next event.
        fn event(&mut self) -> Event {
            self.milliseconds += 1 + i64::try_from(self.random.below(2_000)).unwrap();
            let random = &mut self.random;
            let at = time(self.milliseconds);
            let from_ecr = random.below(2) == 0;
            let repository = self.repositories[usize::from(!from_ecr)].repository.clone();
            let (body, kind) = if from_ecr {
                ecr_event(random, &repository, at)
            } else {
                notification(random, &repository, at)
            };
            let path = if from_ecr { "/events/ecr" } else { "/events/distribution" };
            Event { path, body, change: Change { repository, time: at, kind } }
        }
    }

    /// Sends an event once more, and lists its repository then.
    async fn send_again(process: &Process, event: &Event) -> Option<Vec<Value>> {
        let url = format!("{}{}", process.url, event.path);
        let status = process.http.post(url).json(&event.body).send().await.unwrap().status();
        assert!(status.is_success(), "{status} for {}", event.body);
        list(&process, &event.change.repository).await
    }

    /// A list of images without the sizes of its indexes.
    fn without_index_sizes(images: &Option<Vec<Value>>) -> Option<Vec<Value>> {
        let mut images = images.clone();
        for image in images.iter_mut().flatten().filter_map(Value::as_object_mut) {
            if image.get("imageManifestMediaType").is_some_and(|media_type| media_type == OCI_INDEX)
            {
                image.remove("imageSizeInBytes");
            }
        }
        images
    }

    fn any_digest(random: &mut Random) -> Digest {
        digest(1 + random.below(DIGESTS))
    }

    fn any_tag(random: &mut Random) -> Tag {
        tag(TAGS[usize::try_from(random.below(4)).unwrap()])
    }

    fn ecr_event(
        random: &mut Random,
        repository: &Repository,
        at: Timestamp,
    ) -> (Value, ChangeKind) {
        let name = repository.name.as_str();
        let (digest, tag) = (any_digest(random), any_tag(random));
        let action = |action: &str, members: Value| {
            let mut detail = json!({
                "result": "SUCCESS",
                "repository-name": name,
                "image-digest": digest,
                "action-type": action
            });
            detail.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
            event_bridge_event("ECR Image Action", at, &detail)
        };
        let record = |event: &str| {
            json!({
                "eventSource": "ecr.amazonaws.com",
                "eventName": event,
                "eventTime": at,
                "awsRegion": REGION,
                "recipientAccountId": REGISTRY,
                "requestParameters": { "repositoryName": name }
            })
        };
        match random.below(21) {
            0..10 => {
                let tag = Some(tag).filter(|_| random.below(5) > 0);
                let content = if random.below(2) == 0 {
                    Content::default()
                } else {
                    Content {
                        manifest_media_type: Some(OCI_IMAGE.to_owned()),
                        artifact_media_type: Some(OCI_CONFIGURATION.to_owned()),
                        ..Content::default()
                    }
                };
                let mut members = json!({ "image-tag": tag.as_ref().map_or("", Tag::as_str) });
                if content != Content::default() {
                    members["manifest-media-type"] = json!(content.manifest_media_type);
                    members["artifact-media-type"] = json!(content.artifact_media_type);
                }
                (
                    action("PUSH", members),
                    ChangeKind::ImagePushed { digest: digest.clone(), tag, content },
                )
            }
            10..14 => (
                action("DELETE", json!({ "image-tag": tag })),
                ChangeKind::ImageUntagged { digest: digest.clone(), tag },
            ),
            14 | 15 => {
                (action("DELETE", json!({})), ChangeKind::ImageDeleted { digest: digest.clone() })
            }
            16 => (
                action("UPDATE_STORAGE_CLASS", json!({ "target-storage-class": "ARCHIVE" })),
                ChangeKind::ImageArchived { digest: digest.clone() },
            ),
            17 => (
                action("UPDATE_STORAGE_CLASS", json!({ "target-storage-class": "STANDARD" })),
                ChangeKind::ImageRestored { digest: digest.clone(), activated_at: at },
            ),
            18 => {
                let high = i64::try_from(random.below(9)).unwrap();
                let detail = json!({
                    "scan-status": "COMPLETE",
                    "repository-name": name,
                    "image-digest": digest,
                    "finding-severity-counts": { "HIGH": high },
                    "image-tags": []
                });
                let scan = Scan {
                    status: "COMPLETE".to_owned(),
                    finding_severity_counts: Some([("HIGH".to_owned(), high)].into()),
                    completed_at: at,
                };
                let event = event_bridge_event("ECR Image Scan", at, &detail);
                (event, ChangeKind::ImageScanned { digest: digest.clone(), scan })
            }
            19 => (record("DeleteRepository"), ChangeKind::RepositoryDeleted),
            _ => (record("CreateRepository"), ChangeKind::RepositoryCreated),
        }
    }

    fn notification(
        random: &mut Random,
        repository: &Repository,
        at: Timestamp,
    ) -> (Value, ChangeKind) {
        let name = repository.name.as_str();
        let number = 1 + random.below(DIGESTS);
        let (digest, tag) = (digest(number), any_tag(random));
        let notification = |action: &str, target: Value| {
            let mut target = target;
            target["repository"] = json!(name);
            json!({ "events": [{ "timestamp": at, "action": action, "target": target }] })
        };
        let media_type = if number > 6 { OCI_INDEX } else { OCI_IMAGE };
        match random.below(20) {
            0..14 => {
                let tag = Some(tag).filter(|_| random.below(5) > 0);
                let mut content = Content {
                    manifest_media_type: Some(media_type.to_owned()),
                    ..Content::default()
                };
                let mut target = json!({ "mediaType": media_type, "digest": digest, "size": 500 });
                if let Some(tag) = &tag {
                    target["tag"] = json!(tag);
                }
                let reference = |media_type: &str, size: u64, digest: &Digest| {
                    let mut reference = json!({ "mediaType": media_type, "size": size });
                    reference["digest"] = json!(digest);
                    reference
                };
                match number {
                    7 | 8 => {
                        let manifests = if number == 7 { 1..=3 } else { 4..=5 };
                        let manifests: Vec<Digest> = manifests.map(super::digest).collect();
                        target["references"] = manifests
                            .iter()
                            .map(|digest| reference(OCI_IMAGE, 500, digest))
                            .collect();
                        content.manifests = Some(manifests);
                    }
                    // Now and then a notification tells nothing of what is in the image.
                    _ if random.below(4) > 0 => {
                        target["references"] = json!([
                            reference(OCI_CONFIGURATION, 1_000 * number, &digest),
                            reference(OCI_LAYER, number, &digest)
                        ]);
                        content.artifact_media_type = Some(OCI_CONFIGURATION.to_owned());
                        content.size_in_bytes = i64::try_from(1_001 * number).ok();
                    }
                    _ => {}
                }
                (notification("push", target), ChangeKind::ImagePushed { digest, tag, content })
            }
            14 | 15 => (
                notification("pull", json!({ "mediaType": media_type, "digest": digest })),
                ChangeKind::ImagePulled { digest },
            ),
            16 | 17 => (
                notification("delete", json!({ "digest": digest })),
                ChangeKind::ImageDeleted { digest },
            ),
            _ => (notification("delete", json!({ "tag": tag })), ChangeKind::TagDeleted { tag }),
        }
    }

    /// What the catalog should list after these changes; nothing if the repository does not exist.
    fn expected(repository: &Repository, changes: &[Change]) -> Option<Vec<Value>> {
        let images = model::fold(changes)?;
        Some(images.iter().map(|image| detail(repository, image)).collect())
    }

    /// An image as the private service writes it, but for times, which are in milliseconds.
    fn detail(repository: &Repository, image: &Image) -> Value {
        let milliseconds = |time: Timestamp| json!(time.as_milliseconds());
        let tags = (!image.image_tags.is_empty()).then(|| json!(image.image_tags));
        let scan_status = image.scan.as_ref().map(|scan| json!({ "status": scan.status }));
        let scan_summary = image.scan.as_ref().map(|scan| {
            json!({
                "imageScanCompletedAt": milliseconds(scan.completed_at),
                "findingSeverityCounts": scan.finding_severity_counts
            })
        });
        let members = [
            ("registryId", Some(json!(REGISTRY))),
            ("repositoryName", Some(json!(repository.name.as_str()))),
            ("imageDigest", Some(json!(image.image_digest))),
            ("imageTags", tags),
            ("imageSizeInBytes", image.image_size_in_bytes.map(|size| json!(size))),
            ("imagePushedAt", Some(milliseconds(image.image_pushed_at))),
            ("imageStatus", Some(json!(image.image_status.as_str()))),
            (
                "imageManifestMediaType",
                image.image_manifest_media_type.as_ref().map(|kind| json!(kind)),
            ),
            ("artifactMediaType", image.artifact_media_type.as_ref().map(|kind| json!(kind))),
            ("imageScanStatus", scan_status),
            ("imageScanFindingsSummary", scan_summary),
            ("lastRecordedPullTime", image.last_recorded_pull_time.map(milliseconds)),
            ("lastArchivedAt", image.last_archived_at.map(milliseconds)),
            ("lastActivatedAt", image.last_activated_at.map(milliseconds)),
        ];
        let present =
            members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Value::Object(present.collect())
    }

    /// All images of a repository with times in milliseconds; nothing if it does not exist.
    async fn list(process: &Process, repository: &Repository) -> Option<Vec<Value>> {
        let request = json!({
            "repositoryName": repository.name.as_str(),
            "maxResults": 1000,
            "filter": { "imageStatus": "ANY" }
        });
        match process.describe(request).await {
            Ok(mut page) => {
                let details = page["imageDetails"].as_array_mut().unwrap();
                details.iter_mut().for_each(seconds_to_milliseconds);
                Some(details.clone())
            }
            Err(error) => {
                assert_eq!(error["__type"], "RepositoryNotFoundException", "{error}");
                None
            }
        }
    }

    fn seconds_to_milliseconds(detail: &mut Value) {
        for time in [
            "/imagePushedAt",
            "/lastRecordedPullTime",
            "/lastArchivedAt",
            "/lastActivatedAt",
            "/imageScanFindingsSummary/imageScanCompletedAt",
        ] {
            if let Some(time) = detail.pointer_mut(time) {
                *time = json!((time.as_f64().unwrap() * 1000.0).round() as i64);
            }
        }
    }
}

mod stores {
    use super::*;

    #[tokio::test]
    async fn nothing_is_written_in_memory() {
        let folder = folder("in_memory");
        let mut command = command(&folder);
        command.args(["--in-memory", "--demo", "--listen", "127.0.0.1:0"]);
        let mut process = Process::start(command);
        process.push("team/app", 1, "v1").await;
        let page = process
            .describe(json!({ "repositoryName": "team/app", "maxResults": 1 }))
            .await
            .unwrap();
        assert!(page["nextToken"].is_string());
        // What was opened and then removed would be seen here only. The first three are the
        // standard ones.
        let open: Vec<PathBuf> = fs::read_dir(format!("/proc/{}/fd", process.child.id()))
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| !["0", "1", "2"].contains(&entry.file_name().to_str().unwrap()))
            .map(|entry| fs::read_link(entry.path()).unwrap())
            .filter(|target| target.is_absolute() && !target.starts_with("/dev"))
            .collect();
        assert!(open.is_empty(), "{open:?}");
        process.stop();
        assert!(files(&folder.join("work")).is_empty(), "{:?}", files(&folder.join("work")));
    }

    /// The table of a data directory.
    async fn open_table(folder: &Path) -> Table {
        let engine = image_catalog::data::open_engine(&folder.join("work/data")).unwrap();
        Table { client: engine.client(), name: "image-catalog".to_owned() }
    }

    fn text(value: &str) -> AttributeValue {
        AttributeValue::S(value.to_owned())
    }

    fn number(value: impl ToString) -> AttributeValue {
        AttributeValue::N(value.to_string())
    }

    async fn put(
        table: &Table,
        partition: &str,
        sort: &str,
        attribute: &str,
        value: AttributeValue,
    ) {
        let put = table.client.put_item().table_name(&table.name);
        let put =
            put.item("repository", text(partition)).item("sort", text(sort)).item(attribute, value);
        put.send().await.unwrap();
    }

    /// Everything in a table, and whether its items expire.
    async fn everything(table: &Table) -> (Vec<String>, String) {
        let scan = table.client.scan().table_name(&table.name).send().await.unwrap();
        let sorted = |item: &catalog::table::Item| {
            let attributes: BTreeMap<_, _> = item.iter().collect();
            format!("{attributes:?}")
        };
        let mut items: Vec<String> = scan.items().iter().map(sorted).collect();
        items.sort();
        let expiry =
            table.client.describe_time_to_live().table_name(&table.name).send().await.unwrap();
        (items, format!("{:?}", expiry.time_to_live_description))
    }

    #[tokio::test]
    async fn a_table_of_another_format_is_left_alone() {
        for (format, found) in
            [(Some(1), "format 1"), (Some(3), "format 3"), (None, "items and no format")]
        {
            let folder = folder("another_format");
            let table = open_table(&folder).await;
            table.create_if_missing().await.unwrap();
            if let Some(format) = format {
                put(&table, "format", "format", "format", number(format)).await;
            } else {
                // As something else makes it.
                let delete = table.client.delete_item().table_name(&table.name);
                let delete = delete.key("repository", text("format")).key("sort", text("format"));
                delete.send().await.unwrap();
                let expiry =
                    TimeToLiveSpecification::builder().attribute_name("expiresAt").enabled(false);
                let disable = table.client.update_time_to_live().table_name(&table.name);
                disable.time_to_live_specification(expiry.build().unwrap()).send().await.unwrap();
            }
            put(
                &table,
                "123456789012/app",
                "repository",
                "existedAt",
                text("2026-01-01T00:00:00Z"),
            )
            .await;
            // To the program that made the table this may mean something else.
            put(&table, "123456789012/app", "tag#old", "expiresAt", number(1_767_225_600)).await;
            let before = everything(&table).await;
            assert_eq!(before.0.len(), 2 + usize::from(format.is_some()));
            drop(table);

            fs::write(folder.join("work/events.json"), push_event("app", 1, "v1").to_string())
                .unwrap();
            let in_data = ["--data", "data"];
            for arguments in [
                &["--listen", "127.0.0.1:0"][..],
                &["reconcile", "--from", "http://127.0.0.1:9"],
                &["replay", "--file", "events.json"],
                &["replay", "--queue", "http://127.0.0.1:9/queue"],
            ] {
                let output = run(command(&folder).args(arguments).args(in_data));
                let log = String::from_utf8(output.stderr).unwrap();
                assert_eq!(output.status.code(), Some(1), "{arguments:?}: {log}");
                assert!(output.stdout.is_empty(), "{arguments:?}");
                let error =
                    format!("the table has {found}, and this program works with format {FORMAT}");
                assert!(log.contains(&error), "{arguments:?}: {log}");
                assert!(log.contains("nothing was read or written"), "{arguments:?}: {log}");
                let after = everything(&open_table(&folder).await).await;
                assert_eq!(after, before, "{found}: after {arguments:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_new_table_has_the_format_of_the_program() {
        let folder = folder("new_format");
        Process::start_with_data(&folder).stop();
        let (items, _) = everything(&open_table(&folder).await).await;
        let format =
            [("format", number(2)), ("repository", text("format")), ("sort", text("format"))];
        let format: BTreeMap<_, _> = format.into_iter().collect();
        assert_eq!(items, [format!("{format:?}")]);
        assert_eq!(FORMAT, 2);
    }

    /// What only reads does not make a table, nor its format.
    #[tokio::test]
    async fn a_reader_refuses_a_table_of_another_format() {
        let folder = folder("format_of_a_reader");
        let table = open_table(&folder).await;
        table.check_format().await.unwrap_err();
        table.create_if_missing().await.unwrap();
        table.check_format().await.unwrap();
        put(&table, "format", "format", "format", number(3)).await;
        let error = table.check_format().await.unwrap_err().to_string();
        assert!(
            error.contains("the table has format 3") && error.contains("works with format 2"),
            "{error}"
        );
        let error = table.claim_format().await.unwrap_err().to_string();
        assert!(error.contains("the table has format 3"), "{error}");
        assert_eq!(everything(&table).await.0.len(), 1);
    }

    #[tokio::test]
    async fn two_processes_share_a_table_in_dynamodb() {
        let Some(dynamodb) = DynamoDbLocal::start("two processes share a table").await else {
            return;
        };
        let folder = folder("dynamodb");
        let start = || spawn_catalog(&dynamodb, &folder).ready();
        let (one, two) = (start(), start());
        let place = format!("in the DynamoDB at {}", dynamodb.url);
        assert!(one.greeting.contains(&place), "{}", one.greeting);
        one.push("team/app", 1, "v1").await;
        assert_eq!(two.tags("team/app").await, ["v1"]);
        two.push("team/app", 2, "v2").await;
        assert_eq!(one.tags("team/app").await, ["v1", "v2"]);
        one.push("team/app", 2, "v1").await;
        assert_eq!(
            one.describe(json!({ "repositoryName": "team/app" })).await,
            two.describe(json!({ "repositoryName": "team/app" })).await
        );
        assert_takes_tokens_of(&one, &two).await;
        assert_takes_tokens_of(&two, &one).await;
        assert!(!folder.join("work/data/catalog.sqlite").exists());
    }

    /// There is neither a table nor a key of page tokens when they start.
    #[tokio::test]
    async fn processes_that_start_together_agree() {
        let test = "processes that start together";
        let Some(dynamodb) = DynamoDbLocal::start(test).await else { return };
        let folder = folder("started_together");
        let processes = [(); 4].map(|()| spawn_catalog(&dynamodb, &folder)).map(Process::ready);
        for (number, process) in (1..).zip(&processes) {
            process.push("team/app", number, &format!("v{number}")).await;
        }
        for process in &processes {
            assert_eq!(process.tags("team/app").await, ["v1", "v2", "v3", "v4"]);
        }
        for one in &processes {
            for other in &processes {
                assert_takes_tokens_of(one, other).await;
            }
        }
    }

    async fn assert_takes_tokens_of(process: &Process, other: &Process) {
        let request = |token: Option<&Value>| {
            let mut request = json!({ "repositoryName": "team/app", "maxResults": 1 });
            request["nextToken"] = json!(token);
            request
        };
        let page = other.describe(request(None)).await.unwrap();
        let here = process.describe(request(page.get("nextToken"))).await;
        let there = other.describe(request(page.get("nextToken"))).await;
        assert_eq!(here.map(|page| tags_of(&page)), there.map(|page| tags_of(&page)));
    }

    /// A process that keeps its table there; all of them share a folder for the rest.
    fn spawn_catalog(dynamodb: &DynamoDbLocal, folder: &Path) -> Process {
        let mut command = command(folder);
        command
            .args(["--data", "data", "--region", REGION])
            .env("AWS_ENDPOINT_URL_DYNAMODB", &dynamodb.url)
            .envs([("AWS_ACCESS_KEY_ID", "local"), ("AWS_SECRET_ACCESS_KEY", "local")])
            .env("AWS_REGION", REGION);
        without_aws_configuration(&mut command);
        Process::spawn(command)
    }
}

/// Figures; what is asserted is far from them.
#[tokio::test]
async fn start_time_and_memory() {
    const MOST_RESIDENT_KIBIBYTES: u64 = 200 * 1024;
    let folder = folder("start");
    // Building it is not measured.
    binary();
    for data in ["a new directory", "a directory that was there"] {
        let started = Instant::now();
        let mut process = Process::start_with_data(&folder);
        let response = process.http.get(format!("{}/healthz", process.url)).send().await.unwrap();
        assert_eq!(response.status(), http::StatusCode::OK);
        let healthy = started.elapsed();
        if data == "a new directory" {
            process.push("team/app", 1, "v1").await;
        }
        let asked = Instant::now();
        assert_eq!(process.tags("team/app").await, ["v1"]);
        let described = asked.elapsed();
        let status = fs::read_to_string(format!("/proc/{}/status", process.child.id())).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let resident: u64 = resident.split_whitespace().next().unwrap().parse().unwrap();
        print(format!(
            "process (development profile), {data}: GET /healthz answered {:.1} ms after the start; \
             the first DescribeImages took {:.1} ms; then {:.1} MiB resident",
            healthy.as_secs_f64() * 1000.0,
            described.as_secs_f64() * 1000.0,
            resident as f64 / 1024.0,
        ));
        assert!(healthy + described < LIMIT);
        assert!(resident < MOST_RESIDENT_KIBIBYTES);
        process.stop();
    }
}

/// An empty folder for one test, with the folder `work` in it.
fn folder(test: &str) -> PathBuf {
    let folder = end_to_end::harness::folder(&format!("process/{test}"));
    fs::create_dir(folder.join("work")).unwrap();
    folder
}

/// Runs a program to its end, which must be near.
fn run(command: &mut Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut child = KilledOnDrop(child);
    wait_until("the program to end", LIMIT, || child.0.try_wait().unwrap().is_some());
    let mut output =
        Output { status: child.0.wait().unwrap(), stdout: Vec::new(), stderr: Vec::new() };
    child.0.stdout.take().unwrap().read_to_end(&mut output.stdout).unwrap();
    child.0.stderr.take().unwrap().read_to_end(&mut output.stderr).unwrap();
    output
}

/// Everything below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// The envelope of Amazon EventBridge.
fn event_bridge_event(detail_type: &str, at: Timestamp, detail: &Value) -> Value {
    json!({
        "version": "0",
        "id": "13cde686-328b-6117-af20-0e5566167482",
        "detail-type": detail_type,
        "source": "aws.ecr",
        "account": REGISTRY,
        "time": at,
        "region": REGION,
        "resources": [],
        "detail": detail
    })
}

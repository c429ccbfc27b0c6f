//! The table's engine, and its format.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::types::{AttributeValue, TimeToLiveSpecification};
use catalog::Table;
use catalog::table::FORMAT;
use end_to_end::harness::{
    DynamoDbLocal, Process, REGION, command, push_event, tags_of, without_aws_configuration,
};
use serde_json::{Value, json};

use super::{files, folder, limited, refused_start, run};

#[tokio::test]
async fn nothing_is_written_in_memory() {
    let folder = folder("in_memory");
    let mut command = command(&folder);
    command.args(["--in-memory", "--demo", "--listen", "127.0.0.1:0"]);
    let mut process = Process::start(command);
    process.push("team/app", 1, "v1").await;
    let page =
        process.describe(json!({ "repositoryName": "shop/api", "maxResults": 1 })).await.unwrap();
    assert!(page["nextToken"].is_string());
    // A file that was opened and then deleted is visible only here. The first three are the
    // standard streams.
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

/// No file may be larger than a block, as on a full disk.
#[test]
fn a_start_that_fails_leaves_no_files() {
    let folder = folder("failed_start");
    let mut command = limited(&folder, r#"trap "" XFSZ && ulimit -f 1"#);
    let output = run(command.args(["--data", "data", "--listen", "127.0.0.1:0"]));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let left = files(&folder.join("work/data"));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_directory_whose_path_is_not_utf_8_is_refused() {
    let folder = folder("not_utf_8");
    let data = OsStr::from_bytes(b"data-\xff");
    let mut command = command(&folder);
    let error =
        refused_start(&folder, command.args(["--listen", "127.0.0.1:0", "--data"]).arg(data));
    assert!(error.contains("is not UTF-8"), "{error}");
}

/// The SDK would log each time that the engine has no connection for it to close.
#[tokio::test]
async fn a_full_disk_does_not_flood_the_log() {
    let folder = folder("full_disk");
    let mut command = limited(&folder, r#"trap "" XFSZ && ulimit -f 1000"#);
    command.args(["--data", "data"]);
    let process = Process::start(command);
    let events: Vec<Value> =
        (0..1000).map(|number| push_event("team/app", number, &format!("v{number}"))).collect();
    let mut is_full = false;
    for events in events.chunks(20) {
        let request = process.http.post(format!("{}/events/ecr", process.url)).json(events);
        is_full = request.send().await.unwrap().status() == http::StatusCode::SERVICE_UNAVAILABLE;
        if is_full {
            break;
        }
    }
    let log = process.log();
    assert!(is_full, "{log}");
    assert!(!log.contains("no connection was found"), "{log}");
}

/// The table of a data directory.
async fn open_table(folder: &Path) -> Table {
    let engine =
        image_catalog::data::open_engine(&folder.join("work/data"), "image-catalog").await.unwrap();
    Table { client: engine.client(), name: "image-catalog".to_owned() }
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

async fn put(table: &Table, partition: &str, sort: &str, attribute: &str, value: AttributeValue) {
    let put = table.client.put_item().table_name(&table.name);
    let put =
        put.item("repository", text(partition)).item("sort", text(sort)).item(attribute, value);
    put.send().await.unwrap();
}

/// All items of a table, and whether they expire.
async fn everything(table: &Table) -> (Vec<String>, String) {
    let scan = table.client.scan().table_name(&table.name).send().await.unwrap();
    let sorted = |item: &catalog::table::Item| {
        let attributes: BTreeMap<_, _> = item.iter().collect();
        format!("{attributes:?}")
    };
    let mut items: Vec<String> = scan.items().iter().map(sorted).collect();
    items.sort();
    let expiry = table.client.describe_time_to_live().table_name(&table.name).send().await.unwrap();
    (items, format!("{:?}", expiry.time_to_live_description))
}

#[tokio::test]
async fn a_table_of_another_format_is_left_alone() {
    for (format, found) in
        [(Some(1), "format 1"), (Some(7), "format 7"), (None, "items and no format")]
    {
        let folder = folder("another_format");
        let table = open_table(&folder).await;
        table.create_if_missing().await.unwrap();
        if let Some(format) = format {
            put(&table, "format", "format", "format", number(format)).await;
        } else {
            // A table without a format, made by another program.
            let delete = table.client.delete_item().table_name(&table.name);
            let delete = delete.key("repository", text("format")).key("sort", text("format"));
            delete.send().await.unwrap();
            let expiry =
                TimeToLiveSpecification::builder().attribute_name("expiresAt").enabled(false);
            let disable = table.client.update_time_to_live().table_name(&table.name);
            disable.time_to_live_specification(expiry.build().unwrap()).send().await.unwrap();
        }
        put(&table, "123456789012/app", "repository", "existedAt", text("2026-01-01T00:00:00Z"))
            .await;
        // The attribute may have another meaning to the program that made the table.
        put(&table, "123456789012/app", "tag#old", "expiresAt", number(1_767_225_600)).await;
        let before = everything(&table).await;
        assert_eq!(before.0.len(), 2 + usize::from(format.is_some()));
        drop(table);

        fs::write(folder.join("work/events.json"), push_event("app", 1, "v1").to_string()).unwrap();
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
    let format = [("format", number(6)), ("repository", text("format")), ("sort", text("format"))];
    let format: BTreeMap<_, _> = format.into_iter().collect();
    assert_eq!(items, [format!("{format:?}")]);
    assert_eq!(FORMAT, 6);
}

/// A reader creates neither the table nor its format.
#[tokio::test]
async fn a_reader_refuses_a_table_of_another_format() {
    let engine = image_catalog::aws::dynamodb::Engine::in_memory().unwrap();
    let table = Table { client: engine.client(), name: "image-catalog".to_owned() };
    table.check_format().await.unwrap_err();
    table.create_if_missing().await.unwrap();
    table.check_format().await.unwrap();
    put(&table, "format", "format", "format", number(7)).await;
    let error = table.check_format().await.unwrap_err().to_string();
    assert!(
        error.contains("the table has format 7") && error.contains("works with format 6"),
        "{error}"
    );
    let error = table.claim_format().await.unwrap_err().to_string();
    assert!(error.contains("the table has format 7"), "{error}");
    assert_eq!(everything(&table).await.0.len(), 1);
}

#[tokio::test]
async fn two_processes_share_a_table_in_dynamodb() {
    let Some(dynamodb) = DynamoDbLocal::start("two processes share a table").await else {
        return;
    };
    let folder = folder("dynamodb");
    let start = || spawn_catalog(&dynamodb.url, &folder).ready();
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

/// Neither the table nor the page token keys exist before the start.
#[tokio::test]
async fn processes_that_start_together_agree() {
    let test = "processes that start together";
    let Some(dynamodb) = DynamoDbLocal::start(test).await else { return };
    let folder = folder("started_together");
    let processes = [(); 4].map(|()| spawn_catalog(&dynamodb.url, &folder)).map(Process::ready);
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

/// The table of a stack, as docs/operations.md describes it.
#[tokio::test]
async fn a_role_that_only_reads_is_enough_to_serve_a_table() {
    let test = "a_role_that_only_reads_is_enough_to_serve_a_table";
    let Some(dynamodb) = DynamoDbLocal::start(test).await else { return };
    let folder = folder("only_reads");
    let writer = spawn_catalog(&dynamodb.url, &folder).ready();
    writer.push("team/app", 1, "v1").await;
    let refused = Arc::default();
    let front = front_for_readers(&dynamodb.url, Arc::clone(&refused));
    let process = spawn_catalog(&front, &folder).ready();
    assert_eq!(process.tags("team/app").await, ["v1"]);
    writer.push("team/app", 2, "v2").await;
    assert_eq!(process.tags("team/app").await, ["v1", "v2"]);
    assert!(refused.lock().unwrap().is_empty(), "{refused:?}");

    let event = push_event("team/app", 3, "v3").to_string();
    let sent = process.http.post(format!("{}/events/ecr", process.url)).body(event).send();
    assert_eq!(sent.await.unwrap().status(), 503);
    assert_eq!(*refused.lock().unwrap(), ["transactwriteitems"]);
    assert_eq!(writer.tags("team/app").await, ["v1", "v2"]);
    let log = process.log();
    assert!(log.contains("is not authorized to perform"), "{log}");
}

/// The operations of the permissions in docs/operations.md.
fn operations_of_readers() -> BTreeSet<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let page = fs::read_to_string(file).unwrap();
    let line = page.lines().find(|line| line.contains("dynamodb:DescribeTimeToLive")).unwrap();
    let statement: Value = serde_json::from_str(line).unwrap();
    let actions =
        statement["Action"].as_array().unwrap().iter().map(|action| {
            action.as_str().unwrap().strip_prefix("dynamodb:").unwrap().to_lowercase()
        });
    actions.collect()
}

/// A server between a process and DynamoDB, which allows reads alone, and keeps what it refused.
/// Each connection is for one request.
fn front_for_readers(upstream: &str, refused: Arc<Mutex<Vec<String>>>) -> String {
    let upstream = upstream.strip_prefix("http://").unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let allowed = operations_of_readers();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (upstream, allowed) = (upstream.clone(), allowed.clone());
            let refused = Arc::clone(&refused);
            std::thread::spawn(move || {
                let mut client = client.unwrap();
                let Some((head, body)) = read_request(&mut client) else { return };
                let lower = head.to_lowercase();
                let (_, operation) = lower.split_once("x-amz-target: dynamodb_20120810.").unwrap();
                let operation = operation.split('\r').next().unwrap();
                if allowed.contains(operation) {
                    // The test may have ended.
                    let Ok(mut server) = TcpStream::connect(upstream) else { return };
                    write!(server, "{head}connection: close\r\n\r\n").unwrap();
                    server.write_all(&body).unwrap();
                    let _ = std::io::copy(&mut server, &mut client);
                    return;
                }
                let body = json!({
                    "__type": "com.amazon.coral.service#AccessDeniedException",
                    "Message": format!("User: reader is not authorized to perform: dynamodb:{operation}"),
                })
                .to_string();
                refused.lock().unwrap().push(operation.to_owned());
                let length = body.len();
                let _ = write!(
                    client,
                    "HTTP/1.1 400 Bad Request\r\ncontent-type: application/x-amz-json-1.0\r\n\
                     content-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
            });
        }
    });
    url
}

/// The head of a request, without its last empty line, and the body.
fn read_request(client: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut reader = BufReader::new(client);
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let length = head.to_lowercase();
    let (_, length) = length.split_once("content-length: ")?;
    let mut body = vec![0; length.split('\r').next()?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}

/// A process with its table in a DynamoDB; all of them share a folder for other files.
fn spawn_catalog(url: &str, folder: &Path) -> Process {
    let mut command = command(folder);
    command
        .args(["--data", "data", "--region", REGION])
        .env("AWS_ENDPOINT_URL_DYNAMODB", url)
        .envs([("AWS_ACCESS_KEY_ID", "local"), ("AWS_SECRET_ACCESS_KEY", "local")])
        .env("AWS_REGION", REGION);
    without_aws_configuration(&mut command);
    Process::spawn(command)
}

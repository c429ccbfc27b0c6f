//! `image-catalog status`.

use std::path::Path;

use end_to_end::harness::responder::{Responder, response};
use end_to_end::harness::{Process, command};
use serde_json::{Value, json};

use super::{folder, run};

fn status(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = run(command(folder).arg("status").args(arguments));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The form of the response of `GET /status`.
fn sample() -> Value {
    json!({
        "version": "0.2.0",
        "time": "2026-11-30T14:05:12.345Z",
        "since": "2026-11-30T08:00:00.123Z",
        "sources": [
            {
                "source": "harbor", "subscription": "harbor-berlin",
                "lastDelivery": "2026-11-30T14:03:59.001Z",
                "deliveries": 42, "applied": 40, "ignored": 3, "tooLate": 1, "malformed": 1,
                "refused": 2,
                "refusals": [
                    {
                        "time": "2026-11-30T13:59:01.500Z", "status": 401,
                        "reason": "the credential of a subscription must be shown"
                    },
                    {
                        "time": "2026-11-30T13:58:01.500Z", "status": 400,
                        "reason": "'event_data.resources' is not valid: \u{1b}[2J"
                    },
                ],
            },
            {
                "source": "quay", "deliveries": 0, "applied": 0, "ignored": 0, "tooLate": 0,
                "malformed": 0, "refused": 0, "refusals": [],
            },
        ],
        "pendingLookups": [
            {
                "registry": "harbor.example.com", "subscription": "harbor-berlin", "number": 3,
                "oldest": "2026-11-30T13:50:00Z"
            },
            { "registry": "registry.example:5000", "number": 12 },
        ],
        "registries": [
            {
                "id": "harbor-berlin", "registry": "harbor.example.com",
                "lastReconcile": {
                    "startedAt": "2026-11-30T08:00:01Z", "endedAt": "2026-11-30T08:01:40Z",
                    "repositories": 120, "drift": 7, "repaired": 6, "superseded": 0,
                    "notRepaired": 1, "kept": 0, "skipped": 0, "failed": 0
                },
                "nextReconcile": "2026-12-01T08:00:01Z"
            },
            {
                "id": "http://registry.example:5000", "registry": "registry.example:5000",
                "runningSince": "2026-11-30T14:05:00Z",
                "lastReconcile": {
                    "startedAt": "2026-11-30T13:00:01Z", "endedAt": "2026-11-30T13:00:06Z",
                    "repositories": 0, "drift": 0, "repaired": 0, "superseded": 0,
                    "notRepaired": 0, "kept": 0, "skipped": 0, "failed": 0,
                    "error": "the registry is unavailable: the request timed out"
                },
                "nextReconcile": "2026-11-30T14:05:06Z"
            },
            { "id": "ecr", "registry": "ecr" },
        ],
    })
}

async fn server(status: &'static str, body: Value) -> Responder {
    Responder::start(move |request| {
        assert!(request.starts_with("GET /status HTTP/1.1\r\n"), "{request}");
        response(status, "", &body.to_string())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_is_printed_in_tables() {
    let folder = folder("status");
    let server = server("200 OK", sample()).await;
    let (code, output, error) = status(&folder, &["--endpoint", &server.url()]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    insta::assert_snapshot!(output, @r"
    image-catalog 0.2.0, running since 2026-11-30T08:00:00Z

    SOURCE  SUBSCRIPTION   LAST-DELIVERY         DELIVERIES  APPLIED  IGNORED  TOO-LATE  MALFORMED  REFUSED
    harbor  harbor-berlin  2026-11-30T14:03:59Z          42       40        3         1          1        2
    quay    -              -                              0        0        0         0          0        0

    REFUSED-AT            SOURCE  SUBSCRIPTION   STATUS  REASON
    2026-11-30T13:59:01Z  harbor  harbor-berlin     401  the credential of a subscription must be shown
    2026-11-30T13:58:01Z  harbor  harbor-berlin     400  'event_data.resources' is not valid: �[2J

    PENDING-LOOKUPS  OLDEST                SUBSCRIPTION   REGISTRY
                  3  2026-11-30T13:50:00Z  harbor-berlin  harbor.example.com
                 12  -                     -              registry.example:5000

    RECONCILED-AT         REPOSITORIES  DRIFT  REPAIRED  REMAINING  NEXT                  REGISTRY                      ERROR
    2026-11-30T08:01:40Z           120      7         6          1  2026-12-01T08:00:01Z  harbor-berlin                 -
    2026-11-30T13:00:06Z             0      0         0          0  running               http://registry.example:5000  the registry is unavailable: the request timed out
    -                                -      -         -          -  -                     ecr                           -
    ");
    let (_, output, _) = status(&folder, &["--endpoint", &server.url(), "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&output).unwrap(), sample());
    assert!(!server.requests()[0].contains("authorization"));
    let mut command = command(&folder);
    command.args(["status", "--endpoint", &server.url()]);
    command.envs([("AWS_ACCESS_KEY_ID", "AKIDREADER"), ("AWS_SECRET_ACCESS_KEY", "secret")]);
    assert_eq!(run(&mut command).status.code(), Some(0));
    assert!(server.requests()[2].contains("/us-east-1/ecr/aws4_request, "));
}

/// Without an endpoint, it is that of `--listen`; a proxy is not asked for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_catalog_on_the_address_to_listen_on_is_asked() {
    let folder = folder("status_of_listen");
    let mut server = command(&folder);
    server.arg("--in-memory");
    let process = Process::start(server);
    let everywhere = format!("0.0.0.0:{}", process.address().port());
    let mut by_option = command(&folder);
    by_option.args(["--listen", &process.address().to_string(), "status"]);
    let mut by_variable = command(&folder);
    by_variable.arg("status").env("IMAGE_CATALOG_LISTEN", everywhere);
    for mut command in [by_option, by_variable] {
        let output = run(command.env("http_proxy", "http://127.0.0.1:1"));
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout.starts_with(b"image-catalog "));
    }
}

/// CSI, as one character.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_has_no_character_that_a_terminal_obeys() {
    let folder = folder("status_characters");
    let mut expected = sample();
    expected["registries"][0]["id"] = json!("\u{9b}2J\u{7f}\u{a0}");
    let readable = server("200 OK", expected.clone()).await;
    let (_, output, _) = status(&folder, &["--endpoint", &readable.url(), "-o", "json"]);
    assert!(output.contains("\\u009b2J\\u007f\u{a0}"), "{output}");
    assert_eq!(serde_json::from_str::<Value>(&output).unwrap(), expected);
    expected["since"] = json!("\u{9b}2J");
    let unreadable = server("200 OK", expected).await;
    let (code, _, error) = status(&folder, &["--endpoint", &unreadable.url()]);
    assert_eq!(code, Some(1));
    assert!(!error.contains('\u{9b}'), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_catalog_that_cannot_tell_is_an_error() {
    let folder = folder("status_errors");
    let mut unreadable = sample();
    unreadable["tableError"] = json!("throttled");
    let readable = server("200 OK", unreadable).await;
    let (code, output, error) = status(&folder, &["--endpoint", &readable.url()]);
    assert_eq!(code, Some(1));
    assert!(output.starts_with("image-catalog 0.2.0, running since"), "{output}");
    assert_eq!(error, "error: the catalog cannot read its table: throttled\n");

    let earlier = server("404 Not Found", json!({ "__type": "NotFoundException" })).await;
    let (code, output, error) = status(&folder, &["--endpoint", &earlier.url()]);
    assert_eq!((code, output.as_str()), (Some(1), ""));
    let none = "error: there is no status at this endpoint: only the standalone program has one, \
                since version 0.2.0\n";
    assert_eq!(error, none);

    let (code, output, error) = status(&folder, &["--endpoint", "http://127.0.0.1:9"]);
    assert_eq!((code, output.as_str()), (Some(1), ""));
    assert!(error.starts_with("error: no response from http://127.0.0.1:9: "), "{error}");
}

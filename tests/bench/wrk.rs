//! Load by `wrk`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use end_to_end::harness::folder;
use serde_json::Value;

const TARGET: &str = "AmazonEC2ContainerRegistry_V20150921.DescribeImages";

/// It is no valid signature. The emulators take the service from it, and do not check it.
const SIGNATURE: &str = "AWS4-HMAC-SHA256 \
    Credential=test/20260101/us-east-1/ecr/aws4_request, SignedHeaders=host, Signature=00";

/// A request that is sent again and again.
#[derive(Debug)]
pub(crate) struct Load {
    body: Value,
    script: PathBuf,
}

impl Load {
    /// DescribeImages with this body.
    pub(crate) fn new(name: &str, body: &Value) -> Self {
        Self::with_script(name, body, "")
    }

    /// The same, but no two requests are alike: each has another value of a member that servers
    /// ignore. So no response can be that of an earlier request.
    pub(crate) fn never_alike(name: &str, body: &Value) -> Self {
        Self::with_script(
            &format!("{name}-never-alike"),
            body,
            r#"local number = 0
function request()
    number = number + 1
    return wrk.format(nil, nil, nil, '{"number":' .. number .. ',' .. wrk.body:sub(2))
end
"#,
        )
    }

    fn with_script(name: &str, body: &Value, more: &str) -> Self {
        let script = folder(&format!("wrk-{name}")).join("request.lua");
        let text = format!(
            r#"wrk.method = "POST"
wrk.path = "/"
wrk.headers["Content-Type"] = "application/x-amz-json-1.1"
wrk.headers["X-Amz-Target"] = "{TARGET}"
wrk.headers["Authorization"] = "{SIGNATURE}"
wrk.body = [==[{body}]==]
{more}"#
        );
        fs::write(&script, text).unwrap();
        Self { body: body.clone(), script }
    }

    /// How many images a server returns.
    pub(crate) async fn images(&self, url: &str) -> usize {
        let response = reqwest::Client::new()
            .post(url)
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", TARGET)
            .header("authorization", SIGNATURE)
            .body(self.body.to_string())
            .send()
            .await
            .unwrap();
        let response: Value = response.json().await.unwrap();
        response["imageDetails"].as_array().unwrap().len()
    }

    /// The requests a second that a server answers.
    pub(crate) fn requests_per_second(&self, url: &str, connections: usize, seconds: usize) -> f64 {
        let output = Command::new("wrk")
            .args(["--threads=1", &format!("--connections={connections}")])
            .arg(format!("--duration={seconds}s"))
            .arg("--script")
            .arg(&self.script)
            .arg(url)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        // It prints these lines only if there is something to print.
        let failed = text.contains("Non-2xx") || text.contains("Socket errors");
        assert!(output.status.success() && !failed, "{url}: {text}");
        let rate = text.lines().find_map(|line| line.strip_prefix("Requests/sec:")).unwrap();
        rate.trim().parse().unwrap()
    }

    /// The seconds that a request takes on one connection.
    pub(crate) fn seconds_per_request(&self, url: &str) -> f64 {
        1.0 / self.requests_per_second(url, 1, 1)
    }
}

/// Whether it is there.
pub(crate) fn is_installed() -> bool {
    end_to_end::harness::find(Path::new("wrk")).is_some()
}

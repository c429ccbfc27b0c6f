//! The Helm chart.

use std::fs;
use std::process::Command;

use end_to_end::harness::{Process, command, free_port, print, require, tools};
use http::StatusCode;
use serde_json::{Value, json};

use super::{VERSION, folder, root, succeed};

/// The checks that the chart fails, each with its reason.
const EXCEPTIONS: [(&str, &str); 3] = [
    ("CKV_K8S_11", "a limit of the processor slows requests down while the node is idle"),
    ("CKV_K8S_15", "a version of the image is not pushed twice, so it need not be pulled again"),
    ("CKV_K8S_43", "the image is built by who installs it, so the chart knows no digest"),
];

/// What the chart renders with these values; `None` if Helm is missing.
fn render(test: &str, values: &Value) -> Option<Value> {
    let python = require(test, tools().join("helm/bin/python3"))?;
    let mut render = Command::new(python);
    render.arg(root().join("tests/external/install/chart.py"));
    render.arg(root().join("infra/helm/image-catalog")).arg(values.to_string());
    Some(serde_json::from_str(&succeed(&mut render)).unwrap())
}

/// Values that differ from every default.
fn all_values() -> Value {
    json!({
        "image": {
            "repository": "registry.example/image-catalog",
            "tag": "1.2.3",
            "pullPolicy": "Always",
            "pullSecrets": [{ "name": "pull" }],
        },
        "options": ["--registry=210987654321", "--region=eu-central-1"],
        "env": [{ "name": "RUST_LOG", "value": "warn" }],
        "callers": { "secretName": "callers" },
        "subscriptions": { "secretName": "subscriptions" },
        "persistence": { "size": "1Ti", "storageClassName": "fast" },
        "resources": { "limits": { "memory": "1Gi" } },
        "service": { "type": "LoadBalancer", "port": 80, "annotations": { "a": "b" } },
        "serviceAccount": { "annotations": { "eks.amazonaws.com/role-arn": "arn" } },
        "metrics": {
            "enabled": true,
            "port": free_port(),
            "serviceMonitor": {
                "enabled": true,
                "interval": "30s",
                "labels": { "release": "prometheus" },
            },
        },
        "networkPolicy": { "enabled": true, "from": [{ "namespaceSelector": {} }] },
        "podAnnotations": { "a": "b" },
        "nodeSelector": { "kubernetes.io/arch": "amd64" },
        "tolerations": [{ "key": "a", "operator": "Exists" }],
        "affinity": { "nodeAffinity": {} },
    })
}

fn resource<'a>(rendered: &'a Value, kind: &str) -> &'a Value {
    let resources = rendered["resources"].as_array().unwrap().iter().map(|resource| &resource[1]);
    let mut found = resources.filter(|resource| resource["kind"] == kind);
    found.next().unwrap_or_else(|| panic!("no {kind} in {rendered}"))
}

fn pod(rendered: &Value) -> &Value {
    &resource(rendered, "StatefulSet")["spec"]["template"]["spec"]
}

#[test]
fn helm_and_the_schemas_of_kubernetes_accept_the_chart() {
    let test = "helm_and_the_schemas_of_kubernetes_accept_the_chart";
    for (values, resources) in [(json!({}), 3), (all_values(), 6)] {
        let Some(rendered) = render(test, &values) else { return };
        assert_eq!(rendered["lint"]["errors"], json!([]), "{rendered}");
        let messages = rendered["lint"]["messages"].as_array().unwrap();
        // 1 is a remark, here that an icon is recommended.
        assert!(messages.iter().all(|message| message["severity"] == 1), "{messages:?}");
        assert_eq!(rendered["resources"].as_array().unwrap().len(), resources, "{rendered}");
    }
    let rendered = render(test, &json!({})).unwrap();
    assert_eq!(pod(&rendered)["containers"][0]["image"], format!("image-catalog:{VERSION}"));
    let notes = rendered["notes"].as_str().unwrap();
    assert!(notes.contains("can read all images") && notes.contains("can send events"), "{notes}");
    let rendered = render(test, &all_values()).unwrap();
    let container = &pod(&rendered)["containers"][0];
    assert_eq!(container["image"], "registry.example/image-catalog:1.2.3");
    assert!(!rendered["notes"].as_str().unwrap().contains("everybody"));
    print("chart: linted by Helm, valid for Kubernetes");
}

/// The operator has a schema of its own, which is not here.
#[test]
fn a_service_monitor_selects_the_service_of_the_metrics() {
    let test = "a_service_monitor_selects_the_service_of_the_metrics";
    let Some(rendered) = render(test, &all_values()) else { return };
    let monitor = resource(&rendered, "ServiceMonitor");
    assert_eq!(monitor["apiVersion"], "monitoring.coreos.com/v1");
    assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
    let endpoints = json!([{ "port": "metrics", "path": "/metrics", "interval": "30s" }]);
    assert_eq!(monitor["spec"]["endpoints"], endpoints);
    let selected = monitor["spec"]["selector"]["matchLabels"].as_object().unwrap();
    let services = rendered["resources"].as_array().unwrap().iter().filter(|resource| {
        let labels = &resource[1]["metadata"]["labels"];
        resource[1]["kind"] == "Service"
            && selected.iter().all(|(name, value)| labels[name] == *value)
    });
    let services: Vec<&Value> = services.map(|resource| &resource[1]["spec"]).collect();
    let [service] = services[..] else { panic!("{services:?}") };
    // The other one is a LoadBalancer with these values.
    assert_eq!(service["type"], "ClusterIP");
    let ports = pod(&rendered)["containers"][0]["ports"].as_array().unwrap();
    let port = &ports.iter().find(|port| port["name"] == "metrics").unwrap()["containerPort"];
    let ports = json!([{ "name": "metrics", "port": port, "targetPort": "metrics" }]);
    assert_eq!(service["ports"], ports);
    let ports = &resource(&rendered, "NetworkPolicy")["spec"]["ingress"][0]["ports"];
    assert_eq!(*ports, json!([{ "port": "http" }, { "port": "metrics" }]));
}

#[test]
fn wrong_values_are_refused() {
    for (values, reason) in [
        (json!({ "optoins": [] }), "additional properties 'optoins' not allowed"),
        (json!({ "callers": { "secret": "a" } }), "additional properties 'secret' not allowed"),
        (json!({ "persistence": { "size": "much" } }), "does not match pattern"),
        (json!({ "options": ["--listen=127.0.0.1:80"] }), "'not' failed"),
        (json!({ "options": ["--metrics-listen=127.0.0.1:80"] }), "'not' failed"),
        (json!({ "metrics": { "port": 5015 } }), "'not' failed"),
        (json!({ "metrics": { "serviceMonitor": { "enabled": true } } }), "must be true"),
    ] {
        let Some(rendered) = render("wrong_values_are_refused", &values) else { return };
        let error = rendered["error"].as_str().unwrap_or_default();
        assert!(error.contains(reason), "{values}: {rendered}");
    }
}

#[test]
fn the_policy_check_fails_only_what_has_a_reason() {
    let test = "the_policy_check_fails_only_what_has_a_reason";
    let (Some(checkov), Some(rendered)) =
        (require(test, tools().join("checkov/bin/checkov")), render(test, &all_values()))
    else {
        return;
    };
    let resources = rendered["resources"].as_array().unwrap().iter();
    // JSON is YAML.
    let text: Vec<String> = resources.map(|resource| resource[1].to_string()).collect();
    let file = folder("chart-policies").join("resources.yaml");
    fs::write(&file, text.join("\n---\n")).unwrap();
    let mut check = Command::new(checkov);
    check.arg("--file").arg(&file).args(["--framework", "kubernetes", "--skip-download"]);
    let exceptions = EXCEPTIONS.map(|(check, _)| check).join(",");
    check.args(["--output", "json", "--skip-check", &exceptions]);
    let report: Value = serde_json::from_str(&succeed(&mut check)).unwrap();
    assert_eq!(report["summary"]["failed"], 0, "{report}");
    assert_eq!(report["summary"]["parsing_errors"], 0, "{report}");
    assert!(report["summary"]["passed"].as_u64() > Some(50), "{report}");
}

/// The arguments of the container, with the paths of its secrets in a folder.
#[tokio::test]
async fn the_program_takes_the_arguments_of_the_chart() {
    let test = "the_program_takes_the_arguments_of_the_chart";
    let Some(rendered) = render(test, &all_values()) else { return };
    let pod = pod(&rendered);
    let folder = folder("chart-arguments");
    let mut command = command(&folder);
    for argument in pod["containers"][0]["args"].as_array().unwrap() {
        let argument = argument.as_str().unwrap();
        command.arg(argument.replace("/etc/image-catalog", &folder.display().to_string()));
    }
    for (secret, content) in [
        (
            "callers",
            json!([{
                "accessKeyId": "AKIDREADER", "secretAccessKey": "secret",
                "arn": "arn:aws:iam::210987654321:user/reader",
            }]),
        ),
        (
            "subscriptions",
            json!([{
                "id": "harbor", "source": "harbor", "registryId": "210987654321",
                "credential": { "bearer": "token" },
            }]),
        ),
    ] {
        let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
        let mount = mounts.iter().find(|mount| mount["name"] == secret).unwrap();
        assert_eq!(mount["mountPath"], format!("/etc/image-catalog/{secret}"));
        fs::create_dir(folder.join(secret)).unwrap();
        let file = folder.join(secret).join(format!("{secret}.json"));
        fs::write(file, content.to_string()).unwrap();
    }
    let mut process = Process::start(command);
    assert!(process.greeting.contains("eu-central-1"), "{}", process.greeting);
    // Prometheus cannot sign.
    let ports = pod["containers"][0]["ports"].as_array().unwrap();
    let port = &ports.iter().find(|port| port["name"] == "metrics").unwrap()["containerPort"];
    let metrics = reqwest::get(format!("http://127.0.0.1:{port}/metrics")).await.unwrap();
    assert_eq!(metrics.status(), StatusCode::OK);
    process.stop();
}

//! The registries of other accounts, which `infra/forward-account.yaml` lets the functions read.

use std::collections::BTreeSet;

use catalog::{RegistryId, Repository};
use end_to_end::harness::{digest, repository};
use serde_json::{Value, json};

use super::payloads::{batch, failed, here};
use super::surroundings::Surroundings;

const OTHER: &str = "210987654321";

impl Surroundings {
    /// Pushes an image to the registry of the other account.
    fn push_elsewhere(&self, name: &str, number: u64) {
        let role = format!("arn:aws:iam::{OTHER}:role/pusher");
        let assume = ["sts", "assume-role", "--role-arn", &role, "--role-session-name", "test"];
        let credentials = self.moto.aws(&assume)["Credentials"].clone();
        let key = credentials["AccessKeyId"].as_str().unwrap();
        let aws = |arguments: &[&str]| self.moto.aws_as(key, arguments);
        aws(&["ecr", "create-repository", "--repository-name", name]);
        let manifest = json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": { "size": 5 },
            "layers": [],
        });
        let (digest, manifest) = (digest(number).to_string(), manifest.to_string());
        let put = ["ecr", "put-image", "--repository-name", name, "--image-tag", "v1"];
        aws(&[&put[..], &["--image-digest", &digest, "--image-manifest", &manifest]].concat());
    }

    /// The digest, the tags and the size of each image of the other account.
    async fn images_elsewhere(&self, name: &str) -> Vec<Value> {
        let registry = RegistryId::parse(OTHER).unwrap();
        let repository = Repository { registry, ..repository(name) };
        let filter = catalog::reader::Filter { tag_status: None, image_status: None };
        let listed = self.store.page(&repository, &filter, None, 10).await.unwrap();
        let image = |image: &catalog::image::Image| {
            let tags: Vec<String> = image.image_tags.iter().map(ToString::to_string).collect();
            json!([image.image_digest.to_string(), tags, image.image_size_in_bytes])
        };
        listed.images.iter().map(image).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_another_account_is_looked_up_there() {
    let test = "an_image_of_another_account_is_looked_up_there";
    let Some(surroundings) = Surroundings::start(test).await else { return };
    surroundings.push_elsewhere("team/app", 1);
    let mut event = here("image-action-push.json");
    event["account"] = json!(OTHER);
    event["detail"]["repository-name"] = json!("team/app");
    event["detail"]["image-digest"] = json!(digest(1));
    event["detail"]["image-tag"] = json!("v1");
    let function = surroundings.function("ingest-events");
    let (_, response) = function.invoke(&batch(&[("pushed", event.to_string())])).await;
    assert_eq!(failed(&response), BTreeSet::new());
    assert_eq!(surroundings.images_elsewhere("team/app").await, [json!([digest(1), ["v1"], 5])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registry_of_another_account_is_reconciled() {
    let test = "the_registry_of_another_account_is_reconciled";
    let Some(surroundings) = Surroundings::start(test).await else { return };
    surroundings.push_elsewhere("team/tool", 2);
    let function = surroundings.function_with("reconcile", &[("OTHER_REGISTRIES", OTHER)]);
    let mut waiting = vec![r#"{"reconcile": "registries"}"#.to_owned()];
    let mut processed = BTreeSet::new();
    while let Some(body) = waiting.pop() {
        let (_, response) = function.invoke(&batch(&[("message", body.clone())])).await;
        assert_eq!(failed(&response), BTreeSet::new(), "{body}");
        processed.insert(body);
        let received = surroundings.received(&surroundings.queue_url);
        waiting.extend(received.iter().map(|message| message["Body"].as_str().unwrap().to_owned()));
    }
    let expected = [
        r#"{"reconcile": "registries"}"#,
        r#"{"reconcile":"registry","from":"ecr"}"#,
        r#"{"reconcile":"registry","from":"ecr/210987654321"}"#,
        r#"{"reconcile":"repository","from":"ecr/210987654321","name":"team/tool","prune":false}"#,
    ];
    assert_eq!(processed, expected.map(str::to_owned).into());
    assert_eq!(surroundings.images_elsewhere("team/tool").await, [json!([digest(2), ["v1"], 5])]);
}

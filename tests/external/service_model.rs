//! The service model, which lets AWS CLI sign for API Gateway: with it, `aws image-catalog
//! describe-images` does what `aws ecr describe-images` does. The catalog of `aws image-catalog`
//! requires signatures as API Gateway does, scoped to `execute-api`; the catalog of `aws ecr`
//! requires none.

use std::path::{Path, PathBuf};
use std::process::Command;

use catalog::change::Content;
use catalog::image::Scan;
use catalog::{Change, ChangeKind, RegistryId, Repository};
use end_to_end::harness::{
    Catalog, Ended, REGISTRY, Store, clean_command, digest, repository, require, tag, time, tools,
};
use serde_json::json;

/// The registry of one of the callers, with one image.
const OTHER_REGISTRY: &str = "210987654321";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/service-model/image-catalog")
}

/// `team/app`: three images, one of them with every member, and an archived one; in
/// [`OTHER_REGISTRY`]: one image.
async fn store() -> Store {
    let store = Store::in_memory().await;
    let apply = async |registry: &str, milliseconds, kind| {
        let repository =
            Repository { registry: RegistryId::parse(registry).unwrap(), ..repository("team/app") };
        store.writer.apply(&Change { repository, time: time(milliseconds), kind }).await.unwrap();
    };
    let push = |number: u64, name: Option<&str>| ChangeKind::ImagePushed {
        digest: digest(number),
        tag: name.map(tag),
        content: Content {
            manifest_media_type: Some("application/vnd.oci.image.manifest.v1+json".to_owned()),
            artifact_media_type: Some("application/vnd.oci.image.config.v1+json".to_owned()),
            size_in_bytes: Some(number.cast_signed()),
            subject: (number == 1).then(|| digest(9)),
            ..Content::default()
        },
    };
    apply(REGISTRY, 0, push(4, Some("old"))).await;
    apply(REGISTRY, 1_000, push(3, Some("v1"))).await;
    apply(REGISTRY, 2_000, push(2, None)).await;
    apply(REGISTRY, 3_000, push(1, Some("latest"))).await;
    apply(REGISTRY, 4_000, ChangeKind::ImageArchived { digest: digest(4) }).await;
    let scan = Scan::complete(time(5_000), Some([("HIGH".to_owned(), 2)].into()));
    apply(REGISTRY, 5_000, ChangeKind::ImageScanned { digest: digest(1), scan }).await;
    apply(REGISTRY, 6_000, ChangeKind::ImagePulled { digest: digest(1) }).await;
    apply(OTHER_REGISTRY, 0, push(5, Some("theirs"))).await;
    store
}

/// AWS CLI with a home directory of its own, where the model is installed.
struct Aws {
    program: PathBuf,
    home: PathBuf,
}

impl Aws {
    fn install(test: &str, version: u8) -> Option<Self> {
        let program = match version {
            1 => require(test, tools().join("python/bin/aws"))?,
            _ => require(test, "/usr/bin/aws")?,
        };
        let home = end_to_end::harness::folder(&format!("service_model/{test}"));
        let aws = Self { program, home };
        // As README describes it.
        let model = folder().join("2015-09-21");
        let service = format!("file://{}", model.join("service-2.json").display());
        let added = aws.run(
            "key",
            "secret",
            &[
                "configure",
                "add-model",
                "--service-name",
                "image-catalog",
                "--service-model",
                &service,
            ],
        );
        assert_eq!(added.code, Some(0), "{added:?}");
        let installed = aws.home.join(".aws/models/image-catalog/2015-09-21");
        std::fs::copy(model.join("paginators-1.json"), installed.join("paginators-1.json"))
            .unwrap();
        Some(aws)
    }

    fn run(&self, access_key: &str, secret: &str, arguments: &[&str]) -> Ended {
        let mut command = clean_command(&self.program, &self.home);
        Ended::run(
            command
                .args(arguments)
                .envs([("AWS_ACCESS_KEY_ID", access_key), ("AWS_SECRET_ACCESS_KEY", secret)]),
        )
    }
}

/// Two catalogs of the same images: one without authentication, and one for callers that sign for
/// API Gateway.
struct Catalogs {
    open: Catalog,
    gateway: Catalog,
}

impl Catalogs {
    async fn start() -> Self {
        let store = store().await;
        let callers = json!([
            {
                "accessKeyId": "AKIDREADER", "secretAccessKey": "secret", "repositories": ["*"],
                "arn": format!("arn:aws:iam::{REGISTRY}:user/reader")
            },
            {
                "accessKeyId": "AKIDOTHER", "secretAccessKey": "secret", "repositories": ["*"],
                "arn": format!("arn:aws:iam::{OTHER_REGISTRY}:user/other")
            },
        ]);
        let gateway = Catalog::start_for(store.clone(), &callers, Some("execute-api")).await;
        let open = Catalog::start_with(store, &"0".repeat(64)).await;
        Self { open, gateway }
    }
}

/// The options of both commands, separated by spaces.
const OPTIONS: [&str; 24] = [
    "--repository-name team/app",
    "--repository-name team/app --output text",
    "--repository-name team/app --output table --query imageDetails[].{tag:imageTags[0],bytes:imageSizeInBytes}",
    "--repository-name team/app --registry-id 210987654321",
    "--repository-name team/app --image-ids imageTag=v1 imageTag=latest",
    "--repository-name team/app --image-ids [{\"imageTag\":\"latest\"}]",
    "--repository-name team/app --filter tagStatus=UNTAGGED",
    "--repository-name team/app --page-size 1",
    "--repository-name team/app --page-size 2 --query imageDetails[].imageDigest",
    "--repository-name team/app --max-results 100 --no-paginate",
    "--cli-input-json {\"repositoryName\":\"team/app\",\"imageIds\":[{\"imageTag\":\"v1\"}]}",
    "--generate-cli-skeleton",
    "--generate-cli-skeleton output",
    "--repository-name team/app --max-items 3",
    "--repository-name team/app --no-paginate --query imageDetails[0].imageTags[0] --output text",
    "--repository-name none",
    "--repository-name team/app --image-ids imageTag=none",
    "--repository-name team/app --filter tagStatus=tagged",
    "--repository-name A",
    "--repository-name team/app --starting-token forged",
    "--repository-name team/app --next-token forged",
    "--repository-name team/app --page-size 2000",
    "--repository-name team/app --image-ids imageTag=v1 --max-results 1",
    "--repository-name team/app --registry-id mine",
];

async fn acts_as_the_original(test: &str, version: u8) {
    let Some(aws) = Aws::install(test, version) else { return };
    let catalogs = Catalogs::start().await;
    let send = |service: &str, endpoint: &str, options: &str| {
        let options = options.split_whitespace();
        let arguments: Vec<&str> = [service, "describe-images", "--endpoint-url", endpoint]
            .into_iter()
            .chain(options)
            .collect();
        aws.run("AKIDREADER", "secret", &arguments)
    };
    // Members that only the model of version 1 has; the model of version 2 is older.
    let news = [
        "--repository-name team/app --filter imageStatus=ARCHIVED",
        "--repository-name team/app --filter imageStatus=ANY,tagStatus=TAGGED --page-size 1",
    ];
    let is_old = version == 2;
    let options = OPTIONS.iter().chain(if is_old { [].iter() } else { news.iter() });
    tokio::task::block_in_place(|| {
        for options in options {
            let mut original = send("ecr", &catalogs.open.url, options);
            let mut ours = send("image-catalog", &catalogs.gateway.url, options);
            for ended in [&mut original, &mut ours] {
                if options.contains("skeleton") {
                    ended.stdout = without_values(&ended.stdout);
                }
                if is_old && !options.contains("table") {
                    ended.stdout = without_news(&ended.stdout);
                }
            }
            assert!(
                original.code != Some(0) || !original.stdout.is_empty(),
                "{options}: {original:?}"
            );
            assert_eq!(ours, original, "{options}");
        }

        // One page at a time, each with the other command's token.
        let pieces = |service: &str, endpoint: &str| {
            let piece = |more: &str| {
                let ended = send(
                    service,
                    endpoint,
                    &format!("--repository-name team/app --max-items 2 --page-size 1 {more}"),
                );
                let page: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
                let sizes: Vec<u64> = page["imageDetails"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|image| image["imageSizeInBytes"].as_u64().unwrap())
                    .collect();
                (sizes, page["NextToken"].as_str().map(str::to_owned))
            };
            let (first, token) = piece("");
            let (second, end) = piece(&format!("--starting-token {}", token.unwrap()));
            (first, second, end)
        };
        let ours = pieces("image-catalog", &catalogs.gateway.url);
        assert_eq!(ours, (vec![1, 2], vec![3], None));
        assert_eq!(ours, pieces("ecr", &catalogs.open.url));

        // The caller's account is the default registry.
        let listed = |access_key: &str, secret: &str, service: &str| {
            let url = &catalogs.gateway.url;
            let sizes = "imageDetails[].imageSizeInBytes";
            let request = ["--repository-name", "team/app", "--query", sizes, "--output", "text"];
            let arguments =
                [&[service, "describe-images", "--endpoint-url", url][..], &request].concat();
            aws.run(access_key, secret, &arguments)
        };
        assert_eq!(listed("AKIDREADER", "secret", "image-catalog").stdout, "1\t2\t3\n");
        assert_eq!(listed("AKIDOTHER", "secret", "image-catalog").stdout, "5\n");
        for (access_key, secret, service, error) in [
            ("AKIDREADER", "secret", "ecr", "InvalidSignatureException"),
            ("AKIDREADER", "wrong", "image-catalog", "InvalidSignatureException"),
            ("AKIDNOBODY", "secret", "image-catalog", "UnrecognizedClientException"),
        ] {
            let ended = listed(access_key, secret, service);
            let message =
                format!("An error occurred ({error}) when calling the DescribeImages operation");
            assert!(ended.stderr.contains(&message), "{ended:?}");
        }
        let ended = listed("AKIDREADER", "secret", "ecr");
        assert!(ended.stderr.contains("scoped to correct service: 'execute-api'"), "{ended:?}");
    });
}

/// A skeleton without its values. AWS CLI chooses some of them at random.
fn without_values(skeleton: &str) -> String {
    let names =
        skeleton.lines().map(|line| line.split_once("\": \"").map_or(line, |(name, _)| name));
    names.map(|line| format!("{line}\n")).collect()
}

/// The output without members that are missing in the original's model.
fn without_news(printed: &str) -> String {
    const NEWS: [&str; 5] = [
        "imageStatus",
        "subjectManifestDigest",
        "lastArchivedAt",
        "lastActivatedAt",
        "IMAGEDETAILS",
    ];
    let known = printed.lines().filter(|line| !NEWS.iter().any(|name| line.contains(name)));
    known.map(|line| format!("{}\n", line.trim_end_matches(','))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aws_cli_1_acts_as_the_original() {
    acts_as_the_original("aws_cli_1_acts_as_the_original", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aws_cli_2_acts_as_the_original() {
    acts_as_the_original("aws_cli_2_acts_as_the_original", 2).await;
}

#[test]
fn the_model_is_that_of_amazon_ecr() {
    let test = "the_model_is_that_of_amazon_ecr";
    let Some(python) = require(test, tools().join("python/bin/python3")) else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("external/service_model.py");
    let output =
        Command::new(python).arg(script).arg(folder().join("2015-09-21")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
}

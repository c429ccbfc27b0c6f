//! Authentication: signatures as the SDKs make them, and permissions (R41-R44). Other signatures are
//! in `signatures`.

mod unreadable_secret;

use std::time::{Duration, SystemTime};

use aws_sdk_ecr::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_ecr::error::ProvideErrorMetadata;
use aws_smithy_async::time::StaticTimeSource;
use catalog::{Change, ChangeKind, RegistryId, Repository, RepositoryStatement, Service};
use describe_images::access_keys::{AccessKeys, Authentication};
use end_to_end::harness::{Catalog, REGISTRY, Store, folder, repository, time};
use secret::Secret;
use serde_json::{Value, json};

const OTHER_REGISTRY: &str = "210987654321";

/// A catalog with the empty repositories `team/app` and `other/app` of the registry [`REGISTRY`],
/// and `team/app` of [`OTHER_REGISTRY`], each in both services.
pub(super) async fn catalog(signing_name: Option<&str>) -> Catalog {
    let store = Store::in_memory().await;
    for (registry, name) in
        [(REGISTRY, "team/app"), (REGISTRY, "other/app"), (OTHER_REGISTRY, "team/app")]
    {
        for service in Service::ALL {
            let registry = RegistryId::parse(registry).unwrap();
            let change = Change {
                repository: Repository { service, registry, ..repository(name) },
                time: time(0),
                kind: ChangeKind::RepositoryStated(RepositoryStatement::default()),
            };
            store.writer.apply(&change).await.unwrap();
        }
    }
    Catalog::start_for(store, &callers(), signing_name).await
}

pub(super) fn callers() -> Value {
    json!([
        {
            "accessKeyId": "AKIDREADER", "secretAccessKey": "reader's",
            "arn": "arn:aws:iam::123456789012:user/reader"
        },
        {
            "accessKeyId": "AKIDTEAM", "secretAccessKey": "team's",
            "arn": "arn:aws:iam::123456789012:user/team",
            "repositories": ["123456789012/team/*", "210987654321/team/app"]
        },
        {
            "accessKeyId": "AKIDPUBLIC", "secretAccessKey": "public's",
            "arn": "arn:aws:iam::123456789012:user/public",
            "repositories": ["ecr-public/123456789012/team/*"]
        },
        {
            "accessKeyId": "AKIDOTHER", "secretAccessKey": "other's",
            "arn": "arn:aws:iam::210987654321:user/other"
        },
        {
            "accessKeyId": "ASIASESSION", "secretAccessKey": "session's", "sessionToken": "token",
            "expiration": "2999-01-01T00:00:00Z", "arn": "arn:aws:sts::123456789012:assumed-role/reader/session"
        },
        {
            "accessKeyId": "ASIAEXPIRED", "secretAccessKey": "session's", "sessionToken": "token",
            "expiration": "2026-01-01T00:00:00Z", "arn": "arn:aws:sts::123456789012:assumed-role/reader/session"
        },
        {
            "accessKeyId": "AKIDDISABLED", "secretAccessKey": "former's", "disabled": true,
            "arn": "arn:aws:iam::123456789012:user/former"
        },
    ])
}

fn reader() -> Credentials {
    Credentials::new("AKIDREADER", "reader's", None, None, "tests")
}

/// Sends requests with Amazon's SDK about a repository, and returns the error, if any.
struct Sender<'a> {
    catalog: &'a Catalog,
    credentials: Credentials,
    region: &'static str,
    time: SystemTime,
}

impl<'a> Sender<'a> {
    fn with(catalog: &'a Catalog, credentials: Credentials) -> Self {
        // The catalog uses the real clock.
        let now = jiff::Timestamp::from(catalog::Timestamp::now());
        Self { catalog, credentials, region: "us-east-1", time: now.into() }
    }

    async fn ecr(&self, registry: Option<&str>, name: &str) -> Result<(), (String, String)> {
        let configuration = aws_sdk_ecr::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static(self.region))
            .credentials_provider(self.credentials.clone())
            .time_source(StaticTimeSource::new(self.time))
            .retry_config(aws_sdk_ecr::config::retry::RetryConfig::disabled())
            .endpoint_url(&self.catalog.url)
            .build();
        let request = aws_sdk_ecr::Client::from_conf(configuration).describe_images();
        match request
            .repository_name(name)
            .set_registry_id(registry.map(str::to_owned))
            .send()
            .await
        {
            Ok(_) => Ok(()),
            Err(error) => Err((
                error.code().unwrap_or_default().to_owned(),
                error.message().unwrap_or_default().to_owned(),
            )),
        }
    }

    async fn ecr_public(&self, name: &str) -> Result<(), (String, String)> {
        let configuration = aws_sdk_ecrpublic::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static(self.region))
            .credentials_provider(self.credentials.clone())
            .time_source(StaticTimeSource::new(self.time))
            .endpoint_url(&self.catalog.url)
            .build();
        let request = aws_sdk_ecrpublic::Client::from_conf(configuration).describe_images();
        match request.repository_name(name).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err((
                error.code().unwrap_or_default().to_owned(),
                error.message().unwrap_or_default().to_owned(),
            )),
        }
    }
}

fn refused(code: &str, message: impl Into<String>) -> Result<(), (String, String)> {
    Err((code.to_owned(), message.into()))
}

fn wrong_signature() -> Result<(), (String, String)> {
    refused(
        "InvalidSignatureException",
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access \
         Key and signing method. Consult the service documentation for details.",
    )
}

#[tokio::test]
async fn signed_requests_are_served_from_the_callers_own_registry() {
    let catalog = catalog(None).await;
    assert_eq!(Sender::with(&catalog, reader()).ecr(None, "other/app").await, Ok(()));
    assert_eq!(Sender::with(&catalog, reader()).ecr_public("other/app").await, Ok(()));
    let other =
        Sender::with(&catalog, Credentials::new("AKIDOTHER", "other's", None, None, "tests"));
    assert_eq!(other.ecr(None, "team/app").await, Ok(()));
    assert_eq!(
        other.ecr(None, "other/app").await,
        refused(
            "RepositoryNotFoundException",
            "The repository with name 'other/app' does not exist in the registry with id '210987654321'"
        )
    );
}

#[tokio::test]
async fn r41_unsigned_requests_are_refused() {
    let catalog = catalog(None).await;
    for path in ["/", "/DescribeImages"] {
        let response = reqwest::Client::new()
            .post(format!("{}{path}", catalog.url))
            .body(r#"{"repositoryName":"team/app"}"#)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers()["x-amzn-errortype"], "MissingAuthenticationTokenException");
        assert_eq!(
            response.text().await.unwrap(),
            r#"{"__type":"MissingAuthenticationTokenException","message":"Missing Authentication Token"}"#
        );
    }
}

#[tokio::test]
async fn r42_unknown_keys_and_ended_sessions_are_refused() {
    let catalog = catalog(None).await;
    let send = async |access_key: &str, secret: &str, token: Option<&str>| {
        let credentials =
            Credentials::new(access_key, secret, token.map(str::to_owned), None, "tests");
        Sender::with(&catalog, credentials).ecr(None, "team/app").await
    };
    let unrecognized = refused(
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
    );
    assert_eq!(send("ASIASESSION", "session's", Some("token")).await, Ok(()));
    assert_eq!(send("AKIDNOBODY", "reader's", None).await, unrecognized);
    assert_eq!(send("ASIASESSION", "session's", None).await, unrecognized);
    assert_eq!(send("ASIASESSION", "session's", Some("another")).await, unrecognized);
    assert_eq!(send("AKIDREADER", "reader's", Some("token")).await, unrecognized);
    assert_eq!(send("AKIDDISABLED", "former's", None).await, unrecognized);
    assert_eq!(
        send("ASIAEXPIRED", "session's", Some("token")).await,
        refused("ExpiredTokenException", "The security token included in the request is expired")
    );
}

/// The keys of a file are read again. As long as they cannot be, the last ones are in use.
#[tokio::test]
async fn r42_keys_that_are_added_and_disabled_while_it_runs() {
    let file = folder("authentication").join("callers.json");
    let write = |reader_is_disabled: bool, other_is_disabled: bool| {
        let mut list = callers();
        list[0]["disabled"] = json!(reader_is_disabled);
        list[3]["disabled"] = json!(other_is_disabled);
        std::fs::write(&file, list.to_string()).unwrap();
    };
    write(false, true);
    let keys = Secret::file(file.clone(), |text| Ok(AccessKeys::parse(text)?));
    let keys = keys.read_every(Duration::ZERO);
    let authentication = Authentication::new(keys, "us-east-1".to_owned(), None);
    let store = Store::in_memory().await;
    let catalog = Catalog::start_authenticated(store, authentication).await;
    let other = || Credentials::new("AKIDOTHER", "other's", None, None, "tests");
    let codes = async || {
        let code = async |credentials| {
            let read = Sender::with(&catalog, credentials).ecr(None, "team/app").await;
            read.unwrap_err().0
        };
        [code(reader()).await, code(other()).await]
    };
    let (known, unknown) = ("RepositoryNotFoundException", "UnrecognizedClientException");
    assert_eq!(codes().await, [known, unknown]);
    write(true, false);
    assert_eq!(codes().await, [unknown, known]);
    for invalid in ["", "[", "{}", r#"[{"accessKeyId":"AKIDREADER"}]"#] {
        std::fs::write(&file, invalid).unwrap();
        assert_eq!(codes().await, [unknown, known], "{invalid}");
    }
    std::fs::remove_file(&file).unwrap();
    assert_eq!(codes().await, [unknown, known]);
    write(true, true);
    assert_eq!(codes().await, [unknown, unknown]);
}

#[test]
fn lists_of_keys_that_are_not_valid_have_a_reason_without_their_secrets() {
    let arn = "arn:aws:iam::123456789012:user/reader";
    let key = json!({ "accessKeyId": "AKID", "secretAccessKey": "hidden", "arn": arn });
    let with = |name: &str, value: Value| {
        let mut key = key.clone();
        key[name] = value;
        json!([key]).to_string()
    };
    for (list, reason) in [
        (with("arn", json!("reader")), "'reader' is no ARN with an account"),
        (with("arn", json!("arn:aws:iam::1234:user/a")), "'arn:aws:iam::1234:user/a' is no ARN"),
        (with("accessKeyId", json!("")), "an access key has no accessKeyId"),
        (with("secretAccessKey", json!("")), "'AKID' has no secretAccessKey"),
        (with("secretAccessKey", json!(["hidden"])), "expected a string at line 1"),
        (with("disabled", json!("hidden")), "expected a boolean at line 1"),
        (with("Disabled", json!(true)), "unknown field `Disabled`"),
        (json!([key, key]).to_string(), "'AKID' is there twice"),
        (r#""hidden""#.to_owned(), "expected a sequence at line 1"),
        (r#"[{"secretAccessKey":"hidden"}]"#.to_owned(), "missing field `accessKeyId`"),
        (String::new(), "EOF while parsing"),
    ] {
        let error = AccessKeys::parse(&list).unwrap_err().to_string();
        assert!(error.starts_with(reason) && !error.contains("hidden"), "{list}: {error}");
    }
}

#[tokio::test]
async fn r43_wrong_signatures_are_refused() {
    let catalog = catalog(None).await;
    let wrong_secret = Credentials::new("AKIDREADER", "other's", None, None, "tests");
    assert_eq!(Sender::with(&catalog, wrong_secret).ecr(None, "team/app").await, wrong_signature());
}

#[tokio::test]
async fn r43_old_and_future_signatures_are_refused() {
    let catalog = catalog(None).await;
    let now = Sender::with(&catalog, reader()).time;
    let minutes = |minutes| Duration::from_mins(minutes);
    let send = async |time| {
        Sender { time, ..Sender::with(&catalog, reader()) }.ecr(None, "team/app").await
    };
    assert_eq!(send(now - minutes(14)).await, Ok(()));
    assert_eq!(send(now + minutes(14)).await, Ok(()));
    for (time, begins) in [
        (now - minutes(16), "Signature expired: {} is now earlier than "),
        (now + minutes(16), "Signature not yet current: {} is still later than "),
    ] {
        let (code, message) = send(time).await.unwrap_err();
        let basic = jiff::Timestamp::try_from(time).unwrap().strftime("%Y%m%dT%H%M%SZ").to_string();
        assert_eq!(code, "InvalidSignatureException");
        assert!(
            message.starts_with(&begins.replace("{}", &basic)) && message.contains("15 min.)"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn r43_signatures_for_another_region_or_service_are_refused() {
    let ecr = catalog(None).await;
    assert_eq!(
        Sender { region: "eu-west-1", ..Sender::with(&ecr, reader()) }.ecr(None, "team/app").await,
        refused(
            "InvalidSignatureException",
            "Credential should be scoped to a valid region, not 'eu-west-1'."
        )
    );
    let gateway = catalog(Some("execute-api")).await;
    let elsewhere = refused(
        "InvalidSignatureException",
        "Credential should be scoped to correct service: 'execute-api'.",
    );
    assert_eq!(Sender::with(&gateway, reader()).ecr(None, "team/app").await, elsewhere);
    assert_eq!(Sender::with(&gateway, reader()).ecr_public("team/app").await, elsewhere);
}

#[tokio::test]
async fn r44_callers_read_only_what_they_may() {
    let catalog = catalog(None).await;
    let team = Sender::with(&catalog, Credentials::new("AKIDTEAM", "team's", None, None, "tests"));
    assert_eq!(team.ecr(None, "team/app").await, Ok(()));
    assert_eq!(team.ecr(Some(OTHER_REGISTRY), "team/app").await, Ok(()));
    let denied = |action: &str, repository: &str, policy: &str| {
        refused(
            "AccessDeniedException",
            format!(
                "User: arn:aws:iam::123456789012:user/team is not authorized to perform: {action} on resource: \
                 {repository} because no {policy} policy allows the {action} action"
            ),
        )
    };
    assert_eq!(
        team.ecr(None, "other/app").await,
        denied(
            "ecr:DescribeImages",
            "arn:aws:ecr:us-east-1:123456789012:repository/other/app",
            "identity-based"
        )
    );
    assert_eq!(
        team.ecr_public("other/app").await,
        denied(
            "ecr-public:DescribeImages",
            "arn:aws:ecr-public::123456789012:repository/other/app",
            "identity-based"
        )
    );
    // The repository of the same name in the other service is another one (rule 55).
    assert_eq!(
        team.ecr_public("team/app").await,
        denied(
            "ecr-public:DescribeImages",
            "arn:aws:ecr-public::123456789012:repository/team/app",
            "identity-based"
        )
    );
    // The error does not depend on whether the repository exists.
    assert_eq!(
        team.ecr(Some(OTHER_REGISTRY), "secret").await,
        denied(
            "ecr:DescribeImages",
            "arn:aws:ecr:us-east-1:210987654321:repository/secret",
            "resource-based"
        )
    );
    assert_eq!(
        Sender::with(&catalog, reader()).ecr(Some(OTHER_REGISTRY), "team/app").await.unwrap_err().0,
        "AccessDeniedException"
    );
}

#[tokio::test]
async fn r44_r55_permissions_are_for_the_repositories_of_one_service() {
    let catalog = catalog(None).await;
    let public = Credentials::new("AKIDPUBLIC", "public's", None, None, "tests");
    let public = Sender::with(&catalog, public);
    assert_eq!(public.ecr_public("team/app").await, Ok(()));
    assert_eq!(public.ecr_public("other/app").await.unwrap_err().0, "AccessDeniedException");
    assert_eq!(public.ecr(None, "team/app").await.unwrap_err().0, "AccessDeniedException");
    // Without a list, a caller reads all repositories of the account in both services.
    let reader = Sender::with(&catalog, reader());
    for name in ["team/app", "other/app"] {
        assert_eq!(reader.ecr(None, name).await, Ok(()));
        assert_eq!(reader.ecr_public(name).await, Ok(()));
    }
}

//! What each caller may read: every caller, service, operation and repository (R40-R44, R55), and
//! the page tokens of each (R35, R44).

mod matrix;
mod page_tokens;

use aws_sdk_ecr::config::Credentials;
use catalog::change::Content;
use catalog::{Change, ChangeKind, RegistryId, Repository, Service};
use end_to_end::harness::signer::signature_headers;
use end_to_end::harness::{Catalog, REGISTRY, Store, digest, repository, tag, time};
use serde_json::{Value, json};

const OTHER_REGISTRY: &str = "210987654321";

/// The repositories of the catalog, in both services. Each has two images with tags, for two pages.
const REPOSITORIES: [(&str, &str); 3] =
    [(REGISTRY, "team/here"), (REGISTRY, "work/here"), (OTHER_REGISTRY, "work/else")];

/// A caller whose signature is right.
struct Caller {
    name: &'static str,
    account: &'static str,
    /// As in the file of callers. `None` stands for the default.
    patterns: Option<&'static [&'static str]>,
    /// Whether it may read a repository of a registry and a service.
    may_read: fn(Service, &str, &str) -> bool,
}

const CALLERS: [Caller; 8] = [
    Caller {
        name: "own account",
        account: REGISTRY,
        patterns: None,
        may_read: |_, registry, _| registry == REGISTRY,
    },
    Caller {
        name: "one of another's",
        account: REGISTRY,
        patterns: Some(&["210987654321/work/else"]),
        may_read: |service, registry, name| {
            (service, registry, name) == (Service::Ecr, OTHER_REGISTRY, "work/else")
        },
    },
    Caller {
        name: "a prefix",
        account: REGISTRY,
        patterns: Some(&["123456789012/team/*"]),
        may_read: |service, registry, name| {
            (service, registry) == (Service::Ecr, REGISTRY) && name.starts_with("team/")
        },
    },
    Caller {
        name: "only ecr",
        account: REGISTRY,
        patterns: Some(&["123456789012/*"]),
        may_read: |service, registry, _| (service, registry) == (Service::Ecr, REGISTRY),
    },
    Caller {
        name: "only ecr-public",
        account: REGISTRY,
        patterns: Some(&["ecr-public/123456789012/*"]),
        may_read: |service, registry, _| (service, registry) == (Service::EcrPublic, REGISTRY),
    },
    Caller {
        name: "everything",
        account: REGISTRY,
        patterns: Some(&["*"]),
        may_read: |_, _, _| true,
    },
    Caller { name: "nothing", account: REGISTRY, patterns: Some(&[]), may_read: |_, _, _| false },
    Caller {
        name: "another account",
        account: OTHER_REGISTRY,
        patterns: None,
        may_read: |_, registry, _| registry == OTHER_REGISTRY,
    },
];

impl Caller {
    fn credentials(&self) -> Credentials {
        let key = self.name.replace([' ', '\''], "-");
        Credentials::new(key, format!("secret of {}", self.name), None, None, "tests")
    }

    fn entry(&self) -> Value {
        let credentials = self.credentials();
        let mut entry = json!({
            "accessKeyId": credentials.access_key_id(),
            "secretAccessKey": credentials.secret_access_key(),
            "arn": format!("arn:aws:iam::{}:user/reader", self.account),
        });
        if let Some(patterns) = self.patterns {
            entry["repositories"] = json!(patterns);
        }
        entry
    }
}

/// Every error of the matrices, and a letter for each.
const LETTERS: [(char, u16, &str); 10] = [
    ('S', 200, ""),
    ('M', 400, "MissingAuthenticationTokenException"),
    ('U', 400, "UnrecognizedClientException"),
    ('E', 400, "ExpiredTokenException"),
    ('I', 400, "InvalidSignatureException"),
    ('O', 400, "UnknownOperationException"),
    ('C', 400, "UnsupportedCommandException"),
    ('D', 400, "AccessDeniedException"),
    ('N', 400, "RepositoryNotFoundException"),
    ('P', 400, "InvalidParameterException"),
];

/// The lines that explain the letters of a matrix.
fn legend(matrix: &str) -> String {
    let used = LETTERS.iter().filter(|(letter, ..)| matrix.contains(&format!(" {letter}")));
    used.map(|(letter, status, name)| {
        format!("{letter} {status} {name}").trim_end().to_owned() + "\n"
    })
    .collect()
}

/// A response to a request.
struct Reply {
    letter: char,
    /// All but what differs between any two responses, as text.
    text: String,
    body: Value,
}

/// A catalog whose callers are [`CALLERS`] and some more, and a client.
struct Readers {
    catalog: Catalog,
    http: reqwest::Client,
}

impl Readers {
    async fn start(more: &[Value]) -> Self {
        let store = Store::in_memory().await;
        for (registry, name) in REPOSITORIES {
            for service in Service::ALL {
                let registry = RegistryId::parse(registry).unwrap();
                let repository = Repository { service, registry, ..repository(name) };
                for number in 1..=2 {
                    let (tag, content) = (Some(tag(&format!("v{number}"))), Content::default());
                    let kind = ChangeKind::ImagePushed { digest: digest(number), tag, content };
                    let change = Change { repository: repository.clone(), time: time(0), kind };
                    store.writer.apply(&change).await.unwrap();
                }
            }
        }
        let callers: Vec<Value> =
            CALLERS.iter().map(Caller::entry).chain(more.iter().cloned()).collect();
        let catalog = Catalog::start_for(store, &json!(callers), None).await;
        Self { catalog, http: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    /// Sends a request, which is not signed without credentials.
    async fn send(
        &self,
        credentials: Option<&Credentials>,
        service: Service,
        operation: &str,
        body: &Value,
    ) -> Reply {
        let target = match service {
            Service::Ecr => format!("AmazonEC2ContainerRegistry_V20150921.{operation}"),
            Service::EcrPublic => format!("SpencerFrontendService.{operation}"),
        };
        let (url, body) = (format!("{}/", self.catalog.url), body.to_string());
        let headers = [("x-amz-target", target.as_str())];
        let signature = credentials.map(|credentials| {
            signature_headers(credentials, service.as_str(), &url, &headers, &body)
        });
        let mut request = self.http.post(url).header("x-amz-target", &target).body(body);
        for (name, value) in signature.into_iter().flatten() {
            request = request.header(name, value);
        }
        let response = request.send().await.unwrap();
        let (status, mut headers) = (response.status().as_u16(), response.headers().clone());
        for changing in ["x-amzn-requestid", "date"] {
            headers.remove(changing);
        }
        let text = response.text().await.unwrap();
        let body: Value = serde_json::from_str(&text).unwrap();
        let name = body["__type"].as_str().unwrap_or_default();
        let letter = LETTERS.iter().find(|letter| (letter.1, letter.2) == (status, name));
        let (letter, ..) = letter.unwrap_or_else(|| panic!("{status} {name} has no letter"));
        Reply { letter: *letter, text: format!("{status} {headers:?} {text}"), body }
    }
}

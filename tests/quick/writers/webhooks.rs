//! Webhooks: who may send them, and what they change.

use catalog::Service;
use end_to_end::harness::{Catalog, Store};
use registries::Source;

use super::{
    DEFAULT, EVENTS, KINDS, Kind, NAMED, Named, SECOND, changed, changed_by_first,
    changed_by_second, event, line, repository, rows, scan, subscriptions,
};
use crate::webhooks::{send, signature};

/// A delivery: the secret that it shows, a part of its address, and its event.
struct Delivery {
    name: String,
    secret: Option<&'static str>,
    query: &'static str,
    event: Named,
}

fn deliveries() -> Vec<Delivery> {
    let of_secret =
        |name: &str, secret| Delivery { name: name.to_owned(), secret, query: "", event: NAMED };
    let of_address =
        |query| Delivery { query, ..of_secret(&format!("first, ?{query}"), Some("first")) };
    let mut deliveries = vec![
        of_secret("no secret", None),
        of_secret("wrong secret", Some("wrong")),
        of_secret("secret of another source", Some("third")),
        of_address("subscription=second"),
        of_address("subscription=third"),
        of_address("subscription=first"),
        of_address("registry=222222222222"),
        of_address("service=ecr-public"),
    ];
    for secret in ["first", "second"] {
        deliveries.extend(EVENTS.map(|(name, event)| Delivery {
            event,
            ..of_secret(&format!("{secret}: {name}"), Some(secret))
        }));
    }
    deliveries
}

/// Shows a secret as the source does: headers, and a parameter of the address.
fn shown(source: Source, secret: &str, body: &str) -> (Option<(&'static str, String)>, String) {
    let header = match source {
        Source::Quay | Source::DockerHub => return (None, format!("token={secret}")),
        Source::Distribution | Source::Zot => {
            let pair = aws_smithy_types::base64::encode(format!("catalog:{secret}"));
            ("authorization", format!("Basic {pair}"))
        }
        Source::Github => ("x-hub-signature-256", format!("sha256={}", signature(secret, body))),
        Source::Artifactory => ("x-jfrog-event-auth", signature(secret, body)),
        Source::Ecr | Source::Harbor => ("authorization", format!("Bearer {secret}")),
    };
    (Some(header), String::new())
}

/// By the rules: the letter of the matrix, and the repository that a delivery changes.
fn expected(source: Source, kind: &Kind, delivery: &Delivery) -> (char, Option<String>) {
    let (letter, repository) = match (delivery.secret, delivery.query) {
        (Some("first"), "subscription=second" | "subscription=third") => return ('-', None),
        // A subscription has its registry and its service, whatever the address says.
        (Some("first"), _) => ('1', changed_by_first(source, kind, delivery.event)),
        (Some("second"), _) => ('2', changed_by_second(source, delivery.event)),
        _ => return ('-', None),
    };
    of_repository(source, letter, repository)
}

/// By the rules, where there are no subscriptions: the address may name registry and service.
fn expected_if_open(source: Source, delivery: &Delivery) -> (char, Option<String>) {
    let Named { registry, service, name } = delivery.event;
    let repository = match source {
        Source::Ecr => repository(service, registry, name),
        _ => match delivery.query {
            "registry=222222222222" => repository(Service::Ecr, SECOND, name),
            "service=ecr-public" => repository(Service::EcrPublic, DEFAULT, name),
            _ => repository(Service::Ecr, DEFAULT, name),
        },
    };
    of_repository(source, 'o', Some(repository).filter(|name| !name.contains("..")))
}

fn of_repository(
    source: Source,
    letter: char,
    repository: Option<String>,
) -> (char, Option<String>) {
    match repository {
        // A distribution registry would repeat a notification that is refused (rule 52).
        None if source == Source::Distribution => ('r', None),
        None => ('x', None),
        repository => (letter, repository),
    }
}

/// Sends every delivery, and compares what each changes. Returns the letters.
async fn letters(
    catalog: &Catalog,
    source: Source,
    expected: impl Fn(&Delivery) -> (char, Option<String>),
) -> Vec<char> {
    let mut letters = Vec::new();
    for (number, delivery) in (1..).zip(deliveries()) {
        let body = event(source, delivery.event, number);
        let secret = delivery.secret.map(|secret| shown(source, secret, &body));
        let (header, token) = secret.unwrap_or_default();
        let url = format!("{}/events/{source}?{}&{token}", catalog.url, delivery.query);
        let headers: Vec<_> = header.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let before = scan(&catalog.store).await;
        let (status, response) = send(&url, &headers, body).await;
        let mut changed = changed(&before, &scan(&catalog.store).await);
        if status != 401 {
            // When a signed delivery was received first is kept, whatever it contains.
            changed.retain(|partition| !partition.starts_with("delivery#"));
        }
        let (letter, repository) = expected(&delivery);
        let what = format!("{source}, {}: {status} {response}", delivery.name);
        assert_eq!(Vec::from_iter(changed), Vec::from_iter(repository), "{what}");
        let expected_status = match letter {
            '-' => 401,
            'x' => 400,
            _ => 200,
        };
        assert_eq!(status, expected_status, "{what}");
        letters.push(letter);
    }
    letters
}

#[tokio::test]
async fn r55_a_webhook_changes_only_the_repositories_of_its_subscription() {
    let mut matrix = "\
        1 200 the repository of the first subscription is changed, and nothing else\n\
        2 200 that of the second subscription\n\
        o 200 that of the event and of the address\n\
        r 200 nothing is changed, and the event is reported\n\
        x 400 nothing is changed\n\
        - 401 nothing is changed\n\n"
        .to_owned();
    for (number, delivery) in deliveries().iter().enumerate() {
        matrix += &format!("{:>width$} {}\n", "|", delivery.name, width = 29 + 2 * number);
    }
    for (source, kind) in rows() {
        let subscriptions = subscriptions(source, kind);
        let store = Store::in_memory().await;
        let catalog = Catalog::start_subscribed(store, &subscriptions).await;
        let expected = |delivery: &Delivery| expected(source, kind, delivery);
        matrix += &line(source, kind.name, &letters(&catalog, source, expected).await);
    }
    for source in Source::ALL {
        // Without a subscription, their lookups would be requests to the product's own host.
        if matches!(source, Source::Quay | Source::DockerHub) {
            continue;
        }
        let catalog = Catalog::start().await;
        let expected = |delivery: &Delivery| expected_if_open(source, delivery);
        matrix += &line(source, "open", &letters(&catalog, source, expected).await);
    }
    assert_eq!(KINDS.len() * (Source::ALL.len() - 1) + 2, rows().count());
    insta::assert_snapshot!(matrix, @r"
    1 200 the repository of the first subscription is changed, and nothing else
    2 200 that of the second subscription
    o 200 that of the event and of the address
    r 200 nothing is changed, and the event is reported
    x 400 nothing is changed
    - 401 nothing is changed

                                | no secret
                                  | wrong secret
                                    | secret of another source
                                      | first, ?subscription=second
                                        | first, ?subscription=third
                                          | first, ?subscription=first
                                            | first, ?registry=222222222222
                                              | first, ?service=ecr-public
                                                | first: an event
                                                  | first: of another registry
                                                    | first: of another prefix
                                                      | first: of the other service
                                                        | first: with an invalid name
                                                          | second: an event
                                                            | second: of another registry
                                                              | second: of another prefix
                                                                | second: of the other service
                                                                  | second: with an invalid name
    ecr                         - - - - - 1 1 1 1 x 1 1 x x 2 x x x
    ecr prefix                  - - - - - 1 1 1 1 x x 1 x x 2 x x x
    distribution                - - - - - 1 1 1 1 1 1 1 r 2 2 2 2 r
    distribution prefix         - - - - - 1 1 1 1 1 1 1 r 2 2 2 2 r
    distribution public         - - - - - 1 1 1 1 1 1 1 r 2 2 2 2 r
    distribution public prefix  - - - - - 1 1 1 1 1 1 1 r 2 2 2 2 r
    harbor                      - - - - - 1 1 1 1 1 1 1 x 2 2 2 2 x
    harbor prefix               - - - - - 1 1 1 1 1 1 1 x 2 2 2 2 x
    harbor public               - - - - - 1 1 1 1 1 1 1 x 2 2 2 2 x
    harbor public prefix        - - - - - 1 1 1 1 1 1 1 x 2 2 2 2 x
    quay                        - - - - - 1 1 1 1 1 1 1 x 2 2 2 2 x
    quay prefix                 - - - - - 1 1 1 1 1 1 1 x 2 2 2 2 x
    quay public                 - - - - - 1 1 1 1 1 1 1 x 2 2 2 2 x
    quay public prefix          - - - - - 1 1 1 1 1 1 1 x 2 2 2 2 x
    github                      - - - - - 1 1 1 1 1 1 1 x 2 2 2 2 x
    github prefix               - - - - - 1 1 1 1 1 1 1 x 2 2 2 2 x
    github public               - - - - - 1 1 1 1 1 1 1 x 2 2 2 2 x
    github public prefix        - - - - - 1 1 1 1 1 1 1 x 2 2 2 2 x
    docker-hub                  - - - - - 1 1 1 1 1 1 1 x 2 2 2 2 x
    docker-hub prefix           - - - - - 1 1 1 1 1 1 1 x 2 2 2 2 x
    docker-hub public           - - - - - 1 1 1 1 1 1 1 x 2 2 2 2 x
    docker-hub public prefix    - - - - - 1 1 1 1 1 1 1 x 2 2 2 2 x
    artifactory                 - - - - - 1 1 1 1 1 1 1 x 2 2 2 2 x
    artifactory prefix          - - - - - 1 1 1 1 1 1 1 x 2 2 2 2 x
    artifactory public          - - - - - 1 1 1 1 1 1 1 x 2 2 2 2 x
    artifactory public prefix   - - - - - 1 1 1 1 1 1 1 x 2 2 2 2 x
    zot                         - - - - - 1 1 1 1 1 1 1 x 2 2 2 2 x
    zot prefix                  - - - - - 1 1 1 1 1 1 1 x 2 2 2 2 x
    zot public                  - - - - - 1 1 1 1 1 1 1 x 2 2 2 2 x
    zot public prefix           - - - - - 1 1 1 1 1 1 1 x 2 2 2 2 x
    ecr open                    o o o o o o o o o o o o x o o o o x
    distribution open           o o o o o o o o o o o o r o o o o r
    harbor open                 o o o o o o o o o o o o x o o o o x
    github open                 o o o o o o o o o o o o x o o o o x
    artifactory open            o o o o o o o o o o o o x o o o o x
    zot open                    o o o o o o o o o o o o x o o o o x
    ");
}

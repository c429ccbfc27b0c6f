//! Messages of the queue, whose attribute names the subscription that `receive-webhook` found.

use std::time::Duration;

use end_to_end::harness::Store;
use end_to_end::harness::queue::{apply_batch, received_message};
use registries::{Source, Subscriptions};
use tokio::time::Instant;

use super::{
    EVENTS, Kind, Named, changed, changed_by_first, changed_by_second, event, line, own_repository,
    rows, scan, subscriptions,
};

/// The attribute `subscription` of a message.
const SUBSCRIPTIONS: [Option<&str>; 4] = [Some("first"), Some("second"), Some("unknown"), None];

/// By the rules: the letter of the matrix, and the repository that a message changes.
fn expected(
    source: Source,
    kind: &Kind,
    subscription: Option<&str>,
    event: Named,
) -> (char, Option<String>) {
    let (letter, repository) = match subscription {
        Some("first") => ('1', changed_by_first(source, kind, event)),
        Some("second") => ('2', changed_by_second(source, event)),
        Some(_) => ('f', None),
        // EventBridge sets no attributes. Other events are not Amazon's, and cannot be decoded.
        None => {
            let is_valid = source == Source::Ecr && !event.name.contains("..");
            ('e', is_valid.then(|| own_repository(event)))
        }
    };
    if repository.is_none() { ('f', None) } else { (letter, repository) }
}

#[tokio::test]
async fn r55_a_message_changes_only_the_repositories_of_its_subscription() {
    let mut matrix = "\
        1 the repository of the first subscription is changed, and nothing else\n\
        2 that of the second subscription\n\
        e that of the event, which is Amazon's\n\
        f the message fails, and nothing is changed\n\n"
        .to_owned();
    let columns: Vec<_> = SUBSCRIPTIONS
        .into_iter()
        .flat_map(|subscription| EVENTS.map(|(name, event)| (subscription, name, event)))
        .collect();
    for (number, (subscription, name, _)) in columns.iter().enumerate() {
        let (subscription, width) = (subscription.unwrap_or("no"), 29 + 2 * number);
        matrix += &format!("{:>width$} {subscription}: {name}\n", "|");
    }
    for (source, kind) in rows() {
        let store = Store::in_memory().await;
        let subscriptions = Subscriptions::parse(&subscriptions(source, kind).to_string()).unwrap();
        let ingest = store.ingest_of(subscriptions);
        let mut letters = Vec::new();
        for (number, (subscription, name, named)) in (1..).zip(&columns) {
            let attributes: Vec<_> =
                subscription.map(|id| ("subscription", id)).into_iter().collect();
            let message = received_message("id", &event(source, *named, number), &attributes);
            let before = scan(&store).await;
            let deadline = Instant::now() + Duration::from_mins(1);
            let failed = apply_batch(&ingest, vec![message], deadline).await;
            let mut changed = changed(&before, &scan(&store).await);
            // When a signed delivery was received first is kept, whatever it contains.
            changed.retain(|partition| !partition.starts_with("delivery#"));
            let (letter, repository) = expected(source, kind, *subscription, *named);
            let what = format!("{source} {}, {subscription:?}, {name}", kind.name);
            assert_eq!(Vec::from_iter(changed), Vec::from_iter(repository), "{what}");
            assert_eq!(failed.is_empty(), letter != 'f', "{what}");
            letters.push(letter);
        }
        matrix += &line(source, kind.name, &letters);
    }
    insta::assert_snapshot!(matrix, @r"
    1 the repository of the first subscription is changed, and nothing else
    2 that of the second subscription
    e that of the event, which is Amazon's
    f the message fails, and nothing is changed

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
                                                    | unknown: an event
                                                      | unknown: of another registry
                                                        | unknown: of another prefix
                                                          | unknown: of the other service
                                                            | unknown: with an invalid name
                                                              | no: an event
                                                                | no: of another registry
                                                                  | no: of another prefix
                                                                    | no: of the other service
                                                                      | no: with an invalid name
    ecr                         1 f 1 1 f f 2 f f f f f f f f e e e e f
    ecr prefix                  1 f f 1 f f 2 f f f f f f f f e e e e f
    distribution                1 1 1 1 f 2 2 2 2 f f f f f f f f f f f
    distribution prefix         1 1 1 1 f 2 2 2 2 f f f f f f f f f f f
    distribution public         1 1 1 1 f 2 2 2 2 f f f f f f f f f f f
    distribution public prefix  1 1 1 1 f 2 2 2 2 f f f f f f f f f f f
    harbor                      1 1 1 1 f 2 2 2 2 f f f f f f f f f f f
    harbor prefix               1 1 1 1 f 2 2 2 2 f f f f f f f f f f f
    harbor public               1 1 1 1 f 2 2 2 2 f f f f f f f f f f f
    harbor public prefix        1 1 1 1 f 2 2 2 2 f f f f f f f f f f f
    quay                        1 1 1 1 f 2 2 2 2 f f f f f f f f f f f
    quay prefix                 1 1 1 1 f 2 2 2 2 f f f f f f f f f f f
    quay public                 1 1 1 1 f 2 2 2 2 f f f f f f f f f f f
    quay public prefix          1 1 1 1 f 2 2 2 2 f f f f f f f f f f f
    github                      1 1 1 1 f 2 2 2 2 f f f f f f f f f f f
    github prefix               1 1 1 1 f 2 2 2 2 f f f f f f f f f f f
    github public               1 1 1 1 f 2 2 2 2 f f f f f f f f f f f
    github public prefix        1 1 1 1 f 2 2 2 2 f f f f f f f f f f f
    docker-hub                  1 1 1 1 f 2 2 2 2 f f f f f f f f f f f
    docker-hub prefix           1 1 1 1 f 2 2 2 2 f f f f f f f f f f f
    docker-hub public           1 1 1 1 f 2 2 2 2 f f f f f f f f f f f
    docker-hub public prefix    1 1 1 1 f 2 2 2 2 f f f f f f f f f f f
    artifactory                 1 1 1 1 f 2 2 2 2 f f f f f f f f f f f
    artifactory prefix          1 1 1 1 f 2 2 2 2 f f f f f f f f f f f
    artifactory public          1 1 1 1 f 2 2 2 2 f f f f f f f f f f f
    artifactory public prefix   1 1 1 1 f 2 2 2 2 f f f f f f f f f f f
    zot                         1 1 1 1 f 2 2 2 2 f f f f f f f f f f f
    zot prefix                  1 1 1 1 f 2 2 2 2 f f f f f f f f f f f
    zot public                  1 1 1 1 f 2 2 2 2 f f f f f f f f f f f
    zot public prefix           1 1 1 1 f 2 2 2 2 f f f f f f f f f f f
    ");
}

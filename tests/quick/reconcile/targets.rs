//! Repositories and their registry targets.

use catalog::{RegistryId, Repository};
use end_to_end::harness::{REGISTRY, repository};
use registries::{RegistryTargets, Subscriptions};
use serde_json::json;

/// A repository is pruned only if no other registry can have it.
#[test]
fn a_repository_is_of_the_registry_with_the_longest_prefix() {
    let subscription = |id: &str, registry: &str, prefix: Option<&str>, url: Option<&str>| {
        let mut subscription = json!({
            "id": id, "source": "harbor", "registryId": registry, "credential": { "bearer": "token" },
        });
        let members = subscription.as_object_mut().unwrap();
        members.extend(prefix.map(|prefix| ("repositoryPrefix".to_owned(), json!(prefix))));
        members.extend(url.map(|url| ("registryUrl".to_owned(), json!(url))));
        subscription
    };
    let all = json!([
        subscription("whole", "000000000001", None, Some("https://one.example")),
        subscription("berlin", "000000000001", Some("berlin"), Some("https://two.example")),
        subscription("berlin-again", "000000000001", Some("berlin"), Some("https://two.example")),
        subscription("paris", "000000000001", Some("paris"), Some("https://three.example")),
        subscription(
            "paris-elsewhere",
            "000000000001",
            Some("paris"),
            Some("https://four.example")
        ),
        subscription("vienna", "000000000001", Some("vienna"), Some("https://two.example")),
        subscription("rome", "000000000001", Some("rome"), None),
        subscription("account", REGISTRY, Some("mirror"), Some("https://five.example")),
        json!({ "id": "ecr-1", "source": "ecr", "registryId": REGISTRY, "credential": { "bearer": "token" } }),
    ]);
    let subscriptions = Subscriptions::parse(&all.to_string()).unwrap();
    let all = RegistryTargets::new(Some(&RegistryId::parse(REGISTRY).unwrap()), &subscriptions);
    assert!(all.get("rome").is_none(), "it cannot be listed");
    let owners = |registry: &str, name: &str| -> Vec<&str> {
        let registry = RegistryId::parse(registry).unwrap();
        let repository = Repository { registry, ..repository(name) };
        let owners = all.targets.iter().filter(|target| all.is_exclusive(&repository, target));
        owners.map(|target| target.id.as_str()).collect()
    };
    assert_eq!(owners("000000000001", "app"), ["whole"]);
    assert_eq!(owners("000000000001", "berliner/app"), ["whole"]);
    assert_eq!(
        owners("000000000001", "berlin/app"),
        [""; 0],
        "each may list what the other does not"
    );
    assert_eq!(owners("000000000001", "vienna/app"), ["vienna"]);
    assert_eq!(owners("000000000001", "paris/app"), [""; 0], "it may be in either");
    assert_eq!(owners("000000000001", "rome/app"), [""; 0], "its registry cannot be listed");
    assert_eq!(owners(REGISTRY, "app"), ["ecr"]);
    assert_eq!(owners(REGISTRY, "mirror/app"), ["account"]);
    assert_eq!(owners("000000000002", "app"), [""; 0]);
}

/// Other accounts that forward their events have targets of their own.
#[test]
fn a_repository_of_another_account_is_of_the_registry_of_that_account() {
    let account = |id: &str| RegistryId::parse(id).unwrap();
    let mut all = RegistryTargets::new(Some(&account(REGISTRY)), &Subscriptions::default());
    all.add_account(&account("210987654321"));
    let ids: Vec<&str> = all.targets.iter().map(|target| target.id.as_str()).collect();
    assert_eq!(ids, ["ecr", "ecr-public", "ecr/210987654321", "ecr-public/210987654321"]);
    let elsewhere = Repository { registry: account("210987654321"), ..repository("app") };
    for (repository, owner) in [(repository("app"), "ecr"), (elsewhere, "ecr/210987654321")] {
        let owners = all.targets.iter().filter(|target| all.is_exclusive(&repository, target));
        let owners: Vec<&str> = owners.map(|target| target.id.as_str()).collect();
        assert_eq!(owners, [owner]);
    }
}

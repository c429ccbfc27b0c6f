//! What DescribeRepositories reads, however many repositories the registry has.

use catalog::repository::{Encryption, ImageTagMutability};
use catalog::{Change, ChangeKind, RepositoryName, RepositoryStatement, Service};
use end_to_end::harness::{REGISTRY, Store, print, repository, time};

const PAGE: usize = 20;

fn name(number: usize) -> String {
    format!("team/app-{number:06}")
}

/// Everything that Amazon ECR states of a repository without tags.
fn stated(number: usize) -> Change {
    let repository = repository(&name(number));
    let uri = format!("{REGISTRY}.dkr.ecr.us-east-1.amazonaws.com/{}", repository.name);
    let statement = RepositoryStatement {
        created_at: Some(time(0)),
        uri: Some(uri),
        image_tag_mutability: Some(ImageTagMutability {
            value: "MUTABLE".to_owned(),
            exclusion_filters: Vec::new(),
        }),
        scan_on_push: Some(false),
        encryption: Some(Encryption { encryption_type: "AES256".to_owned(), kms_key: None }),
        ..RepositoryStatement::default()
    };
    Change { repository, time: time(1), kind: ChangeKind::RepositoryStated(statement) }
}

async fn fill(store: &Store, repositories: usize) {
    const WRITERS: usize = 4;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        writers.spawn(async move {
            for number in (writer..repositories).step_by(WRITERS) {
                store.writer.apply(&stated(number)).await.unwrap();
            }
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_repositories_costs_the_same_in_small_and_large_registries() {
    let registry = repository("any").registry;
    let mut all = Vec::new();
    for repositories in [40, 1_000, 50_000] {
        let store = Store::in_memory().await;
        fill(&store, repositories).await;
        let middle = RepositoryName::parse(&name(repositories / 2 - 1)).unwrap();
        let mut units = Vec::new();
        for (after, first) in [(None, 0), (Some(&middle), repositories / 2)] {
            // A page has `PAGE` repositories, and one more is read to know whether others follow.
            let page = store
                .reader
                .list_repositories(Service::Ecr, &registry, after, PAGE + 1)
                .await
                .unwrap();
            let names: Vec<&str> = page.repositories.keys().map(RepositoryName::as_str).collect();
            let expected: Vec<String> = (first..repositories).take(PAGE + 1).map(name).collect();
            assert_eq!(names, expected);
            units.push(page.consumed_capacity);
        }
        print(format!(
            "{repositories} repositories; read units of a page of {PAGE}, first and middle: {units:?}"
        ));
        all.push(units);
    }
    assert!(all.iter().flatten().all(|units| *units == all[0][0]), "{all:?}");
}

//! A table that is ready to use, and what works on it.

use catalog::reader::{ImageIdentifier, ReadError};
use catalog::table::StoreError;
use catalog::{Change, Reader, RegistryId, Repository, Table, Timestamp, Writer};
use describe_images::DescribeImages;
use describe_images::page_token::Keyring;
use image_catalog::engine::Engine;
use ingest_events::Ingest;
use secret::Secret;
use subscriptions::Subscriptions;

use super::fixtures::{REGION, REGISTRY};
use crate::reference::model::{self, Answers};

/// A table that is ready to use.
#[derive(Debug, Clone)]
pub struct Store {
    pub table: Table,
    pub reader: Reader,
    pub writer: Writer,
}

impl Store {
    /// A table of a client's engine.
    pub async fn new(client: aws_sdk_dynamodb::Client) -> Self {
        let table = Table { client, name: "image-catalog".to_owned() };
        table.create_if_missing().await.unwrap();
        Self {
            reader: Reader::new(table.clone()),
            writer: Writer::new(table.clone(), Timestamp::now),
            table,
        }
    }

    /// The same, written to when it is this time.
    #[must_use]
    pub fn at(mut self, now: Timestamp) -> Self {
        self.writer = Writer::new(self.table.clone(), move || now);
        self
    }

    /// A table of an engine in this process.
    pub async fn in_memory() -> Self {
        Self::new(Engine::in_memory().unwrap().client()).await
    }

    /// What answers requests from this table: the same code that runs locally and on Lambda.
    pub fn describe_images(&self, keyring: Keyring) -> DescribeImages {
        let registry = RegistryId::parse(REGISTRY).unwrap();
        DescribeImages::new(self.reader.clone(), Secret::known(keyring), registry)
    }

    /// What applies events to this table.
    pub fn ingest(&self) -> Ingest {
        self.ingest_of(Subscriptions::default())
    }

    /// What applies events to this table, and shows registries the credentials of these
    /// subscriptions.
    pub fn ingest_of(&self, subscriptions: Subscriptions) -> Ingest {
        Ingest::new(self.table.clone(), REGION.to_owned(), Secret::known(subscriptions), None)
    }

    /// Everything that can be asked of a repository, about these images one by one, and the
    /// answers; nothing if it does not exist.
    pub async fn answers(
        &self,
        repository: &Repository,
        asked: &[ImageIdentifier],
    ) -> Result<Option<Answers>, StoreError> {
        let mut listed = Vec::new();
        for filter in model::filters() {
            match self.reader.list(repository, &filter, None, 1000, |_| false).await {
                Ok(page) => {
                    assert!(!page.more, "all fit on one page");
                    listed.push((filter, page.images));
                }
                Err(ReadError::Store(error)) => return Err(error),
                Err(ReadError::RepositoryNotFound) if listed.is_empty() => return Ok(None),
                Err(ReadError::RepositoryNotFound) => {
                    panic!("{repository} is gone under {filter:?} only")
                }
            }
        }
        match self.reader.find(repository, asked).await {
            Ok(found) => {
                let found = asked.iter().cloned().zip(found.images).collect();
                Ok(Some(Answers { listed, found }))
            }
            Err(ReadError::Store(error)) => Err(error),
            Err(ReadError::RepositoryNotFound) => {
                panic!("{repository} is listed, and cannot be found")
            }
        }
    }

    /// Whatever is asked of a repository to which these changes happened, the answer is the
    /// model's.
    pub async fn assert_equals_model(&self, repository: &Repository, changes: &[Change]) {
        let asked = model::identifiers(changes);
        assert_eq!(
            self.answers(repository, &asked).await.unwrap(),
            model::answers(changes, &asked)
        );
    }
}

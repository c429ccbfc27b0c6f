//! A table that is ready to use, and its reader, writer and functions.

use std::sync::Arc;

use catalog::image::{Image, Position};
use catalog::reader::{Filter, ImageIdentifier, ReadError};
use catalog::table::{Item, StoreError};
use catalog::{Change, Reader, RegistryId, Repository, Table, Timestamp, Writer};
use describe_images::Api;
use describe_images::page_token::Keyring;
use image_catalog::aws::dynamodb::Engine;
use ingest_events::Ingest;
use registries::{RegistryAddress, Subscriptions};
use secret::Secret;

use super::fixtures::{REGION, REGISTRY};
use crate::reference::model::{self, Responses};

/// A page of a listing.
#[derive(Debug)]
pub struct Page {
    pub images: Vec<Image>,
    /// Whether more images follow.
    pub more: bool,
    pub consumed_capacity: f64,
}

/// A table that is ready to use.
#[derive(Debug, Clone)]
pub struct Store {
    pub table: Table,
    pub reader: Reader,
    pub writer: Writer,
    /// Where lookups go to if an event names the address.
    pub addresses: Vec<RegistryAddress>,
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
            addresses: Vec::new(),
        }
    }

    /// The same table, with lookups at the address of a registry.
    #[must_use]
    pub fn looking_up(mut self, url: &str) -> Self {
        self.addresses.push(RegistryAddress::from_url(&url.parse().unwrap()).unwrap());
        self
    }

    /// The same table, with a writer whose clock is fixed.
    #[must_use]
    pub fn at(mut self, now: Timestamp) -> Self {
        self.writer = Writer::new(self.table.clone(), move || now);
        self
    }

    /// A table of the embedded engine.
    pub async fn in_memory() -> Self {
        Self::new(Engine::in_memory().unwrap().client()).await
    }

    /// The API on this table: the same code that runs standalone and on Lambda.
    pub fn api(&self, keyring: Keyring) -> Api {
        let registry = RegistryId::parse(REGISTRY).unwrap();
        Api::new(self.reader.clone(), Secret::known(keyring), registry, REGION.to_owned())
    }

    /// Applies events to this table.
    pub fn ingest(&self) -> Ingest {
        self.ingest_of(Subscriptions::default())
    }

    /// Applies events to this table, and sends registries the credentials of these subscriptions.
    pub fn ingest_of(&self, subscriptions: Subscriptions) -> Ingest {
        let (table, subscriptions) = (self.table.clone(), Secret::known(subscriptions));
        Ingest::new(table, REGION.to_owned(), subscriptions, None, self.addresses.clone())
    }

    /// All items of the table, in the order of their keys.
    pub async fn items(&self) -> Vec<Item> {
        let scan = self.table.client.scan().table_name(&self.table.name).send().await.unwrap();
        let mut items = scan.items.unwrap();
        items.sort_by_key(|item| {
            ["repository", "sort"].map(|name| item[name].as_s().unwrap().clone())
        });
        items
    }

    /// Reads a page of at most `limit` images.
    pub async fn page(
        &self,
        repository: &Repository,
        filter: &Filter,
        after: Option<&Position>,
        limit: usize,
    ) -> Result<Page, ReadError> {
        let mut listing = self.reader.list(repository, filter, after, limit + 1).await?;
        let mut images = Vec::new();
        let mut more = false;
        while let Some(row) = listing.next().await? {
            if images.len() == limit {
                more = true;
                break;
            }
            images.push(row.image()?);
        }
        Ok(Page { images, more, consumed_capacity: listing.consumed_capacity() })
    }

    /// The responses to all requests about a repository and these images; `None` if it does not
    /// exist.
    pub async fn responses(
        &self,
        repository: &Repository,
        requested: &[ImageIdentifier],
    ) -> Result<Option<Responses>, StoreError> {
        let mut listed = Vec::new();
        for filter in model::filters() {
            match self.page(repository, &filter, None, 1000).await {
                Ok(page) => {
                    assert!(!page.more, "all fit on one page");
                    listed.push((filter, page.images));
                }
                Err(ReadError::Store(error)) => return Err(error),
                Err(ReadError::RepositoryNotFound) if listed.is_empty() => return Ok(None),
                Err(ReadError::RepositoryNotFound) => {
                    panic!("{repository} does not exist under {filter:?} only")
                }
            }
        }
        match self.reader.find(repository, requested).await {
            Ok(found) => {
                let found = requested
                    .iter()
                    .cloned()
                    .zip(found.images.into_iter().map(|image| image.map(Arc::unwrap_or_clone)))
                    .collect();
                Ok(Some(Responses { listed, found }))
            }
            Err(ReadError::Store(error)) => Err(error),
            Err(ReadError::RepositoryNotFound) => {
                panic!("{repository} is listed, but not found")
            }
        }
    }

    /// Every response about a repository after these changes equals the model's.
    pub async fn assert_equals_model(&self, repository: &Repository, changes: &[Change]) {
        let requested = model::identifiers(changes);
        assert_eq!(
            self.responses(repository, &requested).await.unwrap(),
            model::responses(changes, &requested)
        );
    }
}

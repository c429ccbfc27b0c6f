//! What several tests start from.

use catalog::{Digest, Reader, RegistryId, Repository, RepositoryName, Table, Tag, Timestamp, Writer};
use image_catalog::engine::Engine;

/// A table that is ready to use.
pub(crate) struct Store {
    pub(crate) table: Table,
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
}

impl Store {
    /// A table of a client's engine.
    pub(crate) async fn new(client: aws_sdk_dynamodb::Client) -> Self {
        let table = Table { client, name: "image-catalog".to_owned() };
        table.create_if_missing().await.unwrap();
        Self {
            reader: Reader::new(table.clone()),
            writer: Writer::new(table.clone(), Timestamp::now),
            table,
        }
    }

    /// A table of an engine in this process.
    pub(crate) async fn in_memory() -> Self {
        Self::new(Engine::in_memory().unwrap().client()).await
    }
}

/// Digest number `number`.
pub(crate) fn digest(number: u64) -> Digest {
    Digest::parse(&format!("sha256:{number:064x}")).unwrap()
}

/// A tag.
pub(crate) fn tag(name: &str) -> Tag {
    Tag::parse(name).unwrap()
}

/// A repository of registry 123456789012.
pub(crate) fn repository(name: &str) -> Repository {
    Repository {
        registry: RegistryId::parse("123456789012").unwrap(),
        name: RepositoryName::parse(name).unwrap(),
    }
}

/// This many milliseconds after the beginning of 2026.
pub(crate) fn time(milliseconds: i64) -> Timestamp {
    Timestamp::from_milliseconds(1_767_225_600_000 + milliseconds).unwrap()
}

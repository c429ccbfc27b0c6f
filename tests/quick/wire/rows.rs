//! Rows of the listing that bypass the writer, where pushes would take too long.

use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use catalog::image::ImageStatus;
use catalog::table::{IMAGE, Item, PRIVATE, REPOSITORY, REPOSITORY_TAG_STATUS, SORT};
use catalog::{Repository, Timestamp};
use end_to_end::harness::{Store, digest};
use serde_json::json;

/// The row of an image without any other data. Rows are put without the writer where pushes would
/// take too long; [`r33_pages_end_before_five_mebibytes`] proves that they equal the writer's.
/// Images put so are listed, but cannot be looked up by tag or digest.
pub(super) struct Row {
    pub(super) number: u64,
    pub(super) pushed_at: Timestamp,
    pub(super) status: ImageStatus,
    /// In order.
    pub(super) tags: Vec<String>,
}

impl Row {
    pub(super) fn new(
        number: u64,
        pushed_at: Timestamp,
        status: ImageStatus,
        tags: &[&str],
    ) -> Self {
        Self { number, pushed_at, status, tags: tags.iter().copied().map(str::to_owned).collect() }
    }

    pub(super) fn item(&self, repository: &Repository) -> Item {
        let (digest, status) = (digest(self.number), self.status.as_str());
        let tag_status = if self.tags.is_empty() { "UNTAGGED" } else { "TAGGED" };
        let image =
            if self.tags.is_empty() { json!({}) } else { json!({ "imageTags": self.tags }) };
        let attributes = [
            (REPOSITORY, repository.to_string()),
            (SORT, format!("{status}#{}#1#{digest}", self.pushed_at.newest_first())),
            (REPOSITORY_TAG_STATUS, format!("{repository}#{tag_status}")),
            (IMAGE, image.to_string()),
            (PRIVATE, json!({ "imageStatus": status }).to_string()),
        ];
        let mut item: Item = attributes
            .into_iter()
            .map(|(name, value)| (name.to_owned(), AttributeValue::S(value)))
            .collect();
        if self.status == ImageStatus::Active {
            item.remove(PRIVATE);
        }
        item
    }

    /// The second row of an image that is not active, for listings of any status.
    pub(super) fn once_archived(&self, repository: &Repository) -> Option<Item> {
        let mut item = self.item(repository);
        item.remove(REPOSITORY_TAG_STATUS);
        let sort = item[SORT].as_s().unwrap().replace(self.status.as_str(), "ONCE_ARCHIVED");
        item.insert(SORT.to_owned(), AttributeValue::S(sort));
        (self.status != ImageStatus::Active).then_some(item)
    }
}

pub(super) async fn put_rows(store: &Store, repository: &Repository, rows: &[Row]) {
    let items =
        rows.iter().flat_map(|row| [Some(row.item(repository)), row.once_archived(repository)]);
    put_items(store, items.flatten().collect()).await;
}

/// Puts items, at most a hundred and at most four megabytes at once, as transactions allow.
pub(super) async fn put_items(store: &Store, mut items: Vec<Item>) {
    let weight =
        |item: &Item| 1000 + item.get(IMAGE).map_or(0, |image| image.as_s().unwrap().len());
    while !items.is_empty() {
        let mut weighed = 0;
        let fit = items.iter().take(100).take_while(|item| {
            weighed += weight(item);
            weighed < 4_000_000
        });
        let rest = items.split_off(fit.count());
        let puts = items.into_iter().map(|item| {
            let put = Put::builder().table_name(&store.table.name).set_item(Some(item)).build();
            TransactWriteItem::builder().put(put.unwrap()).build()
        });
        let request =
            store.table.client.transact_write_items().set_transact_items(Some(puts.collect()));
        request.send().await.unwrap();
        items = rest;
    }
}

//! How many images each repository has, and their bytes.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;

use super::Reader;
use crate::identifier::Repository;
use crate::table::{self, IMAGE, Item, REPOSITORY, SORT, StoreError, TAG_STATUS_INDEX, Table};

/// The images that are read at a time. A page of a megabyte has thousands, and takes a hundred
/// megabytes of memory.
const PAGE_SIZE: i32 = 200;

/// The images of a repository.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImageTotals {
    pub images: u64,
    /// The sum of `imageSizeInBytes`. A layer that several images share is in it several times.
    pub bytes: u64,
}

impl ImageTotals {
    /// Adds those of others.
    pub fn add(&mut self, other: Self) {
        self.images += other.images;
        // Registries may say any size.
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// A count of the images of all repositories. It reads the index, which contains each image once,
/// page by page. What changes meanwhile may be counted or not.
#[derive(Debug)]
pub struct ImageCount {
    table: Table,
    next: Option<Item>,
    /// By the partition key of the repository.
    totals: HashMap<String, ImageTotals>,
}

impl Reader {
    /// Begins to count the images of all repositories. Costs what all rows of the table weigh.
    #[must_use]
    pub fn count_images(&self) -> ImageCount {
        ImageCount { table: self.table.clone(), next: None, totals: HashMap::new() }
    }
}

impl ImageCount {
    /// Counts some more images. Returns whether more follow.
    pub async fn read(&mut self) -> Result<bool, StoreError> {
        let output = self
            .table
            .client
            .scan()
            .table_name(&self.table.name)
            .index_name(TAG_STATUS_INDEX)
            .projection_expression("#repository, #sort, #image")
            .expression_attribute_names("#repository", REPOSITORY)
            .expression_attribute_names("#sort", SORT)
            .expression_attribute_names("#image", IMAGE)
            .set_exclusive_start_key(self.next.take())
            .limit(PAGE_SIZE)
            .send()
            .await?;
        for mut item in output.items.unwrap_or_default() {
            let Some(AttributeValue::S(partition)) = item.remove(REPOSITORY) else { continue };
            let size = table::row(item)?.image_size_in_bytes()?;
            let bytes = size.and_then(|size| size.try_into().ok()).unwrap_or_default();
            self.totals.entry(partition).or_default().add(ImageTotals { images: 1, bytes });
        }
        self.next = output.last_evaluated_key;
        Ok(self.next.is_some())
    }

    /// The images of each repository that has some.
    #[must_use]
    pub fn finish(self) -> BTreeMap<Repository, ImageTotals> {
        let repository = |partition: String| table::repository_of_partition(&partition);
        self.totals
            .into_iter()
            .filter_map(|(partition, totals)| Some((repository(partition)?, totals)))
            .collect()
    }
}

//! How many images each repository has.

use std::collections::{BTreeMap, HashMap};

use super::Reader;
use crate::identifier::Repository;
use crate::table::{self, Item, REPOSITORY, StoreError, TAG_STATUS_INDEX, Table};

/// The images that are read at a time. A page of a megabyte has ten thousand, and takes a hundred
/// megabytes of memory.
const PAGE_SIZE: i32 = 500;

/// A count of the images of all repositories. It reads the index, which contains each image once,
/// page by page. What changes meanwhile may be counted or not.
#[derive(Debug)]
pub struct ImageCount {
    table: Table,
    next: Option<Item>,
    /// By the partition key of the repository.
    images: HashMap<String, u64>,
}

impl Reader {
    /// Begins to count the images of all repositories. Costs what all rows of the table weigh.
    #[must_use]
    pub fn count_images(&self) -> ImageCount {
        ImageCount { table: self.table.clone(), next: None, images: HashMap::new() }
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
            .projection_expression("#repository")
            .expression_attribute_names("#repository", REPOSITORY)
            .set_exclusive_start_key(self.next.take())
            .limit(PAGE_SIZE)
            .send()
            .await?;
        for item in output.items() {
            let Some(Ok(partition)) = item.get(REPOSITORY).map(|value| value.as_s()) else {
                continue;
            };
            match self.images.get_mut(partition) {
                Some(number) => *number += 1,
                None => drop(self.images.insert(partition.clone(), 1)),
            }
        }
        self.next = output.last_evaluated_key;
        Ok(self.next.is_some())
    }

    /// The number of images of each repository that has some.
    #[must_use]
    pub fn finish(self) -> BTreeMap<Repository, u64> {
        let repository = |partition: String| table::repository_of_partition(&partition);
        self.images
            .into_iter()
            .filter_map(|(partition, number)| Some((repository(partition)?, number)))
            .collect()
    }
}

//! A cursor over the images of a repository that pass a filter.

use std::collections::VecDeque;

use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};

use super::{Filter, Reader};
use crate::identifier::Repository;
use crate::image::{Image, ImageStatus, Position, TagStatus};
use crate::table::{self, Item, Range, StoreError, Table};

/// A cursor over images, the newest first; of one millisecond, indexes first, and then by digest.
///
/// The images of one status are one range. Those of any status are the active ones, and those that
/// were archived at least once. An image that is archived or restored between the two reads must
/// not be missed. Therefore the active ones of each part are read first, and then, consistently,
/// those that were ever archived. An image that was not active at the first read is in the second.
#[derive(Debug)]
pub struct Listing {
    /// Those of the status, or the active ones.
    rows: Rows,
    once_archived: Option<OnceArchived>,
    /// Read units of the read of the repository's own item.
    pub(super) capacity_of_existence: f64,
}

#[derive(Debug)]
struct OnceArchived {
    rows: Rows,
    tag_status: Option<TagStatus>,
    after: Option<Position>,
}

impl Listing {
    pub(super) fn new(
        reader: &Reader,
        repository: &Repository,
        filter: &Filter,
        after: Option<&Position>,
        page_size: usize,
    ) -> Self {
        let partition = match filter.tag_status {
            Some(tag_status) => {
                Partition::Index(table::tag_status_partition(repository, tag_status))
            }
            None if reader.is_consistent => Partition::Consistent(table::partition(repository)),
            None => Partition::Table(table::partition(repository)),
        };
        let table = &reader.table;
        let status = filter.image_status.unwrap_or(ImageStatus::Active);
        let once_archived = filter.image_status.is_none().then(|| OnceArchived {
            rows: Rows::new(table, Partition::Consistent(table::partition(repository)), page_size),
            tag_status: filter.tag_status,
            after: after.cloned(),
        });
        let mut rows = Rows::new(table, partition, page_size);
        rows.select(table::image_sorts(Range::Status(status), after, None));
        Self { rows, once_archived, capacity_of_existence: 0.0 }
    }

    /// DynamoDB read units that were consumed up to now.
    #[must_use]
    pub fn consumed_capacity(&self) -> f64 {
        let once_archived = self.once_archived.as_ref().map(|part| part.rows.consumed_capacity);
        self.capacity_of_existence + self.rows.consumed_capacity + once_archived.unwrap_or_default()
    }

    /// Reads a page, unless the next image was read already.
    pub(super) async fn fill(&mut self) -> Result<(), StoreError> {
        if self.rows.read.is_empty() && !self.rows.ended {
            self.rows.fill().await?;
            if let Some(part) = &mut self.once_archived {
                // Up to the last active one that was read. The rest is read after the following
                // active ones.
                let up_to = self.rows.read.back().filter(|_| !self.rows.ended).map(Image::position);
                let sorts =
                    table::image_sorts(Range::OnceArchived, part.after.as_ref(), up_to.as_ref());
                part.rows.select(sorts);
                part.after = up_to;
            }
        }
        if let Some(part) = &mut self.once_archived {
            part.fill().await?;
        }
        Ok(())
    }

    /// The next image; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Image>, StoreError> {
        loop {
            self.fill().await?;
            let Some(part) = &mut self.once_archived else { return Ok(self.rows.read.pop_front()) };
            let order = |image: &Image| table::listing_order(&image.position());
            let active = self.rows.read.front().map(order);
            let once_archived = part.rows.read.front().map(order);
            match (active, once_archived) {
                (None, None) if self.rows.ended => return Ok(None),
                (None, None) => {}
                (Some(active), Some(once_archived)) if active >= once_archived => {
                    // An image that is in both is taken from the second, which was read later.
                    if active == once_archived {
                        self.rows.read.pop_front();
                    }
                    return Ok(part.rows.read.pop_front());
                }
                (None, Some(_)) => return Ok(part.rows.read.pop_front()),
                (Some(_), _) => return Ok(self.rows.read.pop_front()),
            }
        }
    }
}

impl OnceArchived {
    /// Reads on until there is an image of the tag status, or the part has ended.
    async fn fill(&mut self) -> Result<(), StoreError> {
        while self.rows.read.is_empty() && !self.rows.ended {
            self.rows.fill().await?;
            let tag_status = self.tag_status;
            self.rows
                .read
                .retain(|image| tag_status.is_none_or(|status| status == image.tag_status()));
        }
        Ok(())
    }
}

/// Where rows are, and how they are read.
#[derive(Debug)]
enum Partition {
    Table(String),
    Consistent(String),
    Index(String),
}

/// The rows of a range of sort keys.
#[derive(Debug)]
struct Rows {
    table: Table,
    partition: Partition,
    sorts: (String, String),
    page_size: usize,
    read: VecDeque<Image>,
    next: Option<Item>,
    ended: bool,
    consumed_capacity: f64,
}

impl Rows {
    fn new(table: &Table, partition: Partition, page_size: usize) -> Self {
        Self {
            table: table.clone(),
            partition,
            sorts: Default::default(),
            page_size,
            read: VecDeque::new(),
            next: None,
            ended: true,
            consumed_capacity: 0.0,
        }
    }

    /// Starts another range.
    fn select(&mut self, sorts: (String, String)) {
        self.ended = sorts.0 > sorts.1;
        self.sorts = sorts;
        self.next = None;
    }

    /// Reads on until there is a row or the range has ended.
    async fn fill(&mut self) -> Result<(), StoreError> {
        let (index, attribute, partition) = match &self.partition {
            Partition::Table(partition) | Partition::Consistent(partition) => {
                (None, table::REPOSITORY, partition)
            }
            Partition::Index(partition) => {
                (Some(table::TAG_STATUS_INDEX.to_owned()), table::REPOSITORY_TAG_STATUS, partition)
            }
        };
        while self.read.is_empty() && !self.ended {
            let output = self
                .table
                .client
                .query()
                .table_name(&self.table.name)
                .set_index_name(index.clone())
                .key_condition_expression(
                    "#partition = :partition AND #sort BETWEEN :first AND :last",
                )
                .expression_attribute_names("#partition", attribute)
                .expression_attribute_names("#sort", table::SORT)
                .expression_attribute_values(":partition", AttributeValue::S(partition.clone()))
                .expression_attribute_values(":first", AttributeValue::S(self.sorts.0.clone()))
                .expression_attribute_values(":last", AttributeValue::S(self.sorts.1.clone()))
                .limit(i32::try_from(self.page_size).unwrap_or(i32::MAX))
                .consistent_read(matches!(self.partition, Partition::Consistent(_)))
                .set_exclusive_start_key(self.next.take())
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await?;
            self.consumed_capacity += output
                .consumed_capacity
                .and_then(|capacity| capacity.capacity_units)
                .unwrap_or_default();
            self.next = output.last_evaluated_key;
            self.ended = self.next.is_none();
            for item in output.items.unwrap_or_default() {
                self.read.push_back(table::parse(item)?);
            }
        }
        Ok(())
    }
}

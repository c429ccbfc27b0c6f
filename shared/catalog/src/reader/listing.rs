//! A cursor over the images of a repository that pass a filter.

use std::collections::VecDeque;

use super::{Filter, Reader};
use crate::identifier::Repository;
use crate::image::{ImageStatus, Position, TagStatus};
use crate::row::Row;
use crate::table::{self, Partition, Query, Range, StoreError};

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
    /// The place in the listing after which they are read.
    after: Option<String>,
}

impl Listing {
    pub(super) fn new(
        reader: &Reader,
        repository: &Repository,
        filter: &Filter,
        after: Option<&Position>,
        page_size: usize,
    ) -> Self {
        let of_table =
            |is_consistent| Partition::Table { key: table::partition(repository), is_consistent };
        let partition = match filter.tag_status {
            Some(status) => {
                Partition::Index { key: table::tag_status_partition(repository, status) }
            }
            None => of_table(reader.is_consistent),
        };
        let after = after.map(table::listing_order);
        let status = Range::Status(filter.image_status.unwrap_or(ImageStatus::Active));
        let sorts = table::image_sorts(status, after.as_deref(), None);
        let rows = |partition, sorts| Rows {
            query: Query::new(&reader.table, partition, sorts),
            page_size,
            read: VecDeque::new(),
        };
        let once_archived = filter.image_status.is_none().then(|| OnceArchived {
            // Nothing, until the first active ones were read.
            rows: rows(of_table(true), ("~".to_owned(), String::new())),
            tag_status: filter.tag_status,
            after,
        });
        Self { rows: rows(partition, sorts), once_archived, capacity_of_existence: 0.0 }
    }

    /// DynamoDB read units that were consumed up to now.
    #[must_use]
    pub fn consumed_capacity(&self) -> f64 {
        let once_archived = self.once_archived.as_ref().map(|part| part.rows.consumed_capacity());
        self.capacity_of_existence + self.rows.consumed_capacity() + once_archived.unwrap_or(0.0)
    }

    /// Reads a page, unless the next image was read already.
    pub(super) async fn fill(&mut self) -> Result<(), StoreError> {
        if self.rows.read.is_empty() && !self.rows.query.has_ended {
            self.rows.fill().await?;
            if let Some(part) = &mut self.once_archived {
                // Up to the last active one that was read. The rest is read after the following
                // active ones.
                let last = self.rows.read.back().filter(|_| !self.rows.query.has_ended);
                let up_to = last.map(|row| row.order.clone());
                let (after, range) = (part.after.as_deref(), Range::OnceArchived);
                part.rows.query.select(table::image_sorts(range, after, up_to.as_deref()));
                part.after = up_to;
            }
        }
        if let Some(part) = &mut self.once_archived {
            part.fill().await?;
        }
        Ok(())
    }

    /// Whether an image was read that was not returned yet.
    pub(super) fn has_read(&self) -> bool {
        let once_archived = self.once_archived.as_ref();
        !self.rows.read.is_empty() || once_archived.is_some_and(|part| !part.rows.read.is_empty())
    }

    /// The next image; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Row>, StoreError> {
        loop {
            self.fill().await?;
            let Some(part) = &mut self.once_archived else { return Ok(self.rows.read.pop_front()) };
            let active = self.rows.read.front().map(|row| &row.order);
            let once_archived = part.rows.read.front().map(|row| &row.order);
            match (active, once_archived) {
                (None, None) if self.rows.query.has_ended => return Ok(None),
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
        while self.rows.read.is_empty() && !self.rows.query.has_ended {
            self.rows.fill().await?;
            if let Some(status) = self.tag_status {
                self.rows.read.retain(|row| row.tag_status() == status);
            }
        }
        Ok(())
    }
}

/// The rows of a range of sort keys.
#[derive(Debug)]
struct Rows {
    query: Query,
    page_size: usize,
    /// Those that were read, and not returned yet.
    read: VecDeque<Row>,
}

impl Rows {
    fn consumed_capacity(&self) -> f64 {
        self.query.consumed_capacity
    }

    /// Reads on until there is a row or the range has ended.
    async fn fill(&mut self) -> Result<(), StoreError> {
        while self.read.is_empty() && !self.query.has_ended {
            for item in self.query.read(Some(self.page_size)).await? {
                self.read.push_back(table::row(item)?);
            }
        }
        Ok(())
    }
}

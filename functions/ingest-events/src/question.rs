//! What an event leaves open, and only the registry can tell: what a tag points at now, and what
//! the manifest of a digest says.
//!
//! A question is asked at once. If the registry does not answer, what is known is applied, and the
//! question is kept in the table, in a partition of its own, until it is answered, or the manifest
//! turns out to be gone, or thirty days are over.

use aws_sdk_dynamodb::types::AttributeValue;
use catalog::change::Content;
use catalog::table::{EXPIRES_AT, StoreError, TOMBSTONE_LIFETIME, question_key, questions};
use catalog::{Change, ChangeKind, Digest, Repository, Table, Tag, Timestamp};
use registries::Registry;
use serde::{Deserialize, Serialize};

/// The attribute that holds the question.
const QUESTION: &str = "question";

/// How many questions are read at once.
const PAGE: i32 = 100;

/// What an event of a push leaves open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The repository in the catalog.
    pub repository: Repository,
    /// Who can answer.
    pub registry: Registry,
    /// The repository by the registry's own name.
    pub name: String,
    /// What was pushed; if nothing, the tag is what to ask for.
    pub digest: Option<Digest>,
    /// The tag that it was pushed under.
    pub tag: Option<Tag>,
    /// What the event told of the manifest.
    pub manifest_media_type: Option<String>,
    /// What the event told of the artifact.
    pub artifact_media_type: Option<String>,
    /// When.
    pub time: Timestamp,
}

impl Question {
    /// What to ask for: the digest, or else the tag.
    #[must_use]
    pub fn reference(&self) -> Option<&str> {
        self.digest.as_ref().map(Digest::as_str).or(self.tag.as_ref().map(Tag::as_str))
    }

    /// What is known without an answer, if it is anything.
    #[must_use]
    pub fn known(&self) -> Option<Change> {
        Some(self.answered(self.digest.clone()?, Content::default()))
    }

    /// The push, now that the manifest is known.
    #[must_use]
    pub fn answered(&self, digest: Digest, content: Content) -> Change {
        let content = Content {
            manifest_media_type: content
                .manifest_media_type
                .or_else(|| self.manifest_media_type.clone()),
            artifact_media_type: content
                .artifact_media_type
                .or_else(|| self.artifact_media_type.clone()),
            ..content
        };
        let kind = ChangeKind::ImagePushed { digest, tag: self.tag.clone(), content };
        Change { repository: self.repository.clone(), time: self.time, kind }
    }

    /// The part of its key that tells it from the others: a later question about the same tag or
    /// digest takes the place of an earlier one.
    fn name(&self) -> String {
        format!("{}#{}", self.repository, self.reference().unwrap_or_default())
    }
}

/// The questions that wait for an answer.
#[derive(Debug, Clone)]
pub struct OpenQuestions {
    table: Table,
}

impl OpenQuestions {
    /// Those of a table.
    #[must_use]
    pub fn new(table: Table) -> Self {
        Self { table }
    }

    /// Keeps a question.
    ///
    /// # Errors
    /// What DynamoDB says.
    pub async fn keep(&self, question: &Question, now: Timestamp) -> Result<(), StoreError> {
        let expires_at = now.as_seconds() + TOMBSTONE_LIFETIME.as_secs().cast_signed();
        self.table
            .client
            .put_item()
            .table_name(&self.table.name)
            .set_item(Some(question_key(&question.name())))
            .item(QUESTION, AttributeValue::S(text(question)))
            .item(EXPIRES_AT, AttributeValue::N(expires_at.to_string()))
            .send()
            .await?;
        Ok(())
    }

    /// Some of them, those after a question if one is given.
    ///
    /// # Errors
    /// What DynamoDB says.
    pub async fn list(&self, after: Option<&Question>) -> Result<Vec<Question>, StoreError> {
        let listed = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .key_condition_expression("repository = :questions")
            .expression_attribute_values(":questions", questions())
            .set_exclusive_start_key(after.map(|question| question_key(&question.name())))
            .consistent_read(true)
            .limit(PAGE)
            .send()
            .await?;
        let questions = listed.items.unwrap_or_default().into_iter().filter_map(|mut item| {
            let AttributeValue::S(text) = item.remove(QUESTION)? else { return None };
            serde_json::from_str(&text).ok()
        });
        Ok(questions.collect())
    }

    /// Forgets a question, unless a later one has taken its place.
    ///
    /// # Errors
    /// What DynamoDB says.
    pub async fn forget(&self, question: &Question) -> Result<(), StoreError> {
        let forgotten = self
            .table
            .client
            .delete_item()
            .table_name(&self.table.name)
            .set_key(Some(question_key(&question.name())))
            .condition_expression("question = :question")
            .expression_attribute_values(":question", AttributeValue::S(text(question)))
            .send()
            .await;
        match forgotten {
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Ok(())
            }
            result => result.map(drop).map_err(StoreError::from),
        }
    }
}

fn text(question: &Question) -> String {
    serde_json::json!(question).to_string()
}

//! API calls that concern a repository itself, as CloudTrail records them.
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html>

use std::collections::BTreeMap;

use catalog::repository::{Encryption, ExclusionFilter, ImageTagMutability, MAX_TAGS};
use catalog::{RepositoryStatement, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use crate::source::{MalformedEvent, decode, not_valid};

const MAX_TAG_KEY_LENGTH: usize = 128;
const MAX_TAG_VALUE_LENGTH: usize = 256;
/// Twice as many as Amazon ECR allows.
const MAX_EXCLUSION_FILTERS: usize = 10;
/// Of the values of an enumeration, and of a filter.
const MAX_WORD_LENGTH: usize = 128;
/// Of all other texts. The longest of the services' is the ARN of a key.
const MAX_LENGTH: usize = 2048;

/// The members of a request or of a response that the catalog holds.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Members {
    repository_uri: Option<String>,
    image_tag_mutability: Option<String>,
    image_tag_mutability_exclusion_filters: Option<Vec<ExclusionFilter>>,
    image_scanning_configuration: Option<ImageScanningConfiguration>,
    encryption_configuration: Option<EncryptionConfiguration>,
    tags: Option<Vec<ResourceTag>>,
    tag_keys: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImageScanningConfiguration {
    scan_on_push: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EncryptionConfiguration {
    encryption_type: Option<String>,
    kms_key: Option<String>,
}

#[derive(Deserialize)]
struct ResourceTag {
    #[serde(alias = "Key")]
    key: String,
    #[serde(default, alias = "Value")]
    value: Option<String>,
}

/// What a call states: its response as far as it has one, and else its request. `None` if the call
/// is another one.
pub(super) fn statement(
    name: &str,
    time: Timestamp,
    request: &Value,
    response: &Value,
) -> Result<Option<RepositoryStatement>, MalformedEvent> {
    let is_creation = name == "CreateRepository";
    match name {
        "CreateRepository"
        | "PutImageTagMutability"
        | "PutImageScanningConfiguration"
        | "TagResource"
        | "UntagResource" => {}
        _ => return Ok(None),
    }
    let request = Members::decode(request)?;
    let response = Members::decode(response.get("repository").unwrap_or(response))?;
    let scanning = response.image_scanning_configuration.or(request.image_scanning_configuration);
    let encryption = response.encryption_configuration.or(request.encryption_configuration);
    let statement = RepositoryStatement {
        created_at: is_creation.then_some(time),
        uri: response.repository_uri,
        image_tag_mutability: response.image_tag_mutability.or(request.image_tag_mutability).map(
            |value| ImageTagMutability {
                value,
                exclusion_filters: response
                    .image_tag_mutability_exclusion_filters
                    .or(request.image_tag_mutability_exclusion_filters)
                    .unwrap_or_default(),
            },
        ),
        scan_on_push: scanning.and_then(|scanning| scanning.scan_on_push),
        encryption: encryption.and_then(|encryption| {
            let EncryptionConfiguration { encryption_type, kms_key } = encryption;
            Some(Encryption { encryption_type: encryption_type?, kms_key })
        }),
        tags: tags(request.tags, request.tag_keys)?,
    };
    check(&statement)?;
    Ok(Some(statement))
}

impl Members {
    fn decode(members: &Value) -> Result<Self, MalformedEvent> {
        if members.is_object() { decode(members) } else { Ok(Self::default()) }
    }
}

/// The tags that were added, and those that were removed.
fn tags(
    added: Option<Vec<ResourceTag>>,
    removed: Option<Vec<String>>,
) -> Result<BTreeMap<String, Option<String>>, MalformedEvent> {
    let added = added
        .unwrap_or_default()
        .into_iter()
        .map(|tag| (tag.key, Some(tag.value.unwrap_or_default())));
    let removed = removed.unwrap_or_default().into_iter().map(|key| (key, None));
    let tags: BTreeMap<String, Option<String>> = added.chain(removed).collect();
    if tags.len() > MAX_TAGS {
        return Err(not_valid("tags", format_args!("more than {MAX_TAGS} tags")));
    }
    for (key, value) in &tags {
        if key.is_empty() {
            return Err(not_valid("tags", "an empty key"));
        }
        check_length("tags", key, MAX_TAG_KEY_LENGTH)?;
        check_length("tags", value.as_deref().unwrap_or_default(), MAX_TAG_VALUE_LENGTH)?;
    }
    Ok(tags)
}

fn check(statement: &RepositoryStatement) -> Result<(), MalformedEvent> {
    let RepositoryStatement { uri, image_tag_mutability, encryption, .. } = statement;
    check_length("repositoryUri", uri.as_deref().unwrap_or_default(), MAX_LENGTH)?;
    if let Some(ImageTagMutability { value, exclusion_filters }) = image_tag_mutability {
        const FILTERS: &str = "imageTagMutabilityExclusionFilters";
        check_word("imageTagMutability", value)?;
        if exclusion_filters.len() > MAX_EXCLUSION_FILTERS {
            let reason = format_args!("more than {MAX_EXCLUSION_FILTERS} filters");
            return Err(not_valid(FILTERS, reason));
        }
        for ExclusionFilter { filter_type, filter } in exclusion_filters {
            check_word(FILTERS, filter_type)?;
            check_length(FILTERS, filter, MAX_WORD_LENGTH)?;
        }
    }
    if let Some(Encryption { encryption_type, kms_key }) = encryption {
        const ENCRYPTION: &str = "encryptionConfiguration";
        check_word(ENCRYPTION, encryption_type)?;
        check_length(ENCRYPTION, kms_key.as_deref().unwrap_or_default(), MAX_LENGTH)?;
    }
    Ok(())
}

/// The values of the services' enumerations have upper-case letters, digits and '_'.
fn check_word(member: &str, word: &str) -> Result<(), MalformedEvent> {
    let is_plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if word.is_empty() || !word.bytes().all(is_plain) {
        return Err(not_valid(member, format_args!("'{word:.40}' is no value of it")));
    }
    check_length(member, word, MAX_WORD_LENGTH)
}

fn check_length(member: &str, text: &str, longest: usize) -> Result<(), MalformedEvent> {
    if text.chars().count() <= longest {
        return Ok(());
    }
    Err(not_valid(member, format_args!("longer than {longest} characters")))
}

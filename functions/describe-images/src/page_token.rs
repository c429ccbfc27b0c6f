//! Page tokens: positions in a listing, sealed so that a caller can neither read nor forge them.
//!
//! A token is `version, key id, nonce, AES-256-GCM-SIV(position)` in unpadded URL-safe Base64. The
//! position in a list of images is `time, kind, digest`, which may be followed by `#` and a tag; that
//! in a list of repositories is a name. What the token belongs to (operation, service, registry,
//! repository, filter) is bound to it as associated data and takes no room in it. The first key of a
//! [`Keyring`] seals, every key of it opens; so a new key is put in front of the old one, and the old
//! one is removed when tokens made with it may end.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use catalog::image::{ImageStatus, Position, TagStatus};
use catalog::reader::Filter;
use catalog::{Digest, RegistryId, Repository, RepositoryName, Service, Tag};

use crate::constraints::invalid;
use crate::error::ApiError;
use crate::service::Operation;

const VERSION: u8 = 2;
const KEY_ID_LENGTH: usize = 4;
const HEADER_LENGTH: usize = 1 + KEY_ID_LENGTH + NONCE_LEN;
const TIME_LENGTH: usize = size_of::<i64>();
/// In no digest and in no tag.
const TAG_SEPARATOR: u8 = b'#';
/// No token that the catalog makes is longer.
const MAX_LENGTH: usize = 1024;

pub const KEY_LENGTH: usize = 32;

#[derive(Debug, thiserror::Error)]
#[error("page tokens need at least one key of 64 hexadecimal digits; each line must be one")]
pub struct InvalidKeyring;

/// The keys that seal and open page tokens.
pub struct Keyring {
    keys: Vec<([u8; KEY_ID_LENGTH], LessSafeKey)>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Keyring of {}", self.keys.len())
    }
}

/// What a token belongs to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ListingKey<'a> {
    /// A list of images, or of their tags.
    Images {
        operation: Operation,
        repository: &'a Repository,
        /// With defaults.
        filter: &'a Filter,
    },
    /// The list of the repositories of a registry.
    Repositories { service: Service, registry: &'a RegistryId },
}

/// Where a page of images ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PagePosition {
    /// The last image of the page.
    pub image: Position,
    /// Its last tag on the page, if the page ends within the image.
    pub tag: Option<Tag>,
}

impl ListingKey<'_> {
    /// No part can contain the line break that ends it.
    fn associated_data(&self) -> String {
        match self {
            Self::Images { operation, repository, filter } => format!(
                "{}\n{}\n{repository}\n{}\n{}\n",
                operation.as_str(),
                repository.service,
                filter.tag_status.map_or("ANY", TagStatus::as_str),
                filter.image_status.map_or("ANY", ImageStatus::as_str),
            ),
            Self::Repositories { service, registry } => {
                format!("{}\n{service}\n{registry}\n", Operation::DescribeRepositories.as_str())
            }
        }
    }
}

impl Keyring {
    /// Parses keys, one a line as 64 hexadecimal digits. The first one seals.
    pub fn parse(text: &str) -> Result<Self, InvalidKeyring> {
        let keys: Vec<_> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(Self::parse_key)
            .collect::<Option<_>>()
            .ok_or(InvalidKeyring)?;
        if keys.is_empty() { Err(InvalidKeyring) } else { Ok(Self { keys }) }
    }

    fn parse_key(line: &str) -> Option<([u8; KEY_ID_LENGTH], LessSafeKey)> {
        let mut key = [0; KEY_LENGTH];
        if line.len() != 2 * KEY_LENGTH || !line.is_ascii() {
            return None;
        }
        for (byte, index) in key.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(line.get(index..index + 2)?, 16).ok()?;
        }
        let id = digest::digest(&digest::SHA256, &key).as_ref().first_chunk().copied()?;
        Some((id, LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, &key).ok()?)))
    }

    /// A new random key as a line for [`Keyring::parse`]; `None` without a source of randomness.
    #[must_use]
    pub fn generate_key() -> Option<String> {
        let mut key = [0; KEY_LENGTH];
        rand::fill(&mut key).ok()?;
        Some(key.iter().map(|byte| format!("{byte:02x}")).chain(["\n".to_owned()]).collect())
    }

    /// Seals a position; `None` without a source of randomness.
    fn seal(&self, listing: &ListingKey<'_>, position: &[u8]) -> Option<String> {
        let (id, key) = self.keys.first()?;
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = position.to_vec();
        let associated_data = Aad::from(listing.associated_data());
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            associated_data,
            &mut sealed,
        )
        .ok()?;
        let token = [&[VERSION][..], id, &nonce, &sealed].concat();
        Some(URL_SAFE_NO_PAD.encode(token))
    }

    /// Opens a token of the same listing; `None` if the catalog did not seal it, or for another
    /// listing.
    fn open(&self, listing: &ListingKey<'_>, token: &str) -> Option<Vec<u8>> {
        if token.len() > MAX_LENGTH {
            return None;
        }
        let mut token = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (header, sealed) = token.split_at_mut_checked(HEADER_LENGTH)?;
        let (version, header) = header.split_first()?;
        let (id, nonce) = header.split_at(KEY_ID_LENGTH);
        if *version != VERSION {
            return None;
        }
        let (_, key) = self.keys.iter().find(|(known, _)| known == id)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let position =
            key.open_in_place(nonce, Aad::from(listing.associated_data()), sealed).ok()?;
        Some(position.to_vec())
    }

    /// Seals a position; an error of the API without a source of randomness.
    pub(crate) fn seal_position(
        &self,
        listing: &ListingKey<'_>,
        position: &[u8],
    ) -> Result<String, ApiError> {
        self.seal(listing, position)
            .ok_or_else(|| ApiError::Server("no page token could be made".into()))
    }

    /// Opens `nextToken` of a list of images.
    pub(crate) fn open_image(
        &self,
        listing: &ListingKey<'_>,
        token: &str,
    ) -> Result<PagePosition, ApiError> {
        let position = self.open(listing, token);
        position.and_then(|position| PagePosition::from_bytes(&position)).ok_or_else(invalid_token)
    }

    /// Opens `nextToken` of the list of repositories: the last one of the page before.
    pub(crate) fn open_repository(
        &self,
        listing: &ListingKey<'_>,
        token: &str,
    ) -> Result<RepositoryName, ApiError> {
        let name = self.open(listing, token).and_then(|name| String::from_utf8(name).ok());
        name.and_then(|name| RepositoryName::parse(&name).ok()).ok_or_else(invalid_token)
    }
}

/// The reason is not revealed.
fn invalid_token() -> ApiError {
    invalid("nextToken", "Invalid token")
}

impl PagePosition {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let Self { image, tag } = self;
        let mut bytes = image.pushed_at_milliseconds.to_be_bytes().to_vec();
        bytes.push(u8::from(image.is_index));
        bytes.extend(image.digest.as_str().as_bytes());
        if let Some(tag) = tag {
            bytes.push(TAG_SEPARATOR);
            bytes.extend(tag.as_str().as_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (time, rest) = bytes.split_first_chunk::<TIME_LENGTH>()?;
        let (is_index, rest) = rest.split_first()?;
        let mut texts = rest.split(|byte| *byte == TAG_SEPARATOR).map(std::str::from_utf8);
        let image = Position {
            pushed_at_milliseconds: i64::from_be_bytes(*time),
            is_index: *is_index != 0,
            digest: Digest::parse(texts.next()?.ok()?).ok()?,
        };
        let tag = match texts.next() {
            Some(tag) => Some(Tag::parse(tag.ok()?).ok()?),
            None => None,
        };
        Some(Self { image, tag })
    }
}

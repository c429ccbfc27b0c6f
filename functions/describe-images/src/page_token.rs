//! Page tokens: positions in a listing, sealed so that a caller can neither read nor forge them.
//!
//! A token is `version, key id, nonce, AES-256-GCM-SIV(time, kind, digest)` in unpadded URL-safe
//! Base64; the digest may be followed by `#` and a tag. What it belongs to (operation, service,
//! registry, repository, filter) is bound to it as associated data and takes no room in it. The first key of a [`Keyring`] seals, every key of it opens; so a
//! new key is put in front of the old one, and the old one is removed when tokens made with it may
//! end.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use catalog::image::{ImageStatus, Position, TagStatus};
use catalog::reader::Filter;
use catalog::{Digest, Repository, Tag};

use crate::constraints::invalid;
use crate::error::DescribeImagesError;
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

/// A token that the catalog did not seal, or that belongs to another listing. The reason is not
/// revealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidToken;

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
pub struct ListingKey<'a> {
    pub operation: Operation,
    pub repository: &'a Repository,
    /// With defaults.
    pub filter: &'a Filter,
}

/// Where a page ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PagePosition {
    /// The last image of the page.
    pub image: Position,
    /// Its last tag on the page, if the page ends within the image.
    pub tag: Option<Tag>,
}

impl ListingKey<'_> {
    /// No part can contain the line break that ends it.
    fn associated_data(&self) -> String {
        format!(
            "{}\n{}\n{}\n{}\n{}\n",
            self.operation.as_str(),
            self.repository.service,
            self.repository,
            self.filter.tag_status.map_or("ANY", TagStatus::as_str),
            self.filter.image_status.map_or("ANY", ImageStatus::as_str),
        )
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
    #[must_use]
    pub fn seal(&self, listing: &ListingKey<'_>, position: &PagePosition) -> Option<String> {
        let PagePosition { image: position, tag } = position;
        let (id, key) = self.keys.first()?;
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = position.pushed_at_milliseconds.to_be_bytes().to_vec();
        sealed.push(u8::from(position.is_index));
        sealed.extend(position.digest.as_str().as_bytes());
        if let Some(tag) = tag {
            sealed.push(TAG_SEPARATOR);
            sealed.extend(tag.as_str().as_bytes());
        }
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

    /// Opens a token of the same listing.
    pub fn open(
        &self,
        listing: &ListingKey<'_>,
        token: &str,
    ) -> Result<PagePosition, InvalidToken> {
        if token.len() > MAX_LENGTH {
            return Err(InvalidToken);
        }
        let mut token = URL_SAFE_NO_PAD.decode(token).map_err(|_| InvalidToken)?;
        let (header, sealed) = token.split_at_mut_checked(HEADER_LENGTH).ok_or(InvalidToken)?;
        let (version, header) = header.split_first().ok_or(InvalidToken)?;
        let (id, nonce) = header.split_at(KEY_ID_LENGTH);
        if *version != VERSION {
            return Err(InvalidToken);
        }
        let (_, key) = self.keys.iter().find(|(known, _)| known == id).ok_or(InvalidToken)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| InvalidToken)?;
        let opened = key
            .open_in_place(nonce, Aad::from(listing.associated_data()), sealed)
            .map_err(|_| InvalidToken)?;
        let (time, rest) = opened.split_first_chunk::<TIME_LENGTH>().ok_or(InvalidToken)?;
        let (is_index, rest) = rest.split_first().ok_or(InvalidToken)?;
        let mut texts = rest.split(|byte| *byte == TAG_SEPARATOR).map(std::str::from_utf8);
        let digest = texts.next().and_then(|digest| Digest::parse(digest.ok()?).ok());
        let image = Position {
            pushed_at_milliseconds: i64::from_be_bytes(*time),
            is_index: *is_index != 0,
            digest: digest.ok_or(InvalidToken)?,
        };
        let tag = texts
            .next()
            .map(|tag| Tag::parse(tag.map_err(|_| InvalidToken)?).map_err(|_| InvalidToken));
        Ok(PagePosition { image, tag: tag.transpose()? })
    }

    /// Seals a position; an error of the API without a source of randomness.
    pub(crate) fn seal_token(
        &self,
        listing: &ListingKey<'_>,
        position: &PagePosition,
    ) -> Result<String, DescribeImagesError> {
        self.seal(listing, position)
            .ok_or_else(|| DescribeImagesError::Server("no page token could be made".into()))
    }

    /// Opens `nextToken`.
    pub(crate) fn open_token(
        &self,
        listing: &ListingKey<'_>,
        token: &str,
    ) -> Result<PagePosition, DescribeImagesError> {
        self.open(listing, token).map_err(|_| invalid("nextToken", "Invalid token"))
    }
}

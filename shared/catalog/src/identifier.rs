//! Names of registries, repositories, tags and digests. Each has one constructor that checks it;
//! values of these types are valid.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use regex_lite::Regex;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not the identifier it was taken for. The wording is Amazon ECR's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentifier {
    /// Shorter than this many characters.
    #[error("must have length greater than or equal to {0}")]
    TooShort(usize),
    /// Longer than this many characters.
    #[error("must have length less than or equal to {0}")]
    TooLong(usize),
    /// Does not match this regular expression as a whole.
    #[error("must satisfy regular expression '{0}'")]
    Pattern(&'static str),
}

/// Twelve digits.
pub const REGISTRY_ID_PATTERN: &str = "[0-9]{12}";
/// What `CreateRepository` and `DescribeImages` of the private service accept today.
pub const REPOSITORY_NAME_PATTERN: &str =
    r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*";
/// The expression of Amazon ECR Public. It is narrower: no `__` and no `--`.
const PUBLIC_REPOSITORY_NAME_PATTERN: &str =
    "(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*";
const MAX_PUBLIC_REPOSITORY_NAME_LENGTH: usize = 205;
/// The characters of a tag.
pub const TAG_PATTERN: &str = "[a-zA-Z0-9-_.]+";
/// An algorithm and hexadecimal digits; their number is not checked, as in Amazon ECR.
pub const DIGEST_PATTERN: &str = "[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+";

/// Compiles a pattern so that it matches whole texts only.
///
/// # Panics
/// If the pattern is not a regular expression; every caller passes a constant, or escaped text.
#[must_use]
pub fn whole(pattern: &str) -> Regex {
    #[expect(
        clippy::unwrap_used,
        reason = "the patterns are constants, compiled in every test run, or escaped"
    )]
    Regex::new(&format!(r"\A(?:{pattern})\z")).unwrap()
}

/// A pattern in which `*` stands for any characters. Every text is one.
#[derive(Debug, Clone)]
pub struct Glob(Regex);

impl Glob {
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let parts: Vec<String> = text.split('*').map(regex_lite::escape).collect();
        Self(whole(&parts.join(".*")))
    }

    /// Whether a whole text is like the pattern.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

// A request has up to a hundred digests and tags. For them, a regular expression takes more time than
// all the rest of the request.

/// Whether a byte is a letter, a digit, or one of these.
fn is_one_of(byte: u8, others: &[u8]) -> bool {
    byte.is_ascii_alphanumeric() || others.contains(&byte)
}

/// Whether a text, of whatever length, matches [`DIGEST_PATTERN`].
#[must_use]
pub fn matches_digest_pattern(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hash)| {
        !algorithm.is_empty()
            && algorithm.bytes().all(|byte| is_one_of(byte, b"-_+."))
            && !hash.is_empty()
            && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

macro_rules! identifier {
    ($(#[$attribute:meta])* $name:ident, $lengths:expr, $pattern:expr, $matches:expr) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Checks length, then pattern.
            pub fn parse(text: &str) -> Result<Self, InvalidIdentifier> {
                let matches: fn(&str) -> bool = $matches;
                let length = text.chars().count();
                if length < *$lengths.start() {
                    return Err(InvalidIdentifier::TooShort(*$lengths.start()));
                }
                if length > *$lengths.end() {
                    return Err(InvalidIdentifier::TooLong(*$lengths.end()));
                }
                if !matches(text) {
                    return Err(InvalidIdentifier::Pattern($pattern));
                }
                Ok(Self(Self::normalise(text)))
            }

            /// One that the catalog has written into an item. It was checked before.
            pub(crate) fn stored(text: String) -> Self {
                Self(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidIdentifier;
            fn try_from(text: String) -> Result<Self, InvalidIdentifier> {
                Self::parse(&text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidIdentifier;
            fn from_str(text: &str) -> Result<Self, InvalidIdentifier> {
                Self::parse(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

identifier!(
    /// The AWS account that owns a registry; for other registries, the twelve digits they are
    /// given by configuration.
    #[derive(Serialize, Deserialize)]
    #[serde(try_from = "String", into = "String")]
    RegistryId,
    12..=12,
    REGISTRY_ID_PATTERN,
    |text| text.bytes().all(|byte| byte.is_ascii_digit())
);
identifier!(
    /// A repository's name within its registry, with its namespaces: `team/app`.
    #[derive(Serialize, Deserialize)]
    #[serde(try_from = "String", into = "String")]
    RepositoryName,
    2..=256,
    REPOSITORY_NAME_PATTERN,
    |text| {
        static PATTERN: LazyLock<Regex> = LazyLock::new(|| whole(REPOSITORY_NAME_PATTERN));
        PATTERN.is_match(text)
    }
);
identifier!(
    /// A tag. Case matters.
    Tag,
    1..=300,
    TAG_PATTERN,
    |text| text.bytes().all(|byte| is_one_of(byte, b"-_."))
);
identifier!(
    /// An image's digest, in lower case whatever case it came in: `sha256:` and hexadecimal digits.
    ///
    /// The upper limit is this catalog's: two digests must fit into one sort key.
    Digest,
    3..=255,
    DIGEST_PATTERN,
    matches_digest_pattern
);

impl RegistryId {
    fn normalise(text: &str) -> String {
        text.to_owned()
    }
}

impl RepositoryName {
    fn normalise(text: &str) -> String {
        text.to_owned()
    }
}

impl Tag {
    fn normalise(text: &str) -> String {
        text.to_owned()
    }
}

impl Serialize for Tag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Where it is packed, the catalog wrote it.
impl<'de> Deserialize<'de> for Tag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return String::deserialize(deserializer)?.try_into().map_err(D::Error::custom);
        }
        String::deserialize(deserializer).map(Self::stored)
    }
}

impl Digest {
    fn normalise(text: &str) -> String {
        text.to_ascii_lowercase()
    }

    /// Bytes in the packed form.
    pub(crate) fn packed_bytes(&self) -> usize {
        if self.sha256().is_some() { 34 } else { 2 + self.0.len() }
    }

    /// The bytes of the hash, if it is a SHA-256.
    fn sha256(&self) -> Option<[u8; 32]> {
        let digits = self.0.strip_prefix("sha256:").filter(|digits| digits.len() == 64)?;
        let mut hash = [0; 32];
        for (place, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(digits.get(2 * place..2 * place + 2)?, 16).ok()?;
        }
        Some(hash)
    }
}

/// A digest where it is packed.
#[derive(Serialize, Deserialize)]
enum PackedDigest {
    Sha256([u8; 32]),
    Other(String),
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.serialize_str(&self.0);
        }
        match self.sha256() {
            Some(hash) => PackedDigest::Sha256(hash),
            None => PackedDigest::Other(self.0.clone()),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return String::deserialize(deserializer)?.try_into().map_err(D::Error::custom);
        }
        match PackedDigest::deserialize(deserializer)? {
            PackedDigest::Sha256(hash) => {
                let digits = hash.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
                let digits = digits.filter_map(|digit| char::from_digit(digit.into(), 16));
                Ok(Self::stored("sha256:".chars().chain(digits).collect()))
            }
            PackedDigest::Other(text) => Ok(Self::stored(text)),
        }
    }
}

/// One of the two services that the catalog answers as. Each has repositories of its own (rule 55).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// Amazon ECR: private registries.
    #[default]
    Ecr,
    /// Amazon ECR Public.
    EcrPublic,
}

/// No service has this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the services are {}", Service::ALL.map(Service::as_str).join(", "))]
pub struct UnknownService;

impl Service {
    pub const ALL: [Self; 2] = [Self::Ecr, Self::EcrPublic];

    /// The name in signatures, in IAM, in subscriptions, in logs and in page tokens.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ecr => "ecr",
            Self::EcrPublic => "ecr-public",
        }
    }

    /// Parses a repository name by the service's own rules (rules 14 and 15).
    pub fn parse_repository_name(self, text: &str) -> Result<RepositoryName, InvalidIdentifier> {
        static PUBLIC: LazyLock<Regex> = LazyLock::new(|| whole(PUBLIC_REPOSITORY_NAME_PATTERN));
        let parsed = RepositoryName::parse(text);
        if self == Self::Ecr || matches!(parsed, Err(InvalidIdentifier::TooShort(_))) {
            return parsed;
        }
        if text.chars().count() > MAX_PUBLIC_REPOSITORY_NAME_LENGTH {
            return Err(InvalidIdentifier::TooLong(MAX_PUBLIC_REPOSITORY_NAME_LENGTH));
        }
        if !PUBLIC.is_match(text) {
            return Err(InvalidIdentifier::Pattern(PUBLIC_REPOSITORY_NAME_PATTERN));
        }
        parsed
    }
}

impl FromStr for Service {
    type Err = UnknownService;

    fn from_str(name: &str) -> Result<Self, UnknownService> {
        Self::ALL.into_iter().find(|service| service.as_str() == name).ok_or(UnknownService)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A repository of a registry: what every image, tag and change belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Repository {
    /// The service that answers for it.
    #[serde(default)]
    pub service: Service,
    /// Whose repository it is.
    pub registry: RegistryId,
    /// Its name there.
    pub name: RepositoryName,
}

/// `<registryId>/<repositoryName>`, after `ecr-public/` if it is one of Amazon ECR Public.
impl fmt::Display for Repository {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.service == Service::EcrPublic {
            write!(formatter, "{}/", self.service)?;
        }
        write!(formatter, "{}/{}", self.registry, self.name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names_are_those_of_the_patterns(
            text in prop_oneof![
                "[a-fA-F0-9:+._-]{12,20}",
                "[0-9]{12}",
                "[a-z0-9+._-]{1,9}:[a-fA-F0-9]{1,9}",
                "\\PC{1,12}",
            ],
        ) {
            let is_long = text.chars().count() >= 3;
            prop_assert_eq!(Tag::parse(&text).is_ok(), whole(TAG_PATTERN).is_match(&text));
            prop_assert_eq!(
                Digest::parse(&text).is_ok(),
                is_long && whole(DIGEST_PATTERN).is_match(&text)
            );
            prop_assert_eq!(
                RegistryId::parse(&text).is_ok(),
                whole(REGISTRY_ID_PATTERN).is_match(&text)
            );
        }
    }

    #[test]
    fn repository_names() {
        for good in ["ab", "a1", "a/b", "a.b", "a_b", "a__b", "a-b", "a--b", "a---b/c.d/e__f"] {
            assert_eq!(RepositoryName::parse(good).map(String::from), Ok(good.to_owned()));
        }
        for bad in
            ["a___b", "a_-b", "_a", "a_", "AB", "a//b", "/a", "a/", "a..b", "a b", "ab\n", "aé"]
        {
            assert_eq!(
                RepositoryName::parse(bad),
                Err(InvalidIdentifier::Pattern(REPOSITORY_NAME_PATTERN)),
                "{bad}"
            );
        }
        assert_eq!(
            RepositoryName::parse("A"),
            Err(InvalidIdentifier::TooShort(2)),
            "length before pattern"
        );
        assert_eq!(RepositoryName::parse(&"A".repeat(257)), Err(InvalidIdentifier::TooLong(256)));
        assert!(RepositoryName::parse(&"a".repeat(256)).is_ok());
    }

    #[test]
    fn the_public_service_refuses_names_that_the_private_one_takes() {
        for name in ["a__b", "a--b"] {
            assert!(Service::Ecr.parse_repository_name(name).is_ok());
            assert_eq!(
                Service::EcrPublic.parse_repository_name(name),
                Err(InvalidIdentifier::Pattern(PUBLIC_REPOSITORY_NAME_PATTERN))
            );
        }
        let long = "a".repeat(206);
        assert!(Service::Ecr.parse_repository_name(&long).is_ok());
        assert_eq!(
            Service::EcrPublic.parse_repository_name(&long),
            Err(InvalidIdentifier::TooLong(205))
        );
        assert_eq!(
            Service::Ecr.parse_repository_name("_a"),
            Err(InvalidIdentifier::Pattern(REPOSITORY_NAME_PATTERN))
        );
    }

    #[test]
    fn tags_and_digests() {
        assert!(Tag::parse(&"v".repeat(300)).is_ok());
        assert_eq!(Tag::parse(&"v".repeat(301)), Err(InvalidIdentifier::TooLong(300)));
        assert_eq!(Tag::parse(""), Err(InvalidIdentifier::TooShort(1)));
        assert_eq!(Tag::parse("a:b"), Err(InvalidIdentifier::Pattern(TAG_PATTERN)));
        assert_eq!(
            Digest::parse("SHA256:ABCdef").map(String::from),
            Ok("sha256:abcdef".to_owned())
        );
        for bad in ["sha256", "sha256:", ":ab", "sha256:xyz", "sha256:ab:cd"] {
            assert!(Digest::parse(bad).is_err(), "{bad}");
        }
        assert!(RegistryId::parse("12345678901x").is_err());
        assert!(RegistryId::parse("1234567890123").is_err());
    }
}

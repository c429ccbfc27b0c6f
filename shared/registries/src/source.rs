use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// A product whose events the catalog understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Amazon ECR, through EventBridge.
    Ecr,
    /// CNCF distribution, Docker's `registry`.
    Distribution,
    Harbor,
    Quay,
    /// GitHub Packages.
    Github,
    DockerHub,
    /// JFrog Artifactory.
    Artifactory,
    Zot,
}

/// No product has this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sources are {}", Source::ALL.map(Source::as_str).join(", "))]
pub struct UnknownSource;

impl Source {
    pub const ALL: [Self; 8] = [
        Self::Ecr,
        Self::Distribution,
        Self::Harbor,
        Self::Quay,
        Self::Github,
        Self::DockerHub,
        Self::Artifactory,
        Self::Zot,
    ];

    /// The name in webhook addresses, in subscriptions and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ecr => "ecr",
            Self::Distribution => "distribution",
            Self::Harbor => "harbor",
            Self::Quay => "quay",
            Self::Github => "github",
            Self::DockerHub => "docker-hub",
            Self::Artifactory => "artifactory",
            Self::Zot => "zot",
        }
    }

    /// The host of the OCI distribution API, of a product that is a service of its own.
    #[must_use]
    pub fn host(self) -> Option<&'static str> {
        match self {
            Self::DockerHub => Some("registry-1.docker.io"),
            Self::Github => Some("ghcr.io"),
            Self::Quay => Some("quay.io"),
            Self::Ecr | Self::Distribution | Self::Harbor | Self::Artifactory | Self::Zot => None,
        }
    }
}

impl FromStr for Source {
    type Err = UnknownSource;

    fn from_str(name: &str) -> Result<Self, UnknownSource> {
        Self::ALL.into_iter().find(|source| source.as_str() == name).ok_or(UnknownSource)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

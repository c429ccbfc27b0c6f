use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::push_times;

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

impl Source {
    /// Whether it is a host of a product that is a service of its own.
    pub(crate) fn is_host_of_service(host: &str) -> bool {
        let is_own = |own| own == host || Self::further_hosts(own).contains(&host);
        push_times::HOSTS.contains(&host)
            || Self::ALL.into_iter().filter_map(Self::host).any(is_own)
    }

    /// The hosts of the tokens and of the blobs of a service of its own, by the host of its OCI
    /// distribution API.
    ///
    /// <https://docs.docker.com/desktop/setup/allow-list/>
    pub(crate) fn further_hosts(host: &str) -> &'static [&'static str] {
        match Self::ALL.into_iter().find(|source| source.host() == Some(host)) {
            Some(Self::DockerHub) => &[
                "auth.docker.io",
                "production.cloudflare.docker.com",
                "docker-images-prod.6aa30f8b08e16409b46e0173d6de2f56.r2.cloudflarestorage.com",
            ],
            Some(Self::Github) => &["pkg-containers.githubusercontent.com"],
            Some(Self::Quay) => &[
                "cdn.quay.io",
                "cdn01.quay.io",
                "cdn02.quay.io",
                "cdn03.quay.io",
                "cdn04.quay.io",
                "cdn05.quay.io",
                "cdn06.quay.io",
            ],
            _ => &[],
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

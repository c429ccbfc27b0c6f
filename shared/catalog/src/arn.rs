//! The Amazon Resource Names of repositories.
//!
//! <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerregistry.html>

use std::fmt;
use std::str::FromStr;

use crate::identifier::{RegistryId, Repository, Service};

/// A repository in a region: `arn:aws:ecr:us-east-1:123456789012:repository/team/app`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryArn {
    /// Empty for Amazon ECR Public, whose registries belong to no region.
    pub region: String,
    pub repository: Repository,
}

/// It is not the ARN of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not the ARN of a repository")]
pub struct InvalidArn;

impl RepositoryArn {
    /// A repository of the catalog, which follows this region.
    #[must_use]
    pub fn new(repository: &Repository, region: &str) -> Self {
        let region = if repository.service == Service::Ecr { region } else { "" };
        Self { region: region.to_owned(), repository: repository.clone() }
    }
}

/// The ARN of all repositories of a registry.
#[must_use]
pub fn all_repositories(service: Service, registry: &RegistryId, region: &str) -> String {
    let region = if service == Service::Ecr { region } else { "" };
    let partition = partition(region);
    format!("arn:{partition}:{service}:{region}:{registry}:repository/*")
}

/// The partition that a region is in.
#[must_use]
pub fn partition(region: &str) -> &'static str {
    const PARTITIONS: [(&str, &str); 7] = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
        ("eu-isoe-", "aws-iso-e"),
        ("us-isof-", "aws-iso-f"),
        ("eusc-", "aws-eusc"),
    ];
    let known = PARTITIONS.iter().find(|(prefix, _)| region.starts_with(prefix));
    known.map_or("aws", |(_, partition)| partition)
}

impl fmt::Display for RepositoryArn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { region, repository: Repository { service, registry, name } } = self;
        let partition = partition(region);
        write!(formatter, "arn:{partition}:{service}:{region}:{registry}:repository/{name}")
    }
}

impl FromStr for RepositoryArn {
    type Err = InvalidArn;

    fn from_str(text: &str) -> Result<Self, InvalidArn> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", partition, service, region, account, resource] = parts[..] else {
            return Err(InvalidArn);
        };
        let service: Service = service.parse().map_err(|_| InvalidArn)?;
        let registry = RegistryId::parse(account).map_err(|_| InvalidArn)?;
        let name = resource.strip_prefix("repository/").ok_or(InvalidArn)?;
        let name = service.parse_repository_name(name).map_err(|_| InvalidArn)?;
        if partition != self::partition(region) {
            return Err(InvalidArn);
        }
        Ok(Self { region: region.to_owned(), repository: Repository { service, registry, name } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_are_read_as_they_are_written() {
        for text in [
            "arn:aws:ecr:us-east-1:123456789012:repository/team/app",
            "arn:aws-cn:ecr:cn-north-1:123456789012:repository/app",
            "arn:aws-us-gov:ecr:us-gov-west-1:123456789012:repository/a-b__c",
            "arn:aws:ecr-public::123456789012:repository/team/app",
        ] {
            let arn: RepositoryArn = text.parse().expect("an ARN");
            assert_eq!(arn.to_string(), text);
            assert_eq!(RepositoryArn::new(&arn.repository, &arn.region), arn);
        }
        for text in [
            "",
            "arn:aws:ecr:us-east-1:123456789012",
            "arn:aws:ecr:cn-north-1:123456789012:repository/app",
            "arn:aws:s3:us-east-1:123456789012:repository/app",
            "arn:aws:ecr:us-east-1:1:repository/app",
            "arn:aws:ecr:us-east-1:123456789012:registry/app",
            "arn:aws:ecr:us-east-1:123456789012:repository/A",
            "arn:aws:ecr-public::123456789012:repository/a__b",
        ] {
            assert_eq!(text.parse::<RepositoryArn>(), Err(InvalidArn), "{text}");
        }
    }
}

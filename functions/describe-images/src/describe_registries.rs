//! DescribeRegistries of Amazon ECR Public: the registry of the caller (rule 65). The catalog knows no
//! alias of it, and not whether it is verified.
//!
//! <https://docs.aws.amazon.com/AmazonECRPublic/latest/APIReference/API_DescribeRegistries.html>

use catalog::RegistryId;
use serde::Serialize;

use crate::constraints::{self, invalid};
use crate::error::ApiError;
use crate::members::{Members, integer, string};

#[derive(Debug, Serialize)]
pub(crate) struct DescribeRegistriesResponse {
    pub(crate) registries: [Registry; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Registry {
    registry_id: RegistryId,
    registry_arn: String,
    registry_uri: &'static str,
    verified: bool,
    aliases: [(); 0],
}

/// Validates a body, and answers it. There is one page, and so no token is valid.
pub(crate) fn describe_registries(
    registry: &RegistryId,
    body: &[u8],
) -> Result<DescribeRegistriesResponse, ApiError> {
    let mut members = Members::of_body(body)?;
    let next_token = string(members.take("nextToken"))?;
    let max_results = integer(members.take("maxResults"))?;
    constraints::page_size(max_results)?;
    if next_token.is_some() {
        return Err(invalid("nextToken", "Invalid token"));
    }
    Ok(DescribeRegistriesResponse {
        registries: [Registry {
            registry_id: registry.clone(),
            registry_arn: format!("arn:aws:ecr-public::{registry}:registry/{registry}"),
            registry_uri: "",
            verified: false,
            aliases: [],
        }],
    })
}

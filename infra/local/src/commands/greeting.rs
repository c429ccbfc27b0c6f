//! What the catalog prints once it is ready: its address, and commands to paste. The log is on
//! standard error.

use std::net::SocketAddr;

use catalog::table::StoreError;
use catalog::{Reader, RegistryId, RepositoryName, Service};

use super::{print_line, shell_word};
use crate::options::{self, Options};

/// Prints the greeting: an empty line follows the address, and another one the commands.
pub(super) async fn print(
    options: &Options,
    address: SocketAddr,
    location: &str,
    reader: &Reader,
) -> Result<(), StoreError> {
    let repository = first_repository(reader, &options.registry).await?;
    let mut lines = vec![address_and_state(options, address, location, repository.is_some())];
    lines.push(String::new());
    let url = format!("http://{}", options::reachable(address));
    lines.extend(match repository {
        Some((service, name)) => reading(options, &url, service, name.as_str()),
        None => filling(options, &url),
    });
    lines.push(String::new());
    if let Err(error) = print_line(&lines.join("\n")) {
        tracing::warn!(%error, "the greeting cannot be printed");
    }
    Ok(())
}

/// A repository that the commands can name.
async fn first_repository(
    reader: &Reader,
    registry: &RegistryId,
) -> Result<Option<(Service, RepositoryName)>, StoreError> {
    for service in Service::ALL {
        let listed = reader.list_repositories(service, registry, None, 1).await?;
        if let Some(name) = listed.repositories.into_keys().next() {
            return Ok(Some((service, name)));
        }
    }
    Ok(None)
}

fn address_and_state(
    options: &Options,
    address: SocketAddr,
    location: &str,
    is_filled: bool,
) -> String {
    let Options { registry, region, .. } = options;
    let data = if options.demo { "with sample images" } else { "its data" };
    let mut line = format!(
        "image-catalog listens on http://{address} for registry {registry}, {data} {location}."
    );
    if let Some(callers) = &options.callers {
        let service = options.signing_name.as_deref().unwrap_or("ecr or ecr-public");
        let callers = callers.display();
        line += &format!(
            " It answers requests that are signed for {service} in {region} with an access key of \
             {callers}."
        );
    }
    line += &match is_filled {
        true => " Try it:".to_owned(),
        // Another registry may have some.
        false => format!(" Registry {registry} has no repository yet. Fill it:"),
    };
    line
}

/// Commands that list the newest images of a repository.
fn reading(options: &Options, url: &str, service: Service, name: &str) -> Vec<String> {
    let region = shell_word(&options.region);
    let signing_name = options.signing_name.as_deref().unwrap_or(service.as_str());
    let (unsigned, signature) = match &options.callers {
        None => (" --no-sign-request", String::new()),
        Some(_) => {
            let scope = shell_word(&format!("aws:amz:{}:{signing_name}", options.region));
            let user = "\"$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY\"";
            ("", format!(" --aws-sigv4 {scope} --user {user}"))
        }
    };
    let aws = format!(
        "  aws {service} describe-images --repository-name {name} --max-results 5 --endpoint-url \
         {url} --region {region}{unsigned}"
    );
    let target = match service {
        Service::Ecr => "AmazonEC2ContainerRegistry_V20150921",
        Service::EcrPublic => "SpencerFrontendService",
    };
    let curl = format!(
        "  curl {url}{signature} -H 'X-Amz-Target: {target}.DescribeImages' \
         -d '{{\"repositoryName\":\"{name}\",\"maxResults\":5}}'"
    );
    // The AWS CLI signs for the service alone.
    if signing_name == service.as_str() { vec![aws, curl] } else { vec![curl] }
}

/// How images come into an empty catalog.
fn filling(options: &Options, url: &str) -> Vec<String> {
    let words = std::env::args_os().map(|word| shell_word(&word.to_string_lossy()));
    let words: Vec<String> = words.collect();
    let mut lines = Vec::new();
    // Another process does not see what this one has in memory.
    if !options.is_in_memory() {
        lines.push(format!(
            "  {} reconcile --from http://localhost:5000    # once: from a registry, or from ecr or \
             ecr-public",
            words.join(" ")
        ));
    }
    lines.push(format!(
        "  {url}/events/SOURCE    # at each push: the address of a registry's events, see \
         docs/sources.md"
    ));
    if let Some(program) = words.first() {
        lines.push(format!("  {program} --demo --listen 127.0.0.1:0    # sample images first"));
    }
    lines
}

//! `image-catalog aws-config`: has the AWS CLI and boto3 sign requests to the catalog for API
//! Gateway. They read endpoint rule sets of their user before their own.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use url::Url;

use super::{report, shell_word};
use crate::endpoints::parse_http_url;
use crate::options::WithoutUser;

/// The files, by their paths in a directory of models. Clients use the same paths.
const RULE_SETS: [(&str, &str); 2] = [
    (
        "ecr/2015-09-21/endpoint-rule-set-1.json",
        include_str!("../../../service-model/ecr/2015-09-21/endpoint-rule-set-1.json"),
    ),
    (
        "ecr-public/2020-10-30/endpoint-rule-set-1.json",
        include_str!("../../../service-model/ecr-public/2020-10-30/endpoint-rule-set-1.json"),
    ),
];

/// In a rule set, the place of the catalog's own host name.
const HOST: &str = "catalog.example.com";

/// The options of `image-catalog aws-config`.
#[derive(Debug, Clone, Args)]
pub struct AwsConfigOptions {
    /// The catalog's endpoint, such as https://API-ID.execute-api.REGION.amazonaws.com
    #[arg(
        long, value_name = "URL", required_unless_present = "remove", conflicts_with = "remove",
        value_parser = WithoutUser(parse_endpoint)
    )]
    endpoint: Option<Endpoint>,
    /// Remove the files
    #[arg(long)]
    remove: bool,
    /// Directory of the files, to be named by AWS_DATA_PATH [default: ~/.aws/models]
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
enum AwsConfigError {
    #[error("there is no home directory; name a directory with --models")]
    NoHome,
    #[error(
        "{0} is not as this version of image-catalog writes it, and is left as it is; remove it if \
         you do not need it"
    )]
    Foreign(PathBuf),
    #[error("{path}")]
    File { path: PathBuf, source: io::Error },
}

/// The address of a catalog.
#[derive(Debug, Clone)]
struct Endpoint {
    /// With the host name in lower case, without a last dot or the scheme's own port.
    url: Url,
    /// Whether it was given in another form. Clients compare names as texts.
    is_changed: bool,
}

/// A file of [`RULE_SETS`] in a directory.
struct RuleSetFile {
    path: PathBuf,
    content: &'static str,
}

/// Writes the files or removes them, and prints what was done. The files of others are left.
pub fn run(command: &AwsConfigOptions) -> Result<ExitCode, Box<dyn Error>> {
    let models = match &command.models {
        Some(models) => std::path::absolute(models)?,
        None => std::env::home_dir().ok_or(AwsConfigError::NoHome)?.join(".aws/models"),
    };
    let files = RULE_SETS.map(|(path, content)| RuleSetFile { path: models.join(path), content });
    if let Some(endpoint) = &command.endpoint {
        for file in &files {
            file.check()?;
        }
        for file in &files {
            file.write(&endpoint.url)?;
            report(&format!("Wrote {}", file.path.display()))?;
        }
        report(&instructions(endpoint, command.models.as_ref().map(|_| models.as_path())))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut code = ExitCode::SUCCESS;
    for file in &files {
        match file.remove() {
            Ok(true) => report(&format!("Removed {}", file.path.display()))?,
            Ok(false) => report(&format!("There is no {}", file.path.display()))?,
            Err(error @ AwsConfigError::Foreign(_)) => {
                tracing::error!("{error}");
                code = ExitCode::FAILURE;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(code)
}

impl RuleSetFile {
    /// Whether there is such a file. One that is not the rule set, with any host name in it, is of
    /// somebody else.
    fn check(&self) -> Result<bool, AwsConfigError> {
        let content = match fs::read_to_string(&self.path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => String::new(),
            Err(source) => return Err(self.error(source)),
        };
        let host = self
            .content
            .split_once(HOST)
            .and_then(|(before, after)| content.strip_prefix(before)?.strip_suffix(after));
        match host {
            Some(host) if !host.contains('"') => Ok(true),
            _ => Err(AwsConfigError::Foreign(self.path.clone())),
        }
    }

    fn write(&self, endpoint: &Url) -> Result<(), AwsConfigError> {
        // The rule sets know API Gateway's own names.
        let authority = endpoint.authority();
        let host = if is_of_api_gateway(authority) { HOST } else { authority };
        self.replace(&self.content.replace(HOST, host)).map_err(|error| self.error(error))
    }

    /// Replaces the file as a whole: clients may read it meanwhile, and a part of it would not be
    /// recognised.
    fn replace(&self, content: &str) -> io::Result<()> {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        // The file that a symbolic link stands for is replaced, not the link.
        let path = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        // Clients read no such name.
        let draft = path.with_extension("image-catalog");
        let mut writer = File::create(&draft)?;
        writer.write_all(content.as_bytes())?;
        writer.sync_all()?;
        fs::rename(draft, path)
    }

    /// Removes the file, and its two directories if they are empty then. Returns whether there was
    /// one.
    fn remove(&self) -> Result<bool, AwsConfigError> {
        if !self.check()? {
            return Ok(false);
        }
        fs::remove_file(&self.path).map_err(|error| self.error(error))?;
        for directory in self.path.ancestors().skip(1).take(2) {
            if fs::remove_dir(directory).is_err() {
                break;
            }
        }
        Ok(true)
    }

    fn error(&self, source: io::Error) -> AwsConfigError {
        AwsConfigError::File { path: self.path.clone(), source }
    }
}

/// Whether it is a name of API Gateway as the rule sets recognize it: ten characters, and then
/// `.execute-api.`
pub(crate) fn is_of_api_gateway(authority: &str) -> bool {
    authority.get(10..).is_some_and(|rest| rest.starts_with(".execute-api."))
}

/// How requests get to the endpoint, to be pasted.
fn instructions(endpoint: &Endpoint, models: Option<&Path>) -> String {
    let url = endpoint.url.as_str().trim_end_matches('/');
    let models = models
        .map(|models| format!("export AWS_DATA_PATH={}\n", shell_word(&models.to_string_lossy())));
    let models = models.unwrap_or_default();
    let region = if is_of_api_gateway(endpoint.url.authority()) {
        ""
    } else {
        "
Its host name does not contain its region: add --region REGION where that is not the region of the
client.
"
    };
    let form = if endpoint.is_changed {
        "
Write the endpoint as it is here, wherever you enter it: clients compare its host name as a text.
"
    } else {
        ""
    };
    format!(
        "
The AWS CLI and boto3 sign requests to this endpoint for API Gateway now:

{models}aws ecr describe-images --endpoint-url {url} --repository-name NAME
{region}{form}
To send every request of a shell to it:

export AWS_ENDPOINT_URL_ECR={url}
export AWS_ENDPOINT_URL_ECR_PUBLIC={url}

Or every request with a profile, in ~/.aws/config:

[profile image-catalog]
services = image-catalog

[services image-catalog]
ecr =
  endpoint_url = {url}
ecr_public =
  endpoint_url = {url}"
    )
}

fn parse_endpoint(text: &str) -> Result<Endpoint, String> {
    let mut url = parse_http_url(text)?;
    let host = url.host_str().unwrap_or_default();
    let without_dot = host.strip_suffix('.').map(str::to_owned);
    if let Some(host) = without_dot {
        url.set_host(Some(&host)).map_err(|error| error.to_string())?;
    }
    let is_changed = url.as_str().trim_end_matches('/') != text.trim_end_matches('/');
    Ok(Endpoint { url, is_changed })
}

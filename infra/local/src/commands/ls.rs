//! `image-catalog ls`: lists images and repositories, page by page.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write as _};

use catalog::identifier::Glob;
use catalog::image::INDEX_MEDIA_TYPES;
use catalog::time::EpochSeconds;
use catalog::{Service, Timestamp};
use clap::Args;
use console::style;
use indicatif::DecimalBytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{OutputFormat, printable, printable_json, progress, time, unknown};
use crate::client::{Client, ClientError, ClientOptions};
use crate::options::Options;

/// The configurations of images. Manifests with another one are artifacts.
const IMAGE_CONFIGURATIONS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// The options of `image-catalog ls`.
#[derive(Debug, Clone, Args)]
pub struct LsOptions {
    /// Repository whose images are listed, the newest first [default: the repositories are listed]
    repository: Option<String>,
    /// List the newest image alone
    #[arg(long, requires = "repository")]
    latest: bool,
    /// List images with a tag like this one, in which * stands for any characters: 'v1.*'
    #[arg(long, value_name = "PATTERN", requires = "repository", conflicts_with = "untagged")]
    tag: Option<String>,
    /// List images without tags
    #[arg(long, requires = "repository")]
    untagged: bool,
    /// A table, or a JSON array with one item in a line, each as the API returns it
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: OutputFormat,
    #[command(flatten)]
    client: ClientOptions,
}

/// A list, and how it is printed.
struct Listing<'a> {
    client: &'a Client,
    format: OutputFormat,
    operation: &'static str,
    /// For the first page.
    request: Value,
    title: String,
    max_items: usize,
    /// The error if there is no item.
    not_found: Option<NotFound>,
}

/// Nothing is like what was named.
#[derive(Debug, thiserror::Error)]
enum NotFound {
    #[error("the repository '{0}' has no image with a tag like '{1}'")]
    Tag(String, String),
    #[error("the repository '{0}' has no image without tags")]
    Untagged(String),
    #[error("the repository '{0}' has no images")]
    Image(String),
}

/// A response of `DescribeImages` or of `DescribeRepositories`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(alias = "imageDetails", alias = "repositories")]
    items: Vec<Box<RawValue>>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Image {
    image_digest: String,
    #[serde(default)]
    image_tags: Vec<String>,
    image_size_in_bytes: Option<u64>,
    image_pushed_at: Option<EpochSeconds>,
    image_manifest_media_type: Option<String>,
    artifact_media_type: Option<String>,
    subject_manifest_digest: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Repository {
    repository_name: String,
    created_at: Option<EpochSeconds>,
}

/// Prints the list.
pub async fn run(options: &Options, command: &LsOptions) -> Result<(), Box<dyn Error>> {
    let client = Client::open(options, &command.client).await?;
    match &command.repository {
        Some(repository) => {
            let pattern = command.tag.as_deref().map(Glob::parse);
            let listing = command.images(&client, options.service, repository);
            let is_listed = |image: &Image| match &pattern {
                Some(pattern) => image.image_tags.iter().any(|tag| pattern.matches(tag)),
                None => !command.untagged || image.image_tags.is_empty(),
            };
            listing.print(|image: Image| is_listed(&image).then(|| image.line())).await
        }
        None => {
            let listing = Listing {
                client: &client,
                format: command.output,
                operation: "DescribeRepositories",
                request: json!({ "maxResults": 1000 }),
                title: repository_line(style("CREATED").bold(), style("NAME").bold()),
                max_items: usize::MAX,
                not_found: None,
            };
            listing.print(|repository: Repository| Some(repository.line())).await
        }
    }
}

impl LsOptions {
    /// The images of a repository. Not every service filters as the options say.
    fn images<'a>(&self, client: &'a Client, service: Service, repository: &str) -> Listing<'a> {
        let mut request = json!({ "repositoryName": repository });
        let status = match &self.tag {
            Some(tag) if !tag.contains('*') => {
                request["imageIds"] = json!([{ "imageTag": tag }]);
                None
            }
            Some(_) => Some("TAGGED"),
            None => self.untagged.then_some("UNTAGGED"),
        };
        if let Some(status) = status
            && service == Service::Ecr
        {
            request["filter"] = json!({ "tagStatus": status });
        }
        if request.get("imageIds").is_none() {
            let is_first_enough = self.tag.is_none() && (!self.untagged || service == Service::Ecr);
            request["maxResults"] = json!(match self.latest {
                true if is_first_enough => 1,
                true => 100,
                false => 1000,
            });
        }
        let name = || repository.to_owned();
        let not_found = match &self.tag {
            Some(tag) => Some(NotFound::Tag(name(), tag.clone())),
            None if !self.latest => None,
            None if self.untagged => Some(NotFound::Untagged(name())),
            None => Some(NotFound::Image(name())),
        };
        let title = ["DIGEST", "SIZE", "PUSHED", "KIND", "TAGS"].map(|title| style(title).bold());
        let [digest, size, pushed, kind, tags] = title;
        Listing {
            client,
            format: self.output,
            operation: "DescribeImages",
            request,
            title: image_line(digest, size, pushed, kind, tags),
            max_items: if self.latest { 1 } else { usize::MAX },
            not_found,
        }
    }
}

impl Listing<'_> {
    /// Prints the items that have a line, each page as it comes.
    async fn print<T: DeserializeOwned>(
        mut self,
        line: impl Fn(T) -> Option<String>,
    ) -> Result<(), Box<dyn Error>> {
        let mut items = 0;
        let mut progress = None;
        loop {
            let response = self.client.call(self.operation, &self.request).await?;
            let page: Page = serde_json::from_str(&response).map_err(ClientError::from)?;
            let mut output = Vec::new();
            for item in &page.items {
                if items == self.max_items {
                    break;
                }
                let decoded = serde_json::from_str(item.get()).map_err(ClientError::from)?;
                let Some(line) = line(decoded) else { continue };
                match self.format {
                    OutputFormat::Table if items == 0 => {
                        writeln!(output, "{}\n{line}", self.title)?
                    }
                    OutputFormat::Table => writeln!(output, "{line}")?,
                    OutputFormat::Json => {
                        let separator = if items == 0 { "[" } else { "," };
                        write!(output, "{separator}\n{}", printable_json(item.get()))?;
                    }
                }
                items += 1;
            }
            write_out(&output)?;
            match page.next_token {
                Some(token) if items < self.max_items => self.request["nextToken"] = json!(token),
                _ => break,
            }
            let progress = progress.get_or_insert_with(|| progress::spinner("{pos} read"));
            progress.inc(page.items.len() as u64);
        }
        let mut output = Vec::new();
        match (items, self.not_found, self.format) {
            (0, Some(not_found), _) => return Err(not_found.into()),
            (0, None, OutputFormat::Table) => writeln!(output, "{}", self.title)?,
            (0, None, OutputFormat::Json) => writeln!(output, "[]")?,
            (_, _, OutputFormat::Table) => {}
            (_, _, OutputFormat::Json) => writeln!(output, "\n]")?,
        }
        Ok(write_out(&output)?)
    }
}

/// Writes lines of the output, while no progress is drawn.
fn write_out(lines: &[u8]) -> io::Result<()> {
    let mut output = io::stdout();
    progress::suspend(|| output.write_all(lines).and_then(|()| output.flush()))
}

impl Image {
    fn line(&self) -> String {
        let size = self.image_size_in_bytes.map(|bytes| DecimalBytes(bytes).to_string());
        let tags = match &self.image_tags[..] {
            [] => style("-".to_owned()).dim(),
            tags => style(printable(&tags.join(","))).green(),
        };
        image_line(
            style(short_digest(&self.image_digest)).yellow(),
            // A column is one word, for programs.
            size.map_or_else(unknown, |size| size.replace(' ', "")),
            time(self.image_pushed_at.map(Timestamp::from)),
            self.kind(),
            tags,
        )
    }

    fn kind(&self) -> &'static str {
        let is_one_of = |media_type: &Option<String>, known: &[&str]| {
            media_type.as_deref().is_some_and(|media_type| known.contains(&media_type))
        };
        let has_other_configuration = self.artifact_media_type.is_some()
            && !is_one_of(&self.artifact_media_type, &IMAGE_CONFIGURATIONS);
        if is_one_of(&self.image_manifest_media_type, &INDEX_MEDIA_TYPES) {
            "index"
        } else if self.subject_manifest_digest.is_some() || has_other_configuration {
            "artifact"
        } else {
            "image"
        }
    }
}

impl Repository {
    fn line(&self) -> String {
        repository_line(
            time(self.created_at.map(Timestamp::from)),
            style(printable(&self.repository_name)).green(),
        )
    }
}

/// Every column has a width of its own, so that pages that are printed as they come are aligned. The
/// last one may be of any.
fn image_line(
    digest: impl Display,
    size: impl Display,
    pushed: impl Display,
    kind: impl Display,
    tags: impl Display,
) -> String {
    format!("{digest:<19}  {size:>9}  {pushed:<20}  {kind:<8}  {tags}")
}

fn repository_line(created: impl Display, name: impl Display) -> String {
    format!("{created:<20}  {name}")
}

/// The algorithm of a digest, and its first characters.
fn short_digest(digest: &str) -> String {
    let (algorithm, hexadecimal) = digest.split_once(':').unwrap_or(("", digest));
    let beginning: String = hexadecimal.chars().take(12).collect();
    printable(&format!("{algorithm}:{beginning}"))
}

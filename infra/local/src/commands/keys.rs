//! `image-catalog keys`: the access keys of callers, in a file or in a secret of AWS Secrets Manager.

use std::error::Error;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use aws_config::Region;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueOutput;
use aws_sdk_secretsmanager::{Client, Config};
use catalog::table::causes;
use catalog::{RegistryId, Service, Timestamp};
use clap::{Args, Subcommand};
use describe_images::access_keys::AccessKey;
use serde_json::{Value, json};

use super::{print_line, shell_word};
use crate::endpoints::InvalidEndpoint;
use crate::options::Options;

/// The label of the version that is to become the current one.
const VERSION_STAGE: &str = "image-catalog-keys";

/// The options of `image-catalog keys`.
#[derive(Debug, Clone, Args)]
pub struct KeysOptions {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum KeysCommand {
    /// Create an access key, and print it. Its secret access key cannot be printed again.
    Add {
        /// ARN of the caller, such as arn:aws:iam::123456789012:user/terraform. Requests without
        /// registryId are for the registry of its account
        arn: String,
        /// Repositories that the caller may read, such as '123456789012/team/*' or
        /// 'ecr-public/123456789012/*'; may be repeated [default: all of the account]
        #[arg(long, value_name = "PATTERN")]
        repositories: Vec<String>,
        #[command(flatten)]
        place: Place,
    },
    /// Print the access keys, without their secrets
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Disable an access key. Within a minute, no request with it is answered
    Disable {
        #[arg(value_name = "ACCESS_KEY_ID")]
        id: String,
        #[command(flatten)]
        place: Place,
    },
    /// Create a further access key for the same caller, and print it. The earlier one stays valid
    /// until it is disabled.
    Rotate {
        #[arg(value_name = "ACCESS_KEY_ID")]
        id: String,
        #[command(flatten)]
        place: Place,
    },
}

/// Where the access keys are.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
struct Place {
    /// JSON file of access keys; add creates it
    #[arg(long, value_name = "FILE")]
    callers: Option<PathBuf>,
    /// ARN or name of a secret in AWS Secrets Manager, with the AWS credentials of the environment
    #[arg(long, value_name = "ID")]
    secret: Option<String>,
}

/// Why the access keys are not changed.
#[derive(Debug, thiserror::Error)]
enum KeysError {
    #[error("there is no access key '{0}'")]
    NoKey(String),
    #[error("'{0}' is the key of a session: it ends, and cannot be rotated")]
    Session(String),
    #[error("'{0}' is disabled, and cannot be rotated: add a key for its caller instead")]
    Disabled(String),
    #[error("'{0}' expired at {1}, and cannot be rotated: add a key for its caller instead")]
    Expired(String, String),
    #[error(
        "'{0}' matches no repository: a pattern is <registryId>/<repositoryName> or \
         ecr-public/<registryId>/<repositoryName>, in which * matches any characters"
    )]
    Pattern(String),
    #[error("no random key can be made")]
    Randomness,
}

/// Why the output is missing, although the keys are changed.
#[derive(Debug, thiserror::Error)]
enum OutputError {
    #[error(
        "'{id}' is stored, but its secret access key cannot be printed, and nobody knows it: run \
         image-catalog keys disable {id} {place}"
    )]
    Created { id: String, place: String, source: io::Error },
    #[error("'{id}' is disabled, but that cannot be printed")]
    Disabled { id: String, source: io::Error },
}

/// Runs the command.
pub async fn run(options: &Options, command: &KeysOptions) -> Result<(), Box<dyn Error>> {
    match &command.command {
        KeysCommand::Add { arn, repositories, place } => {
            if let Some(pattern) = repositories.iter().find(|pattern| !can_match(pattern)) {
                return Err(KeysError::Pattern(pattern.clone()).into());
            }
            let mut key = AccessKey::generate(arn.clone()).ok_or(KeysError::Randomness)?;
            key.account()?;
            key.repositories = Some(repositories.clone()).filter(|list| !list.is_empty());
            place
                .change(options, |keys| {
                    keys.push(key.clone());
                    Ok(())
                })
                .await?;
            print_created(&key, place)?;
        }
        KeysCommand::List { place } => {
            let keys: Vec<Value> = place.read(options).await?.iter().map(metadata).collect();
            print_line(&format!("{:#}", json!({ "AccessKeyMetadata": keys })))?;
        }
        KeysCommand::Disable { id, place } => {
            place
                .change(options, |keys| {
                    find(keys, id)?.disabled = true;
                    Ok(())
                })
                .await?;
            let line = format!("{id} is disabled. Catalogs that run know that within a minute.");
            print_line(&line).map_err(|source| OutputError::Disabled { id: id.clone(), source })?;
        }
        KeysCommand::Rotate { id, place } => {
            let created = place
                .change(options, |keys| {
                    let known = find(keys, id)?.clone();
                    check_rotation(&known)?;
                    let created = AccessKey::generate(known.arn).ok_or(KeysError::Randomness)?;
                    let AccessKey { repositories, expiration, .. } = known;
                    let created = AccessKey { repositories, expiration, ..created };
                    keys.push(created.clone());
                    Ok(created)
                })
                .await?;
            print_created(&created, place)?;
        }
    }
    Ok(())
}

fn find<'a>(keys: &'a mut [AccessKey], id: &str) -> Result<&'a mut AccessKey, KeysError> {
    let found = keys.iter_mut().find(|key| key.access_key_id == id);
    found.ok_or_else(|| KeysError::NoKey(id.to_owned()))
}

/// A further key of the same caller has the same end. It must be of use.
fn check_rotation(key: &AccessKey) -> Result<(), KeysError> {
    let id = key.access_key_id.clone();
    if key.session_token.is_some() {
        return Err(KeysError::Session(id));
    }
    if key.disabled {
        return Err(KeysError::Disabled(id));
    }
    match key.expiration {
        Some(expiration) if expiration < Timestamp::now().into() => {
            Err(KeysError::Expired(id, expiration.to_string()))
        }
        _ => Ok(()),
    }
}

/// Whether a pattern can match a repository: its first part is a registry id, or has a `*`.
fn can_match(pattern: &str) -> bool {
    let public = format!("{}/", Service::EcrPublic);
    let pattern = pattern.strip_prefix(&public).unwrap_or(pattern);
    match pattern.split_once('/') {
        Some((registry, name)) if !registry.contains('*') => {
            RegistryId::parse(registry).is_ok() && !name.is_empty()
        }
        _ => pattern.contains('*'),
    }
}

/// Prints a key that was created, as `aws iam create-access-key` does. It is stored before: a key
/// that was printed is of use.
fn print_created(key: &AccessKey, place: &Place) -> Result<(), OutputError> {
    let mut created = metadata(key);
    created["SecretAccessKey"] = json!(key.secret_access_key);
    print_line(&format!("{:#}", json!({ "AccessKey": created }))).map_err(|source| {
        OutputError::Created { id: key.access_key_id.clone(), place: place.option(), source }
    })
}

/// What may be known of a key, with the names of `aws iam list-access-keys`.
fn metadata(key: &AccessKey) -> Value {
    let mut metadata = json!({
        "Arn": key.arn,
        "AccessKeyId": key.access_key_id,
        "Status": if key.disabled { "Inactive" } else { "Active" },
    });
    if let Some(repositories) = &key.repositories {
        metadata["Repositories"] = json!(repositories);
    }
    if let Some(expiration) = key.expiration {
        metadata["Expiration"] = json!(expiration);
    }
    metadata
}

/// Why a change of a secret may be missing.
#[derive(Debug, thiserror::Error)]
enum SecretError {
    #[error(
        "the secret was changed by somebody else meanwhile, so that this change is most probably \
         missing; image-catalog keys list shows that: {0}"
    )]
    Concurrent(String),
    #[error(
        "whether the secret is changed is not known; image-catalog keys list shows that: {error}; \
         then: {unreadable}"
    )]
    Unknown { error: String, unreadable: String },
}

impl Place {
    /// The option of the command line.
    fn option(&self) -> String {
        match &self.callers {
            Some(file) => format!("--callers {}", shell_word(&file.to_string_lossy())),
            None => format!("--secret {}", self.secret.as_deref().unwrap_or_default()),
        }
    }

    async fn read(&self, options: &Options) -> Result<Vec<AccessKey>, Box<dyn Error>> {
        if let Some(file) = &self.callers {
            let named = |error: &dyn Error| format!("{}: {error}", file.display());
            let text = fs::read_to_string(file).map_err(|error| named(&error))?;
            return Ok(AccessKey::parse_list(&text).map_err(|error| named(&error))?);
        }
        let id = self.secret.as_deref().unwrap_or_default();
        let secret = read_secret(&client(options, id).await?, id).await?;
        Ok(AccessKey::parse_list(secret.secret_string().unwrap_or_default())?)
    }

    /// Changes the keys. Changes at the same time do not undo each other.
    async fn change<T>(
        &self,
        options: &Options,
        change: impl FnOnce(&mut Vec<AccessKey>) -> Result<T, KeysError>,
    ) -> Result<T, Box<dyn Error>> {
        if let Some(file) = &self.callers {
            return change_file(file, change)
                .map_err(|error| format!("{}: {error}", file.display()).into());
        }
        let id = self.secret.as_deref().unwrap_or_default();
        change_secret(&client(options, id).await?, id, change).await
    }
}

fn change_file<T>(
    file: &Path,
    change: impl FnOnce(&mut Vec<AccessKey>) -> Result<T, KeysError>,
) -> Result<T, Box<dyn Error>> {
    // The file that a symbolic link stands for is replaced, not the link.
    let file = match file.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if file.is_symlink() {
                return Err("it is a symbolic link to a file that does not exist".into());
            }
            file.to_owned()
        }
        canonical => canonical?,
    };
    let folder = match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    // Other commands wait until this one ends.
    let directory = File::open(folder)?;
    directory.lock()?;
    let owner = match fs::metadata(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        metadata => Some(metadata?),
    };
    let text = if owner.is_some() { fs::read_to_string(&file)? } else { "[]".to_owned() };
    let mut keys = AccessKey::parse_list(&text)?;
    let result = change(&mut keys)?;

    let draft = folder.join(".image-catalog-keys");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut writer = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    // The catalog that reads the file may run as another user, of its group. Nobody else reads it.
    if let Some(owner) = owner {
        chown(&draft, Some(owner.uid()), Some(owner.gid()))?;
        fs::set_permissions(&draft, Permissions::from_mode(owner.mode() & 0o770))?;
    }
    writeln!(writer, "{}", serde_json::to_string_pretty(&keys)?)?;
    writer.sync_all()?;
    fs::rename(&draft, &file)?;
    directory.sync_all()?;
    Ok(result)
}

async fn read_secret(client: &Client, id: &str) -> Result<GetSecretValueOutput, String> {
    let read = client.get_secret_value().secret_id(id).version_stage("AWSCURRENT").send().await;
    read.map_err(|error| causes(&error))
}

/// The new version becomes the current one only if the one that was read still is.
async fn change_secret<T>(
    client: &Client,
    id: &str,
    change: impl FnOnce(&mut Vec<AccessKey>) -> Result<T, KeysError>,
) -> Result<T, Box<dyn Error>> {
    let read = read_secret(client, id).await?;
    let mut keys = AccessKey::parse_list(read.secret_string().unwrap_or_default())?;
    let result = change(&mut keys)?;
    let text = serde_json::to_string(&keys)?;
    let put = client.put_secret_value().secret_id(id).secret_string(text);
    let put = put.version_stages(VERSION_STAGE).send().await.map_err(|error| causes(&error))?;
    let made_current = client
        .update_secret_version_stage()
        .secret_id(id)
        .version_stage("AWSCURRENT")
        .set_remove_from_version_id(read.version_id.clone())
        .set_move_to_version_id(put.version_id.clone())
        .send()
        .await;
    let Err(error) = made_current else { return Ok(result) };
    // The response may have been lost, and a second try is refused then.
    let error = causes(&error);
    match read_secret(client, id).await {
        Ok(current) if current.version_id == put.version_id => Ok(result),
        Ok(current) if current.version_id == read.version_id => {
            Err(format!("nothing is changed: {error}").into())
        }
        Ok(_) => Err(SecretError::Concurrent(error).into()),
        Err(unreadable) => Err(SecretError::Unknown { error, unreadable }.into()),
    }
}

/// A client for the region of an ARN, or that of the options.
async fn client(options: &Options, id: &str) -> Result<Client, InvalidEndpoint> {
    let mut configuration = Config::from(&options.aws().await?).to_builder();
    if let Some(region) = id.strip_prefix("arn:").and_then(|arn| arn.split(':').nth(2)) {
        configuration = configuration.region(Region::new(region.to_owned()));
    }
    Ok(Client::from_conf(configuration.build()))
}

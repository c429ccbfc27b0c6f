//! `image-catalog health`: whether a catalog serves on the address of `--listen`. Container images
//! without a shell have no other program for their health check.

use std::error::Error;
use std::time::Duration;

use crate::options::{self, Options};

/// Less than the timeout of the image's health check, so that the error is in its log.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Fails unless the catalog answers.
pub async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let address = options::reachable(options::resolve(&options.listen).await?);
    let url = format!("http://{address}/healthz");
    let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?;
    let answer = client.get(&url).send().await?.error_for_status()?.text().await?;
    // Another program may have the address.
    if answer.trim_end() != "ok" {
        return Err(format!("the response of {url} is not that of a catalog").into());
    }
    Ok(())
}

//! The functions' binaries as they are deployed, under the Lambda runtime emulator: events in,
//! responses, logs and metrics out. Their table is in DynamoDB Local, their secret on a server of
//! moto.

mod access_keys;
mod all;
mod describe_images;
mod gateway;
mod ingest_events;
mod other_accounts;
mod payloads;
mod receive_webhook;
mod reconcile;
mod start;
mod surroundings;

use std::time::Duration;

use catalog::table::Item;
use end_to_end::harness::Store;

/// Lambda's limit of a response.
const MAX_PAYLOAD: usize = 6 * 1024 * 1024;

/// How long a function may run.
const TIMEOUT: Duration = Duration::from_secs(5);

/// All items of a table, without their versions and expiry times.
async fn items(store: &Store) -> Vec<Item> {
    let mut items = store.items().await;
    for item in &mut items {
        item.retain(|name, _| name != "version" && name != "expiresAt");
    }
    items
}

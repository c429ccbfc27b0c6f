//! The harness: a store, a catalog behind HTTP, and the programs that `install-tools` installs.

mod catalog;
mod docker_registry;
mod dynamodb_local;
mod fixtures;
mod in_process;
mod moto;
mod process;
mod programs;
mod proxy;
pub mod queue;
mod random;
pub mod responder;
pub mod signer;
pub mod stand_in;
mod store;

pub use self::catalog::{Catalog, authentication};
pub use self::docker_registry::{DockerRegistry, Notifications};
pub use self::dynamodb_local::DynamoDbLocal;
pub use self::fixtures::{
    DOCKER_CONFIGURATION, DOCKER_IMAGE, DOCKER_LIST, OCI_CONFIGURATION, OCI_IMAGE, OCI_INDEX,
    OCI_LAYER, REGION, REGISTRY, api_gateway_event, digest, histories, item_bytes, repository,
    sample, tag, time,
};
pub use self::in_process::{InProcess, configuration, engine_client, json_response, operation};
pub use self::moto::Moto;
pub use self::process::{Process, binary, command, push_event, tags_of};
pub use self::programs::{
    Ended, KilledOnDrop, START_LIMIT, clean_command, eventually, eventually_within, find, folder,
    free_port, print, require, temporary_folder, tools, wait_until, wait_until_ready,
    without_aws_configuration,
};
pub use self::proxy::{Gate, proxy};
pub use self::random::Random;
pub use self::store::{Page, Store};

//! The environment variables of the functions, and the clients that they configure.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `TABLE_NAME` | the catalog's table |
//! | `REGISTRY_ID` | the account of the stack: the default registry |
//!
//! Each function's main lists the variables that it alone has.

use std::env;

use aws_config::{BehaviorVersion, SdkConfig};
use catalog::{RegistryId, Table};
use secret::Secret;

use crate::Error;

/// A variable is not set.
#[derive(Debug, thiserror::Error)]
#[error("the variable {0} is not set")]
pub struct MissingVariable(&'static str);

/// The value of an environment variable.
pub fn variable(name: &'static str) -> Result<String, MissingVariable> {
    env::var(name).map_err(|_| MissingVariable(name))
}

/// The configuration of a function's clients.
#[derive(Debug)]
pub struct Environment {
    pub configuration: SdkConfig,
}

impl Environment {
    /// Loads region and credentials as Lambda provides them.
    pub async fn load() -> Self {
        Self { configuration: aws_config::load_defaults(BehaviorVersion::latest()).await }
    }

    pub fn table(&self) -> Result<Table, MissingVariable> {
        let client = aws_sdk_dynamodb::Client::new(&self.configuration);
        Ok(Table { client, name: variable("TABLE_NAME")? })
    }

    pub fn registry_id(&self) -> Result<RegistryId, Error> {
        Ok(RegistryId::parse(&variable("REGISTRY_ID")?)?)
    }

    /// The secret whose ARN a variable contains. `name` is that of its metric.
    pub fn secret<T>(
        &self,
        name: &'static str,
        variable_name: &'static str,
        parse: fn(&str) -> Result<T, secret::Error>,
    ) -> Result<Secret<T>, MissingVariable> {
        let client = aws_sdk_secretsmanager::Client::new(&self.configuration);
        Ok(Secret::stored(&client, variable(variable_name)?, name, parse))
    }
}

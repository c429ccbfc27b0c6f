//! The embedded engine with an interceptor between it and the SDK.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use describe_images::page_token::Keyring;
use end_to_end::harness::{Catalog, InProcess, Store, engine_client, operation};
use image_catalog::aws::dynamodb::Engine;
use serde_json::Value;

use super::Wire;

/// A store on the embedded engine, whose requests pass through `meddle`: it may change a request,
/// or respond in DynamoDB's place. The SDK does not retry, so that a failure is returned at once.
pub(super) async fn meddled_store(
    meddle: impl Fn(&str, &mut Value) -> Option<Result<(u16, String), String>> + Send + Sync + 'static,
) -> Store {
    let (engine, meddle) = (Engine::in_memory().unwrap(), Arc::new(meddle));
    let respond = move |mut request: HttpRequest| {
        let (engine, meddle) = (engine.clone(), Arc::clone(&meddle));
        async move {
            let (operation, mut body) = operation(&request);
            match meddle(&operation, &mut body) {
                None => {
                    *request.body_mut() = SdkBody::from(body.to_string());
                    engine.call(request).await
                }
                Some(Ok((status, body))) => {
                    Ok(HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body)))
                }
                Some(Err(error)) => Err(ConnectorError::io(error.into())),
            }
        }
    };
    let client = engine_client(InProcess(respond)).retry_config(RetryConfig::disabled()).build();
    Store::new(aws_sdk_dynamodb::Client::from_conf(client)).await
}

/// A catalog whose DynamoDB returns at most a number of items at once, which can be changed;
/// DynamoDB may return as few as it likes.
pub(super) async fn giving_few(max_items: Arc<AtomicU64>) -> Wire {
    let store = meddled_store(move |operation, request| {
        if let ("Query", Some(limit)) = (operation, request["Limit"].as_u64()) {
            request["Limit"] = limit.min(max_items.load(Ordering::Relaxed)).into();
        }
        None
    });
    Wire::of(Catalog::start_with(store.await, &Keyring::generate_key().unwrap()).await)
}

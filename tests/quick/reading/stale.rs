//! A DynamoDB with late replicas. A connector in front of the embedded engine responds to
//! eventually consistent reads with each item's version at a random time in the recent past.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use catalog::table::{REPOSITORY, REPOSITORY_TAG_STATUS, SORT, TAG_STATUS_INDEX};
use end_to_end::harness::{InProcess, Random, engine_client, json_response, operation};
use end_to_end::reference::reading::MAX_AGE;
use image_catalog::aws::dynamodb::Engine;
use serde_json::{Map, Value, json};

/// A version is kept for this long after it was replaced.
const KEPT: Duration = Duration::from_secs(1);

/// A read unit covers this many bytes; an eventually consistent read needs half of it.
const BYTES_OF_A_READ_UNIT: usize = 4096;

/// An item's partition key and sort key.
type Key = (String, String);

/// The version of an item from a point in time on.
struct Version {
    written_at: Instant,
    /// `None` if the item was deleted.
    item: Option<Arc<Value>>,
}

/// The recent versions of all items.
struct Versions {
    /// For each item, the oldest version first.
    items: BTreeMap<Key, VecDeque<Version>>,
    /// The items that may have a partition key of the index.
    indexed: HashMap<String, BTreeSet<Key>>,
    /// The writes whose older versions were not dropped yet.
    writes: VecDeque<(Instant, Key)>,
    random: Random,
}

impl Versions {
    fn write(&mut self, written_at: Instant, key: Key, item: Option<Value>) {
        if let Some(partition) = item.as_ref().and_then(|item| text(item, REPOSITORY_TAG_STATUS)) {
            self.indexed.entry(partition.to_owned()).or_default().insert(key.clone());
        }
        self.writes.push_back((written_at, key.clone()));
        let version = Version { written_at, item: item.map(Arc::new) };
        self.items.entry(key).or_default().push_back(version);
        while let Some((_, key)) =
            self.writes.pop_front_if(|(earlier, _)| written_at.duration_since(*earlier) > KEPT)
        {
            self.drop_old(&key, written_at);
        }
    }

    /// Drops the versions of an item that are too old for any response.
    fn drop_old(&mut self, key: &Key, now: Instant) {
        let Some(versions) = self.items.get_mut(key) else { return };
        let is_old = |version: &Version| now.duration_since(version.written_at) > KEPT;
        while versions.get(1).is_some_and(is_old) {
            versions.pop_front();
        }
        if versions.len() == 1 && versions[0].item.is_none() && is_old(&versions[0]) {
            self.items.remove(key);
            for keys in self.indexed.values_mut() {
                keys.remove(key);
            }
        }
    }

    /// An item as it was at a random time in the recent past.
    fn read(&mut self, now: Instant, key: &Key) -> Option<Arc<Value>> {
        let age = Duration::from_micros(self.random.below(MAX_AGE.as_micros().try_into().unwrap()));
        let versions = self.items.get(key)?;
        let version =
            versions.iter().rfind(|version| now.duration_since(version.written_at) >= age)?;
        version.item.clone()
    }

    /// The items that may have had a partition key.
    fn keys(&self, partition: &Condition) -> Vec<Key> {
        if partition.attribute == REPOSITORY {
            let first = (partition.first.clone(), String::new());
            let all = self.items.range(first..).map(|(key, _)| key);
            all.take_while(|key| key.0 == partition.first).cloned().collect()
        } else {
            self.indexed.get(&partition.first).into_iter().flatten().cloned().collect()
        }
    }
}

/// The condition of a query on a key attribute: one of these values, or a range.
struct Condition {
    attribute: String,
    first: String,
    last: String,
}

impl Condition {
    fn holds(&self, item: &Value) -> bool {
        text(item, &self.attribute).is_some_and(|text| *self.first <= *text && *text <= *self.last)
    }
}

/// The conditions of a query, that on the partition key first.
fn conditions(query: &Value) -> Vec<Condition> {
    let expression = query["KeyConditionExpression"].as_str().unwrap_or_default();
    let condition = |name: &str, first: &str, last: &str| {
        let attribute =
            query["ExpressionAttributeNames"].get(name).map_or(name, |name| name.as_str().unwrap());
        let value = |name: &str| match text(&query["ExpressionAttributeValues"], name) {
            Some(value) => value.to_owned(),
            None => panic!("StaleEngine: {name} is not a text in {query}"),
        };
        Condition { attribute: attribute.to_owned(), first: value(first), last: value(last) }
    };
    let words: Vec<&str> = expression.split_whitespace().collect();
    match words[..] {
        [partition, "=", value] => vec![condition(partition, value, value)],
        [partition, "=", value, "AND", sort, "BETWEEN", first, "AND", last] => {
            vec![condition(partition, value, value), condition(sort, first, last)]
        }
        _ => panic!("StaleEngine does not support the condition {expression:?}"),
    }
}

/// The embedded engine, whose eventually consistent reads are late.
#[derive(Clone)]
pub(crate) struct StaleEngine {
    engine: Engine,
    /// Writes run one at a time, so that they are recorded in their order.
    writing: Arc<tokio::sync::Mutex<()>>,
    versions: Arc<Mutex<Versions>>,
}

impl StaleEngine {
    /// An empty engine. The random numbers are the ages of its responses.
    pub(crate) fn new(random: Random) -> Self {
        let versions = Versions {
            items: BTreeMap::new(),
            indexed: HashMap::new(),
            writes: VecDeque::new(),
            random,
        };
        Self {
            engine: Engine::in_memory().unwrap(),
            writing: Arc::default(),
            versions: Arc::new(Mutex::new(versions)),
        }
    }

    pub(crate) fn client(&self) -> aws_sdk_dynamodb::Client {
        let engine = self.clone();
        let configuration = engine_client(InProcess(move |request| engine.call(request))).build();
        aws_sdk_dynamodb::Client::from_conf(configuration)
    }

    async fn write(
        self,
        http: HttpRequest,
        writes: Vec<(Key, Option<Value>)>,
    ) -> Result<HttpResponse, ConnectorError> {
        let _one_at_a_time = self.writing.lock().await;
        let response = self.engine.call(http).await?;
        if response.status().is_success() {
            let now = Instant::now();
            let mut versions = self.versions.lock().unwrap();
            for (key, item) in writes {
                versions.write(now, key, item);
            }
        }
        Ok(response)
    }

    fn get(&self, request: &Value) -> Value {
        allow(
            "GetItem",
            request,
            &["TableName", "Key", "ConsistentRead", "ReturnConsumedCapacity"],
        );
        let item = self.versions.lock().unwrap().read(Instant::now(), &key(&request["Key"]));
        let mut response =
            json!({ "ConsumedCapacity": capacity(&request["TableName"], units(item.as_slice())) });
        if let Some(item) = item {
            response["Item"] = Value::clone(&item);
        }
        response
    }

    fn batch_get(&self, request: &Value) -> Value {
        allow("BatchGetItem", request, &["RequestItems", "ReturnConsumedCapacity"]);
        let mut response =
            json!({ "Responses": {}, "UnprocessedKeys": {}, "ConsumedCapacity": [] });
        for (table, keys) in request["RequestItems"].as_object().unwrap() {
            allow("BatchGetItem", keys, &["Keys", "ConsistentRead"]);
            let mut versions = self.versions.lock().unwrap();
            let now = Instant::now();
            let keys = keys["Keys"].as_array().unwrap().iter().map(key);
            let items: Vec<Option<Arc<Value>>> = keys.map(|key| versions.read(now, &key)).collect();
            let consumed: f64 = items.iter().map(|item| units(item.as_slice())).sum();
            let capacities = response["ConsumedCapacity"].as_array_mut().unwrap();
            capacities.push(capacity(&table.as_str().into(), consumed));
            response["Responses"][table] =
                items.iter().flatten().map(|item| Value::clone(item)).collect();
        }
        response
    }

    fn query(&self, request: &Value) -> Value {
        let known = [
            "TableName",
            "IndexName",
            "KeyConditionExpression",
            "ExpressionAttributeNames",
            "ExpressionAttributeValues",
            "Limit",
            "ExclusiveStartKey",
            "ConsistentRead",
            "ReturnConsumedCapacity",
        ];
        allow("Query", request, &known);
        let partition_attribute =
            match request.get("IndexName").map(|index| index.as_str().unwrap()) {
                None => REPOSITORY,
                Some(TAG_STATUS_INDEX) => REPOSITORY_TAG_STATUS,
                Some(index) => panic!("StaleEngine does not support the index {index}"),
            };
        let conditions = conditions(request);
        assert_eq!(conditions[0].attribute, partition_attribute, "StaleEngine: {request}");
        let mut versions = self.versions.lock().unwrap();
        let now = Instant::now();
        let keys = versions.keys(&conditions[0]);
        let rows = keys.into_iter().filter_map(|(partition, sort)| {
            let key = (partition, sort);
            let item =
                versions.read(now, &key).filter(|item| conditions.iter().all(|c| c.holds(item)))?;
            Some(((key.1, key.0), item))
        });
        // By sort key. In the index, several items can have the same one.
        let mut rows: BTreeMap<(String, String), Arc<Value>> = rows.collect();
        if let Some(start) = request.get("ExclusiveStartKey") {
            let (partition, sort) = key(start);
            let mut after = rows.split_off(&(sort.clone(), partition.clone()));
            after.remove(&(sort, partition));
            rows = after;
        }
        let limit = request
            .get("Limit")
            .map_or(usize::MAX, |limit| limit.as_u64().unwrap().try_into().unwrap());
        let items: Vec<Arc<Value>> = rows.into_values().take(limit).collect();
        let mut response = json!({
            "Items": items.iter().map(|item| Value::clone(item)).collect::<Value>(),
            "Count": items.len(),
            "ScannedCount": items.len(),
            "ConsumedCapacity": capacity(&request["TableName"], units(&items)),
        });
        // DynamoDB returns a key here even if no items follow.
        if let Some(last) = items.last().filter(|_| items.len() == limit) {
            let attributes = BTreeSet::from([REPOSITORY, SORT, partition_attribute]);
            let values = attributes.into_iter().map(|name| (name.to_owned(), last[name].clone()));
            response["LastEvaluatedKey"] = values.collect::<Map<_, _>>().into();
        }
        response
    }
}

impl StaleEngine {
    fn call(&self, http: HttpRequest) -> HttpConnectorFuture {
        let (operation, request) = operation(&http);
        let is_consistent = |reads: &Value| reads["ConsistentRead"] == true;
        let late = match operation.as_str() {
            "TransactWriteItems" | "PutItem" | "DeleteItem" => {
                let writes = writes(&operation, &request);
                return HttpConnectorFuture::new(self.clone().write(http, writes));
            }
            "GetItem" if !is_consistent(&request) => self.get(&request),
            "BatchGetItem"
                if !request["RequestItems"].as_object().unwrap().values().all(is_consistent) =>
            {
                let tables = request["RequestItems"].as_object().unwrap();
                assert!(
                    !tables.values().any(is_consistent),
                    "StaleEngine does not mix consistent and other reads"
                );
                self.batch_get(&request)
            }
            "Query" if !is_consistent(&request) => self.query(&request),
            _ => return self.engine.call(http),
        };
        HttpConnectorFuture::ready(Ok(json_response(200, &late)))
    }
}

/// The writes of a request: each item, or `None` if it is deleted.
fn writes(operation: &str, request: &Value) -> Vec<(Key, Option<Value>)> {
    let put = |put: &Value| (key(&put["Item"]), Some(put["Item"].clone()));
    let delete = |delete: &Value| (key(&delete["Key"]), None);
    match operation {
        "PutItem" => vec![put(request)],
        "DeleteItem" => vec![delete(request)],
        _ => {
            let writes = request["TransactItems"].as_array().unwrap().iter();
            let write = |write: &Value| match (write.get("Put"), write.get("Delete")) {
                (Some(wanted), None) => Some(put(wanted)),
                (None, Some(wanted)) => Some(delete(wanted)),
                _ if write.get("ConditionCheck").is_some() => None,
                _ => panic!("StaleEngine does not support the write {write}"),
            };
            writes.filter_map(write).collect()
        }
    }
}

/// Refuses requests that this engine does not support.
fn allow(operation: &str, request: &Value, known: &[&str]) {
    for (name, value) in request.as_object().unwrap() {
        assert!(
            known.contains(&name.as_str()),
            "StaleEngine does not support {name} of {operation}: {value}"
        );
    }
}

fn key(item: &Value) -> Key {
    let part =
        |name| text(item, name).unwrap_or_else(|| panic!("StaleEngine: no {name} in {item}"));
    (part(REPOSITORY).to_owned(), part(SORT).to_owned())
}

/// A text attribute.
fn text<'a>(item: &'a Value, attribute: &str) -> Option<&'a str> {
    item.get(attribute)?.get("S")?.as_str()
}

/// The capacity that a read of these items consumes.
fn units(items: &[Arc<Value>]) -> f64 {
    let bytes: usize = items.iter().map(|item| item.to_string().len()).sum();
    let units = u32::try_from(bytes.div_ceil(BYTES_OF_A_READ_UNIT).max(1)).unwrap();
    f64::from(units) / 2.0
}

fn capacity(table: &Value, units: f64) -> Value {
    json!({ "TableName": table, "CapacityUnits": units })
}

//! Decodes the members of a request's body, as the services do.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Number;
use serde_json::value::RawValue;

use crate::error::ApiError;

/// The members of an object, not yet decoded, because unknown ones are ignored.
pub(crate) struct Members<'a>(HashMap<Cow<'a, str>, &'a RawValue>);

impl<'a> Members<'a> {
    /// The members of a body. An empty one has none.
    pub(crate) fn of_body(body: &'a [u8]) -> Result<Self, ApiError> {
        if body.iter().all(|byte| b" \t\r\n".contains(byte)) {
            return Self::of(None);
        }
        let body: &RawValue = serde_json::from_slice(body).map_err(invalid_json)?;
        if !body.get().starts_with('{') {
            return Err(serialization("The request body must be a JSON object.".to_owned()));
        }
        Self::of(Some(body))
    }

    pub(crate) fn of(value: Option<&'a RawValue>) -> Result<Self, ApiError> {
        match value {
            None => Ok(Self(HashMap::new())),
            Some(value) if value.get().starts_with('{') => {
                serde_json::from_str(value.get()).map(Self).map_err(invalid_json)
            }
            Some(value) => Err(wrong_type(value, "a Structure")),
        }
    }

    /// A member that is present and not `null`.
    pub(crate) fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        self.0.remove(name).filter(is_given)
    }
}

pub(crate) fn is_given(value: &&RawValue) -> bool {
    value.get() != "null"
}

fn invalid_json(error: serde_json::Error) -> ApiError {
    serialization(format!("The request body is not valid JSON: {error}"))
}

fn serialization(message: String) -> ApiError {
    ApiError::Serialization(message)
}

/// The services' own wording for a value of the wrong type.
fn wrong_type(value: &RawValue, wanted: &str) -> ApiError {
    serialization(match value.get().as_bytes().first() {
        Some(b'{') => "Start of structure or map found where not expected.".to_owned(),
        Some(b'[') => "Start of list found where not expected.".to_owned(),
        Some(b't') => format!("TRUE_VALUE can not be converted to {wanted}"),
        Some(b'f') => format!("FALSE_VALUE can not be converted to {wanted}"),
        Some(b'"') => format!("STRING_VALUE can not be converted to {wanted}"),
        _ => format!("NUMBER_VALUE can not be converted to {wanted}"),
    })
}

pub(crate) fn string(value: Option<&RawValue>) -> Result<Option<String>, ApiError> {
    match value {
        None => Ok(None),
        Some(value) if value.get().starts_with('"') => {
            serde_json::from_str(value.get()).map(Some).map_err(invalid_json)
        }
        Some(value) => Err(wrong_type(value, "a String")),
    }
}

/// Decodes an integer; one of more than 64 bits is the nearest of 64 bits.
pub(crate) fn integer(value: Option<&RawValue>) -> Result<Option<i64>, ApiError> {
    let Some(value) = value else { return Ok(None) };
    let wrong_type = || wrong_type(value, "an Integer");
    let number: Number = serde_json::from_str(value.get()).map_err(|_| wrong_type())?;
    let large =
        number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() >= 2_f64.powi(63));
    match (number.as_i64(), large) {
        (Some(number), _) => Ok(Some(number)),
        (None, Some(number)) => Ok(Some(if number > 0.0 { i64::MAX } else { i64::MIN })),
        (None, None) => Err(wrong_type()),
    }
}

pub(crate) fn list(value: Option<&RawValue>) -> Result<Option<Vec<&RawValue>>, ApiError> {
    match value {
        None => Ok(None),
        Some(value) if value.get().starts_with('[') => {
            serde_json::from_str(value.get()).map(Some).map_err(invalid_json)
        }
        Some(value) => Err(wrong_type(value, "a List")),
    }
}

//! Moments: exact to the nanosecond inside, so that events of one millisecond keep their order,
//! and written with a fixed width, so that the order of the texts is the order of the times.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment between the years 1 and 9999, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(jiff::Timestamp);

/// A time that cannot be read, or lies outside the years 1 to 9999.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a time of the years 1 to 9999 in RFC 3339: {0}")]
pub struct InvalidTimestamp(String);

const FIRST_MILLISECOND: i64 = -62_135_596_800_000;
const LAST_MILLISECOND: i64 = 253_402_207_200_999;

impl Timestamp {
    /// Now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place where the clock is read")]
    pub fn now() -> Self {
        Self(jiff::Timestamp::now())
    }

    /// Milliseconds since the beginning of 1970, rounded down.
    #[must_use]
    pub fn as_milliseconds(self) -> i64 {
        self.0.as_nanosecond().div_euclid(1_000_000).try_into().unwrap_or(LAST_MILLISECOND)
    }

    /// The moment this many milliseconds after the beginning of 1970.
    pub fn from_milliseconds(milliseconds: i64) -> Result<Self, InvalidTimestamp> {
        // `from_millisecond` does not have the last second as a whole.
        let nanosecond = i32::try_from(milliseconds.rem_euclid(1000) * 1_000_000);
        nanosecond
            .ok()
            .and_then(|nanosecond| {
                jiff::Timestamp::new(milliseconds.div_euclid(1000), nanosecond).ok()
            })
            .and_then(|time| Self::try_from(time).ok())
            .ok_or_else(|| InvalidTimestamp(milliseconds.to_string()))
    }

    /// This much later, or the last moment that there is.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration).unwrap_or(self.0)).min(Self::latest())
    }

    /// This much earlier, or the first moment that there is.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration).unwrap_or(self.0)).max(Self::earliest())
    }

    fn earliest() -> Self {
        Self(jiff::Timestamp::from_millisecond(FIRST_MILLISECOND).unwrap_or(jiff::Timestamp::MIN))
    }

    fn latest() -> Self {
        Self(jiff::Timestamp::from_millisecond(LAST_MILLISECOND).unwrap_or(jiff::Timestamp::MAX))
    }

    /// Whole seconds since the beginning of 1970.
    #[must_use]
    pub fn as_seconds(self) -> i64 {
        self.0.as_second()
    }

    /// Fifteen digits that get smaller as time goes on: sorted by them, the newest comes first.
    #[must_use]
    pub fn newest_first(self) -> String {
        format!("{:015}", LAST_MILLISECOND - self.as_milliseconds())
    }

    /// The time of such digits, in milliseconds; `None` if there is none.
    pub(crate) fn from_newest_first(digits: &str) -> Option<Self> {
        Self::from_milliseconds(LAST_MILLISECOND - digits.parse::<i64>().ok()?).ok()
    }
}

/// A time as the JSON protocols of AWS have it: seconds since the beginning of 1970, as a number with
/// at most three decimals and no exponent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochSeconds(pub Timestamp);

impl From<EpochSeconds> for Timestamp {
    fn from(EpochSeconds(time): EpochSeconds) -> Self {
        time
    }
}

impl EpochSeconds {
    fn fraction(self) -> Result<i64, f64> {
        let milliseconds = self.0.as_milliseconds();
        if milliseconds % 1000 == 0 {
            return Ok(milliseconds / 1000);
        }
        // Exact: the largest number of milliseconds has 48 bits, and the shortest text that reads
        // back as this number has three decimals.
        Err(milliseconds as f64 / 1000.0)
    }
}

impl fmt::Display for EpochSeconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fraction() {
            Ok(seconds) => write!(formatter, "{seconds}"),
            Err(seconds) => write!(formatter, "{seconds}"),
        }
    }
}

impl Serialize for EpochSeconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.fraction() {
            Ok(seconds) => serializer.serialize_i64(seconds),
            Err(seconds) => serializer.serialize_f64(seconds),
        }
    }
}

impl<'de> Deserialize<'de> for EpochSeconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let milliseconds = (f64::deserialize(deserializer)? * 1000.0).round();
        Timestamp::from_milliseconds(milliseconds as i64).map(Self).map_err(D::Error::custom)
    }
}

impl TryFrom<jiff::Timestamp> for Timestamp {
    type Error = InvalidTimestamp;
    fn try_from(time: jiff::Timestamp) -> Result<Self, InvalidTimestamp> {
        if (FIRST_MILLISECOND..=LAST_MILLISECOND).contains(&time.as_millisecond()) {
            Ok(Self(time))
        } else {
            Err(InvalidTimestamp(time.to_string()))
        }
    }
}

impl From<Timestamp> for jiff::Timestamp {
    fn from(time: Timestamp) -> Self {
        time.0
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;
    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        text.parse::<jiff::Timestamp>()
            .map_err(|_| InvalidTimestamp(text.chars().take(64).collect()))
            .and_then(Self::try_from)
    }
}

/// As text, or as seconds and nanoseconds where it is packed.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        (self.0.as_second(), self.0.subsec_nanosecond()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return String::deserialize(deserializer)?.parse().map_err(D::Error::custom);
        }
        let (second, nanosecond) = Deserialize::deserialize(deserializer)?;
        let time = jiff::Timestamp::new(second, nanosecond).map_err(D::Error::custom)?;
        time.try_into().map_err(D::Error::custom)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.9}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_offset_is_read_and_utc_is_written() {
        let time: Timestamp = "2016-03-09T14:44:26.402973972-08:00".parse().expect("a time");
        assert_eq!(time.to_string(), "2016-03-09T22:44:26.402973972Z");
        assert_eq!(time.as_milliseconds(), 1_457_563_466_402);
        assert!("2023-02-29T02:36:48Z".parse::<Timestamp>().is_err(), "no such day");
        assert!("2023-02-28".parse::<Timestamp>().is_err(), "no time of day");
    }

    #[test]
    fn epoch_seconds_have_at_most_three_decimals_and_no_exponent() {
        for (time, expected) in [
            ("2026-05-15T15:33:03.778Z", "1778859183.778"),
            ("2026-05-15T15:33:03.778999Z", "1778859183.778"),
            ("2024-01-12T15:02:26Z", "1705071746"),
            ("1970-01-01T00:00:00.001Z", "0.001"),
            ("1969-12-31T23:59:59.5Z", "-0.5"),
            ("0001-01-01T00:00:00.001Z", "-62135596799.999"),
            ("9999-12-30T22:00:00.999Z", "253402207200.999"),
        ] {
            let seconds = EpochSeconds(time.parse().expect("a time"));
            assert_eq!(seconds.to_string(), expected);
            let json = serde_json::to_string(&seconds).expect("a number");
            assert_eq!(json, expected);
            let read: EpochSeconds = serde_json::from_str(&json).expect("a time");
            assert_eq!(read.0.as_milliseconds(), seconds.0.as_milliseconds());
        }
    }

    #[test]
    fn newer_times_sort_first() {
        let text = |time: &str| time.parse::<Timestamp>().expect("a time").newest_first();
        let newest_first = [
            "9999-12-30T22:00:00Z",
            "2026-11-22T00:00:00.001Z",
            "2026-11-22T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "0001-01-01T00:00:00Z",
        ];
        assert!(newest_first.map(text).is_sorted());
        assert!(newest_first.map(text).iter().all(|digits| digits.len() == 15));
        let time = |digits: String| Timestamp::from_newest_first(&digits).expect("a time");
        assert_eq!(
            newest_first.map(|time_text| time(text(time_text)).newest_first()),
            newest_first.map(text)
        );
    }
}

//! The forms of the time of a signature.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;

/// The basic format of ISO 8601.
pub(crate) const TIME_FORMAT: &str = "%Y%m%dT%H%M%SZ";

/// Parses `X-Amz-Date`.
pub(crate) fn parse_basic_time(text: &str) -> Option<Timestamp> {
    let time = DateTime::strptime(TIME_FORMAT, text).ok()?;
    let time = TimeZone::UTC.to_timestamp(time).ok()?;
    // `strptime` accepts more than the format, such as fewer digits.
    (time.strftime(TIME_FORMAT).to_string() == text).then_some(time)
}

/// Parses the header `Date`. It has the format of HTTP, of RFC 2822 (as in botocore), or of
/// `X-Amz-Date`.
pub(crate) fn parse_date(text: &str) -> Option<Timestamp> {
    match rfc2822::parse(text) {
        Ok(time) => Some(time.timestamp()),
        Err(_) => parse_basic_time(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_one_form() {
        let basic = "20150830T123600Z";
        let time: Timestamp = "2015-08-30T12:36:00Z".parse().unwrap();
        assert_eq!(parse_basic_time(basic), Some(time));
        for text in [
            "",
            "today",
            "2015-08-30T12:36:00Z",
            "20150830T123600",
            "20150830T123600+0000",
            "20150830t123600z",
            " 20150830T123600Z",
            "2015830T123600Z",
            "20150830T12360Z",
            "20150830T123660Z",
            "20150230T123600Z",
            "20150830T123600Z\u{0}",
        ] {
            assert_eq!(parse_basic_time(text), None, "{text}");
        }
        for text in [
            basic,
            "Sun, 30 Aug 2015 12:36:00 GMT",
            "Sun, 30 Aug 2015 12:36:00 -0000",
            "30 Aug 2015 14:36:00 +0200",
        ] {
            assert_eq!(parse_date(text), Some(time), "{text}");
        }
        assert_eq!(parse_date("Mon, 30 Aug 2015 12:36:00 GMT"), None);
    }
}

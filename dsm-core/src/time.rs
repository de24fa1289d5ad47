//! Time, handed in.

use std::fmt::Debug;

use chrono::{DateTime, Datelike as _, SubsecRound as _, Timelike as _, Utc};
use serde::Serializer;

/// An instant in UTC with microsecond precision, which every store keeps exactly.
pub type Timestamp = DateTime<Utc>;

/// Where the vault reads the time. Nothing in this crate asks the system on its own.
pub trait Clock: Send + Sync + Debug {
    /// The present instant, truncated to microseconds.
    fn now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that reads the system's clock"
    )]
    fn now(&self) -> Timestamp {
        Utc::now().trunc_subsecs(6)
    }
}

/// Microseconds since the Unix epoch: how instants are stored and bound into associated data.
pub fn to_micros(at: Timestamp) -> i64 {
    at.timestamp_micros()
}

/// The inverse of [`to_micros`]; `None` for a number that no [`Timestamp`] can hold.
pub fn from_micros(micros: i64) -> Option<Timestamp> {
    DateTime::from_timestamp_micros(micros)
}

/// Writes an instant as RFC 3339 in UTC with six digits of a second: in the years from 0 to 9999
/// each has one spelling, all have the same length, and they sort by time.
pub(crate) fn serialize_fixed<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    let (day, time) = (at.date_naive(), at.time());
    let Some(year) = u32::try_from(day.year()).ok().filter(|year| *year < 10_000) else {
        return to.collect_str(&at.format("%Y-%m-%dT%H:%M:%S%.6fZ"));
    };
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    let mut put = |from: usize, until: usize, mut number: u32| {
        for digit in text[from..until].iter_mut().rev() {
            *digit += (number % 10) as u8;
            number /= 10;
        }
    };
    put(0, 4, year);
    put(5, 7, day.month());
    put(8, 10, day.day());
    put(11, 13, time.hour());
    put(14, 16, time.minute());
    put(17, 19, time.second());
    put(20, 26, time.nanosecond() / 1_000 % 1_000_000);
    to.serialize_str(std::str::from_utf8(&text).expect("digits and signs of ASCII"))
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    #[derive(Serialize)]
    struct At(#[serde(serialize_with = "serialize_fixed")] Timestamp);

    #[test]
    fn instants_have_one_spelling_that_reads_back() {
        for (text, written) in [
            ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000000Z"),
            ("2026-11-25T17:06:41.000042Z", "2026-11-25T17:06:41.000042Z"),
            ("0999-12-31T23:59:59.999999Z", "0999-12-31T23:59:59.999999Z"),
            ("+12026-02-03T04:05:06.7Z", "+12026-02-03T04:05:06.700000Z"),
        ] {
            let at: Timestamp = text.parse().expect("an instant");
            let json = serde_json::to_string(&At(at)).expect("a text");
            assert_eq!(json, format!("\"{written}\""));
            assert_eq!(serde_json::from_str::<Timestamp>(&json).expect(text), at);
        }
    }
}

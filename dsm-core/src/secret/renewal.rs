use serde::{Deserialize, Deserializer, Serialize};

/// Minutes between two renewals: 10 to 525,600 (a year).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RenewalInterval(u32);

/// The interval is out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a renewal interval is a whole number of minutes from 10 to 525600")]
pub struct RenewalError;

impl RenewalInterval {
    /// The shortest, in minutes.
    pub const MIN: u32 = 10;
    /// The longest, in minutes: a year.
    pub const MAX: u32 = 525_600;

    /// An interval of so many minutes.
    pub fn from_minutes(minutes: i64) -> Result<Self, RenewalError> {
        match u32::try_from(minutes) {
            Ok(minutes @ Self::MIN..=Self::MAX) => Ok(Self(minutes)),
            _ => Err(RenewalError),
        }
    }

    /// In minutes.
    pub fn minutes(self) -> u32 {
        self.0
    }
}

impl<'de> Deserialize<'de> for RenewalInterval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_minutes(i64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// The three timers of a secret; each is off or an interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    /// For cloud access keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud: Option<RenewalInterval>,
    /// For credentials and SSH keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<RenewalInterval>,
    /// For ephemeral credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral: Option<RenewalInterval>,
}

#[cfg(test)]
mod tests {
    use super::RenewalInterval;

    #[test]
    fn intervals_have_bounds() {
        for (minutes, good) in [
            (i64::MIN, false),
            (-10, false),
            (0, false),
            (9, false),
            (10, true),
            (525_600, true),
            (525_601, false),
        ] {
            assert_eq!(
                RenewalInterval::from_minutes(minutes).is_ok(),
                good,
                "{minutes}"
            );
        }
    }
}

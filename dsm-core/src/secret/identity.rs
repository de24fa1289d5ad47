use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The key by which applications ask for a secret: segments of `[A-Za-z0-9._-]` joined by `/`, at
/// most 256 bytes, no segment empty, `.` or `..`. Case-sensitive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(Arc<str>);

/// Why a text is no [`Identity`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Nothing there.
    #[error("an identity must not be empty")]
    Empty,
    /// Over 256 bytes.
    #[error("an identity has at most 256 bytes")]
    TooLong,
    /// A segment that is empty, `.` or `..`.
    #[error("the segments of an identity must not be empty, `.` or `..`")]
    Segment,
    /// Another character.
    #[error(
        "an identity is made of letters A-Z and a-z, digits, `.`, `_` and `-`, with `/` between segments"
    )]
    Character,
}

impl Identity {
    /// The greatest length in bytes.
    pub const MAX_LEN: usize = 256;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        if text.is_empty() {
            return Err(IdentityError::Empty);
        }
        if text.len() > Self::MAX_LEN {
            return Err(IdentityError::TooLong);
        }
        for segment in text.split('/') {
            if matches!(segment, "" | "." | "..") {
                return Err(IdentityError::Segment);
            }
            if !segment
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            {
                return Err(IdentityError::Character);
            }
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Identity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::{Identity, IdentityError};

    #[test]
    fn segments_and_length_are_checked() {
        for good in [
            "a",
            "A.b_c-9",
            "prod/db/main",
            "...",
            "a/.b",
            &"x".repeat(256),
        ] {
            assert_eq!(
                good.parse::<Identity>().map(|i| i.to_string()),
                Ok(good.to_owned())
            );
        }
        for (bad, why) in [
            ("", IdentityError::Empty),
            (&*"x".repeat(257), IdentityError::TooLong),
            ("/a", IdentityError::Segment),
            ("a/", IdentityError::Segment),
            ("a//b", IdentityError::Segment),
            ("a/../b", IdentityError::Segment),
            (".", IdentityError::Segment),
            ("a b", IdentityError::Character),
            ("a%2Fb", IdentityError::Character),
            ("ü", IdentityError::Character),
            ("a\0", IdentityError::Character),
        ] {
            assert_eq!(bad.parse::<Identity>(), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn case_matters() {
        assert_ne!("a".parse::<Identity>(), "A".parse::<Identity>());
    }
}

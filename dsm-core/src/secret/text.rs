use std::fmt;

use serde::{Deserialize, Deserializer, Serializer};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// A sensitive text: wiped when dropped, compared in constant time, and without `Clone`, `Display`
/// or `Serialize`, so that it does not wander. [`expose`](Self::expose) is the only way to read it.
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes the text over.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text. Every place that calls this is a place where a value leaves its protection.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A second copy, for the rare place that needs one.
    pub fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl PartialEq for SecretText {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for SecretText {}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}

/// Only for the sealed form: `#[serde(with = "text::sealed_form")]`.
pub(crate) mod sealed_form {
    use super::{Deserialize, Deserializer, SecretText, Serializer};

    #[allow(clippy::ref_option, reason = "the signature that serde calls")]
    pub(crate) fn serialize<S: Serializer>(
        text: &Option<SecretText>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match text {
            Some(text) => serializer.serialize_some(text.expose()),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SecretText>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.map(SecretText::new))
    }
}

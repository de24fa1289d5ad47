//! Values sealed to a client's key: whoever reads them on the way, or in a log, has nothing.
//!
//! The vault holds only a [`PublicKey`] while it seals. [`PrivateKey`] is for clients and for tests: a
//! server has no use for it.
//!
//! | format | what it is | how long a value may be |
//! |---|---|---|
//! | `jwe` | JWE compact serialisation ([RFC 7516](https://www.rfc-editor.org/rfc/rfc7516)), `RSA-OAEP-256` and `A256GCM` | any length |
//! | `oaep-sha1` | bare RSA-OAEP ([RFC 8017](https://www.rfc-editor.org/rfc/rfc8017#section-7.1)) with SHA-1 and MGF1 with SHA-1, no label; standard base64 | modulus − 42 bytes |
//! | `oaep-sha256` | the same with SHA-256 | modulus − 66 bytes |
//!
//! What cannot be sealed is refused. Nothing here ever gives a value back in clear.
//!
//! # Examples
//!
//! ```
//! use dsm_core::crypto::sealing::{KeyPair, PrivateKey, SealingFormat};
//! use dsm_core::entropy::OsEntropy;
//!
//! let pair = KeyPair::generate(&OsEntropy);
//! let sealed = pair.public.seal(SealingFormat::Jwe, &OsEntropy, b"hunter2")?;
//!
//! let private = PrivateKey::from_pem(pair.private.expose())?;
//! assert_eq!(*private.open(SealingFormat::Jwe, &sealed)?, b"hunter2");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod jwe;
mod key;
mod oaep;
mod open;
mod random;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::key::{BITS, KeyPair, PublicKey, PublicKeyError};
pub use self::open::{PrivateKey, PrivateKeyError};

/// How sensitive values are sealed to an authorization's public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum SealingFormat {
    /// JWE compact serialisation ([RFC 7516](https://www.rfc-editor.org/rfc/rfc7516)),
    /// `RSA-OAEP-256` with `A256GCM`.
    #[serde(rename = "jwe")]
    Jwe,
    /// Bare RSA-OAEP ([RFC 8017](https://www.rfc-editor.org/rfc/rfc8017#section-7.1)) with SHA-1.
    #[serde(rename = "oaep-sha1")]
    OaepSha1,
    /// Bare RSA-OAEP with SHA-256.
    #[serde(rename = "oaep-sha256")]
    OaepSha256,
}

/// Why a value was not sealed. It says nothing about the value but that it is long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Bare RSA takes no more than this.
    #[error("the value is longer than the {limit} bytes that the key takes in this format")]
    TooLong {
        /// In bytes.
        limit: usize,
    },
    /// The arithmetic refused the key.
    #[error("the key cannot be used")]
    Key,
}

impl PublicKey {
    /// Seals a value.
    ///
    /// An RSA-3072 encryption takes about a quarter of a millisecond: not something for a thread that
    /// serves others.
    ///
    /// # Errors
    ///
    /// [`SealError::TooLong`] where [`limit`](Self::limit) is exceeded.
    pub fn seal(
        &self,
        format: SealingFormat,
        entropy: &dyn crate::entropy::Entropy,
        text: &[u8],
    ) -> Result<String, SealError> {
        match format {
            SealingFormat::Jwe => jwe::seal(self, entropy, text),
            SealingFormat::OaepSha1 | SealingFormat::OaepSha256 => {
                let sealed = oaep::seal(self, format, entropy, text)?;
                Ok(data_encoding::BASE64.encode(&sealed))
            }
        }
    }

    /// How many bytes a value may have; none where any number will do.
    pub fn limit(&self, format: SealingFormat) -> Option<usize> {
        oaep::overhead(format).map(|overhead| self.len().saturating_sub(overhead))
    }
}

//! What a client does with what it was given.

use std::fmt;

use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::DecodePrivateKey as _;

use super::{SealingFormat, jwe, oaep};
use crate::crypto::{CryptoError, SecretBytes};
use crate::entropy::OsEntropy;

/// The private key that opens what was sealed to its public one. For clients: the server opens
/// nothing that it sealed.
pub struct PrivateKey(rsa::PrivateKey);

/// A text that is no private key for sealed values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an RSA private key in PEM, PKCS#8 or PKCS#1, without a passphrase")]
pub struct PrivateKeyError;

impl PrivateKey {
    /// Reads PEM of PKCS#8 ([RFC 5208](https://www.rfc-editor.org/rfc/rfc5208)) or PKCS#1
    /// ([RFC 8017, appendix A.1.2](https://www.rfc-editor.org/rfc/rfc8017#appendix-A.1.2)).
    ///
    /// # Errors
    ///
    /// [`PrivateKeyError`] for anything else, and for a key with a passphrase.
    pub fn from_pem(pem: &str) -> Result<Self, PrivateKeyError> {
        let pem = pem.trim();
        let read = if pem.starts_with("-----BEGIN RSA PRIVATE KEY-----") {
            rsa::PrivateKey::from_pkcs1_pem(pem).map_err(|_| PrivateKeyError)
        } else {
            rsa::PrivateKey::from_pkcs8_pem(pem).map_err(|_| PrivateKeyError)
        };
        read.map(Self)
    }

    /// Opens a value.
    ///
    /// # Errors
    ///
    /// [`CryptoError::UnsupportedFormat`] when the text does not have this format;
    /// [`CryptoError::Open`] when it was changed, or sealed to another key.
    pub fn open(&self, format: SealingFormat, sealed: &str) -> Result<SecretBytes, CryptoError> {
        match format {
            SealingFormat::Jwe => jwe::open(&self.0, &OsEntropy, sealed),
            SealingFormat::OaepSha1 | SealingFormat::OaepSha256 => {
                let sealed = data_encoding::BASE64
                    .decode(sealed.as_bytes())
                    .map_err(|_| CryptoError::UnsupportedFormat)?;
                oaep::open(&self.0, format, &OsEntropy, &sealed)
            }
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

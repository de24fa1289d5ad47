//! Bare RSA-OAEP: one value, one block.

use sha1::Sha1;
use sha2::Sha256;

use super::random::Random;
use super::{PublicKey, SealError, SealingFormat};
use crate::crypto::{CryptoError, SecretBytes};
use crate::entropy::Entropy;

/// How much shorter than the modulus a value must be: two hashes and two bytes
/// ([RFC 8017, section 7.1.1](https://www.rfc-editor.org/rfc/rfc8017#section-7.1.1)).
pub(super) fn overhead(format: SealingFormat) -> Option<usize> {
    match format {
        SealingFormat::Jwe => None,
        SealingFormat::OaepSha1 => Some(2 * 20 + 2),
        SealingFormat::OaepSha256 => Some(2 * 32 + 2),
    }
}

/// Encrypts a value, by itself or as the key of a JWE.
pub(super) fn seal(
    key: &PublicKey,
    format: SealingFormat,
    entropy: &dyn Entropy,
    text: &[u8],
) -> Result<Vec<u8>, SealError> {
    if let Some(limit) = key.limit(format)
        && text.len() > limit
    {
        return Err(SealError::TooLong { limit });
    }
    let mut random = Random(entropy);
    let sealed = match format {
        SealingFormat::OaepSha1 => key
            .rsa()
            .oaep_encrypt_with_rng::<Sha1, _>(&mut random, text),
        SealingFormat::Jwe | SealingFormat::OaepSha256 => key
            .rsa()
            .oaep_encrypt_with_rng::<Sha256, _>(&mut random, text),
    };
    sealed.map_err(|_| SealError::Key)
}

/// The inverse of [`seal`].
#[allow(
    clippy::disallowed_methods,
    reason = "the one place of it, for clients"
)]
pub(super) fn open(
    key: &rsa::PrivateKey,
    format: SealingFormat,
    entropy: &dyn Entropy,
    sealed: &[u8],
) -> Result<SecretBytes, CryptoError> {
    let mut random = Random(entropy);
    let opened = match format {
        SealingFormat::OaepSha1 => key.oaep_decrypt_with_rng::<Sha1, _>(&mut random, sealed),
        SealingFormat::Jwe | SealingFormat::OaepSha256 => {
            key.oaep_decrypt_with_rng::<Sha256, _>(&mut random, sealed)
        }
    };
    opened.map(SecretBytes::new).map_err(|_| CryptoError::Open)
}

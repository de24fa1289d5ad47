//! JWE compact serialisation ([RFC 7516, section 7.1](https://www.rfc-editor.org/rfc/rfc7516#section-7.1)):
//! header, encrypted key, nonce, ciphertext and tag, each base64url, with dots between.

use aes_gcm::{AeadInOut as _, Aes256Gcm, KeyInit as _};
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{PublicKey, SealError, SealingFormat, oaep};
use crate::crypto::{CryptoError, SecretBytes};
use crate::entropy::Entropy;

const ALGORITHM: &str = "RSA-OAEP-256";
const ENCRYPTION: &str = "A256GCM";
const HEADER: &[u8] = br#"{"alg":"RSA-OAEP-256","enc":"A256GCM"}"#;

/// What a header must say and may not say.
#[derive(Deserialize)]
struct Header {
    alg: String,
    enc: String,
    /// Extensions that a reader must understand, and compression: none of ours has them.
    crit: Option<serde::de::IgnoredAny>,
    zip: Option<serde::de::IgnoredAny>,
}

pub(super) fn seal(
    key: &PublicKey,
    entropy: &dyn Entropy,
    text: &[u8],
) -> Result<String, SealError> {
    let content_key = Zeroizing::new(entropy.array::<32>());
    let wrapped = oaep::seal(key, SealingFormat::Jwe, entropy, &*content_key)?;
    let nonce = entropy.array::<12>();
    let mut sealed = BASE64URL_NOPAD.encode(HEADER);
    let mut body = text.to_vec();
    let tag = Aes256Gcm::new((&*content_key).into())
        .encrypt_inout_detached(&nonce.into(), sealed.as_bytes(), body.as_mut_slice().into())
        .expect("values are far below the 64 GiB that AES-GCM takes");
    for part in [&wrapped[..], &nonce, &body, &tag] {
        sealed.push('.');
        BASE64URL_NOPAD.encode_append(part, &mut sealed);
    }
    Ok(sealed)
}

pub(super) fn open(
    key: &rsa::PrivateKey,
    entropy: &dyn Entropy,
    sealed: &str,
) -> Result<SecretBytes, CryptoError> {
    let parts: Vec<&str> = sealed.splitn(6, '.').collect();
    let Ok([protected, wrapped, nonce, body, tag]) = <[&str; 5]>::try_from(parts) else {
        return Err(CryptoError::UnsupportedFormat);
    };
    let header: Header =
        serde_json::from_slice(&decode(protected)?).map_err(|_| CryptoError::UnsupportedFormat)?;
    let known = header.alg == ALGORITHM && header.enc == ENCRYPTION;
    if !known || header.crit.is_some() || header.zip.is_some() {
        return Err(CryptoError::UnsupportedFormat);
    }
    // A key that does not unwrap is replaced by a random one, so that both failures look the same
    // (RFC 7516, section 11.5).
    let unwrapped = oaep::open(key, SealingFormat::Jwe, entropy, &decode(wrapped)?);
    let content_key: Option<[u8; 32]> = unwrapped
        .ok()
        .and_then(|unwrapped| unwrapped.as_slice().try_into().ok());
    let content_key = Zeroizing::new(content_key.unwrap_or_else(|| entropy.array()));
    let nonce: [u8; 12] = exactly(nonce)?;
    let tag: [u8; 16] = exactly(tag)?;
    let mut text = Zeroizing::new(decode(body)?);
    Aes256Gcm::new((&*content_key).into())
        .decrypt_inout_detached(
            &nonce.into(),
            protected.as_bytes(),
            text.as_mut_slice().into(),
            &tag.into(),
        )
        .map_err(|_| CryptoError::Open)?;
    Ok(text)
}

/// Strict: a text has one base64url form only, so that one that was changed does not open.
fn decode(part: &str) -> Result<Vec<u8>, CryptoError> {
    BASE64URL_NOPAD
        .decode(part.as_bytes())
        .map_err(|_| CryptoError::UnsupportedFormat)
}

fn exactly<const N: usize>(part: &str) -> Result<[u8; N], CryptoError> {
    decode(part)?.try_into().map_err(|_| CryptoError::Open)
}

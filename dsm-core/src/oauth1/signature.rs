//! The signature itself
//! ([RFC 5849, section 3.4.2](https://www.rfc-editor.org/rfc/rfc5849#section-3.4.2), and the same with
//! SHA-256).

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::SignedRequest;
use super::base::{base_string, encode};
use super::protocol::{Fault, Protocol, SignatureMethod};
use crate::secret::SecretText;

/// The signature of a request by these secrets.
pub fn sign(
    request: &SignedRequest,
    method: SignatureMethod,
    consumer_secret: &SecretText,
    token_secret: &SecretText,
) -> Vec<u8> {
    let base = base_string(request);
    let key = Zeroizing::new(
        [
            encode(consumer_secret.expose().as_bytes()),
            encode(token_secret.expose().as_bytes()),
        ]
        .join("&"),
    );
    let any_length = "HMAC takes keys of any length";
    match method {
        SignatureMethod::HmacSha1 => {
            let mut mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).expect(any_length);
            mac.update(base.as_bytes());
            mac.finalize().into_bytes().to_vec()
        }
        SignatureMethod::HmacSha256 => {
            let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect(any_length);
            mac.update(base.as_bytes());
            mac.finalize().into_bytes().to_vec()
        }
    }
}

/// Whether a request was signed by these secrets; compared in constant time. It says nothing about
/// timestamp and nonce.
///
/// # Errors
///
/// [`Fault::Signature`], and [`Fault::BodyHash`] where the client sends a hash and it is wrong.
pub fn verify(
    request: &SignedRequest,
    protocol: &Protocol,
    consumer_secret: &SecretText,
    token_secret: &SecretText,
) -> Result<(), Fault> {
    let right = sign(request, protocol.method, consumer_secret, token_secret);
    if !bool::from(right.ct_eq(&protocol.signature)) {
        return Err(Fault::Signature);
    }
    match &protocol.body_hash {
        Some(hash) if *hash != body_hash(request, protocol.method) => Err(Fault::BodyHash),
        _ => Ok(()),
    }
}

fn body_hash(request: &SignedRequest, method: SignatureMethod) -> Vec<u8> {
    let body = request.body.as_deref().unwrap_or_default();
    match method {
        SignatureMethod::HmacSha1 => Sha1::digest(body).to_vec(),
        SignatureMethod::HmacSha256 => Sha256::digest(body).to_vec(),
    }
}

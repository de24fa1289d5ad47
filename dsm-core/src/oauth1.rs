//! Requests signed by OAuth 1.0 ([RFC 5849](https://www.rfc-editor.org/rfc/rfc5849)): what is signed,
//! and whether a signature is good.
//!
//! Everything here is pure. Whoever speaks HTTP takes a request apart into a [`SignedRequest`], the
//! vault finds the two secrets and calls [`verify`].
//!
//! Accepted are `HMAC-SHA1` and `HMAC-SHA256`. Each parameter of the protocol stands in a request
//! once, whether in the header, the query or a form. A body that is no form is covered where the
//! client sends `oauth_body_hash`, and by TLS alone where it does not.

mod base;
mod protocol;
mod signature;

use std::fmt;

pub use self::base::{BaseUri, base_string};
pub use self::protocol::{Fault, Protocol, SignatureMethod};
pub use self::signature::{sign, verify};
pub use crate::access::Scheme;

/// How far a timestamp may be from the server's clock, in seconds.
pub const TIMESTAMP_WINDOW_S: i64 = 300;

/// A name and a value, decoded. Neither has to be UTF-8.
pub type Parameter = (Vec<u8>, Vec<u8>);

/// What a signature covers, and what came with it.
///
/// `Debug` shows the method only: parameters may hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedRequest {
    /// The method as it was sent.
    pub method: String,
    /// The URI without its query, as the client has it.
    pub uri: BaseUri,
    /// Every parameter of the `Authorization` header but the realm, of the query, and of the body if
    /// that is a form, in any order.
    pub parameters: Vec<Parameter>,
    /// The body, if it is none of a form.
    pub body: Option<Vec<u8>>,
}

impl SignedRequest {
    /// Who claims to have signed it, if it says so in one word.
    pub fn consumer_key(&self) -> Option<&str> {
        let mut parameters = self.parameters.iter();
        let (_, key) = parameters.find(|(name, _)| name == b"oauth_consumer_key")?;
        str::from_utf8(key).ok()
    }
}

impl fmt::Debug for SignedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedRequest")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

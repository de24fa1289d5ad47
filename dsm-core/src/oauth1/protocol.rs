//! The parameters of the protocol itself.

use std::collections::BTreeMap;
use std::fmt;
use std::str;

use data_encoding::BASE64;

use super::{Parameter, SignedRequest, TIMESTAMP_WINDOW_S};

/// The longest of the parameters; ours are shorter, and a nonce need not be long.
const MAX_LENGTH: usize = 256;

/// What is wrong with a signed request, for the audit trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A parameter is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A parameter of the protocol is there twice.
    #[error("a parameter of the protocol is given more than once")]
    Repeated,
    /// A parameter, or what it is read from, is not of its form.
    #[error("{0} is malformed")]
    Malformed(&'static str),
    /// The version is none.
    #[error("oauth_version is not 1.0")]
    Version,
    /// The method of signing is none that is accepted.
    #[error("oauth_signature_method is neither HMAC-SHA1 nor HMAC-SHA256")]
    Method,
    /// The signature is not that of the request.
    #[error("the signature is not that of the request")]
    Signature,
    /// The hash is not that of the body.
    #[error("oauth_body_hash is not that of the body")]
    BodyHash,
}

/// The methods of signing that are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureMethod {
    /// `HMAC-SHA1`.
    HmacSha1,
    /// `HMAC-SHA256`.
    HmacSha256,
}

/// What a request says about its signature.
#[derive(Clone, PartialEq, Eq)]
pub struct Protocol {
    /// Who signs.
    pub consumer_key: String,
    /// With which token.
    pub token: String,
    /// How.
    pub method: SignatureMethod,
    /// The signature, decoded.
    pub signature: Vec<u8>,
    /// Seconds since the Unix epoch.
    pub timestamp: i64,
    /// Unique among the requests of one timestamp and client.
    pub nonce: String,
    /// The hash of the body, decoded, where the client sends one.
    pub body_hash: Option<Vec<u8>>,
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Protocol")
            .field("consumer_key", &self.consumer_key)
            .field("method", &self.method)
            .field("timestamp", &self.timestamp)
            .finish_non_exhaustive()
    }
}

impl Protocol {
    /// The parameters of the protocol among those of a request.
    ///
    /// # Errors
    ///
    /// A [`Fault`] for those that are missing, repeated or malformed, and for a version or a method
    /// of signing that is not accepted.
    pub fn of(request: &SignedRequest) -> Result<Self, Fault> {
        let given = Given::of(&request.parameters)?;
        if given.find("oauth_version")?.is_some_and(|it| it != "1.0") {
            return Err(Fault::Version);
        }
        let method = match given.require("oauth_signature_method")? {
            "HMAC-SHA1" => SignatureMethod::HmacSha1,
            "HMAC-SHA256" => SignatureMethod::HmacSha256,
            _ => return Err(Fault::Method),
        };
        let body_hash = given.find("oauth_body_hash")?;
        Ok(Self {
            consumer_key: given.require("oauth_consumer_key")?.to_owned(),
            token: given.require("oauth_token")?.to_owned(),
            method,
            signature: base64("oauth_signature", given.require("oauth_signature")?)?,
            timestamp: seconds(given.require("oauth_timestamp")?)?,
            nonce: given.require("oauth_nonce")?.to_owned(),
            body_hash: body_hash
                .map(|hash| base64("oauth_body_hash", hash))
                .transpose()?,
        })
    }

    /// Whether the timestamp is near enough to `now`, in seconds since the Unix epoch.
    pub fn is_timely(&self, now: i64) -> bool {
        now.abs_diff(self.timestamp) <= TIMESTAMP_WINDOW_S.unsigned_abs()
    }
}

/// The parameters whose names begin with `oauth_`, each there once.
struct Given<'r>(BTreeMap<&'r [u8], &'r [u8]>);

impl<'r> Given<'r> {
    fn of(parameters: &'r [Parameter]) -> Result<Self, Fault> {
        let mut given = BTreeMap::new();
        for (name, value) in parameters {
            if name.starts_with(b"oauth_") && given.insert(&**name, &**value).is_some() {
                return Err(Fault::Repeated);
            }
        }
        Ok(Self(given))
    }

    fn find(&self, name: &'static str) -> Result<Option<&'r str>, Fault> {
        let Some(&value) = self.0.get(name.as_bytes()) else {
            return Ok(None);
        };
        str::from_utf8(value)
            .ok()
            .filter(|text| text.len() <= MAX_LENGTH && !text.chars().any(char::is_control))
            .map(Some)
            .ok_or(Fault::Malformed(name))
    }

    fn require(&self, name: &'static str) -> Result<&'r str, Fault> {
        let found = self.find(name)?.filter(|text| !text.is_empty());
        found.ok_or(Fault::Missing(name))
    }
}

fn base64(name: &'static str, text: &str) -> Result<Vec<u8>, Fault> {
    BASE64
        .decode(text.as_bytes())
        .map_err(|_| Fault::Malformed(name))
}

fn seconds(text: &str) -> Result<i64, Fault> {
    let malformed = Fault::Malformed("oauth_timestamp");
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(malformed);
    }
    text.parse().map_err(|_| malformed)
}

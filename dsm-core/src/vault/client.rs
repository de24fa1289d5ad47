//! Clients of authorizations: their credentials, what they prove with them, and the tokens they get.
//!
//! The method of the application decides which proof is accepted: a client secret or a request that
//! AWS vouches for gives a bearer token, an OAuth 1.0 signature comes with each request. Whatever
//! was proved ends as a [`Principal`](crate::access::Principal) here and nowhere else.

mod bearer;
mod credentials;
mod decoy;
mod identity;
mod manage;
mod nonce;
mod proof;
mod signed;
mod token;
mod uses;

use std::fmt;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

pub(crate) use self::bearer::Bearers;
pub use self::credentials::{ClientCredentials, Credentials, SigningCredentials};
pub(crate) use self::credentials::{NewClient, client_place};
pub(crate) use self::decoy::decoy;
pub use self::manage::{ApiClient, Rotated};
pub use self::proof::Presented;
pub use self::token::{AccessToken, TokenInfo};
pub use self::uses::LastUse;
pub(crate) use self::uses::Uses;
use super::kind;
use super::record::{Entity, Terms};
use crate::access::AuthenticationMethod;
use crate::crypto::Mac;
use crate::id::{AuthorizationId, ClientId};
use crate::store::Kind;
use crate::time::Timestamp;

/// How access tokens begin, so that scanners of leaked secrets know them.
pub const ACCESS_TOKEN_PREFIX: &str = "dsm_at_";
/// How client secrets begin.
pub const CLIENT_SECRET_PREFIX: &str = "dsm_cs_";
/// How consumer secrets of OAuth 1.0 begin.
pub const CONSUMER_SECRET_PREFIX: &str = "dsm_os_";
/// How token secrets of OAuth 1.0 begin.
pub const TOKEN_SECRET_PREFIX: &str = "dsm_ts_";
/// How unique keys begin that the vault has chosen.
pub const UNIQUE_KEY_PREFIX: &str = "dsm_uk_";

const AUTHORIZATION: &str = "authorization";
const CLIENT_ID: &str = "client_id";
const CLIENT_ID_LENGTH: usize = 42;
const UNIQUE_KEY: &str = "unique_key";

/// One set of credentials of an authorization. Secrets are sealed beside it, because they can be
/// revealed again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Whose.
    pub authorization: AuthorizationId,
    /// The public part: the client id of OAuth 2.0, the consumer key of OAuth 1.0; only a name for
    /// a client that AWS vouches for.
    pub client_id: String,
    /// From this instant on they and their tokens are refused, since others replaced them.
    pub ends_at: Option<Timestamp>,
    proof: Proof,
}

/// What a client is verified by.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method")]
enum Proof {
    /// The keyed hash of its secret.
    #[serde(rename = "oauth2")]
    Secret { mac: String },
    /// Two sealed secrets, and the token that its requests name beside the consumer key.
    #[serde(rename = "oauth1")]
    Signature { token: String },
    /// An AWS identity of the application's list, with the unique key of the authorization, or the
    /// one it had when others replaced these credentials.
    #[serde(rename = "aws")]
    Identity { replaced_key: Option<String> },
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret { .. } => "Secret",
            Self::Signature { .. } => "Signature",
            Self::Identity { .. } => "Identity",
        })
    }
}

impl Client {
    /// How this client proves who it is.
    pub fn method(&self) -> AuthenticationMethod {
        match self.proof {
            Proof::Secret { .. } => AuthenticationMethod::OAuth2,
            Proof::Signature { .. } => AuthenticationMethod::OAuth1,
            Proof::Identity { .. } => AuthenticationMethod::Aws,
        }
    }

    /// Under what it is found, in whatever kind it is kept.
    fn terms_of(&self, terms: &mut Terms<'_>) {
        terms.unique(CLIENT_ID, &self.client_id);
        terms.plain(AUTHORIZATION, self.authorization.0.to_be_bytes());
    }

    fn has_ended(&self, now: Timestamp) -> bool {
        self.ends_at.is_some_and(|at| now >= at)
    }
}

impl Entity for Client {
    type Id = ClientId;

    fn kind(&self) -> Kind {
        kind::CLIENT
    }

    fn terms(&self, terms: &mut Terms<'_>) {
        self.terms_of(terms);
        if let Proof::Identity {
            replaced_key: Some(key),
        } = &self.proof
        {
            terms.unique(UNIQUE_KEY, key);
        }
    }

    fn expires_at(&self) -> Option<Timestamp> {
        self.ends_at
    }
}

/// Whether a text has the form of our client ids; anything else is not repeated in the trail.
fn is_client_id(text: &str) -> bool {
    text.len() == CLIENT_ID_LENGTH && text.bytes().all(|b| b.is_ascii_hexdigit())
}

pub(crate) fn decode_mac(text: &str) -> Option<Mac> {
    HEXLOWER
        .decode(text.as_bytes())
        .ok()?
        .try_into()
        .ok()
        .map(Mac)
}

//! The credentials themselves: made, sealed, and opened again once that is recorded.

use std::fmt;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use zeroize::Zeroizing;

use super::super::act::Act;
use super::super::error::Error;
use super::super::record::{Entity, Stored};
use super::super::{Vault, kind};
use super::{
    AUTHORIZATION, CLIENT_SECRET_PREFIX, CONSUMER_SECRET_PREFIX, Client, Proof,
    TOKEN_SECRET_PREFIX, UNIQUE_KEY_PREFIX,
};
use crate::access::{AuthenticationMethod, Authorization};
use crate::audit::ObjectKind;
use crate::crypto::{Context, CryptoError, Sealer};
use crate::id::{AuthorizationId, ClientId};
use crate::secret::SecretText;
use crate::store::{Kind, Query, RecordKey};

/// What a client of an authorization needs to prove who it is.
#[derive(Debug)]
pub enum Credentials {
    /// For a token by OAuth 2.0.
    OAuth2(ClientCredentials),
    /// For requests signed by OAuth 1.0.
    OAuth1(SigningCredentials),
    /// Beside an identity of AWS that the application lists.
    Aws {
        /// Sensitive.
        unique_key: SecretText,
    },
}

/// The credentials of OAuth 2.0.
#[derive(Debug)]
pub struct ClientCredentials {
    /// The public part.
    pub client_id: String,
    /// Sensitive.
    pub client_secret: SecretText,
}

/// The credentials of OAuth 1.0.
pub struct SigningCredentials {
    /// The public part.
    pub consumer_key: String,
    /// Sensitive.
    pub consumer_secret: SecretText,
    /// Named by each request.
    pub token: String,
    /// Sensitive.
    pub token_secret: SecretText,
}

impl fmt::Debug for SigningCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningCredentials")
            .field("consumer_key", &self.consumer_key)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// Those of OAuth 2.0, if that is the application's method.
    pub fn into_oauth2(self) -> Option<ClientCredentials> {
        match self {
            Self::OAuth2(credentials) => Some(credentials),
            Self::OAuth1(_) | Self::Aws { .. } => None,
        }
    }
}

/// A client before it is committed.
pub(crate) struct NewClient {
    pub(crate) stored: Stored<Client>,
    pub(crate) credentials: Credentials,
}

impl Vault {
    /// New credentials for an authorization, not committed yet.
    pub(crate) async fn draft_client(
        &self,
        authorization: &Stored<Authorization>,
        method: AuthenticationMethod,
        by: &str,
    ) -> Result<NewClient, Error> {
        let client_id = HEXLOWER.encode(&self.entropy.array::<21>());
        let (proof, credentials, secrets) = match method {
            AuthenticationMethod::OAuth2 => {
                let client_secret = self.random_token(CLIENT_SECRET_PREFIX);
                let secret = client_secret.expose().as_bytes();
                let mac = HEXLOWER.encode(&self.records.keyring.client_mac(secret).0);
                let secrets = Some(Zeroizing::new(secret.to_vec()));
                let credentials = ClientCredentials {
                    client_id: client_id.clone(),
                    client_secret,
                };
                (
                    Proof::Secret { mac },
                    Credentials::OAuth2(credentials),
                    secrets,
                )
            }
            AuthenticationMethod::OAuth1 => {
                let credentials = SigningCredentials {
                    consumer_key: client_id.clone(),
                    consumer_secret: self.random_token(CONSUMER_SECRET_PREFIX),
                    token: HEXLOWER.encode(&self.entropy.array::<21>()),
                    token_secret: self.random_token(TOKEN_SECRET_PREFIX),
                };
                let token = credentials.token.clone();
                let secrets = Some(both(&credentials));
                (
                    Proof::Signature { token },
                    Credentials::OAuth1(credentials),
                    secrets,
                )
            }
            AuthenticationMethod::Aws => {
                let key = authorization.unique_key.clone().unwrap_or_default();
                let unique_key = SecretText::new(key);
                let proof = Proof::Identity { replaced_key: None };
                (proof, Credentials::Aws { unique_key }, None)
            }
        };
        let content = Client {
            authorization: authorization.id,
            client_id,
            ends_at: None,
            proof,
        };
        let mut stored = self.records.draft(content, by).await?;
        if let Some(secrets) = secrets {
            let context = client_place(&self.records.sealer, kind::CLIENT, stored.id);
            stored.sealed_value = Some(self.records.sealer.seal(&context, &secrets).into());
        }
        Ok(NewClient {
            stored,
            credentials,
        })
    }

    /// The newest credentials of an authorization that have not ended.
    pub(crate) async fn newest_client(&self, id: AuthorizationId) -> Result<Stored<Client>, Error> {
        let now = self.clock.now();
        let all = self.clients_of(id).await?;
        all.into_iter()
            .find(|client| !client.has_ended(now))
            .ok_or(Error::NotFound(ObjectKind::Client))
    }

    /// All credentials of an authorization, newest first; those that ended may be among them.
    pub(super) async fn clients_of(
        &self,
        id: AuthorizationId,
    ) -> Result<Vec<Stored<Client>>, Error> {
        let term = self
            .records
            .term(kind::CLIENT, AUTHORIZATION, id.0.to_be_bytes());
        let query = Query::new(kind::CLIENT).with(term);
        self.records.list_all(&query).await
    }

    /// Opens credentials once their reveal is recorded.
    pub(crate) fn open_credentials(
        &self,
        act: &Act,
        authorization: &Authorization,
        client: &Stored<Client>,
    ) -> Result<Credentials, Error> {
        debug_assert!(act.receipt().allowed(), "an act is allowed");
        match &client.proof {
            Proof::Secret { .. } => Ok(Credentials::OAuth2(ClientCredentials {
                client_id: client.client_id.clone(),
                client_secret: self.open_secrets(client)?,
            })),
            Proof::Signature { token } => {
                let [consumer_secret, token_secret] = self.open_signing_secrets(client)?;
                Ok(Credentials::OAuth1(SigningCredentials {
                    consumer_key: client.client_id.clone(),
                    consumer_secret,
                    token: token.clone(),
                    token_secret,
                }))
            }
            Proof::Identity { .. } => {
                let message = "the authorization has no unique key";
                let key = authorization.unique_key.clone();
                let key = key.ok_or_else(|| Error::Conflict(message.to_owned()))?;
                Ok(Credentials::Aws {
                    unique_key: SecretText::new(key),
                })
            }
        }
    }

    /// The secrets that an OAuth 1.0 client signs with: the consumer's and the token's.
    pub(super) fn open_signing_secrets<C: Entity<Id = ClientId>>(
        &self,
        client: &Stored<C>,
    ) -> Result<[SecretText; 2], Error> {
        let secrets = self.open_secrets(client)?;
        let split = secrets.expose().split_once('\n');
        let (consumer, token) = split.ok_or_else(|| {
            let key = RecordKey::new(client.content.kind(), client.id);
            Error::damaged(key, CryptoError::UnsupportedFormat)
        })?;
        Ok([SecretText::new(consumer), SecretText::new(token)])
    }

    fn open_secrets<C: Entity<Id = ClientId>>(
        &self,
        client: &Stored<C>,
    ) -> Result<SecretText, Error> {
        let key = RecordKey::new(client.content.kind(), client.id);
        let place = client_place(&self.records.sealer, key.kind, client.id);
        let sealed = client
            .sealed_value
            .as_deref()
            .ok_or(Error::NotFound(ObjectKind::Client))?;
        let opened = self
            .records
            .sealer
            .open(&place, sealed)
            .map_err(|error| Error::damaged(key, error))?;
        let secret = String::from_utf8(opened.to_vec())
            .map_err(|_| Error::damaged(key, CryptoError::UnsupportedFormat))?;
        Ok(SecretText::new(secret))
    }

    /// A unique key for an authorization whose clients have to name one.
    pub(crate) fn random_unique_key(&self) -> String {
        self.random_token(UNIQUE_KEY_PREFIX).expose().to_owned()
    }

    /// A random text of 256 bits with a prefix.
    pub(crate) fn random_token(&self, prefix: &str) -> SecretText {
        let bytes = Zeroizing::new(self.entropy.array::<32>());
        let mut text = String::with_capacity(prefix.len() + 43);
        text.push_str(prefix);
        BASE64URL_NOPAD.encode_append(&*bytes, &mut text);
        SecretText::new(text)
    }
}

/// Where the secrets of a client, or of the decoy, are sealed.
pub(crate) fn client_place(sealer: &Sealer, kind: Kind, id: ClientId) -> Context {
    sealer.context("client secret", kind.0, id.0)
}

/// The two secrets as they are sealed: neither contains a line break.
fn both(credentials: &SigningCredentials) -> Zeroizing<Vec<u8>> {
    let (consumer, token) = (
        credentials.consumer_secret.expose(),
        credentials.token_secret.expose(),
    );
    Zeroizing::new([consumer, "\n", token].concat().into_bytes())
}

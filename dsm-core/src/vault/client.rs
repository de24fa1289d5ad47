//! Clients of authorizations: their credentials and the tokens they get for them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::act::{Act, event};
use super::cache::ReadAt;
use super::error::Error;
use super::record::{Entity, Stored, Terms};
use super::{Vault, kind};
use crate::access::{
    Application, AuthenticationMethod, Authorization, Basis, Denial, Origin, Principal, Request,
    Rule,
};
use crate::audit::{Actor, ObjectKind, ObjectRef, Operation};
use crate::crypto::{Context, Mac};
use crate::id::{AuthorizationId, ClientId};
use crate::secret::SecretText;
use crate::store::{ChangeSet, Kind, Query};
use crate::time::Timestamp;

/// How access tokens begin, so that scanners of leaked secrets know them.
pub const ACCESS_TOKEN_PREFIX: &str = "dsm_at_";
/// How client secrets begin.
pub const CLIENT_SECRET_PREFIX: &str = "dsm_cs_";

const AUTHORIZATION: &str = "authorization";
const CLIENT_ID: &str = "client_id";
const TOKEN: &str = "token";

/// One set of credentials of an authorization. The secret itself is sealed beside it, because it
/// can be revealed again; it is verified by its keyed hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Whose.
    pub authorization: AuthorizationId,
    /// The public part.
    pub client_id: String,
    mac: String,
}

impl Entity for Client {
    type Id = ClientId;

    fn kind(&self) -> Kind {
        kind::CLIENT
    }

    fn terms(&self, terms: &mut Terms<'_>) {
        terms.unique(CLIENT_ID, &self.client_id);
        terms.plain(AUTHORIZATION, self.authorization.0.to_be_bytes());
    }
}

/// A token that was given out, without the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Token {
    client: ClientId,
    authorization: AuthorizationId,
    mac: String,
    expires_at: Timestamp,
}

impl Entity for Token {
    type Id = u64;

    fn kind(&self) -> Kind {
        kind::TOKEN
    }

    fn terms(&self, terms: &mut Terms<'_>) {
        terms.unique(TOKEN, &self.mac);
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.expires_at)
    }
}

/// The credentials of an authorization.
#[derive(Debug)]
pub struct ClientCredentials {
    /// The public part.
    pub client_id: String,
    /// Sensitive.
    pub client_secret: SecretText,
}

/// A bearer token just given out ([RFC 6750](https://www.rfc-editor.org/rfc/rfc6750)).
pub struct AccessToken {
    /// The token. Sensitive.
    pub token: SecretText,
    /// For how long it is good.
    pub expires_in: Duration,
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}

/// What stands behind credentials: everything of a principal but where it comes from.
#[derive(Debug)]
struct Behind {
    application: Arc<Application>,
    authorization_id: AuthorizationId,
    authorization: Arc<Authorization>,
    client: ClientId,
    basis: Basis,
}

/// What stands behind a token, kept for a moment.
#[derive(Debug)]
pub(crate) struct Bearer {
    epochs: [u64; BEARER_KINDS.len()],
    read_at: ReadAt,
    expires_at: Timestamp,
    behind: Behind,
}

/// The kinds of records that a [`Bearer`] is put together from.
const BEARER_KINDS: [Kind; 4] = [
    kind::TOKEN,
    kind::AUTHORIZATION,
    kind::APPLICATION,
    kind::CLIENT,
];

/// Bearers by the keyed hash of their token.
pub(crate) type Bearers = quick_cache::sync::Cache<[u8; 32], Arc<Bearer>>;

impl Behind {
    fn principal(&self, origin: Origin) -> Principal {
        Principal::new(
            Arc::clone(&self.application),
            self.authorization_id,
            Arc::clone(&self.authorization),
            self.client,
            origin,
        )
        .at(self.basis)
    }
}

impl Bearer {
    fn principal(&self, origin: Origin) -> Principal {
        self.behind.principal(origin)
    }
}

/// A client before it is committed.
pub(crate) struct NewClient {
    pub(crate) stored: Stored<Client>,
    pub(crate) secret: SecretText,
}

impl Vault {
    /// Gives a token for credentials of the OAuth 2.0 client credentials grant
    /// ([RFC 6749, section 4.4](https://www.rfc-editor.org/rfc/rfc6749#section-4.4)).
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] of class `Unauthenticated` for everything that is not right: the caller
    /// learns no more, the audit trail has the reason.
    pub async fn authenticate(
        &self,
        client_id: &str,
        client_secret: &str,
        origin: Origin,
    ) -> Result<AccessToken, Error> {
        let operation = Operation::IssueToken;
        let ip = origin.ip;
        // Not from the cache: an unknown client costs the same look and the same computation as a
        // wrong secret.
        let client: Option<Stored<Client>> = self
            .records
            .find_by(kind::CLIENT, CLIENT_ID, client_id)
            .await?;
        let known = client.as_ref().and_then(|client| decode_mac(&client.mac));
        let right = self.records.keyring.client_mac(client_secret.as_bytes())
            == known.unwrap_or(Mac([0; 32]))
            && known.is_some();
        let claimed = || Actor::Unknown {
            claimed: is_client_id(client_id).then(|| client_id.to_owned()),
        };
        let Some(client) = client else {
            let denial = Denial::of(Rule::Client, "there is no such client");
            return Err(self.refuse(claimed(), ip, operation, None, denial).await);
        };
        if !right {
            let denial = Denial::of(Rule::ClientSecret, "the client secret is wrong");
            return Err(self.refuse(claimed(), ip, operation, None, denial).await);
        }
        let Some(principal) = self
            .assemble(client.authorization, client.id, origin)
            .await?
        else {
            let denial = Denial::of(Rule::Client, "the authorization is gone");
            return Err(self.refuse(claimed(), ip, operation, None, denial).await);
        };
        let object = ObjectRef::new(ObjectKind::Client, client.id, client_id);
        if principal.application().authentication_method != AuthenticationMethod::OAuth2 {
            let reason = "the application does not use OAuth 2.0";
            let denial = Denial::of(Rule::AuthenticationMethod, reason);
            return Err(self
                .refuse(principal.actor(), ip, operation, Some(object), denial)
                .await);
        }
        let permit = self
            .decide(
                &principal,
                Request::authenticate(),
                operation,
                Some(object.clone()),
            )
            .await?;

        let lifetime = self.options.token_lifetime;
        let text = self.random_token(ACCESS_TOKEN_PREFIX);
        let token = Token {
            client: client.id,
            authorization: client.authorization,
            mac: HEXLOWER.encode(&self.records.keyring.token_mac(text.expose().as_bytes()).0),
            expires_at: self.clock.now()
                + TimeDelta::from_std(lifetime).unwrap_or(TimeDelta::hours(1)),
        };
        let token = self.records.draft(token, "").await?;
        let set = ChangeSet::default().create(self.records.encode(&token));
        let event = event(self, principal.actor(), ip, operation, Some(object));
        let act = self.act(permit, vec![event]).await?;
        self.commit(act, set).await?;
        Ok(AccessToken {
            token: text,
            expires_in: lifetime,
        })
    }

    /// Who a bearer token belongs to. What they may do is decided by each use case.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] of class `Unauthenticated` for a token that is unknown or expired.
    pub async fn principal(&self, token: &str, origin: Origin) -> Result<Principal, Error> {
        let mac = self.records.keyring.token_mac(token.as_bytes());
        let denial = match self.bearer(mac).await? {
            Some(bearer) if self.clock.now() < bearer.expires_at => {
                return Ok(bearer.principal(origin));
            }
            Some(_) => Denial::of(Rule::TokenExpired, "the token has expired"),
            None => Denial::of(Rule::Token, "there is no such token, or its client is gone"),
        };
        Err(self.refuse_token(origin.ip, denial).await)
    }

    /// What stands behind a token, put together from records none of which is older than
    /// `max_staleness` or was changed here since.
    async fn bearer(&self, mac: Mac) -> Result<Option<Arc<Bearer>>, Error> {
        let records = &self.records;
        let now = ReadAt::now(&*self.clock);
        let epochs = BEARER_KINDS.map(|kind| records.cache.epoch(kind));
        if let Some(bearer) = self.bearers.get(&mac.0)
            && bearer.epochs == epochs
            && records.cache.is_fresh(bearer.read_at, now)
        {
            return Ok(Some(bearer));
        }
        let term = records.term(kind::TOKEN, TOKEN, HEXLOWER.encode(&mac.0));
        let Some((token, token_read)) = records.dated_by::<Token>(kind::TOKEN, term).await? else {
            return Ok(None);
        };
        if decode_mac(&token.mac) != Some(mac) {
            return Ok(None);
        }
        let Some((behind, read)) = self.behind(token.authorization, token.client).await? else {
            return Ok(None);
        };
        let bearer = Arc::new(Bearer {
            epochs,
            read_at: token_read.or_earlier(read),
            expires_at: token.expires_at,
            behind,
        });
        self.bearers.insert(mac.0, Arc::clone(&bearer));
        Ok(Some(bearer))
    }

    async fn refuse_token(&self, ip: Option<std::net::IpAddr>, denial: Denial) -> Error {
        let actor = Actor::Unknown { claimed: None };
        self.refuse(actor, ip, Operation::UseToken, None, denial)
            .await
    }

    /// Records that somebody came without a token, and gives the error that says so.
    pub async fn refuse_without_token(&self, origin: &Origin) -> Error {
        let denial = Denial::of(Rule::Token, "there is no bearer token");
        self.refuse_token(origin.ip, denial).await
    }

    async fn assemble(
        &self,
        authorization: AuthorizationId,
        client: ClientId,
        origin: Origin,
    ) -> Result<Option<Principal>, Error> {
        let behind = self.behind(authorization, client).await?;
        Ok(behind.map(|(behind, _)| behind.principal(origin)))
    }

    /// What stands behind credentials, and when the oldest part of it was read.
    async fn behind(
        &self,
        authorization: AuthorizationId,
        client: ClientId,
    ) -> Result<Option<(Behind, ReadAt)>, Error> {
        let records = &self.records;
        let found = records
            .dated::<Authorization>(kind::AUTHORIZATION, authorization)
            .await?;
        let Some((authorization, one)) = found else {
            return Ok(None);
        };
        let id = authorization.application;
        let found = records.dated::<Application>(kind::APPLICATION, id).await?;
        let Some((application, two)) = found else {
            return Ok(None);
        };
        let found = records.dated::<Client>(kind::CLIENT, client).await?;
        let Some((_, three)) = found.filter(|(it, _)| it.authorization == authorization.id) else {
            return Ok(None);
        };
        let behind = Behind {
            application: Arc::clone(&application.content),
            authorization_id: authorization.id,
            authorization: Arc::clone(&authorization.content),
            client,
            basis: Basis {
                application: Some((application.id, application.revision)),
                authorization: Some((authorization.id, authorization.revision)),
                ..Basis::default()
            },
        };
        Ok(Some((behind, one.or_earlier(two).or_earlier(three))))
    }

    /// New credentials for an authorization, not committed yet.
    pub(crate) async fn draft_client(
        &self,
        authorization: AuthorizationId,
        by: &str,
    ) -> Result<NewClient, Error> {
        let secret = self.random_token(CLIENT_SECRET_PREFIX);
        let content = Client {
            authorization,
            client_id: HEXLOWER.encode(&self.entropy.array::<21>()),
            mac: HEXLOWER.encode(
                &self
                    .records
                    .keyring
                    .client_mac(secret.expose().as_bytes())
                    .0,
            ),
        };
        let mut stored = self.records.draft(content, by).await?;
        let context = self.client_context(stored.id);
        let sealed = self
            .records
            .sealer
            .seal(&context, secret.expose().as_bytes());
        stored.sealed_value = Some(sealed.into());
        Ok(NewClient { stored, secret })
    }

    /// The newest credentials of an authorization.
    pub(crate) async fn newest_client(&self, id: AuthorizationId) -> Result<Stored<Client>, Error> {
        let term = self
            .records
            .term(kind::CLIENT, AUTHORIZATION, id.0.to_be_bytes());
        let query = Query::new(kind::CLIENT).with(term);
        let found = self
            .records
            .list(&query, crate::store::Page::first(1))
            .await?;
        found
            .items
            .into_iter()
            .next()
            .ok_or(Error::NotFound(ObjectKind::Client))
    }

    /// Opens credentials once their reveal is recorded.
    pub(crate) fn open_credentials(
        &self,
        act: &Act,
        client: &Stored<Client>,
    ) -> Result<ClientCredentials, Error> {
        let key = crate::store::RecordKey::new(kind::CLIENT, client.id);
        debug_assert!(act.receipt().allowed(), "an act is allowed");
        let sealed = client
            .sealed_value
            .as_deref()
            .ok_or(Error::NotFound(ObjectKind::Client))?;
        let opened = self
            .records
            .sealer
            .open(&self.client_context(client.id), sealed)
            .map_err(|error| Error::damaged(key, error))?;
        let secret = String::from_utf8(opened.to_vec())
            .map_err(|_| Error::damaged(key, crate::crypto::CryptoError::UnsupportedFormat))?;
        Ok(ClientCredentials {
            client_id: client.client_id.clone(),
            client_secret: SecretText::new(secret),
        })
    }

    fn client_context(&self, id: ClientId) -> Context {
        self.records
            .sealer
            .context("client secret", kind::CLIENT.0, id.0)
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

/// Whether a text has the form of our client ids; anything else is not repeated in the trail.
fn is_client_id(text: &str) -> bool {
    text.len() == 42 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

pub(crate) fn decode_mac(text: &str) -> Option<Mac> {
    HEXLOWER
        .decode(text.as_bytes())
        .ok()?
        .try_into()
        .ok()
        .map(Mac)
}

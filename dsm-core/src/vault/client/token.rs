//! Bearer tokens: given out, revoked and looked at.

use std::fmt;
use std::time::Duration;

use chrono::TimeDelta;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use super::super::act::event;
use super::super::error::Error;
use super::super::record::{Entity, Stored, Terms};
use super::super::{Vault, kind};
use super::{ACCESS_TOKEN_PREFIX, Client, Presented};
use crate::access::{Origin, Principal, Request};
use crate::audit::{ObjectKind, ObjectRef, Operation};
use crate::id::{AuthorizationId, ClientId};
use crate::secret::SecretText;
use crate::store::{ChangeSet, Kind};
use crate::time::Timestamp;

pub(super) const TOKEN: &str = "token";
/// How often what was decided on a policy that changed meanwhile is decided anew.
const ATTEMPTS: usize = 10;

/// A token that was given out, without the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Token {
    pub(super) client: ClientId,
    pub(super) authorization: AuthorizationId,
    pub(super) mac: String,
    pub(super) expires_at: Timestamp,
    pub(super) revoked_at: Option<Timestamp>,
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

/// What is told of a token that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    /// The public part of the credentials that it was given for.
    pub client_id: String,
    /// The code of its authorization.
    pub authorization: String,
    /// When it was given out.
    pub issued_at: Timestamp,
    /// From when on it is refused.
    pub expires_at: Timestamp,
}

impl Vault {
    /// Gives a token for credentials of the OAuth 2.0 client credentials grant
    /// ([RFC 6749, section 4.4](https://www.rfc-editor.org/rfc/rfc6749#section-4.4)).
    ///
    /// # Errors
    ///
    /// As [`issue_token`](Self::issue_token).
    pub async fn authenticate(
        &self,
        client_id: &str,
        client_secret: &str,
        origin: Origin,
    ) -> Result<AccessToken, Error> {
        let presented = Presented::Secret {
            client_id,
            client_secret,
        };
        self.issue_token(presented, origin).await
    }

    /// Gives a token for what a client shows of itself.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] of class `Unauthenticated` for everything that is not right: the caller
    /// learns no more, the audit trail has the reason.
    pub async fn issue_token(
        &self,
        presented: Presented<'_>,
        origin: Origin,
    ) -> Result<AccessToken, Error> {
        let operation = Operation::IssueToken;
        let mut principal = self.prove(presented, operation, origin).await?;
        for _ in 1..ATTEMPTS {
            match self.issue(&principal).await {
                Err(Error::Stale) => principal = self.renewed(&principal).await?,
                result => return result,
            }
        }
        self.issue(&principal).await
    }

    async fn issue(&self, principal: &Principal) -> Result<AccessToken, Error> {
        let operation = Operation::IssueToken;
        let object = ObjectRef::new(ObjectKind::Client, principal.client_id(), "");
        let permit = self
            .decide(
                principal,
                Request::authenticate(),
                operation,
                Some(object.clone()),
            )
            .await?;
        let lifetime = self.options.token_lifetime;
        let text = self.random_token(ACCESS_TOKEN_PREFIX);
        let token = Token {
            client: principal.client_id(),
            authorization: principal.authorization_id(),
            mac: HEXLOWER.encode(&self.records.keyring.token_mac(text.expose().as_bytes()).0),
            expires_at: self.clock.now()
                + TimeDelta::from_std(lifetime).unwrap_or(TimeDelta::hours(1)),
            revoked_at: None,
        };
        let token = self.records.draft(token, "").await?;
        let set = ChangeSet::default().create(self.records.encode(&token));
        let ip = principal.origin().ip;
        let event = event(self, principal.actor(), ip, operation, Some(object));
        let act = self.act(permit, vec![event]).await?;
        self.commit(act, set).await?;
        Ok(AccessToken {
            token: text,
            expires_in: lifetime,
        })
    }

    /// Ends a token of the caller's authorization
    /// ([RFC 7009](https://www.rfc-editor.org/rfc/rfc7009)). Any other text has no effect and is no
    /// error: there is then nothing left to end.
    ///
    /// # Errors
    ///
    /// As [`issue_token`](Self::issue_token).
    pub async fn revoke_token(
        &self,
        presented: Presented<'_>,
        token: &str,
        origin: Origin,
    ) -> Result<(), Error> {
        let operation = Operation::RevokeToken;
        let mut principal = self.prove(presented, operation, origin).await?;
        for _ in 1..ATTEMPTS {
            match self.revoke_own(&principal, token).await {
                Err(Error::Stale) => principal = self.renewed(&principal).await?,
                result => return result,
            }
        }
        self.revoke_own(&principal, token).await
    }

    async fn revoke_own(&self, principal: &Principal, token: &str) -> Result<(), Error> {
        let operation = Operation::RevokeToken;
        let found = self.own_token(principal, token).await?;
        let object = object_of(found.as_ref());
        let permit = self
            .decide(
                principal,
                Request::authenticate(),
                operation,
                Some(object.clone()),
            )
            .await?;
        let ip = principal.origin().ip;
        let event = event(self, principal.actor(), ip, operation, Some(object));
        let act = self.act(permit, vec![event]).await?;
        let Some(old) = found.filter(|token| token.revoked_at.is_none()) else {
            return Ok(());
        };
        let content = Token {
            revoked_at: Some(self.clock.now()),
            ..Token::clone(&old)
        };
        let new = self.records.revise(&old, content, "");
        let set = ChangeSet::default().update(self.records.encode(&new), old.revision);
        self.commit(act, set).await
    }

    /// What a token of the caller's authorization is good for
    /// ([RFC 7662](https://www.rfc-editor.org/rfc/rfc7662)); nothing for any other text, and for a
    /// token that counts no more.
    ///
    /// # Errors
    ///
    /// As [`issue_token`](Self::issue_token).
    pub async fn introspect_token(
        &self,
        presented: Presented<'_>,
        token: &str,
        origin: Origin,
    ) -> Result<Option<TokenInfo>, Error> {
        let operation = Operation::IntrospectToken;
        let principal = self.prove(presented, operation, origin).await?;
        let found = self.own_token(&principal, token).await?;
        let object = object_of(found.as_ref());
        let permit = self
            .decide(
                &principal,
                Request::authenticate(),
                operation,
                Some(object.clone()),
            )
            .await?;
        let ip = principal.origin().ip;
        let event = event(self, principal.actor(), ip, operation, Some(object));
        drop(self.act(permit, vec![event]).await?);
        let now = self.clock.now();
        let Some(token) = found.filter(|it| it.revoked_at.is_none() && now < it.expires_at) else {
            return Ok(None);
        };
        let client = self.records.find::<Client>(kind::CLIENT, token.client);
        let client = client.await?.filter(|client| !client.has_ended(now));
        Ok(client.map(|client| TokenInfo {
            client_id: client.client_id.clone(),
            authorization: principal.authorization().code.clone(),
            issued_at: token.created_at,
            expires_at: client
                .ends_at
                .map_or(token.expires_at, |at| at.min(token.expires_at)),
        }))
    }

    /// The token of this text, if it was given out for the principal's authorization.
    async fn own_token(
        &self,
        principal: &Principal,
        token: &str,
    ) -> Result<Option<Stored<Token>>, Error> {
        let mac = self.records.keyring.token_mac(token.as_bytes());
        let found = self
            .records
            .find_by::<Token>(kind::TOKEN, TOKEN, HEXLOWER.encode(&mac.0))
            .await?;
        Ok(found.filter(|token| token.authorization == principal.authorization_id()))
    }
}

/// A token stands in the trail as the credentials that it was given for.
fn object_of(token: Option<&Stored<Token>>) -> ObjectRef {
    token.map_or_else(
        || ObjectRef::absent(ObjectKind::Client, ""),
        |token| ObjectRef::new(ObjectKind::Client, token.client, ""),
    )
}

//! From a bearer token to the principal behind it.

use std::net::IpAddr;
use std::sync::Arc;

use data_encoding::HEXLOWER;

use super::super::cache::ReadAt;
use super::super::error::Error;
use super::super::{Vault, kind};
use super::token::{TOKEN, Token};
use super::{Client, decode_mac};
use crate::access::{
    Application, AuthenticationMethod, Authorization, Basis, Denial, Origin, Principal, Rule,
};
use crate::audit::{Actor, Operation};
use crate::crypto::Mac;
use crate::id::{AuthorizationId, ClientId};
use crate::store::Kind;
use crate::time::Timestamp;

/// What stands behind credentials: everything of a principal but where it comes from.
#[derive(Debug)]
pub(super) struct Behind {
    application: Arc<Application>,
    authorization_id: AuthorizationId,
    authorization: Arc<Authorization>,
    client: ClientId,
    method: AuthenticationMethod,
    client_ends_at: Option<Timestamp>,
    basis: Basis,
}

/// What stands behind a token, kept for a moment.
#[derive(Debug)]
pub(crate) struct Bearer {
    epochs: [u64; BEARER_KINDS.len()],
    read_at: ReadAt,
    expires_at: Timestamp,
    revoked_at: Option<Timestamp>,
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
    pub(super) fn principal(&self, origin: Origin) -> Principal {
        Principal::new(
            Arc::clone(&self.application),
            self.authorization_id,
            Arc::clone(&self.authorization),
            (self.client, self.method),
            origin,
        )
        .at(self.basis)
    }

    /// Why these credentials count no more, if they do not.
    pub(super) fn ended(&self, now: Timestamp) -> Option<Denial> {
        let ended = self.client_ends_at.is_some_and(|at| now >= at);
        let reason = "the credentials have been replaced and their overlap is over";
        ended.then(|| Denial::of(Rule::ClientEnded, reason))
    }
}

impl Bearer {
    /// Why the token counts no more, if it does not.
    fn ended(&self, now: Timestamp) -> Option<Denial> {
        if self.revoked_at.is_some() {
            return Some(Denial::of(Rule::TokenRevoked, "the token has been revoked"));
        }
        if now >= self.expires_at {
            return Some(Denial::of(Rule::TokenExpired, "the token has expired"));
        }
        self.behind.ended(now)
    }
}

impl Vault {
    /// Who a bearer token belongs to. What they may do is decided by each use case.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] of class `Unauthenticated` for a token that is unknown, expired or revoked,
    /// or whose credentials have ended.
    pub async fn principal(&self, token: &str, origin: Origin) -> Result<Principal, Error> {
        let mac = self.records.keyring.token_mac(token.as_bytes());
        let now = self.clock.now();
        let denial = match self.bearer(mac).await? {
            Some(bearer) => match bearer.ended(now) {
                None => {
                    self.uses.note(bearer.behind.client, now, origin.ip);
                    return Ok(bearer.behind.principal(origin));
                }
                Some(denial) => denial,
            },
            None => Denial::of(Rule::Token, "there is no such token, or its client is gone"),
        };
        Err(self.refuse_token(origin.ip, denial).await)
    }

    /// Whose access token this is, if it is in force.
    pub(crate) async fn client_of(&self, token: &str) -> Result<Option<Actor>, Error> {
        let mac = self.records.keyring.token_mac(token.as_bytes());
        let bearer = self.bearer(mac).await?;
        let bearer = bearer.filter(|bearer| bearer.ended(self.clock.now()).is_none());
        Ok(bearer.map(|bearer| bearer.behind.principal(Origin::default()).actor()))
    }

    /// The same client with the policy as it is now, for a second try of what it was let in for:
    /// after [`Error::Stale`], never instead of a proof.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] of class `Unauthenticated` when its credentials are gone meanwhile.
    pub async fn renewed(&self, principal: &Principal) -> Result<Principal, Error> {
        let origin = principal.origin().clone();
        let (id, client) = (principal.authorization_id(), principal.client_id());
        let denial = match self.behind(id, client).await? {
            Some((behind, _)) => match behind.ended(self.clock.now()) {
                None => return Ok(behind.principal(origin)),
                Some(denial) => denial,
            },
            None => Denial::of(Rule::Token, "the client is gone"),
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
            revoked_at: token.revoked_at,
            behind,
        });
        self.bearers.insert(mac.0, Arc::clone(&bearer));
        Ok(Some(bearer))
    }

    async fn refuse_token(&self, ip: Option<IpAddr>, denial: Denial) -> Error {
        let actor = Actor::Unknown { claimed: None };
        self.refuse(actor, ip, Operation::UseToken, None, denial)
            .await
    }

    /// Records that somebody came without a token, and gives the error that says so.
    pub async fn refuse_without_token(&self, origin: &Origin) -> Error {
        let denial = Denial::of(Rule::Token, "there is no bearer token");
        self.refuse_token(origin.ip, denial).await
    }

    /// What stands behind credentials, and when the oldest part of it was read.
    pub(super) async fn behind(
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
        let found = found.filter(|(it, _)| {
            it.authorization == authorization.id && it.method() == application.authentication_method
        });
        let Some((client, three)) = found else {
            return Ok(None);
        };
        let behind = Behind {
            application: Arc::clone(&application.content),
            authorization_id: authorization.id,
            authorization: Arc::clone(&authorization.content),
            client: client.id,
            method: client.method(),
            client_ends_at: client.ends_at,
            basis: Basis {
                application: Some((application.id, application.revision)),
                authorization: Some((authorization.id, authorization.revision)),
                ..Basis::default()
            },
        };
        Ok(Some((behind, one.or_earlier(two).or_earlier(three))))
    }
}

//! The clients of an authorization, as operators manage them.

use std::time::Duration;

use chrono::TimeDelta;

use super::super::act::Caller;
use super::super::error::Error;
use super::super::record::{Listing, Stored};
use super::super::{Vault, kind};
use super::uses::ClientUse;
use super::{AUTHORIZATION, Client, Credentials, LastUse, Proof};
use crate::access::{AuthenticationMethod, Authorization, Permission};
use crate::audit::{ObjectKind, ObjectRef, Operation};
use crate::id::{AuthorizationId, ClientId};
use crate::store::{ChangeSet, Page, Query, RecordKey};
use crate::time::Timestamp;

/// The longest that replaced credentials may go on.
const MAX_OVERLAP: Duration = Duration::from_hours(24 * 30);
/// The shortest that they go on unless it is said.
const MIN_DEFAULT_OVERLAP: Duration = Duration::from_mins(5);

/// Credentials with their last use.
#[derive(Debug, Clone)]
pub struct ApiClient {
    /// The credentials, without what is secret of them.
    pub client: Stored<Client>,
    /// When they were last used; `None` if never. Written with a delay of up to a minute, which may
    /// be lost when a server is killed.
    pub last_use: Option<LastUse>,
}

/// New credentials in place of others.
#[derive(Debug, Clone)]
pub struct Rotated {
    /// The new ones, revealed by [`Vault::reveal_credentials`].
    pub client: Stored<Client>,
    /// From when on those before them are refused.
    pub others_end_at: Timestamp,
}

impl Stored<Client> {
    pub(crate) fn object(&self) -> ObjectRef {
        ObjectRef::new(ObjectKind::Client, self.id, &self.client_id)
    }
}

impl Vault {
    /// Shows the credentials of an authorization, the newest ones; recorded.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] when all of them were revoked.
    pub async fn reveal_credentials(
        &self,
        caller: &Caller,
        id: AuthorizationId,
    ) -> Result<Credentials, Error> {
        let operation = Operation::RevealCredentials;
        let object = ObjectRef::new(ObjectKind::Authorization, id, "");
        let permission = Permission::AuthorizationsReveal;
        let permit = self
            .permit(caller, permission, operation, Some(object))
            .await?;
        let authorization = self.authorization(id).await?;
        let client = self.newest_client(id).await?;
        let event = caller.event(self, operation, authorization.object());
        let act = self.act(permit, vec![event]).await?;
        self.open_credentials(&act, &authorization, &client)
    }

    /// A page of the credentials of an authorization, newest first.
    pub async fn list_clients(
        &self,
        caller: &Caller,
        id: AuthorizationId,
        page: Page,
    ) -> Result<Listing<ApiClient>, Error> {
        let object = ObjectRef::new(ObjectKind::Authorization, id, "");
        let operation = Operation::ViewClients;
        let permission = Permission::AuthorizationsView;
        self.view(caller, permission, operation, Some(object))
            .await?;
        self.authorization(id).await?;
        let term = self
            .records
            .term(kind::CLIENT, AUTHORIZATION, id.0.to_be_bytes());
        let query = Query::new(kind::CLIENT).with(term);
        let found = self.records.list::<Client>(&query, page).await?;
        let mut items = Vec::with_capacity(found.items.len());
        for client in found.items {
            let written = self
                .records
                .find::<ClientUse>(kind::CLIENT_USE, client.id)
                .await?
                .map(|written| written.last);
            let remembered = self.uses.of(client.id);
            let last_use = [written, remembered].into_iter().flatten();
            items.push(ApiClient {
                last_use: last_use.max_by_key(|last| last.at),
                client,
            });
        }
        Ok(Listing {
            items,
            next: found.next,
        })
    }

    /// Issues new credentials. Those before them, and the tokens given for them, go on for `overlap`
    /// and end then; not at all with an overlap of zero. Unless said, they go on for as long as a
    /// token lives, but at least five minutes.
    ///
    /// For an AWS application the unique key is replaced by one that the vault chooses.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for an overlap of more than 30 days; [`Error::Conflict`] when the
    /// authorization is revoked or has expired.
    pub async fn rotate_clients(
        &self,
        caller: &Caller,
        id: AuthorizationId,
        overlap: Option<Duration>,
    ) -> Result<Rotated, Error> {
        let operation = Operation::RotateClients;
        let object = ObjectRef::new(ObjectKind::Authorization, id, "");
        let permission = Permission::AuthorizationsWrite;
        let permit = self
            .permit(caller, permission, operation, Some(object))
            .await?;
        let now = self.clock.now();
        let default = self.options.token_lifetime.max(MIN_DEFAULT_OVERLAP);
        let overlap = overlap.unwrap_or(default);
        let ends_at = TimeDelta::from_std(overlap)
            .ok()
            .filter(|_| overlap <= MAX_OVERLAP)
            .map(|overlap| now + overlap);
        if let Some(made) = self.made_before(caller).await? {
            let found = self
                .records
                .find::<Client>(kind::CLIENT, made.into())
                .await?;
            let client = found.ok_or(Error::NotFound(ObjectKind::Client))?;
            let others_end_at = ends_at.unwrap_or(now);
            return Ok(Rotated {
                client,
                others_end_at,
            });
        }
        let old = self.authorization(id).await?;
        in_force(&old, now)?;
        let message = "must be at most 2592000, which are 30 days";
        let ends_at = ends_at.ok_or_else(|| Error::invalid("overlap_seconds", message))?;
        let method = self.application(old.application).await?;
        let method = method.authentication_method;

        let by = &caller.operator.name;
        let mut set = ChangeSet::default();
        let authorization = if method == AuthenticationMethod::Aws {
            let content = Authorization {
                unique_key: Some(self.random_unique_key()),
                ..Authorization::clone(&old)
            };
            let new = self.records.revise(&old, content, by);
            set = set.update(self.records.encode(&new), old.revision);
            new
        } else {
            let key = RecordKey::new(kind::AUTHORIZATION, old.id);
            set = set.check_at(key, old.revision);
            old.clone()
        };
        for client in self.clients_of(id).await? {
            if client.ends_at.is_some_and(|at| at <= ends_at) {
                continue;
            }
            let mut content = Client::clone(&client);
            content.ends_at = Some(ends_at);
            if let Proof::Identity { replaced_key } = &mut content.proof
                && replaced_key.is_none()
            {
                replaced_key.clone_from(&old.unique_key);
            }
            let new = self.records.revise(&client, content, by);
            set = set.update(self.records.encode(&new), client.revision);
        }
        let made = self.draft_client(&authorization, method, by).await?.stored;
        set = set.create(self.records.encode(&made));
        let set = self.remember(caller, made.id.into(), set).await?;
        let event = caller
            .event(self, operation, made.object())
            .with_change("overlap_seconds", &overlap.as_secs());
        let act = self.act(permit, vec![event]).await?;
        let client = match self.commit_once(caller, act, set).await? {
            Some(id) => {
                let found = self.records.find::<Client>(kind::CLIENT, id.into()).await?;
                found.ok_or(Error::NotFound(ObjectKind::Client))?
            }
            None => made,
        };
        Ok(Rotated {
            client,
            others_end_at: ends_at,
        })
    }

    /// Revokes credentials for good; their tokens end with them.
    pub async fn revoke_client(
        &self,
        caller: &Caller,
        id: AuthorizationId,
        client: ClientId,
    ) -> Result<(), Error> {
        let operation = Operation::RevokeClient;
        let object = ObjectRef::new(ObjectKind::Client, client, "");
        let permission = Permission::AuthorizationsWrite;
        let permit = self
            .permit(caller, permission, operation, Some(object))
            .await?;
        let found = self.records.find::<Client>(kind::CLIENT, client).await?;
        let old = found
            .filter(|client| client.authorization == id)
            .ok_or(Error::NotFound(ObjectKind::Client))?;
        let set = self.without_client(ChangeSet::default(), &old).await?;
        let event = caller.event(self, operation, old.object());
        let act = self.act(permit, vec![event]).await?;
        self.commit(act, set).await
    }

    /// The set that removes a client and what is known of its use as well.
    async fn without_client(
        &self,
        set: ChangeSet,
        client: &Stored<Client>,
    ) -> Result<ChangeSet, Error> {
        let set = set.delete(RecordKey::new(kind::CLIENT, client.id), client.revision);
        self.without_use(set, client.id).await
    }

    /// The set that removes what is known of a client's use as well.
    pub(crate) async fn without_use(
        &self,
        set: ChangeSet,
        client: ClientId,
    ) -> Result<ChangeSet, Error> {
        let key = RecordKey::new(kind::CLIENT_USE, client);
        Ok(match self.records.store.find(key).await? {
            Some(record) => set.delete(key, record.revision),
            None => set,
        })
    }
}

/// Refuses to issue credentials that nothing would accept.
fn in_force(authorization: &Authorization, now: Timestamp) -> Result<(), Error> {
    if authorization.revoked_at.is_some() {
        return Err(Error::Conflict("the authorization is revoked".to_owned()));
    }
    if authorization.expires_at.is_some_and(|at| now >= at) {
        return Err(Error::Conflict("the authorization has expired".to_owned()));
    }
    Ok(())
}

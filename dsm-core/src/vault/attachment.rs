//! Which secrets an authorization can see.
//!
//! An attachment is a record of its own, so that clients of one authorization that create secrets
//! at the same time do not stand in each other's way, and a thousand attached secrets cost a write
//! no more than one.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::act::Caller;
use super::error::Error;
use super::record::{Entity, Stored, Terms};
use super::{Vault, kind};
use crate::access::{Permission, SecretTarget};
use crate::audit::{ObjectKind, ObjectRef, Operation};
use crate::id::{AuthorizationId, SecretId};
use crate::secret::{Identity, Secret};
use crate::store::{ChangeSet, Kind, Query, RecordKey, Term};
use crate::time::Timestamp;

const PAIR: &str = "pair";
const AUTHORIZATION: &str = "authorization";
const SECRET: &str = "secret";

/// A secret that an authorization can see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attachment {
    pub(crate) authorization: AuthorizationId,
    pub(crate) secret: SecretId,
    /// The secret's, which never changes. A client that asks for it is looked up together with it.
    identity: Identity,
}

impl Entity for Attachment {
    type Id = u64;

    fn kind(&self) -> Kind {
        kind::ATTACHMENT
    }

    fn terms(&self, terms: &mut Terms<'_>) {
        terms.unique(PAIR, pair(self.authorization, &self.identity));
        terms.plain(AUTHORIZATION, self.authorization.0.to_be_bytes());
        terms.plain(SECRET, self.secret.0.to_be_bytes());
    }
}

fn pair(authorization: AuthorizationId, identity: &Identity) -> Vec<u8> {
    [&authorization.0.to_be_bytes(), identity.as_str().as_bytes()].concat()
}

impl Vault {
    /// Lets an authorization see a secret.
    pub async fn attach_secret(
        &self,
        caller: &Caller,
        id: AuthorizationId,
        secret: SecretId,
    ) -> Result<(), Error> {
        let operation = Operation::AttachSecret;
        let object = ObjectRef::new(ObjectKind::Authorization, id, "");
        let permission = Permission::AuthorizationsWrite;
        let permit = self
            .permit(caller, permission, operation, Some(object))
            .await?;
        let authorization = self.authorization(id).await?;
        if authorization.revoked_at.is_some() {
            return Err(Error::Conflict("the authorization is revoked".to_owned()));
        }
        let secret = self.secret(secret).await?;
        let there = self.attachment(id, &secret.identity).await?;
        if there
            .as_ref()
            .is_some_and(|there| there.secret == secret.id)
        {
            drop(
                self.act(
                    permit,
                    vec![caller.event(self, operation, authorization.object())],
                )
                .await?,
            );
            return Ok(());
        }
        let attachment = self
            .draft_attachment(id, &secret, &caller.operator.name)
            .await?;
        let set = replacing(there, ChangeSet::default()).create(self.records.encode(&attachment));
        let event = caller.event(self, operation, authorization.object());
        let act = self
            .act(permit, vec![event.with_change("secret", &secret.id)])
            .await?;
        match self.commit(act, set).await {
            // Somebody else attached it meanwhile.
            Err(Error::Conflict(_)) => Ok(()),
            result => result,
        }
    }

    /// Takes a secret from an authorization.
    pub async fn detach_secret(
        &self,
        caller: &Caller,
        id: AuthorizationId,
        secret: SecretId,
    ) -> Result<(), Error> {
        let operation = Operation::DetachSecret;
        let object = ObjectRef::new(ObjectKind::Authorization, id, "");
        let permission = Permission::AuthorizationsWrite;
        let permit = self
            .permit(caller, permission, operation, Some(object))
            .await?;
        let authorization = self.authorization(id).await?;
        let identity = self.secret(secret).await?.identity.clone();
        let Some(attachment) = self.attachment(id, &identity).await? else {
            return Err(Error::NotFound(ObjectKind::Secret));
        };
        let key = RecordKey::new(kind::ATTACHMENT, attachment.id);
        let set = ChangeSet::default().delete(key, attachment.revision);
        let event = caller.event(self, operation, authorization.object());
        let act = self
            .act(permit, vec![event.with_change("secret", &secret)])
            .await?;
        self.commit(act, set).await
    }

    /// The ids of the secrets that an authorization can see, in ascending order; for the
    /// output of an authorization that the caller was permitted to see.
    pub async fn attached_secrets(&self, id: AuthorizationId) -> Result<Vec<SecretId>, Error> {
        let found = self.attachments(AUTHORIZATION, id.0).await?;
        let mut ids: Vec<SecretId> = found.iter().map(|attachment| attachment.secret).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// The authorizations that can see a secret, in ascending order.
    pub(crate) async fn attached_to(
        &self,
        secret: SecretId,
    ) -> Result<Vec<AuthorizationId>, Error> {
        let found = self.attachments(SECRET, secret.0).await?;
        let mut ids: Vec<_> = found.iter().map(|it| it.authorization).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// What a decision needs to know of a secret that this authorization asks for.
    pub(crate) async fn target(
        &self,
        authorization: AuthorizationId,
        secret: &Stored<Secret>,
    ) -> Result<SecretTarget, Error> {
        let term = self.pair_term(authorization, &secret.identity);
        let found = self.records.cached_by(kind::ATTACHMENT, term).await?;
        Ok(target(secret, found.as_deref()))
    }

    /// The secret of this identity and what a decision needs to know of it, asking the store once.
    pub(crate) async fn secret_and_target(
        &self,
        authorization: AuthorizationId,
        identity: &Identity,
    ) -> Result<(Option<Arc<Stored<Secret>>>, Option<SecretTarget>), Error> {
        let (secret, attachment) = self
            .records
            .cached_both::<Secret, Attachment>(
                (kind::SECRET, self.identity_term(identity)),
                (kind::ATTACHMENT, self.pair_term(authorization, identity)),
            )
            .await?;
        let secret = self.of_identity(secret, identity)?;
        let target = secret
            .as_deref()
            .map(|secret| target(secret, attachment.as_deref()));
        Ok((secret, target))
    }

    fn pair_term(&self, authorization: AuthorizationId, identity: &Identity) -> Term {
        let pair = pair(authorization, identity);
        self.records.term(kind::ATTACHMENT, PAIR, pair)
    }

    /// As [`target`](Self::target), of a secret that may not be there.
    pub(crate) async fn target_of(
        &self,
        authorization: AuthorizationId,
        secret: Option<&Stored<Secret>>,
    ) -> Result<Option<SecretTarget>, Error> {
        match secret {
            Some(secret) => self.target(authorization, secret).await.map(Some),
            None => Ok(None),
        }
    }

    /// A new attachment, not committed yet.
    pub(crate) async fn draft_attachment(
        &self,
        authorization: AuthorizationId,
        secret: &Stored<Secret>,
        by: &str,
    ) -> Result<Stored<Attachment>, Error> {
        let attachment = Attachment {
            authorization,
            secret: secret.id,
            identity: secret.identity.clone(),
        };
        self.records.draft(attachment, by).await
    }

    /// Adds the changes that leave exactly these secrets attached, and tells them for the trail.
    pub(crate) async fn plan_attachments(
        &self,
        authorization: AuthorizationId,
        wanted: &[SecretId],
        by: &str,
        mut set: ChangeSet,
    ) -> Result<(ChangeSet, Vec<(Operation, SecretId)>), Error> {
        let mut told = Vec::new();
        let there = self.attachments(AUTHORIZATION, authorization.0).await?;
        for attachment in there.iter().filter(|there| !wanted.contains(&there.secret)) {
            let key = RecordKey::new(kind::ATTACHMENT, attachment.id);
            set = set.delete(key, attachment.revision);
            told.push((Operation::DetachSecret, attachment.secret));
        }
        for (index, secret) in wanted.iter().enumerate() {
            let doubled = wanted[..index].contains(secret);
            if !doubled && !there.iter().any(|there| there.secret == *secret) {
                let secret = self.secret(*secret).await?;
                let left = self.attachment(authorization, &secret.identity).await?;
                let attachment = self.draft_attachment(authorization, &secret, by).await?;
                set = replacing(left, set).create(self.records.encode(&attachment));
                told.push((Operation::AttachSecret, secret.id));
            }
        }
        Ok((set, told))
    }

    /// Adds the end of every attachment of a secret.
    pub(crate) async fn plan_detachments(
        &self,
        secret: SecretId,
        set: ChangeSet,
    ) -> Result<ChangeSet, Error> {
        let there = self.attachments(SECRET, secret.0).await?;
        Ok(there.into_iter().fold(set, |set, attachment| {
            set.delete(
                RecordKey::new(kind::ATTACHMENT, attachment.id),
                attachment.revision,
            )
        }))
    }

    async fn attachments(&self, field: &str, id: u64) -> Result<Vec<Stored<Attachment>>, Error> {
        let term = self.records.term(kind::ATTACHMENT, field, id.to_be_bytes());
        self.records
            .list_all(&Query::new(kind::ATTACHMENT).with(term))
            .await
    }

    pub(crate) async fn attachment(
        &self,
        authorization: AuthorizationId,
        identity: &Identity,
    ) -> Result<Option<Stored<Attachment>>, Error> {
        self.records
            .find_by(kind::ATTACHMENT, PAIR, pair(authorization, identity))
            .await
    }
}

/// Adds the end of an attachment that is in the way: one that was made while its secret was purged,
/// and which a secret of the same identity meets.
pub(crate) fn replacing(left: Option<Stored<Attachment>>, set: ChangeSet) -> ChangeSet {
    let Some(left) = left else { return set };
    let key = RecordKey::new(kind::ATTACHMENT, left.id);
    if set.records.iter().any(|change| change.key() == key) {
        return set;
    }
    set.delete(key, left.revision)
}

fn target(secret: &Stored<Secret>, attachment: Option<&Stored<Attachment>>) -> SecretTarget {
    let attached = attachment.filter(|attachment| attachment.secret == secret.id);
    SecretTarget {
        id: secret.id,
        attached_to: attached.map(|attachment| attachment.authorization),
        attachment: attached.map(|attachment| (attachment.id, attachment.revision)),
        enabled: secret.enabled,
        // Destroyed values are expired ones, whatever the metadata says.
        expires_at: match secret.destroyed_at {
            Some(_) => Some(Timestamp::MIN_UTC),
            None => secret.content.expires_at,
        },
    }
}

//! Leases of provisioned accounts, as operators see and end them.

mod entity;

pub(crate) use self::entity::{
    ACCOUNT, LIVE, LIVE_OF_AUTHORIZATION, LIVE_OF_PROFILE, LIVE_OF_SECRET, LIVE_OF_TARGET,
    account_key,
};
pub use self::entity::{AccountLease, LeaseEnd, LeaseFilter};
use self::entity::{OF_PROFILE, OF_TARGET};
use super::act::Caller;
use super::error::Error;
use super::provisioning::revocation_job;
use super::record::{Listing, Stored};
use super::secret::OF_SECRET;
use super::{Vault, kind};
use crate::access::Permission;
use crate::audit::{ObjectKind, ObjectRef, Operation};
use crate::id::{AuthorizationId, LeaseId, SecretId};
use crate::provision::LeaseEvent;
use crate::store::{ChangeSet, Page, Query};
use crate::time::Timestamp;

impl Vault {
    /// A page of leases, newest first.
    pub async fn list_leases(
        &self,
        caller: &Caller,
        filter: LeaseFilter,
        page: Page,
    ) -> Result<Listing<Stored<AccountLease>>, Error> {
        let (permission, operation) = (Permission::LeasesView, Operation::ViewLease);
        self.view(caller, permission, operation, None).await?;
        let term = |field, value: &[u8]| self.records.term(kind::LEASE, field, value);
        let mut query = Query::new(kind::LEASE);
        for (field, text) in [(OF_PROFILE, &filter.profile), (OF_TARGET, &filter.target)] {
            if let Some(text) = text {
                query = query.with(term(field, text.as_bytes()));
            }
        }
        if let Some(secret) = filter.secret {
            query = query.with(term(OF_SECRET, &secret.0.to_be_bytes()));
        }
        if let Some(live) = filter.live {
            query = query.with(term(LIVE, &[u8::from(live)]));
        }
        self.records.list(&query, page).await
    }

    /// One lease.
    pub async fn find_lease(
        &self,
        caller: &Caller,
        id: LeaseId,
    ) -> Result<Stored<AccountLease>, Error> {
        let object = ObjectRef::new(ObjectKind::Lease, id, "");
        let (permission, operation) = (Permission::LeasesView, Operation::ViewLease);
        self.view(caller, permission, operation, Some(object))
            .await?;
        self.lease(id).await
    }

    /// Ends a lease now: a worker removes its account, or tries again where that needed somebody. One
    /// that is over stays so.
    pub async fn revoke_lease(&self, caller: &Caller, id: LeaseId) -> Result<(), Error> {
        let operation = Operation::EndLease;
        let object = ObjectRef::new(ObjectKind::Lease, id, "");
        let permit = self
            .permit(caller, Permission::LeasesWrite, operation, Some(object))
            .await?;
        let old = self.lease(id).await?;
        let event = caller.event(self, operation, old.object());
        let act = self.act(permit, vec![event]).await?;
        if !old.progress.state.is_live() {
            return Ok(());
        }
        let by = &caller.operator.name;
        let set = self.plan_end(&old, LeaseEnd::Asked, by, ChangeSet::default());
        self.commit(act, set).await
    }

    pub(crate) async fn lease(&self, id: LeaseId) -> Result<Stored<AccountLease>, Error> {
        let found = self.records.find(kind::LEASE, id).await?;
        found.ok_or(Error::NotFound(ObjectKind::Lease))
    }

    /// The lease of an account, alive or past.
    pub(crate) async fn lease_of_account(
        &self,
        target: &str,
        account: &str,
    ) -> Result<Option<Stored<AccountLease>>, Error> {
        let key = account_key(target, account);
        self.records.find_by(kind::LEASE, ACCOUNT, key).await
    }

    /// Every lease that is alive and has this term.
    pub(crate) async fn live_leases(
        &self,
        field: &str,
        value: impl AsRef<[u8]>,
    ) -> Result<Vec<Stored<AccountLease>>, Error> {
        let term = self.records.term(kind::LEASE, field, value);
        let query = Query::new(kind::LEASE).with(term);
        self.records.list_all(&query).await
    }

    /// Adds that a lease is to end. An account that may still be made is not looked for before that
    /// is over.
    pub(crate) fn plan_end(
        &self,
        old: &Stored<AccountLease>,
        why: LeaseEnd,
        by: &str,
        set: ChangeSet,
    ) -> ChangeSet {
        let now = self.clock.now();
        let mut content = AccountLease::clone(old);
        content.progress = content.progress.after(LeaseEvent::Over);
        content.end.get_or_insert(why);
        content.try_at = None;
        let new = self.records.revise(old, content, by);
        set.update(self.records.encode(&new), old.revision)
            .put_job(revocation_job(old.id, now.max(old.made_until)))
    }

    /// Adds that workers look at the leases of an authorization now: it ends with this set.
    pub(crate) async fn plan_authorization_leases_end(
        &self,
        id: AuthorizationId,
        set: ChangeSet,
    ) -> Result<ChangeSet, Error> {
        let live = self.live_leases(LIVE_OF_AUTHORIZATION, id.0.to_be_bytes());
        Ok(look_at(&live.await?, self.clock.now(), set))
    }

    /// The same for the leases of a secret.
    pub(crate) async fn plan_secret_leases_end(
        &self,
        id: SecretId,
        set: ChangeSet,
    ) -> Result<ChangeSet, Error> {
        let live = self.live_leases(LIVE_OF_SECRET, id.0.to_be_bytes());
        Ok(look_at(&live.await?, self.clock.now(), set))
    }
}

/// Adds a job for each lease and leaves the leases as they are, so that nothing that happens to one
/// of them meanwhile stands in the way of the set. The worker sees itself whether they are over.
fn look_at(leases: &[Stored<AccountLease>], now: Timestamp, set: ChangeSet) -> ChangeSet {
    leases
        .iter()
        .fold(set, |set, lease| set.put_job(revocation_job(lease.id, now)))
}

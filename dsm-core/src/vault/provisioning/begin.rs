//! The beginning of leases: committed before the target hears of their accounts.

use std::collections::BTreeSet;

use chrono::TimeDelta;

use super::ProvisionFailure;
use super::plan::{Owner, Planned, check_plan};
use super::points;
use super::revoke::revocation_job;
use super::who::Who;
use crate::audit::Operation;
use crate::id::AuthorizationId;
use crate::provision::{AccountStem, LeaseProgress, account_name, stem_of};
use crate::secret::Secret;
use crate::store::ChangeSet;
use crate::vault::error::Error;
use crate::vault::lease::{AccountLease, LIVE_OF_AUTHORIZATION};
use crate::vault::record::Stored;
use crate::vault::{Vault, kind};

/// How long after the commit of a lease its account may come to be made: longer than it can take
/// whoever makes it.
pub(super) const MADE_WITHIN: TimeDelta = TimeDelta::seconds(90);

/// How often a place or a name is looked for that others take at the same time.
const TRIES: usize = 8;

const MARK: &str = "account mark";

impl Vault {
    /// Commits a lease for each item, with the job that removes its account. The inner error is that
    /// an authorization has as many as it may have.
    pub(super) async fn begin_leases(
        &self,
        who: Who<'_>,
        secret: &Stored<Secret>,
        items: &[Planned],
        owner: &Owner,
    ) -> Result<Result<Vec<Stored<AccountLease>>, ProvisionFailure>, Error> {
        for _ in 0..TRIES {
            let places = match owner.id() {
                Some(id) => {
                    let Some(places) = self.free_places(id, items.len()).await? else {
                        let most = self.options.leases_per_authorization;
                        let message = format!(
                            "the authorization has accounts that live, and may have {most}"
                        );
                        let profile = &items[0].profile.identifier;
                        return Ok(Err(ProvisionFailure::refused(profile, "plan", message)));
                    };
                    places.into_iter().map(Some).collect()
                }
                None => vec![None; items.len()],
            };
            let mut leases = Vec::with_capacity(items.len());
            for (item, place) in items.iter().zip(places) {
                let lease = self.new_lease(secret, item, owner.id(), place);
                leases.push(self.records.draft(lease, &who.name()).await?);
            }
            let mut set = owner.check(check_plan(secret, items, ChangeSet::default()));
            let mut events = Vec::with_capacity(leases.len());
            for lease in &leases {
                set = set
                    .create(self.records.encode(lease))
                    .put_job(revocation_job(lease.id, lease.made_until));
                let event = who.event(self, Operation::CreateLease, lease.object());
                events.push(
                    event
                        .with_change("profile", &lease.profile)
                        .with_change("target", &lease.target)
                        .with_change("secret", &secret.id),
                );
            }
            who.check()?;
            self.fail_point(points::BEFORE_LEASE).await;
            let act = self.act_for(who, secret, events).await?;
            match self.commit(act, set).await {
                Ok(()) => {
                    self.fail_point(points::AFTER_LEASE).await;
                    return Ok(Ok(leases));
                }
                // Somebody else took the place, or the name, at the same time.
                Err(Error::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Stale)
    }

    fn new_lease(
        &self,
        secret: &Stored<Secret>,
        item: &Planned,
        authorization: Option<AuthorizationId>,
        place: Option<u32>,
    ) -> AccountLease {
        let now = self.clock.now();
        let profile = &item.profile;
        let random = u32::from_be_bytes(self.entropy.array());
        let stem = AccountStem::new(&profile.identifier, random);
        AccountLease {
            profile: profile.identifier.clone(),
            kind: profile.kind,
            target: profile.target.clone(),
            account: account_name(&stem, self.account_mark(&profile.target, &stem)),
            secret: secret.id,
            authorization,
            place,
            progress: LeaseProgress::START,
            expires_at: now + TimeDelta::seconds(profile.ttl.seconds().into()),
            made_until: now + MADE_WITHIN,
            removal: profile.removal_template.clone(),
            served_at: None,
            end: None,
            try_at: None,
            tried: Vec::new(),
            ended_at: None,
        }
    }

    /// So many places of an authorization that no lease takes; none if there are not as many.
    async fn free_places(
        &self,
        id: AuthorizationId,
        count: usize,
    ) -> Result<Option<Vec<u32>>, Error> {
        let live = self
            .live_leases(LIVE_OF_AUTHORIZATION, id.0.to_be_bytes())
            .await?;
        let most = self.options.leases_per_authorization.get();
        // One whose account was found after its end counts as well, without a place.
        let without = live.iter().filter(|lease| lease.place.is_none()).count();
        let taken: BTreeSet<u32> = live.iter().filter_map(|lease| lease.place).collect();
        let free = (0..most).filter(|place| !taken.contains(place));
        let free: Vec<u32> = free.skip(without).take(count).collect();
        Ok((free.len() == count).then_some(free))
    }

    /// What marks an account of this stem on this target as made by this vault.
    fn account_mark(&self, target: &str, stem: &AccountStem) -> [u8; 16] {
        let text = format!("{target}\0{}", stem.as_str());
        self.records.term(kind::LEASE, MARK, text).0
    }

    /// Whether this vault made an account of this name by a profile on a target.
    pub(super) fn is_own_account(&self, target: &str, identifier: &str, name: &str) -> bool {
        stem_of(identifier, name)
            .is_some_and(|stem| account_name(&stem, self.account_mark(target, &stem)) == name)
    }
}

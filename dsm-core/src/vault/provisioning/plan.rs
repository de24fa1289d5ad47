//! What is to be made for a secret: which of its items want an account, by which profile.

use std::collections::BTreeMap;

use super::ProvisionFailure;
use super::who::Who;
use crate::access::Authorization;
use crate::id::AuthorizationId;
use crate::provision::{LeaseState, Profile, host_of};
use crate::renewal::schedule::next_due;
use crate::secret::{EphemeralCredential, RenewalInterval, Secret, SecretData};
use crate::store::{ChangeSet, RecordKey};
use crate::time::Timestamp;
use crate::vault::error::Error;
use crate::vault::lease::AccountLease;
use crate::vault::profile::lacks;
use crate::vault::record::Stored;
use crate::vault::target::TargetEntry;
use crate::vault::{Vault, kind};

/// Which items get a new account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// All of them.
    All,
    /// Those without an account that lives.
    Missing,
    /// Those, and those whose account was made an interval ago.
    Due(RenewalInterval),
}

/// An item that gets an account.
#[derive(Debug)]
pub(super) struct Planned {
    /// Where it was found in the secret; none for one that is to be added.
    pub(super) index: Option<usize>,
    /// Where it shall be valid, if that was said.
    pub(super) host: Option<String>,
    pub(super) profile: Stored<Profile>,
    pub(super) target: Stored<TargetEntry>,
    /// The authorization that the account of before counted for.
    pub(super) owner_before: Option<AuthorizationId>,
}

/// What is to be made, and what cannot be.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) items: Vec<Planned>,
    pub(super) failures: Vec<ProvisionFailure>,
    /// When the first of the others is due.
    pub(super) again_at: Option<Timestamp>,
}

/// What is to be done for one item.
enum Found {
    Make(Box<Planned>),
    /// Its account lasts, until it is due if there is a timer.
    Lasts(Option<Timestamp>),
}

/// For whom a lease counts.
#[derive(Debug)]
pub(super) enum Owner {
    /// This authorization, as it was read unless its client asks itself.
    Authorization(AuthorizationId, Option<u64>),
    /// Nobody: no authorization can see the secret.
    Nobody,
    /// None of those that could see the secret is in force any more.
    Over,
}

impl Vault {
    /// Looks at every ephemeral item of a secret, and at those that are to be added.
    pub(super) async fn plan_items(
        &self,
        data: &SecretData,
        added: &[EphemeralCredential],
        which: Which,
    ) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let there = data.ephemeral_credentials.iter().enumerate();
        let there = there.map(|(index, item)| (Some(index), item));
        let new = added.iter().filter(|new| {
            let mut there = data.ephemeral_credentials.iter();
            !there.any(|item| is_same_place(item, &new.profile, new.credential.host.as_deref()))
        });
        for (index, item) in there.chain(new.map(|item| (None, item))) {
            match self.plan_item(index, item, which).await? {
                Ok(Found::Make(planned)) => plan.items.push(*planned),
                Ok(Found::Lasts(at)) => {
                    plan.again_at = plan.again_at.into_iter().chain(at).min();
                }
                Err(failure) => plan.failures.push(failure),
            }
        }
        Ok(plan)
    }

    async fn plan_item(
        &self,
        index: Option<usize>,
        item: &EphemeralCredential,
        which: Which,
    ) -> Result<Result<Found, ProvisionFailure>, Error> {
        let name = &item.profile;
        let refused = |message: String| Ok(Err(ProvisionFailure::refused(name, "plan", message)));
        let Some(profile) = self.profile_named(name).await? else {
            return refused(format!("there is no profile {name}"));
        };
        let before = match &item.credential.user {
            Some(account) => self.lease_of_account(&profile.target, account).await?,
            None => None,
        };
        if let Some(lease) = before.as_ref().filter(|lease| self.lasts(lease, which)) {
            let due_at = match which {
                Which::Due(interval) => Some(next_due(lease.created_at, interval, self.chance())),
                Which::All | Which::Missing => None,
            };
            return Ok(Ok(Found::Lasts(due_at)));
        }
        if !profile.enabled {
            return refused(format!("the profile {name} is disabled"));
        }
        let Some(target) = self.target_named(&profile.target).await? else {
            let message = format!("there is no target {} any more", profile.target);
            return refused(message);
        };
        if !target.enabled {
            let message = format!(
                "the target {} of the profile {name} is disabled",
                target.name
            );
            return refused(message);
        }
        let provider = self.providers.find(&target.provider).map(AsRef::as_ref);
        if let Some(lack) = lacks(provider, profile.kind) {
            return refused(format!("the target {}: {lack}", target.name));
        }
        let host = item.credential.host.clone();
        // Where an account was made the host is what the target's address was then.
        let host =
            host.filter(|host| !item.is_provisioned() || host.eq_ignore_ascii_case(&target.name));
        if let Some(host) = &host
            && !host.eq_ignore_ascii_case(&target.name)
            && !host.eq_ignore_ascii_case(host_of(&target.address))
        {
            // The admin credential goes where an operator said, not where an item says.
            return refused(format!("the profile {name} is not of the device {host}"));
        }
        Ok(Ok(Found::Make(Box::new(Planned {
            index,
            host,
            profile,
            target,
            owner_before: before.and_then(|lease| lease.authorization),
        }))))
    }

    /// Whether an account need not be replaced yet.
    fn lasts(&self, lease: &Stored<AccountLease>, which: Which) -> bool {
        let now = self.clock.now();
        let lives = lease.progress.state == LeaseState::Active && now < lease.content.expires_at;
        lives
            && match which {
                Which::All => false,
                Which::Missing => true,
                Which::Due(interval) => now < next_due(lease.created_at, interval, u64::MAX),
            }
    }

    /// For whom the leases of a secret count: for the client that asks, or else for whom they counted
    /// before, or for the first authorization that can see the secret.
    pub(super) async fn owner_of(
        &self,
        who: Who<'_>,
        secret: &Stored<Secret>,
        items: &[Planned],
    ) -> Result<Owner, Error> {
        if let Who::Client { principal, .. } = who {
            return Ok(Owner::Authorization(principal.authorization_id(), None));
        }
        let before = items.iter().filter_map(|item| item.owner_before);
        let candidates: Vec<_> = before.chain(self.attached_to(secret.id).await?).collect();
        for id in &candidates {
            let found: Option<Stored<Authorization>> =
                self.records.find(kind::AUTHORIZATION, *id).await?;
            if let Some(found) = found.filter(|it| it.is_in_force(self.clock.now())) {
                return Ok(Owner::Authorization(found.id, Some(found.revision)));
            }
        }
        Ok(if candidates.is_empty() {
            Owner::Nobody
        } else {
            Owner::Over
        })
    }
}

impl Owner {
    pub(super) fn id(&self) -> Option<AuthorizationId> {
        match self {
            Self::Authorization(id, _) => Some(*id),
            Self::Nobody | Self::Over => None,
        }
    }

    /// Adds that it is still what it was; who asks itself is checked by its permit.
    pub(super) fn check(&self, set: ChangeSet) -> ChangeSet {
        match self {
            Self::Authorization(id, Some(revision)) => {
                set.check_at(RecordKey::new(kind::AUTHORIZATION, *id), *revision)
            }
            Self::Authorization(_, None) | Self::Nobody | Self::Over => set,
        }
    }
}

/// Adds that profiles, targets and the secret are still what they were.
pub(super) fn check_plan(secret: &Stored<Secret>, items: &[Planned], set: ChangeSet) -> ChangeSet {
    let mut checks = BTreeMap::from([(RecordKey::new(kind::SECRET, secret.id), secret.revision)]);
    for item in items {
        checks.insert(
            RecordKey::new(kind::PROFILE, item.profile.id),
            item.profile.revision,
        );
        checks.insert(
            RecordKey::new(kind::TARGET, item.target.id),
            item.target.revision,
        );
    }
    checks
        .into_iter()
        .fold(set, |set, (key, revision)| set.check_at(key, revision))
}

/// Whether an item is of this profile, and of this device where one is named.
pub(super) fn is_same_place(item: &EphemeralCredential, profile: &str, host: Option<&str>) -> bool {
    let there = item.credential.host.as_deref();
    let same = |(there, host): (&str, &str)| there.eq_ignore_ascii_case(host);
    item.profile == profile && there.zip(host).is_none_or(same)
}

//! What is kept of a lease.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::audit::{ObjectKind, ObjectRef};
use crate::id::{AuthorizationId, LeaseId, SecretId};
use crate::provider::Template;
use crate::provision::{LeaseProgress, ProfileKind};
use crate::store::Kind;
use crate::time::Timestamp;
use crate::vault::kind;
use crate::vault::record::{Entity, Stored, Terms};
use crate::vault::rotation::Tried;
use crate::vault::secret::OF_SECRET;

pub(crate) const ACCOUNT: &str = "account";
pub(crate) const LIVE: &str = "live";
pub(crate) const LIVE_OF_AUTHORIZATION: &str = "live_of_authorization";
pub(crate) const LIVE_OF_PROFILE: &str = "live_of_profile";
pub(crate) const LIVE_OF_SECRET: &str = "live_of_secret";
pub(crate) const LIVE_OF_TARGET: &str = "live_of_target";
pub(super) const OF_PROFILE: &str = "profile";
pub(super) const OF_TARGET: &str = "target";
const PLACE: &str = "place";

/// How much of what was tried is kept.
const TRIED: usize = 20;
/// How long a lease is kept when it is over.
const KEPT: TimeDelta = TimeDelta::days(30);

/// The lease of an account that was made on a target to live for a while. What it needs to end is
/// fixed before the account is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountLease {
    /// By which profile, by its identifier.
    pub profile: String,
    /// What was made.
    pub kind: ProfileKind,
    /// On which target, by name.
    pub target: String,
    /// The account.
    pub account: String,
    /// The secret that serves it, or served it.
    pub secret: SecretId,
    /// The authorization that it counts for, if it counts for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<AuthorizationId>,
    /// Which of the authorization's places it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<u32>,
    /// Where it is.
    pub progress: LeaseProgress,
    /// When the account ends.
    pub expires_at: Timestamp,
    /// Until when its account may come to be made; nobody removes it before.
    pub(crate) made_until: Timestamp,
    /// How the account is removed, in place of the provider's own way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) removal: Option<Template>,
    /// When readers came to be served the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_at: Option<Timestamp>,
    /// Why it ends before its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<LeaseEnd>,
    /// When removing the account is tried again, after a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub try_at: Option<Timestamp>,
    /// What failed, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<Tried>,
    /// When the account was gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// Why a lease ends before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LeaseEnd {
    /// Its account did not come to be served.
    GivenUp,
    /// An operator asked for it.
    Asked,
    /// A client gave it back.
    Deprovisioned,
    /// Another account is served in its place.
    Replaced,
    /// Its authorization or its secret ended.
    OwnerEnded,
}

/// Which leases to list.
#[derive(Debug, Clone, Default)]
pub struct LeaseFilter {
    /// Of this profile, by its identifier.
    pub profile: Option<String>,
    /// Of this target, by its name.
    pub target: Option<String>,
    /// Of this secret.
    pub secret: Option<SecretId>,
    /// Those that are alive, or those that are past.
    pub live: Option<bool>,
}

impl Entity for AccountLease {
    type Id = LeaseId;

    fn kind(&self) -> Kind {
        kind::LEASE
    }

    fn terms(&self, terms: &mut Terms<'_>) {
        let live = self.progress.state.is_live();
        terms.unique(ACCOUNT, account_key(&self.target, &self.account));
        terms.plain(OF_PROFILE, &self.profile);
        terms.plain(OF_TARGET, &self.target);
        terms.plain(OF_SECRET, self.secret.0.to_be_bytes());
        terms.plain(LIVE, [u8::from(live)]);
        if !live {
            return;
        }
        terms.plain(LIVE_OF_PROFILE, &self.profile);
        terms.plain(LIVE_OF_TARGET, &self.target);
        terms.plain(LIVE_OF_SECRET, self.secret.0.to_be_bytes());
        if let Some(authorization) = self.authorization {
            terms.plain(LIVE_OF_AUTHORIZATION, authorization.0.to_be_bytes());
            if let Some(place) = self.place {
                // No more leases live than there are places, however many are asked for at once.
                let place = place.to_be_bytes();
                terms.unique(PLACE, [&authorization.0.to_be_bytes()[..], &place].concat());
            }
        }
    }

    fn expires_at(&self) -> Option<Timestamp> {
        self.ended_at.map(|at| at + KEPT)
    }
}

/// Names an account on a target.
pub(crate) fn account_key(target: &str, account: &str) -> String {
    format!("{target}\0{account}")
}

impl AccountLease {
    /// Forgets an end that was not one: its account was made after all. Its place may be another's.
    pub(crate) fn reopen(&mut self) {
        if self.ended_at.take().is_some() {
            self.place = None;
        }
    }

    /// Adds a failure; the oldest is forgotten when there are many.
    pub(crate) fn note(&mut self, tried: Tried) {
        if self.tried.len() >= TRIED {
            self.tried.remove(0);
        }
        self.tried.push(tried);
    }
}

impl Stored<AccountLease> {
    pub(crate) fn object(&self) -> ObjectRef {
        ObjectRef::new(ObjectKind::Lease, self.id, &self.account)
    }
}

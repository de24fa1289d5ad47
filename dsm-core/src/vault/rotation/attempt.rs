//! What is kept of a rotation.

use std::time::Duration;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::id::{AttemptId, SecretId};
use crate::renewal::{Failure, Progress, Settle};
use crate::secret::ManagedItem;
use crate::store::Kind;
use crate::time::Timestamp;
use crate::vault::kind;
use crate::vault::record::{Entity, Terms};
use crate::vault::secret::OF_SECRET;

/// Of an item: at most one attempt that is not over has it.
pub(super) const OPEN: &str = "open";
/// Of an item: every attempt has it.
pub(super) const ITEM: &str = "item";

/// How much of what was tried is kept.
const TRIED: usize = 20;
/// How long an attempt is kept when it is over, besides two intervals of its timer.
const KEPT: TimeDelta = TimeDelta::days(30);
/// In place of two intervals, where no timer is on.
const KEPT_WITHOUT_TIMER: TimeDelta = TimeDelta::days(366);

/// One rotation of one credential. The candidate is sealed beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Of which secret.
    pub secret: SecretId,
    /// Of which of its items, as it was when the attempt began.
    pub item: ManagedItem,
    /// Why.
    pub cause: Cause,
    /// Where it is.
    pub progress: Progress,
    /// How, and where: fixed when the candidate is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// The overlap that was asked for, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap_seconds: Option<u64>,
    /// When it is tried again, after a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub try_at: Option<Timestamp>,
    /// When the candidate came to be served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion: Option<Promotion>,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Until when it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_until: Option<Timestamp>,
    /// How an operator settled it, until a worker has seen to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle: Option<Settle>,
    /// Whether another one begins as soon as this one is over.
    #[serde(default)]
    pub again: bool,
    /// What failed, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<Tried>,
}

/// Why a credential is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "RotationCause")
)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Its timer.
    Timer,
    /// Somebody asked for it.
    Request,
}

/// How a credential is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "RotationMethod")
)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The one account is changed. Between the change and the promotion neither password is sure to
    /// be the one that readers hold.
    InPlace,
    /// The account that is not served is changed, and served then.
    TwoAccounts,
    /// A second key of the account is made, and served then.
    TwoKeys,
}

/// What an attempt does, and on which host: neither changes on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// How.
    pub method: Method,
    /// The provider of the target.
    pub provider: String,
    /// The address of the target.
    pub address: String,
    /// The account that is changed.
    pub account: String,
    /// The keys that the account had, so that one which nobody knows is known as such.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known_keys: Vec<String>,
    /// The key that is served now, to be retired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_key: Option<String>,
    /// The key that shall be served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_key: Option<String>,
}

/// A promotion that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Promotion {
    /// The version that serves the candidate.
    pub version: u64,
    /// When.
    pub at: Timestamp,
    /// When the old one is retired.
    pub retire_at: Timestamp,
    /// In place: for how many milliseconds, as measured by the worker that changed it, it was not
    /// certain which password logs in. None where another worker took over in between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_ms: Option<u64>,
}

/// Something that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "RotationFailure")
)]
pub struct Tried {
    /// When.
    pub at: Timestamp,
    /// What was being done.
    pub step: String,
    /// How it failed; none where the target answered and nothing logged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// What the target said, without values.
    pub message: String,
}

impl Entity for Attempt {
    type Id = AttemptId;

    fn kind(&self) -> Kind {
        kind::ATTEMPT
    }

    fn terms(&self, terms: &mut Terms<'_>) {
        terms.plain(OF_SECRET, self.secret.0.to_be_bytes());
        terms.plain(ITEM, item_key(self.secret, &self.item));
        if !self.progress.state.is_over() {
            terms.unique(OPEN, self.item.key());
        }
    }

    fn expires_at(&self) -> Option<Timestamp> {
        self.kept_until
    }
}

pub(super) fn item_key(secret: SecretId, item: &ManagedItem) -> Vec<u8> {
    [&secret.0.to_be_bytes(), item.key().as_bytes()].concat()
}

impl Attempt {
    pub(super) fn new(secret: SecretId, item: ManagedItem, cause: Cause) -> Self {
        Self {
            secret,
            item,
            cause,
            progress: Progress::START,
            plan: None,
            overlap_seconds: None,
            try_at: None,
            promotion: None,
            ended_at: None,
            kept_until: None,
            settle: None,
            again: false,
            tried: Vec::new(),
        }
    }

    /// Adds a failure; the oldest is forgotten when there are many.
    pub(super) fn note(&mut self, tried: Tried) {
        if self.tried.len() >= TRIED {
            self.tried.remove(0);
        }
        self.tried.push(tried);
    }

    /// Marks the end.
    pub(super) fn end(&mut self, now: Timestamp, interval: Option<Duration>) {
        let longer = interval.and_then(|interval| TimeDelta::from_std(interval * 2).ok());
        self.try_at = None;
        self.settle = None;
        self.ended_at = Some(now);
        self.kept_until = Some(now + KEPT + longer.unwrap_or(KEPT_WITHOUT_TIMER));
    }
}

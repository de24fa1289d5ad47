//! Making the account of a lease, and trying it.

use std::time::Duration;

use tokio::time::Instant;

use super::ProvisionFailure;
use super::plan::Planned;
use super::points;
use super::who::Who;
use crate::audit::Receipt;
use crate::provider::{Key, Keys, LogIn, NewAccount, ProviderError};
use crate::provision::{ProfileKind, host_of};
use crate::secret::{AccessKey, CloudProvider, Credential, EphemeralCredential, SecretText};
use crate::vault::Vault;
use crate::vault::error::Error;
use crate::vault::lease::AccountLease;
use crate::vault::record::Stored;
use crate::vault::target::Reach;

/// How long after the commit of its lease the target is asked for an account at the latest. It
/// answers within ten seconds.
const BEGIN_WITHIN: Duration = Duration::from_secs(30);
/// For how long a new access key is tried: clouds take a while to know it everywhere.
const TRY_FOR: Duration = Duration::from_secs(20);
/// The pause between two tries.
const PAUSE: Duration = Duration::from_secs(2);

/// An account that was made and logs in, on its way to being served.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) item: Planned,
    pub(super) lease: Stored<AccountLease>,
    pub(super) proof: Proof,
}

/// What proves that somebody may use the account.
#[derive(Debug)]
pub(super) enum Proof {
    Password(SecretText),
    Key(Key),
}

/// What was served where an account is served now.
#[derive(Debug)]
pub(super) struct Before {
    pub(super) target: String,
    pub(super) account: Option<String>,
}

/// The result of a call, or the end of this account with a failure.
macro_rules! done {
    ($profile:expr, $step:literal, $result:expr) => {
        match $result {
            Ok(done) => done,
            Err(error) => return Ok(Err(ProvisionFailure::new($profile, $step, &error))),
        }
    };
}

impl Vault {
    /// Makes the account of a lease. It exists at most as long as the lease does.
    pub(super) async fn make_account(
        &self,
        who: Who<'_>,
        item: &Planned,
        lease: &Stored<AccountLease>,
        since: Instant,
        receipt: &Receipt,
    ) -> Result<Result<Proof, ProvisionFailure>, Error> {
        let profile = &item.profile.identifier;
        let reach = done!(profile, "reach", self.reach(&item.target, receipt).await?);
        let until = since + BEGIN_WITHIN;
        let bound = self.options.rotations_per_target.get();
        let turn = loop {
            if let Some(turn) = self.turns.take(&item.target.name, bound).await {
                break turn;
            }
            if Instant::now() >= until {
                let busy = ProviderError::Unavailable("the target is busy".to_owned());
                return Ok(Err(ProvisionFailure::new(profile, "reach", &busy)));
            }
        };
        let Some(accounts) = reach.provider.accounts() else {
            let message = "its provider makes no accounts";
            return Ok(Err(ProvisionFailure::refused(profile, "reach", message)));
        };
        let password = match lease.kind {
            ProfileKind::Credential => Some(reach.policy.password(&*self.entropy)),
            ProfileKind::Cloud => None,
        };
        let account = NewAccount {
            name: &lease.account,
            password: password.as_ref(),
            roles: item.profile.grants(),
            expires_at: Some(lease.content.expires_at),
            template: item.profile.creation_template.as_ref(),
        };
        self.fail_point(points::BEFORE_CREATE).await;
        who.check()?;
        if Instant::now() >= until {
            // Whoever was stopped for a while makes nothing that was given up meanwhile.
            let late = ProviderError::Unavailable("the account was not made in time".to_owned());
            return Ok(Err(ProvisionFailure::new(profile, "create account", &late)));
        }
        let create = accounts.create_account(&reach.target, &account);
        let values: Vec<&SecretText> = password.iter().collect();
        let created = reach.ask(true, &values, create).await;
        self.fail_point(points::AFTER_CREATE).await;
        done!(profile, "create account", created);
        let proof = if let Some(password) = password {
            Proof::Password(password)
        } else {
            let Some(Keys::Issued(keys)) = reach.provider.keys() else {
                let message = "its provider issues no access keys";
                return Ok(Err(ProvisionFailure::refused(
                    profile,
                    "issue key",
                    message,
                )));
            };
            let issue = keys.issue_key(&reach.target, &lease.account);
            let issued = reach.ask(true, &[], issue).await;
            Proof::Key(done!(profile, "issue key", issued))
        };
        self.fail_point(points::BEFORE_CHECK).await;
        let answer = try_account(&reach, &lease.account, &proof).await;
        self.fail_point(points::AFTER_CHECK).await;
        drop(turn);
        Ok(match done!(profile, "log in", answer) {
            LogIn::Accepted => Ok(proof),
            LogIn::Rejected => {
                let message = "the account that was made does not log in";
                Err(ProvisionFailure::refused(profile, "log in", message))
            }
        })
    }
}

/// Logs in; with a key that was just issued again and again for a while.
async fn try_account(reach: &Reach, account: &str, proof: &Proof) -> Result<LogIn, ProviderError> {
    let none = || ProviderError::Refused("its provider logs in with nothing".to_owned());
    let target = &reach.target;
    match proof {
        Proof::Password(password) => {
            let passwords = reach.provider.passwords().ok_or_else(none)?;
            let log_in = passwords.log_in(target, account, password);
            reach.ask(false, &[password], log_in).await
        }
        Proof::Key(key) => {
            let keys = reach.provider.keys().ok_or_else(none)?;
            let until = Instant::now() + TRY_FOR;
            loop {
                let log_in = keys.common().log_in(target, account, key);
                let answer = reach.ask(false, &[&key.secret], log_in).await?;
                if answer == LogIn::Accepted || Instant::now() + PAUSE >= until {
                    return Ok(answer);
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

impl Made {
    /// Puts the account where its item is, or adds the item; none if there was one and is none any
    /// more. Gives the account that was served there before.
    pub(super) fn serve(&self, items: &mut Vec<EphemeralCredential>) -> Option<Before> {
        let profile = &self.item.profile;
        let host = self.item.host.as_deref();
        let fits = |item: &EphemeralCredential| {
            super::plan::is_same_place(item, &profile.identifier, host)
        };
        let index = match self.item.index {
            Some(index) if items.get(index).is_some_and(fits) => index,
            Some(_) => items.iter().position(fits)?,
            None => items.iter().position(fits).unwrap_or_else(|| {
                items.push(EphemeralCredential {
                    profile: profile.identifier.clone(),
                    ..EphemeralCredential::default()
                });
                items.len() - 1
            }),
        };
        let item = &mut items[index];
        let before = Before {
            target: profile.target.clone(),
            account: item.credential.user.take(),
        };
        let here = host_of(&self.item.target.address).to_owned();
        let labels = std::mem::take(&mut item.credential.labels);
        let (password, access_key) = match &self.proof {
            Proof::Password(password) => (Some(password.duplicate()), None),
            Proof::Key(key) => (None, Some(self.access_key(key))),
        };
        item.credential = Credential {
            host: Some(self.item.host.clone().unwrap_or(here)),
            user: Some(self.lease.account.clone()),
            password,
            labels,
            ..Credential::default()
        };
        item.access_key = access_key;
        item.ttl = Some(profile.ttl.seconds().into());
        Some(before)
    }

    fn access_key(&self, key: &Key) -> AccessKey {
        AccessKey {
            provider: CloudProvider::Aws,
            access_key_id: Some(key.id.clone()),
            secret_access_key: Some(key.secret.duplicate()),
            ttl: Some(self.item.profile.ttl.seconds().into()),
            access_key_id_label: None,
            secret_access_key_label: None,
            managed: None,
        }
    }
}

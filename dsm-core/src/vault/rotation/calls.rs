//! The effects on a target, each with what became of it as an event.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::attempt::{Method, Plan};
use super::candidate::Credential;
use super::drive::Run;
use super::held::Held;
use super::points;
use crate::provider::{AccountKeys, Keys, LogIn, ProviderError};
use crate::renewal::{Event, Found, step};
use crate::secret::{ItemKind, SecretText};
use crate::store::{ChangeSet, RecordKey};
use crate::vault::error::Error;
use crate::vault::target::Reach;
use crate::vault::{Vault, kind};

/// The reach of a run, or the end of this effect with a failure.
macro_rules! reached {
    ($vault:ident, $run:ident, $doing:literal) => {
        match $vault.reached($run).await? {
            Ok(reach) => reach,
            Err(error) => return Ok($run.fail($vault.clock.now(), $doing, &error)),
        }
    };
}

/// What a call gave, or the end of this effect with a failure.
macro_rules! done {
    ($vault:ident, $run:ident, $doing:literal, $call:expr) => {
        match $call.await {
            Ok(done) => done,
            Err(error) => return Ok($run.fail($vault.clock.now(), $doing, &error)),
        }
    };
}

fn refused(message: &str) -> ProviderError {
    ProviderError::Refused(message.to_owned())
}

fn keys_of(reach: &Reach) -> Result<Keys<'_>, ProviderError> {
    let keys = reach.provider.keys();
    keys.ok_or_else(|| refused("the provider of this target manages no keys"))
}

impl Vault {
    /// Prepares a candidate and commits it.
    pub(super) async fn plan(&self, held: &Held, run: &mut Run) -> Result<Event, Error> {
        let reach = reached!(self, run, "plan");
        let item = run.attempt.item.clone();
        if !run.secret.managed.iter().any(|other| other.is_same(&item)) {
            let gone = refused("the secret has no such item any more");
            return Ok(run.fail(self.clock.now(), "plan", &gone));
        }
        // Which of two accounts is served may have changed since this was asked for.
        let served = run.secret.managed.iter().find(|other| other.is_same(&item));
        let item = served.cloned().unwrap_or(item);
        if item
            .accounts()
            .any(|account| account == reach.target.admin.user)
        {
            let same = refused("the target needs an admin credential of another account");
            return Ok(run.fail(self.clock.now(), "plan", &same));
        }
        let mut plan = Plan {
            method: Method::InPlace,
            provider: self.provider_of(run).await?,
            address: reach.target.address.clone(),
            account: item.user.clone(),
            known_keys: Vec::new(),
            old_key: None,
            new_key: None,
        };
        let candidate = if item.kind == ItemKind::Credential {
            if reach.provider.passwords().is_none() {
                let none = refused("the provider of this target changes no passwords");
                return Ok(run.fail(self.clock.now(), "plan", &none));
            }
            if let Some(pair) = &item.pair_user {
                plan.method = Method::TwoAccounts;
                plan.account.clone_from(pair);
            }
            let password = reach.policy.password(&*self.entropy);
            let account = plan.account.clone();
            Some(Credential::Password { account, password })
        } else {
            plan.method = Method::TwoKeys;
            let current = self.current(run)?;
            match self.plan_key(run, &reach, &mut plan, current).await? {
                Ok(candidate) => candidate,
                Err(error) => return Ok(run.fail(self.clock.now(), "plan", &error)),
            }
        };
        run.attempt.item = item;
        run.attempt.plan = Some(plan);
        run.candidate = candidate;
        let before = run.attempt.progress;
        (run.attempt.progress, _) = step(before, Event::Planned);
        run.attempt.try_at = None;
        self.fail_point(points::BEFORE_PLAN).await;
        let secret = RecordKey::new(kind::SECRET, run.secret.id);
        let set = ChangeSet::default().check_at(secret, run.secret.revision);
        self.keep(held, run, set).await?;
        self.fail_point(points::AFTER_PLAN).await;
        run.attempt.progress = before;
        Ok(Event::Planned)
    }

    /// The part of a plan that keys have: which there are, and room for another.
    async fn plan_key(
        &self,
        run: &Run,
        reach: &Reach,
        plan: &mut Plan,
        current: Option<Credential>,
    ) -> Result<Result<Option<Credential>, ProviderError>, Error> {
        let keys = match keys_of(reach) {
            Ok(keys) => keys,
            Err(error) => return Ok(Err(error)),
        };
        plan.old_key = match &current {
            Some(Credential::Key { key, .. }) => match keys {
                Keys::Installed(keys) => keys.key_id(key),
                Keys::Issued(_) => Some(key.id.clone()),
            },
            _ => None,
        };
        self.fail_point(points::BEFORE_LIST).await;
        let listed = keys.common().list_keys(&reach.target, &plan.account);
        let mut listed = match reach.ask(false, &[], listed).await {
            Ok(listed) => listed,
            Err(error) => return Ok(Err(error)),
        };
        self.fail_point(points::AFTER_LIST).await;
        // What the last rotation deactivated takes up room.
        let spare = self.retired_key(run).await?;
        let spare = spare.filter(|id| {
            plan.old_key.as_ref() != Some(id)
                && listed.iter().any(|key| key.id == *id && !key.active)
        });
        if let Some(id) = spare {
            let deleted = keys.common().delete_key(&reach.target, &plan.account, &id);
            if let Err(error) = reach.ask(true, &[], deleted).await {
                return Ok(Err(error));
            }
            listed.retain(|key| key.id != id);
        }
        plan.known_keys = listed.into_iter().map(|key| key.id).collect();
        Ok(Ok(match keys {
            Keys::Installed(keys) => {
                let key = keys.draft_key(&plan.account, &*self.entropy);
                plan.new_key = Some(key.id.clone());
                let account = plan.account.clone();
                Some(Credential::Key { account, key })
            }
            Keys::Issued(_) => None,
        }))
    }

    /// The key that the last rotation of this item retired.
    async fn retired_key(&self, run: &Run) -> Result<Option<String>, Error> {
        let attempts = self
            .attempts_of(run.attempt.secret, &run.attempt.item, 5)
            .await?;
        let retired = attempts
            .into_iter()
            .find(|attempt| attempt.id != run.stored.id && attempt.promotion.is_some());
        Ok(retired.and_then(|attempt| attempt.plan.as_ref()?.old_key.clone()))
    }

    async fn provider_of(&self, run: &Run) -> Result<String, Error> {
        let target = self.target_named(&run.attempt.item.target).await?;
        Ok(target
            .map(|target| target.provider.clone())
            .unwrap_or_default())
    }

    /// Finds out where a rotation is that another worker, or an earlier try, left.
    pub(super) async fn probe(&self, held: &Held, run: &mut Run) -> Result<Event, Error> {
        let reach = reached!(self, run, "probe");
        done!(
            self,
            run,
            "remove unknown keys",
            self.remove_unknown(held, run, &reach)
        );
        let current = self.current(run)?;
        let previous = self.previous(run).await?;
        let tries = [
            (run.candidate.as_ref(), Found::Candidate),
            (current.as_ref(), Found::Current),
            (previous.as_ref(), Found::Previous),
        ];
        let found = self.find_accepted(&reach, tries).await;
        let found = done!(self, run, "probe", async { found });
        Ok(Event::Found(match found {
            Some(found) => found,
            // An item that holds nothing yet is given its first credential.
            None if current.is_none() => Found::Current,
            None => {
                let message = "neither the candidate nor the current nor the previous credential \
                               logs in";
                run.rejected(self.clock.now(), message);
                Found::Nothing
            }
        }))
    }

    /// The first of these that logs in.
    async fn find_accepted(
        &self,
        reach: &Reach,
        tries: [(Option<&Credential>, Found); 3],
    ) -> Result<Option<Found>, ProviderError> {
        for (credential, found) in tries {
            if let Some(credential) = credential
                && self.log_in(reach, credential).await? == LogIn::Accepted
            {
                return Ok(Some(found));
            }
        }
        // A change that somebody else sent may have come through while the others were tried.
        if let (Some(candidate), found) = tries[0]
            && self.log_in(reach, candidate).await? == LogIn::Accepted
        {
            return Ok(Some(found));
        }
        Ok(None)
    }

    /// Removes keys of an issuing target that were made for this attempt and that nobody knows.
    async fn remove_unknown(
        &self,
        held: &Held,
        run: &Run,
        reach: &Reach,
    ) -> Result<(), ProviderError> {
        let Some(plan) = &run.attempt.plan else {
            return Ok(());
        };
        let Some(Keys::Issued(keys)) = reach.provider.keys() else {
            return Ok(());
        };
        if plan.method != Method::TwoKeys {
            return Ok(());
        }
        let known: BTreeSet<&String> = plan.known_keys.iter().chain(&plan.new_key).collect();
        self.fail_point(points::BEFORE_LIST).await;
        let listed = keys.list_keys(&reach.target, &plan.account);
        let listed = reach.ask(false, &[], listed).await?;
        self.fail_point(points::AFTER_LIST).await;
        for key in listed.iter().filter(|key| !known.contains(&key.id)) {
            if held.check().is_err() {
                return Err(ProviderError::Unavailable("the lease is over".to_owned()));
            }
            let deleted = keys.delete_key(&reach.target, &plan.account, &key.id);
            reach.ask(true, &[], deleted).await?;
        }
        Ok(())
    }

    /// Has the target take the candidate, or make it.
    pub(super) async fn change(&self, held: &Held, run: &mut Run) -> Result<Event, Error> {
        let reach = reached!(self, run, "change");
        let Some(plan) = run.attempt.plan.clone() else {
            return Err(Self::unplanned(run));
        };
        self.fail_point(points::BEFORE_CHANGE).await;
        held.check()?;
        if plan.method == Method::InPlace {
            run.uncertain_since.get_or_insert_with(Instant::now);
        }
        let target = &reach.target;
        // A target that refuses may quote what is served as well.
        let current = self.current(run)?;
        let served = current.as_ref().map(Credential::value);
        match (&run.candidate, plan.method) {
            (Some(Credential::Password { account, password }), _) => {
                let Some(passwords) = reach.provider.passwords() else {
                    let none = refused("the provider of this target changes no passwords");
                    return Ok(run.fail(self.clock.now(), "change", &none));
                };
                let change = passwords.change_password(target, account, password);
                let values: Vec<&SecretText> = served.into_iter().chain([password]).collect();
                let changed = reach.ask(true, &values, change).await;
                self.fail_point(points::AFTER_CHANGE).await;
                done!(self, run, "change", async { changed });
            }
            (candidate, Method::TwoKeys) => {
                let keys = done!(self, run, "change", async { keys_of(&reach) });
                match (keys, candidate) {
                    (Keys::Installed(keys), Some(Credential::Key { account, key })) => {
                        let install = keys.install_key(target, account, key);
                        let installed = reach.ask(true, &[&key.secret], install).await;
                        self.fail_point(points::AFTER_CHANGE).await;
                        done!(self, run, "install key", async { installed });
                    }
                    (Keys::Installed(_), _) => return Err(Self::unplanned(run)),
                    (Keys::Issued(keys), _) => {
                        // A key that was made before and does not log in makes room for another.
                        if let Some(id) = &plan.new_key {
                            let delete = keys.delete_key(target, &plan.account, id);
                            done!(self, run, "delete key", reach.ask(true, &[], delete));
                        }
                        let issue = keys.issue_key(target, &plan.account);
                        let issued = reach.ask(true, &[], issue).await;
                        self.fail_point(points::AFTER_CHANGE).await;
                        let key = done!(self, run, "issue key", async { issued });
                        self.keep_issued(held, run, plan, key).await?;
                    }
                }
            }
            (_, Method::InPlace | Method::TwoAccounts) => return Err(Self::unplanned(run)),
        }
        Ok(Event::Changed)
    }

    /// Commits a key as soon as it is known.
    async fn keep_issued(
        &self,
        held: &Held,
        run: &mut Run,
        mut plan: Plan,
        key: crate::provider::Key,
    ) -> Result<(), Error> {
        plan.new_key = Some(key.id.clone());
        let account = plan.account.clone();
        run.attempt.plan = Some(plan);
        run.candidate = Some(Credential::Key { account, key });
        self.keep(held, run, ChangeSet::default()).await?;
        self.fail_point(points::AFTER_ISSUE).await;
        Ok(())
    }

    /// Logs in with the candidate.
    pub(super) async fn check_candidate(&self, run: &mut Run) -> Result<Event, Error> {
        let reach = reached!(self, run, "log in");
        let Some(candidate) = &run.candidate else {
            let none = refused("there is no candidate yet");
            return Ok(run.fail(self.clock.now(), "log in", &none));
        };
        match self.log_in(&reach, candidate).await {
            Ok(LogIn::Accepted) => Ok(Event::LoggedIn),
            Ok(LogIn::Rejected) => {
                run.rejected(self.clock.now(), "the candidate does not log in");
                Ok(Event::Rejected)
            }
            Err(error) => Ok(run.fail(self.clock.now(), "log in", &error)),
        }
    }

    /// Logs in with what is served.
    pub(super) async fn check_current(&self, run: &mut Run) -> Result<Event, Error> {
        let reach = reached!(self, run, "log in");
        // Where nothing is served any more, or yet, there is nothing that could be lost.
        let Some(current) = self.current(run)? else {
            return Ok(Event::LoggedIn);
        };
        match self.log_in(&reach, &current).await {
            Ok(LogIn::Accepted) => Ok(Event::LoggedIn),
            Ok(LogIn::Rejected) => {
                run.rejected(self.clock.now(), "the current credential does not log in");
                Ok(Event::Rejected)
            }
            Err(error) => Ok(run.fail(self.clock.now(), "log in", &error)),
        }
    }

    async fn log_in(&self, reach: &Reach, credential: &Credential) -> Result<LogIn, ProviderError> {
        self.fail_point(points::BEFORE_LOG_IN).await;
        let values: [&SecretText; 1] = [credential.value()];
        let target = &reach.target;
        let answer = match credential {
            Credential::Password { account, password } => {
                let passwords = reach.provider.passwords();
                let passwords = passwords
                    .ok_or_else(|| refused("the provider of this target changes no passwords"))?;
                let log_in = passwords.log_in(target, account, password);
                reach.ask(false, &values, log_in).await
            }
            Credential::Key { account, key } => {
                let log_in = keys_of(reach)?.common().log_in(target, account, key);
                reach.ask(false, &values, log_in).await
            }
        };
        self.fail_point(points::AFTER_LOG_IN).await;
        answer
    }

    /// Makes the old credential stop working, if it is not served again meanwhile.
    pub(super) async fn retire(&self, run: &mut Run) -> Result<Event, Error> {
        let Some(plan) = run.attempt.plan.clone() else {
            return Err(Self::unplanned(run));
        };
        let reach = reached!(self, run, "retire");
        let current = self.current(run)?;
        self.fail_point(points::BEFORE_RETIRE).await;
        let target = &reach.target;
        match (plan.method, current) {
            (Method::InPlace, _) => {}
            (Method::TwoAccounts, current) => {
                let served = match &current {
                    Some(Credential::Password { account, .. }) => account.as_str(),
                    _ => plan.account.as_str(),
                };
                let old = {
                    let mut accounts = run.attempt.item.accounts();
                    let old = accounts.find(|account| *account != plan.account);
                    old.map(str::to_owned)
                };
                if let Some(old) = old.filter(|old| old != served)
                    && let Some(passwords) = reach.provider.passwords()
                {
                    // Nobody knows this one, and nobody has to: the admin credential changes it.
                    let password = reach.policy.password(&*self.entropy);
                    let change = passwords.change_password(target, &old, &password);
                    let retired = reach.ask(true, &[&password], change).await;
                    done!(self, run, "retire", async { retired });
                }
            }
            (Method::TwoKeys, current) => {
                let keys = done!(self, run, "retire", async { keys_of(&reach) });
                let served = match (&current, keys) {
                    (Some(Credential::Key { key, .. }), Keys::Installed(keys)) => keys.key_id(key),
                    (Some(Credential::Key { key, .. }), Keys::Issued(_)) => Some(key.id.clone()),
                    _ => None,
                };
                if let Some(old) = plan
                    .old_key
                    .as_ref()
                    .filter(|old| served.as_ref() != Some(old))
                {
                    let common: &dyn AccountKeys = keys.common();
                    let deactivate = common.deactivate_key(target, &plan.account, old);
                    done!(self, run, "retire", reach.ask(true, &[], deactivate));
                }
            }
        }
        self.fail_point(points::AFTER_RETIRE).await;
        Ok(Event::Retired)
    }

    /// Removes what the target has of a candidate that will not be served.
    pub(super) async fn withdraw(&self, run: &mut Run) -> Result<Event, Error> {
        let Some(plan) = run.attempt.plan.clone() else {
            return Ok(Event::Withdrawn);
        };
        if plan.method == Method::TwoKeys
            && let Some(id) = &plan.new_key
        {
            let reach = reached!(self, run, "withdraw");
            let keys = done!(self, run, "withdraw", async { keys_of(&reach) });
            let delete = keys.common().delete_key(&reach.target, &plan.account, id);
            done!(self, run, "withdraw", reach.ask(true, &[], delete));
        }
        Ok(Event::Withdrawn)
    }
}

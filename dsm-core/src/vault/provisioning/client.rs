//! What clients ask of provisioning: new accounts for a secret, accounts for a container, and their
//! end.

use super::ProvisionFailure;
use super::plan::Which;
use super::run::Order;
use super::who::Who;
use crate::access::{Action, Application, Principal, Request, Resource};
use crate::audit::{ObjectKind, ObjectRef, Operation};
use crate::id::SecretId;
use crate::secret::{Credential, EphemeralCredential, Identity, Secret, SecretData};
use crate::store::ChangeSet;
use crate::vault::act::event;
use crate::vault::error::{Error, FieldError};
use crate::vault::lease::{AccountLease, LIVE_OF_SECRET, LeaseEnd};
use crate::vault::reading::OpenedSecret;
use crate::vault::record::Stored;
use crate::vault::secret::{IDENTITY, Revision, SecretFields};
use crate::vault::{Vault, check, kind};

/// How often what others change at the same time is read again.
const TRIES: usize = 5;

/// A container that accounts are provisioned for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The name of the pod.
    pub pod_name: String,
    /// The deployment that it is of.
    pub deploy: String,
    /// Where that is.
    pub namespace: String,
}

/// What came of a client's call.
#[derive(Debug)]
pub struct Provisioned {
    /// The secret as it is served now; none when nothing new is served and something failed.
    pub secret: Option<OpenedSecret>,
    /// How many credentials on targets are being rotated besides, which takes a while.
    pub rotating: usize,
    /// What could not be provisioned. What was served before is served still.
    pub failures: Vec<ProvisionFailure>,
}

impl Container {
    /// The identity of the secret that an authorization has for this container. Its code is in it, so
    /// that nobody else's container of the same name is met.
    fn identity(&self, principal: &Principal) -> Result<Identity, Error> {
        let mut errors = Vec::new();
        for (field, text) in [
            ("pod_name", &self.pod_name),
            ("deploy", &self.deploy),
            ("namespace", &self.namespace),
        ] {
            if text.contains('/') || text.parse::<Identity>().is_err() {
                let message = "must be letters, digits, `.`, `_` and `-`";
                errors.push(FieldError::new(field, message));
            }
        }
        check::finish(errors)?;
        let code = &principal.authorization().code;
        let text = format!(
            "containers/{code}/{}/{}/{}",
            self.namespace, self.deploy, self.pod_name
        );
        let parsed = text.parse::<Identity>();
        parsed.map_err(|_| Error::invalid("pod_name", "is too long with deploy and namespace"))
    }
}

/// The items that the profiles of an application stand for, if it is provisioned automatically.
pub(crate) fn items_of(application: &Application) -> Vec<EphemeralCredential> {
    if !application.automatic_provisioning {
        return Vec::new();
    }
    let item = |profile: &String, host: Option<&String>| EphemeralCredential {
        profile: profile.clone(),
        credential: Credential {
            host: host.cloned(),
            ..Credential::default()
        },
        ..EphemeralCredential::default()
    };
    let clouds = application.cloud_profiles.iter().map(|it| item(it, None));
    let credentials = application.credential_profiles.iter();
    clouds
        .chain(credentials.map(|it| item(&it.profile, Some(&it.device))))
        .collect()
}

impl Vault {
    /// Has new accounts made for a secret by the profiles of its ephemeral items, and by those of the
    /// application where it is provisioned automatically, and its managed credentials rotated. What
    /// is served changes when the accounts log in. The accounts of before live to their end.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] as if the secret was absent when it is not attached; [`Error::Conflict`] when
    /// it has nothing to provision. What targets say is among the failures.
    pub async fn provision_secret(
        &self,
        principal: &Principal,
        resource: Resource,
        id: SecretId,
    ) -> Result<Provisioned, Error> {
        let found = self.records.find::<Secret>(kind::SECRET, id).await?;
        let asked = ObjectRef::new(ObjectKind::Secret, id, "");
        self.provision_found(principal, resource, found, asked)
            .await
    }

    /// As [`provision_secret`](Self::provision_secret), by the identity of the secret.
    pub async fn provision_identity(
        &self,
        principal: &Principal,
        resource: Resource,
        identity: &Identity,
    ) -> Result<Provisioned, Error> {
        let found = self
            .records
            .find_by::<Secret>(kind::SECRET, IDENTITY, identity.as_str())
            .await?;
        let asked = ObjectRef::absent(ObjectKind::Secret, identity.as_str());
        self.provision_found(principal, resource, found, asked)
            .await
    }

    async fn provision_found(
        &self,
        principal: &Principal,
        resource: Resource,
        found: Option<Stored<Secret>>,
        asked: ObjectRef,
    ) -> Result<Provisioned, Error> {
        let who = Who::Client {
            principal,
            resource,
            action: Action::ProvisionSecret,
        };
        let secret = self
            .permitted(
                principal,
                resource,
                found,
                asked,
                Operation::ProvisionSecret,
            )
            .await?;
        let added = items_of(principal.application());
        let ephemeral = secret.items.ephemeral_credentials > 0 || !added.is_empty();
        if secret.managed.is_empty() && !ephemeral {
            let message = "the secret has no credential that could be provisioned";
            return Err(Error::Conflict(message.to_owned()));
        }
        let mut rotating = 0;
        if !secret.managed.is_empty() {
            let by = who.name();
            let (attempts, set) = self.draft_attempts(&secret, None, &by).await?;
            rotating = attempts.len();
            let rotate = who.event(self, Operation::RotateSecret, secret.object());
            let act = self.act_for(who, &secret, vec![rotate]).await?;
            if !set.is_empty() {
                let committed = self.commit(act, set).await;
                committed.map_err(crate::vault::writing::made_meanwhile)?;
            }
        }
        let mut failures = Vec::new();
        let mut now = secret;
        if ephemeral {
            let order = Order {
                who,
                which: Which::All,
                added,
                overlap: None,
                settlement: None,
            };
            let done = self.provision(now, order).await?;
            self.record_failures(&done.secret, &done.failures, None)
                .await?;
            failures = done.failures;
            now = done.secret;
            if !failures.is_empty() && done.served == 0 {
                return Ok(Provisioned {
                    secret: None,
                    rotating,
                    failures,
                });
            }
        }
        let shown = self
            .show_secret(principal, resource, Action::ProvisionSecret, now)
            .await?;
        Ok(Provisioned {
            secret: Some(shown),
            rotating,
            failures,
        })
    }

    /// Gives a container accounts by the profiles of the application, in a secret of its own that is
    /// attached to the calling authorization. Asked again for the same container, only what does not
    /// live any more is made.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] when the application is not provisioned automatically or has no profiles.
    pub async fn provision_container(
        &self,
        principal: &Principal,
        container: &Container,
    ) -> Result<Vec<ProvisionFailure>, Error> {
        let resource = Resource::Application;
        let request = |target| Request::new(resource, Action::WriteSecret(target));
        let who = Who::Client {
            principal,
            resource,
            action: Action::WriteSecret,
        };
        // Whether the client may at all comes before what it sent.
        let identity = match container.identity(principal) {
            Ok(identity) => identity,
            Err(error) => {
                let object = Some(ObjectRef::absent(ObjectKind::Secret, ""));
                let operation = Operation::CreateSecret;
                drop(
                    self.decide(principal, request(None), operation, object)
                        .await?,
                );
                return Err(error);
            }
        };
        let added = items_of(principal.application());
        for _ in 0..TRIES {
            let found = self
                .records
                .find_by::<Secret>(kind::SECRET, IDENTITY, identity.as_str())
                .await?;
            let target = self
                .target_of(principal.authorization_id(), found.as_ref())
                .await?;
            let object = found.as_ref().map_or_else(
                || ObjectRef::absent(ObjectKind::Secret, identity.as_str()),
                Stored::<Secret>::object,
            );
            let operation = if found.is_some() {
                Operation::UpdateSecret
            } else {
                Operation::CreateSecret
            };
            let permit = self
                .decide(principal, request(target), operation, Some(object))
                .await?;
            if added.is_empty() {
                let message = "the application has no profiles that it is provisioned by";
                return Err(Error::Conflict(message.to_owned()));
            }
            let secret = if let Some(secret) = found {
                drop(permit);
                secret
            } else {
                let data = SecretData {
                    ephemeral_credentials: items_of(principal.application()),
                    ..SecretData::default()
                };
                let fields = SecretFields::new(&container.pod_name, data);
                let (draft, events) = self.draft_own_secret(principal, &identity, fields).await?;
                let act = self.act(permit, events).await?;
                match self.commit(act, draft.set).await {
                    Ok(()) => draft.stored,
                    // Asked for at the same time elsewhere.
                    Err(Error::Conflict(_)) => continue,
                    Err(error) => return Err(error),
                }
            };
            let order = Order {
                who,
                which: Which::Missing,
                added,
                overlap: None,
                settlement: None,
            };
            let done = self.provision(secret, order).await?;
            self.record_failures(&done.secret, &done.failures, None)
                .await?;
            return Ok(done.failures);
        }
        Err(Error::Stale)
    }

    /// Gives the accounts of a container back: its secret serves them no more, and they are removed
    /// from their targets.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] as if the secret was absent when it is not attached; [`Error::Invalid`] when
    /// it is not the secret of this container.
    pub async fn deprovision_container(
        &self,
        principal: &Principal,
        id: SecretId,
        container: &Container,
    ) -> Result<(), Error> {
        let resource = Resource::Application;
        let operation = Operation::DeprovisionSecret;
        let who = Who::Client {
            principal,
            resource,
            action: Action::ProvisionSecret,
        };
        for _ in 0..TRIES {
            let found = self.records.find::<Secret>(kind::SECRET, id).await?;
            let asked = ObjectRef::new(ObjectKind::Secret, id, "");
            let old = self
                .permitted(principal, resource, found, asked, operation)
                .await?;
            if old.identity != container.identity(principal)? {
                let message = "is not the secret of this container";
                return Err(Error::invalid("secret_id", message));
            }
            match self.deprovision_once(who, &old).await {
                Err(Error::Stale) => {}
                done => return done,
            }
        }
        Err(Error::Stale)
    }

    async fn deprovision_once(&self, who: Who<'_>, old: &Stored<Secret>) -> Result<(), Error> {
        let live = self
            .live_leases(LIVE_OF_SECRET, old.id.0.to_be_bytes())
            .await?;
        let mut events = vec![who.event(self, Operation::DeprovisionSecret, old.object())];
        let ended = live.iter().map(Stored::<AccountLease>::object);
        events.extend(ended.map(|object| who.event(self, Operation::EndLease, object)));
        let act = self.act_for(who, old, events).await?;
        let mut data = self.unseal(&act, old.id, old, old.sealed_value.as_deref())?;
        let mut served = false;
        for item in &mut data.ephemeral_credentials {
            served |= item.is_provisioned();
            item.forget_account();
        }
        let by = who.name();
        let mut set = live.iter().fold(ChangeSet::default(), |set, lease| {
            self.plan_end(lease, LeaseEnd::Deprovisioned, &by, set)
        });
        if served {
            let revision = Revision {
                content: Secret::clone(old),
                patch: None,
                kinds: vec!["ephemeral_credentials"],
                data: Some(data),
            };
            if let Some((_, version)) = self.next_version(&act, old, revision, &by).await? {
                set = set.and(version);
            }
        }
        if set.is_empty() {
            return Ok(());
        }
        self.commit(act, set).await
    }

    /// The secret, if the client may have it provisioned; else the recorded refusal.
    async fn permitted(
        &self,
        principal: &Principal,
        resource: Resource,
        found: Option<Stored<Secret>>,
        asked: ObjectRef,
        operation: Operation,
    ) -> Result<Stored<Secret>, Error> {
        let target = self
            .target_of(principal.authorization_id(), found.as_ref())
            .await?;
        let request = Request::new(resource, Action::ProvisionSecret(target));
        let object = found.as_ref().map_or(asked, Stored::<Secret>::object);
        let permit = self
            .decide(principal, request, operation, Some(object.clone()))
            .await?;
        // What could not be given is not made.
        if operation == Operation::ProvisionSecret
            && let Err(error) = self.sealing_of(&permit).await
        {
            let ip = principal.origin().ip;
            let event = event(self, principal.actor(), ip, operation, Some(object));
            return Err(self.record_failed(vec![event], error).await);
        }
        drop(permit);
        // No rule permits what does not exist; should one ever, there is nothing to do.
        found.ok_or(Error::NotFound(ObjectKind::Secret))
    }

    /// Has new accounts made for a secret, for an operator.
    pub(crate) async fn provision_for(
        &self,
        caller: &crate::vault::Caller,
        secret: Stored<Secret>,
        overlap: Option<std::time::Duration>,
    ) -> Result<Stored<Secret>, Error> {
        let order = Order {
            who: Who::Operator(caller),
            which: Which::All,
            added: Vec::new(),
            overlap,
            settlement: None,
        };
        let done = self.provision(secret, order).await?;
        self.record_failures(&done.secret, &done.failures, None)
            .await?;
        match done.failures.into_iter().next() {
            Some(failure) => Err(failure.into_error()),
            None => Ok(done.secret),
        }
    }
}

//! Opening a target for calls: its provider with the admin credential.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::entity::{AdminCredential, OwnAdmin, TargetEntry};
use crate::audit::{Actor, Operation, Receipt};
use crate::crypto::{Context, CryptoError, Sealer, SecretBytes};
use crate::id::{SecretId, TargetId};
use crate::provider::{
    CALL_SECONDS, Login, PasswordPolicy, Proof, Provider, ProviderError, Target, TestReport, redact,
};
use crate::secret::SecretText;
use crate::store::RecordKey;
use crate::vault::act::event;
use crate::vault::error::Error;
use crate::vault::record::Stored;
use crate::vault::{Vault, kind};

/// A target that can be called.
#[derive(Debug)]
pub(crate) struct Reach {
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) target: Target,
    pub(crate) policy: PasswordPolicy,
}

impl Reach {
    /// Waits for one call of the provider, no longer than a call may take. Of what the target says,
    /// neither `values` nor the admin credential are left. A call that `changes` something and is
    /// not answered in time may have taken effect.
    pub(crate) async fn ask<T>(
        &self,
        changes: bool,
        values: &[&SecretText],
        call: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        let within = Duration::from_secs(CALL_SECONDS);
        // One target that answers nonsense must not end the work on all others.
        let call = AssertUnwindSafe(call).catch_unwind();
        let cut_off = match tokio::time::timeout(within, call).await {
            Ok(Ok(result)) => return result.map_err(|error| error.without(&self.values(values))),
            Ok(Err(_)) => "the provider could not make sense of the answer".to_owned(),
            Err(_) => format!("no answer within {CALL_SECONDS} seconds"),
        };
        Err(if changes {
            ProviderError::OutcomeUnknown(cut_off)
        } else {
            ProviderError::Unavailable(cut_off)
        })
    }

    /// A report without the admin credential.
    pub(crate) fn strip(&self, mut report: TestReport) -> TestReport {
        for check in &mut report.checks {
            check.message = redact(&check.message, &self.values(&[]));
        }
        report
    }

    fn values<'a>(&'a self, others: &[&'a SecretText]) -> Vec<&'a SecretText> {
        let mut values = self.target.admin.proof.values();
        values.extend(others);
        values
    }
}

impl Vault {
    /// Opens a target for an act that is recorded. The inner error is for the history of what
    /// cannot go on because of it.
    pub(crate) async fn reach(
        &self,
        target: &Stored<TargetEntry>,
        receipt: &Receipt,
    ) -> Result<Result<Reach, ProviderError>, Error> {
        if !receipt.allowed() {
            return Err(Error::Internal {
                reason: format!("the receipt is not for target {}", target.id),
                source: None,
            });
        }
        let unavailable = |message: String| Ok(Err(ProviderError::Unavailable(message)));
        if !target.enabled {
            return unavailable("the target is disabled".to_owned());
        }
        let Some(provider) = self.providers.find(&target.provider) else {
            let name = &target.provider;
            return unavailable(format!("this program has no provider called {name}"));
        };
        let admin = match &target.admin {
            AdminCredential::Own { .. } => Some(self.open_admin(target)?),
            AdminCredential::Secret { secret } => self.borrow_admin(*secret).await?,
        };
        let Some(admin) = admin else {
            return unavailable("the secret with the admin credential holds none".to_owned());
        };
        Ok(Ok(Reach {
            provider: Arc::clone(provider),
            target: Target {
                name: target.name.clone(),
                address: target.address.clone(),
                options: target.options.clone(),
                admin,
            },
            policy: target.policy.clone(),
        }))
    }

    pub(super) fn seal_admin(&self, id: TargetId, own: &OwnAdmin) -> Vec<u8> {
        let text = SecretBytes::new(serde_json::to_vec(own).expect("it has string keys only"));
        let sealer = &self.records.sealer;
        sealer.seal(&admin_place(sealer, id), &text)
    }

    fn open_admin(&self, target: &Stored<TargetEntry>) -> Result<Login, Error> {
        let damaged = |error| Error::damaged(RecordKey::new(kind::TARGET, target.id), error);
        let unsupported = || damaged(CryptoError::UnsupportedFormat);
        let sealed = target.sealed_value.as_deref().ok_or_else(unsupported)?;
        let sealer = &self.records.sealer;
        let text = sealer
            .open(&admin_place(sealer, target.id), sealed)
            .map_err(damaged)?;
        let own: OwnAdmin = serde_json::from_slice(&text).map_err(|_| unsupported())?;
        own.login().ok_or_else(unsupported)
    }

    /// Reads the admin credential out of a secret; recorded as a read of it.
    async fn borrow_admin(&self, id: SecretId) -> Result<Option<Login>, Error> {
        let found = self.records.find(kind::SECRET, id).await?;
        let Some(secret): Option<Stored<crate::secret::Secret>> = found else {
            return Ok(None);
        };
        let object = Some(secret.object());
        let read = event(self, Actor::Vault, None, Operation::ReadSecret, object);
        let receipt = self.trail.record(&read).await?;
        let data = self.unseal_with(&receipt, id, &secret, secret.sealed_value.as_deref())?;
        let password = data.credentials.into_iter().next();
        let password =
            password.and_then(|item| Some((item.user?, Proof::Password(item.password?))));
        let key = || {
            let item = data.ssh_keys.into_iter().next()?;
            let proof = Proof::PrivateKey {
                key: item.private_key?,
                passphrase: item.password,
            };
            Some((item.user?, proof))
        };
        let login = password.or_else(key);
        Ok(login.map(|(user, proof)| Login { user, proof }))
    }
}

/// The context of a target's own admin credential.
pub(crate) fn admin_place(sealer: &Sealer, id: TargetId) -> Context {
    sealer.context("target admin", kind::TARGET.0, id.0)
}

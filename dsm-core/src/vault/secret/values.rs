//! The values of a secret: sealed apart, under a data key per version.

use crate::audit::{ObjectKind, Receipt};
use crate::crypto::{Context, CryptoError, Sealer, SecretBytes};
use crate::id::SecretId;
use crate::secret::{Secret, SecretData};
use crate::store::RecordKey;
use crate::vault::act::Act;
use crate::vault::error::Error;
use crate::vault::{Vault, kind};

impl Vault {
    pub(super) fn seal_data(&self, id: SecretId, number: u64, data: &SecretData) -> Vec<u8> {
        let text = SecretBytes::new(serde_json::to_vec(data).expect("data has string keys only"));
        self.records
            .sealer
            .seal(&self.value_context(id, number), &text)
    }

    /// Opens the values of a version for an act that is recorded for this secret.
    pub(crate) fn unseal(
        &self,
        act: &Act,
        id: SecretId,
        version: &Secret,
        sealed: Option<&[u8]>,
    ) -> Result<SecretData, Error> {
        let receipt = act.receipt_of(ObjectKind::Secret, id);
        self.unseal_with(receipt, id, version, sealed)
    }

    pub(crate) fn unseal_with(
        &self,
        receipt: &Receipt,
        id: SecretId,
        version: &Secret,
        sealed: Option<&[u8]>,
    ) -> Result<SecretData, Error> {
        if !receipt.allowed() || receipt.object() != Some((ObjectKind::Secret, Some(id.into()))) {
            return Err(Error::Internal {
                reason: format!("the receipt is not for secret {id}"),
                source: None,
            });
        }
        if version.destroyed_at.is_some() {
            return Ok(SecretData::default());
        }
        let key = RecordKey::new(kind::SECRET, id);
        let sealed = sealed.ok_or_else(|| Error::damaged(key, CryptoError::UnsupportedFormat))?;
        let opened = self
            .records
            .sealer
            .open(&self.value_context(id, version.values_of), sealed)
            .map_err(|error| Error::damaged(key, error))?;
        serde_json::from_slice(&opened)
            .map_err(|_| Error::damaged(key, CryptoError::UnsupportedFormat))
    }

    pub(crate) fn value_context(&self, id: SecretId, number: u64) -> Context {
        value_place(&self.records.sealer, id).bind(number)
    }
}

/// The context of a secret's values without the part that changes with the version.
pub(crate) fn value_place(sealer: &Sealer, id: SecretId) -> Context {
    sealer.context("secret value", kind::SECRET.0, id.0)
}

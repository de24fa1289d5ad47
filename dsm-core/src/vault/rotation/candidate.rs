//! The credential that shall be served: sealed beside its attempt until it is.

use serde::{Deserialize, Serialize};

use super::attempt::Attempt;
use crate::crypto::{Context, CryptoError, Sealer, SecretBytes};
use crate::id::AttemptId;
use crate::provider::Key;
use crate::secret::{ItemKind, ManagedItem, SecretData, SecretText, sealed_form};
use crate::store::RecordKey;
use crate::vault::error::Error;
use crate::vault::record::Stored;
use crate::vault::{Vault, kind};

/// A credential of an item.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Credential {
    /// A password of this account.
    Password {
        account: String,
        password: SecretText,
    },
    /// A key of this account.
    Key { account: String, key: Key },
}

/// As it is sealed.
#[derive(Serialize, Deserialize)]
struct Sealed {
    account: String,
    #[serde(default, with = "sealed_form", skip_serializing_if = "Option::is_none")]
    password: Option<SecretText>,
    #[serde(default, with = "sealed_form", skip_serializing_if = "Option::is_none")]
    secret: Option<SecretText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    public: Option<String>,
}

impl Credential {
    /// What must not be in a message.
    pub(super) fn value(&self) -> &SecretText {
        match self {
            Self::Password { password, .. } => password,
            Self::Key { key, .. } => &key.secret,
        }
    }

    /// What an item holds now; none if it holds nothing to log in with.
    pub(super) fn of(data: SecretData, item: &ManagedItem) -> Option<Self> {
        let index = data.place_of(item)?;
        match item.kind {
            ItemKind::Credential => {
                let held = data.credentials.into_iter().nth(index)?;
                Some(Self::Password {
                    account: held.user?,
                    password: held.password?,
                })
            }
            ItemKind::SshKey => {
                let held = data.ssh_keys.into_iter().nth(index)?;
                Some(Self::Key {
                    account: held.user?,
                    key: Key {
                        id: String::new(),
                        secret: held.private_key?,
                        public: held.public_key,
                    },
                })
            }
            ItemKind::AccessKey => {
                let held = data.access_keys.into_iter().nth(index)?;
                Some(Self::Key {
                    account: held.managed?.user?,
                    key: Key {
                        id: held.access_key_id?,
                        secret: held.secret_access_key?,
                        public: None,
                    },
                })
            }
        }
    }

    /// Puts the credential where the item is; none if the item is not there any more.
    pub(super) fn serve(self, data: &mut SecretData, item: &ManagedItem) -> Option<()> {
        let index = data.place_of(item)?;
        match (self, item.kind) {
            (Self::Password { account, password }, ItemKind::Credential) => {
                let held = data.credentials.get_mut(index)?;
                held.password = Some(password);
                if held.user.as_ref() != Some(&account) {
                    let other = held.user.replace(account);
                    held.managed.as_mut()?.pair_user = other;
                }
            }
            (Self::Key { key, .. }, ItemKind::SshKey) => {
                let held = data.ssh_keys.get_mut(index)?;
                held.private_key = Some(key.secret);
                held.public_key = key.public;
                held.password = None;
            }
            (Self::Key { key, .. }, ItemKind::AccessKey) => {
                let held = data.access_keys.get_mut(index)?;
                held.access_key_id = Some(key.id);
                held.secret_access_key = Some(key.secret);
            }
            _ => return None,
        }
        Some(())
    }
}

impl Vault {
    pub(super) fn seal_candidate(&self, id: AttemptId, credential: &Credential) -> Vec<u8> {
        let sealed = match credential {
            Credential::Password { account, password } => Sealed {
                account: account.clone(),
                password: Some(password.duplicate()),
                secret: None,
                id: None,
                public: None,
            },
            Credential::Key { account, key } => Sealed {
                account: account.clone(),
                password: None,
                secret: Some(key.secret.duplicate()),
                id: Some(key.id.clone()),
                public: key.public.clone(),
            },
        };
        let text = SecretBytes::new(serde_json::to_vec(&sealed).expect("it has string keys only"));
        let sealer = &self.records.sealer;
        sealer.seal(&candidate_place(sealer, id), &text)
    }

    /// The candidate of an attempt; none before there is one.
    pub(super) fn open_candidate(
        &self,
        attempt: &Stored<Attempt>,
    ) -> Result<Option<Credential>, Error> {
        let Some(sealed) = attempt.sealed_value.as_deref() else {
            return Ok(None);
        };
        let damaged = |error| Error::damaged(RecordKey::new(kind::ATTEMPT, attempt.id), error);
        let sealer = &self.records.sealer;
        let text = sealer
            .open(&candidate_place(sealer, attempt.id), sealed)
            .map_err(damaged)?;
        let sealed: Sealed =
            serde_json::from_slice(&text).map_err(|_| damaged(CryptoError::UnsupportedFormat))?;
        let account = sealed.account;
        Ok(match (sealed.password, sealed.secret, sealed.id) {
            (Some(password), _, _) => Some(Credential::Password { account, password }),
            (None, Some(secret), Some(id)) => Some(Credential::Key {
                account,
                key: Key {
                    id,
                    secret,
                    public: sealed.public,
                },
            }),
            _ => None,
        })
    }
}

/// The context of an attempt's candidate.
pub(crate) fn candidate_place(sealer: &Sealer, id: AttemptId) -> Context {
    sealer.context("rotation candidate", kind::ATTEMPT.0, id.0)
}

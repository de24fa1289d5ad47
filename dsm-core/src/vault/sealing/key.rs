//! The key of an authorization: made here, or by its client.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::access::{Authorization, Permission};
use crate::audit::{ObjectKind, ObjectRef, Operation};
use crate::crypto::sealing::{KeyPair, PublicKey};
use crate::crypto::{Context, CryptoError, Sealer};
use crate::id::AuthorizationId;
use crate::secret::SecretText;
use crate::store::{ChangeSet, Kind, RecordKey};
use crate::vault::act::Caller;
use crate::vault::error::Error;
use crate::vault::record::{Entity, Stored, Terms};
use crate::vault::{Vault, kind};

/// What sensitive values of an authorization are sealed to. Its id is the authorization's; the private
/// key, where the vault has it, is sealed beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuthorizationKey {
    pub(crate) public: PublicKey,
    private: Whereabouts,
}

/// Where the private key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Whereabouts {
    /// Here, sealed.
    Kept,
    /// With whoever had the pair made; it was not kept.
    HandedOut,
    /// With the client that made it.
    Client,
}

impl Entity for AuthorizationKey {
    type Id = AuthorizationId;

    fn kind(&self) -> Kind {
        kind::SEALING_KEY
    }

    fn terms(&self, _: &mut Terms<'_>) {}
}

/// A pair before it is committed.
pub(crate) struct NewKey {
    pub(crate) stored: Stored<AuthorizationKey>,
    /// The private key, where it is not kept.
    pub(crate) handed_out: Option<SecretText>,
}

impl NewKey {
    /// What is recorded of it beside what it is made for.
    pub(crate) fn operations(&self) -> &'static [Operation] {
        if self.handed_out.is_some() {
            &[Operation::CreateKey, Operation::DownloadPrivateKey]
        } else {
            &[Operation::CreateKey]
        }
    }
}

impl Vault {
    /// The private key of an authorization in PEM of PKCS#8; recorded.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] when the authorization has no key; [`Error::Conflict`] when the vault does
    /// not have the private one.
    pub async fn download_private_key(
        &self,
        caller: &Caller,
        id: AuthorizationId,
    ) -> Result<SecretText, Error> {
        let operation = Operation::DownloadPrivateKey;
        let object = ObjectRef::new(ObjectKind::Authorization, id, "");
        let permission = Permission::KeysDownload;
        let permit = self
            .permit(caller, permission, operation, Some(object))
            .await?;
        let authorization = self.authorization(id).await?;
        let key = self.key_of(id).await?;
        match key.private {
            Whereabouts::Kept => {}
            Whereabouts::HandedOut => {
                let message = "the private key was handed out when it was made and is not kept";
                return Err(Error::Conflict(message.to_owned()));
            }
            Whereabouts::Client => {
                let message =
                    "the client made the key and has the private one; the vault never had it";
                return Err(Error::Conflict(message.to_owned()));
            }
        }
        let event = caller.event(self, operation, authorization.object());
        let act = self.act(permit, vec![event]).await?;
        debug_assert!(act.receipt().allowed(), "an act is allowed");
        self.open_private_key(&key)
    }

    /// The public key of an authorization in PEM of SPKI; recorded.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] when the authorization has none.
    pub async fn download_public_key(
        &self,
        caller: &Caller,
        id: AuthorizationId,
    ) -> Result<String, Error> {
        let operation = Operation::DownloadPublicKey;
        let object = ObjectRef::new(ObjectKind::Authorization, id, "");
        let permission = Permission::AuthorizationsView;
        self.view(caller, permission, operation, Some(object))
            .await?;
        self.authorization(id).await?;
        Ok(self.key_of(id).await?.public.to_pem())
    }

    /// Seals to a key that the client made from now on. The private key of a pair made here is
    /// destroyed: what was sealed to it before, only whoever has downloaded it can open.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for anything but an RSA public key of 2048 to 4096 bits in PEM.
    pub async fn register_public_key(
        &self,
        caller: &Caller,
        id: AuthorizationId,
        pem: &str,
    ) -> Result<(), Error> {
        let operation = Operation::RegisterKey;
        let object = ObjectRef::new(ObjectKind::Authorization, id, "");
        let permission = Permission::AuthorizationsWrite;
        let permit = self
            .permit(caller, permission, operation, Some(object))
            .await?;
        let public = PublicKey::from_pem(pem)
            .map_err(|error| Error::invalid("public_key", error.to_string()))?;
        let authorization = self.authorization(id).await?;
        if authorization.revoked_at.is_some() {
            return Err(Error::Conflict("the authorization is revoked".to_owned()));
        }
        let old = self.find_key(id).await?;
        let fingerprint = data_encoding::HEXLOWER.encode(public.fingerprint());
        let content = AuthorizationKey {
            public,
            private: Whereabouts::Client,
        };
        let event = caller
            .event(self, operation, authorization.object())
            .with_change("public_key", &fingerprint);
        let act = self.act(permit, vec![event]).await?;
        let set = match old {
            Some(old) if *old.content == content => {
                drop(act);
                return Ok(());
            }
            Some(old) => {
                let mut new = self.records.revise(&old, content, &caller.operator.name);
                new.sealed_value = None;
                ChangeSet::default().update(self.records.encode(&new), old.revision)
            }
            None => {
                let new = self.records.object(id, content, &caller.operator.name);
                ChangeSet::default().create(self.records.encode(&new))
            }
        };
        // Not after a revocation, which has destroyed the key.
        let place = RecordKey::new(kind::AUTHORIZATION, id);
        let set = set.check_at(place, authorization.revision);
        self.commit(act, set).await.map_err(lost_race)
    }

    /// Makes a pair for an authorization that has none, while the caller waits.
    pub(crate) async fn draft_key(&self, id: AuthorizationId, by: &str) -> Result<NewKey, Error> {
        let entropy = Arc::clone(&self.entropy);
        let made = self
            .sealing
            .making
            .run(move || KeyPair::generate(&*entropy));
        let KeyPair { public, private } = made.await?;
        let kept = self.options.sealing.keep_private_keys;
        let content = AuthorizationKey {
            public,
            private: if kept {
                Whereabouts::Kept
            } else {
                Whereabouts::HandedOut
            },
        };
        let mut stored = self.records.object(id, content, by);
        if !kept {
            return Ok(NewKey {
                stored,
                handed_out: Some(private),
            });
        }
        let context = private_key_context(&self.records.sealer, &stored);
        let sealed = self
            .records
            .sealer
            .seal(&context, private.expose().as_bytes());
        stored.sealed_value = Some(sealed.into());
        Ok(NewKey {
            stored,
            handed_out: None,
        })
    }

    /// As [`draft_key`](Self::draft_key), where an authorization seals and has none.
    pub(crate) async fn draft_missing_key(
        &self,
        id: AuthorizationId,
        content: &Authorization,
        by: &str,
    ) -> Result<Option<NewKey>, Error> {
        let wanted = content.encrypt_sensitive && content.revoked_at.is_none();
        if !wanted || self.find_key(id).await?.is_some() {
            return Ok(None);
        }
        self.draft_key(id, by).await.map(Some)
    }

    /// Destroys the key of an authorization that ends.
    pub(crate) async fn plan_key_end(
        &self,
        id: AuthorizationId,
        set: ChangeSet,
    ) -> Result<ChangeSet, Error> {
        Ok(match self.find_key(id).await? {
            Some(key) => set.delete(RecordKey::new(kind::SEALING_KEY, id), key.revision),
            None => set,
        })
    }

    pub(super) async fn cached_key(
        &self,
        id: AuthorizationId,
    ) -> Result<Option<Arc<Stored<AuthorizationKey>>>, Error> {
        self.records.cached(kind::SEALING_KEY, id).await
    }

    async fn find_key(
        &self,
        id: AuthorizationId,
    ) -> Result<Option<Stored<AuthorizationKey>>, Error> {
        self.records.find(kind::SEALING_KEY, id).await
    }

    async fn key_of(&self, id: AuthorizationId) -> Result<Stored<AuthorizationKey>, Error> {
        let found = self.find_key(id).await?;
        found.ok_or(Error::NotFound(ObjectKind::SealingKey))
    }

    fn open_private_key(&self, key: &Stored<AuthorizationKey>) -> Result<SecretText, Error> {
        let damaged = |error| Error::damaged(RecordKey::new(kind::SEALING_KEY, key.id), error);
        let sealed = key.sealed_value.as_deref();
        let sealed = sealed.ok_or_else(|| damaged(CryptoError::UnsupportedFormat))?;
        let context = private_key_context(&self.records.sealer, key);
        let opened = self
            .records
            .sealer
            .open(&context, sealed)
            .map_err(damaged)?;
        let text = std::str::from_utf8(&opened);
        let text = text.map_err(|_| damaged(CryptoError::UnsupportedFormat))?;
        Ok(SecretText::new(text))
    }
}

/// Where a private key is sealed, and beside which public one.
fn private_key_context(sealer: &Sealer, key: &Stored<AuthorizationKey>) -> Context {
    private_key_place(sealer, key.id.0).bind_bytes(key.public.fingerprint())
}

/// The same without the part that changes with the key.
pub(crate) fn private_key_place(sealer: &Sealer, id: u64) -> Context {
    sealer.context("private key", kind::SEALING_KEY.0, id)
}

/// Somebody else made a key at the same time.
fn lost_race(error: Error) -> Error {
    match error {
        Error::Conflict(_) => Error::Stale,
        other => other,
    }
}

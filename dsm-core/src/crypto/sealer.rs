use std::sync::{Arc, PoisonError, RwLock};

use super::envelope;
use super::{
    Context, CryptoError, KeyError, KeyProvider, Keyring, RootKeyId, RootKeys, SecretBytes,
};
use crate::entropy::Entropy;

/// Names one vault: sixteen random bytes, part of the context of everything it seals.
pub type VaultId = [u8; 16];

/// Seals and opens for one vault with the root keys at hand.
#[derive(Debug)]
pub struct Sealer {
    vault: VaultId,
    provider: Arc<dyn KeyProvider>,
    roots: RwLock<Arc<RootKeys>>,
    entropy: Arc<dyn Entropy>,
}

impl Sealer {
    /// Loads the root keys.
    pub fn new(
        vault: VaultId,
        provider: Arc<dyn KeyProvider>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, KeyError> {
        let roots = RwLock::new(Arc::new(provider.load()?));
        Ok(Self {
            vault,
            provider,
            roots,
            entropy,
        })
    }

    /// The vault.
    pub fn vault(&self) -> &VaultId {
        &self.vault
    }

    /// A context of this vault; see [`Context::new`].
    pub fn context(&self, label: &str, kind: u16, id: u64) -> Context {
        Context::new(label, &self.vault, kind, id)
    }

    /// Seals `text` for `context` under the active root key.
    pub fn seal(&self, context: &Context, text: &[u8]) -> Vec<u8> {
        envelope::seal(self.roots().active(), &*self.entropy, context, text)
    }

    /// Opens what was sealed for `context`. A root key not seen before is looked for once more at
    /// the provider.
    pub fn open(&self, context: &Context, sealed: &[u8]) -> Result<SecretBytes, CryptoError> {
        match envelope::open(&self.roots(), context, sealed) {
            Err(CryptoError::UnknownKey(id)) => envelope::open(&*self.reload(id)?, context, sealed),
            result => result,
        }
    }

    /// Wraps the data key of `sealed` under the active root key without opening the text; `None`
    /// when it is already. `context` needs no bound part.
    pub fn rewrap(&self, context: &Context, sealed: &[u8]) -> Result<Option<Vec<u8>>, CryptoError> {
        match envelope::rewrap(&self.roots(), &*self.entropy, context, sealed) {
            Err(CryptoError::UnknownKey(id)) => {
                envelope::rewrap(&*self.reload(id)?, &*self.entropy, context, sealed)
            }
            result => result,
        }
    }

    /// The name of the root key that seals now.
    pub fn active(&self) -> RootKeyId {
        self.roots().active().id()
    }

    /// Asks the provider again, after a rotation.
    pub fn refresh(&self) -> Result<(), KeyError> {
        let loaded = Arc::new(self.provider.load()?);
        *self.roots.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(())
    }

    /// Seals the keyring.
    pub fn seal_keyring(&self, keyring: &Keyring) -> Vec<u8> {
        self.seal(&self.keyring_context(), &keyring.to_bytes())
    }

    /// Opens the keyring.
    pub fn open_keyring(&self, sealed: &[u8]) -> Result<Keyring, CryptoError> {
        Keyring::from_bytes(&self.open(&self.keyring_context(), sealed)?)
    }

    /// The context of the sealed keyring.
    pub fn keyring_context(&self) -> Context {
        self.context("keyring", 0, 0)
    }

    fn roots(&self) -> Arc<RootKeys> {
        self.roots
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn reload(&self, id: RootKeyId) -> Result<Arc<RootKeys>, CryptoError> {
        // A key that cannot be loaded now and one that does not exist look the same to the caller.
        self.refresh().map_err(|error| {
            tracing::error!(%error, "the root keys cannot be loaded again");
            CryptoError::UnknownKey(id)
        })?;
        Ok(self.roots())
    }
}

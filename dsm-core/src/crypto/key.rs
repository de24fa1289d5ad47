use std::fmt;
use std::sync::Arc;

use aes_gcm::{Aes256Gcm, KeyInit as _};
use zeroize::Zeroizing;

use crate::entropy::Entropy;

/// Names a root key: eight random bytes, no function of the key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RootKeyId(pub [u8; 8]);

impl fmt::Display for RootKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for RootKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootKeyId({self})")
    }
}

/// A root key: 256 bits that wrap keyrings and data keys.
#[derive(Clone)]
pub struct RootKey {
    id: RootKeyId,
    bytes: Zeroizing<[u8; 32]>,
    // Kept beside the bytes so that opening a record does not expand the key anew.
    cipher: Arc<Aes256Gcm>,
}

impl RootKey {
    /// A key from its parts.
    pub fn new(id: RootKeyId, bytes: Zeroizing<[u8; 32]>) -> Self {
        let cipher = Arc::new(Aes256Gcm::new((&*bytes).into()));
        Self { id, bytes, cipher }
    }

    /// A new random key.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self::new(RootKeyId(entropy.array()), Zeroizing::new(entropy.array()))
    }

    /// Its name.
    pub fn id(&self) -> RootKeyId {
        self.id
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    pub(super) fn cipher(&self) -> &Aes256Gcm {
        &self.cipher
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The root keys at hand: the active one seals, all open.
#[derive(Debug, Clone)]
pub struct RootKeys {
    active: RootKey,
    retired: Vec<RootKey>,
}

impl RootKeys {
    /// One key.
    pub fn only(active: RootKey) -> Self {
        Self {
            active,
            retired: Vec::new(),
        }
    }

    /// `active` seals; `retired` are kept for what they sealed.
    pub fn new(active: RootKey, retired: Vec<RootKey>) -> Self {
        Self { active, retired }
    }

    /// The key that seals.
    pub fn active(&self) -> &RootKey {
        &self.active
    }

    /// The keys that only open.
    pub fn retired(&self) -> &[RootKey] {
        &self.retired
    }

    /// The key with this name.
    pub fn find(&self, id: RootKeyId) -> Option<&RootKey> {
        std::iter::once(&self.active)
            .chain(&self.retired)
            .find(|key| key.id == id)
    }
}

//! What keeps records secret and whole: the envelope, the keyring, the root keys; and
//! [`sealing`] of values to a client's own key.
//!
//! A *root key* comes from a [`KeyProvider`] and wraps everything else: the *keyring* (keys for
//! index terms, the audit trail, tokens and client secrets, made once per vault) and one fresh
//! *data key* per sealed text, which encrypts once. Algorithms are AES-256-GCM
//! ([NIST SP 800-38D](https://doi.org/10.6028/NIST.SP.800-38D)) with random 96-bit nonces, and
//! HMAC-SHA-256 ([RFC 2104](https://www.rfc-editor.org/rfc/rfc2104)).

mod envelope;
mod key;
mod keyring;
mod provider;
mod sealer;
pub mod sealing;

pub use self::envelope::{Context, HEADER_LEN, OVERHEAD, root_key_id};
pub use self::key::{RootKey, RootKeyId, RootKeys};
pub use self::keyring::{Keyring, Mac};
pub use self::provider::{EnvironmentKeys, KeyError, KeyFile, KeyProvider, StaticKeys};
pub use self::sealer::{Sealer, VaultId};

/// Bytes that are wiped from memory when dropped.
pub type SecretBytes = zeroize::Zeroizing<Vec<u8>>;

/// Why something sealed was not opened. It says as little as an attacker may learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// Damaged, forged, or sealed for another place.
    #[error("the sealed data does not open: it is damaged, forged or stands in the wrong place")]
    Open,
    /// Sealed under a root key that is not at hand.
    #[error("the data is sealed under root key {0}, which the key provider does not have")]
    UnknownKey(RootKeyId),
    /// Not an envelope, or one of a later format.
    #[error("the data is not in a sealed format that this version knows")]
    UnsupportedFormat,
}

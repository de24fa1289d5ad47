use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::CryptoError;
use crate::entropy::Entropy;
use crate::store::{Kind, Term};

/// A keyed hash: HMAC-SHA-256 in full. Compared in constant time.
#[derive(Clone, Copy)]
pub struct Mac(pub [u8; 32]);

impl PartialEq for Mac {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Mac {}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mac(..)")
    }
}

/// The vault's own keys, made once when it is initialised and kept sealed under the root key.
pub struct Keyring {
    index: Zeroizing<[u8; 32]>,
    audit: Zeroizing<[u8; 32]>,
    token: Zeroizing<[u8; 32]>,
    client: Zeroizing<[u8; 32]>,
    // The hashing state after the key, so that a term costs two compressions and not four.
    index_state: Hmac<Sha256>,
    token_state: Hmac<Sha256>,
}

const VERSION: u8 = 1;

impl Keyring {
    /// New random keys.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let key = || Zeroizing::new(entropy.array::<32>());
        Self::new(key(), key(), key(), key())
    }

    fn new(
        index: Zeroizing<[u8; 32]>,
        audit: Zeroizing<[u8; 32]>,
        token: Zeroizing<[u8; 32]>,
        client: Zeroizing<[u8; 32]>,
    ) -> Self {
        let (index_state, token_state) = (state(&index), state(&token));
        Self {
            index,
            audit,
            token,
            client,
            index_state,
            token_state,
        }
    }

    /// The index term of a field's value. Different kinds and fields give unrelated terms.
    pub fn term(&self, kind: Kind, field: &str, value: &[u8]) -> Term {
        let mut mac = self.index_state.clone();
        mac.update(&kind.0.to_be_bytes());
        mac.update(&(field.len() as u64).to_be_bytes());
        mac.update(field.as_bytes());
        mac.update(value);
        let full: [u8; 32] = mac.finalize().into_bytes().into();
        let mut term = [0; 16];
        term.copy_from_slice(&full[..16]);
        Term(term)
    }

    /// The hash under which a bearer token is kept.
    pub fn token_mac(&self, token: &[u8]) -> Mac {
        finish(self.token_state.clone(), token)
    }

    /// The hash by which a client's secret is verified.
    pub fn client_mac(&self, secret: &[u8]) -> Mac {
        finish(state(&self.client), secret)
    }

    /// The signature of a checkpoint of the audit trail.
    pub fn audit_mac(&self, checkpoint: &[u8]) -> Mac {
        finish(state(&self.audit), checkpoint)
    }

    pub(super) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(1 + 4 * 32));
        bytes.push(VERSION);
        for key in [&self.index, &self.audit, &self.token, &self.client] {
            bytes.extend_from_slice(&**key);
        }
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, CryptoError> {
        let Some((&VERSION, keys)) = bytes.split_first() else {
            return Err(CryptoError::UnsupportedFormat);
        };
        let mut keys = keys.chunks(32).map(|chunk| {
            let key: [u8; 32] = chunk
                .try_into()
                .map_err(|_| CryptoError::UnsupportedFormat)?;
            Ok(Zeroizing::new(key))
        });
        let mut next = || keys.next().unwrap_or(Err(CryptoError::UnsupportedFormat));
        Ok(Self::new(next()?, next()?, next()?, next()?))
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").finish_non_exhaustive()
    }
}

fn state(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn finish(mut state: Hmac<Sha256>, message: &[u8]) -> Mac {
    state.update(message);
    Mac(state.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::OsEntropy;

    #[test]
    fn a_keyring_comes_back_from_its_bytes() {
        let keyring = Keyring::generate(&OsEntropy);
        let again = Keyring::from_bytes(&keyring.to_bytes()).expect("its own bytes");
        assert_eq!(
            keyring.term(Kind(1), "a", b"b"),
            again.term(Kind(1), "a", b"b")
        );
        assert_eq!(keyring.token_mac(b"t"), again.token_mac(b"t"));
        assert_eq!(keyring.client_mac(b"t"), again.client_mac(b"t"));
        assert_eq!(keyring.audit_mac(b"t"), again.audit_mac(b"t"));
        assert!(Keyring::from_bytes(&keyring.to_bytes()[1..]).is_err());
        assert!(Keyring::from_bytes(&[]).is_err());
    }

    #[test]
    fn terms_differ_by_kind_field_and_value_and_do_not_run_together() {
        let keyring = Keyring::generate(&OsEntropy);
        let term = keyring.term(Kind(1), "ab", b"c");
        assert_ne!(term, keyring.term(Kind(2), "ab", b"c"));
        assert_ne!(term, keyring.term(Kind(1), "a", b"bc"));
        assert_ne!(term, keyring.term(Kind(1), "ab", b"d"));
    }
}

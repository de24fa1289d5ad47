//! Key pairs and public keys.

use std::fmt;
use std::ops::RangeInclusive;

use rsa::pkcs1::DecodeRsaPublicKey as _;
use rsa::pkcs8::{DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding};
use rsa::traits::PublicKeyParts as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::random::Random;
use crate::entropy::Entropy;
use crate::secret::SecretText;

/// How long the modulus of a client's key may be, in bits.
pub const BITS: RangeInclusive<u32> = 2048..=4096;
/// How long the modulus of a key made here is, in bits.
const MADE_BITS: usize = 3072;
/// A text longer than this is no public key: one of 4096 bits takes 800 bytes.
const MAX_PEM: usize = 8192;

/// An RSA public key of 2048 to 4096 bits that values are sealed to.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    rsa: rsa::PublicKey,
    fingerprint: [u8; 32],
}

/// A text that is no public key to seal to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// Not a key.
    #[error("must be an RSA public key in PEM, SPKI or PKCS#1")]
    Unreadable,
    /// A secret that should not have been sent.
    #[error("is a private key; give the public one, and take this one for known to others")]
    Private,
    /// Too short to be safe, too long to be quick, or none that RSA works with.
    #[error(
        "must have a modulus of 2048 to 4096 bits, and an odd exponent of at least 3 and at most 33 bits"
    )]
    Unfit,
}

/// A public key and the private key that opens what is sealed to it.
pub struct KeyPair {
    /// What values are sealed to.
    pub public: PublicKey,
    /// PEM of PKCS#8. Sensitive.
    pub private: SecretText,
}

impl KeyPair {
    /// Makes an RSA-3072 pair with the exponent 65537. It takes from a tenth of a second to more than
    /// one: not something for a thread that serves others.
    #[allow(clippy::missing_panics_doc, reason = "they cannot happen")]
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let pair = rsa::PrivateKey::new(&mut Random(entropy), MADE_BITS).expect(
            "the length is one that the library makes, and the random source does not fail",
        );
        let private = pair
            .to_pkcs8_pem(LineEnding::LF)
            .expect("a valid key can be written");
        Self {
            public: PublicKey::of(pair.to_public_key()),
            private: SecretText::new(private.as_str()),
        }
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

impl PublicKey {
    /// Reads PEM of SPKI ([RFC 5280](https://www.rfc-editor.org/rfc/rfc5280#section-4.1)) or PKCS#1
    /// ([RFC 8017, appendix A.1.1](https://www.rfc-editor.org/rfc/rfc8017#appendix-A.1.1)).
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn from_pem(pem: &str) -> Result<Self, PublicKeyError> {
        let pem = pem.trim();
        if pem.contains("PRIVATE KEY-----") {
            return Err(PublicKeyError::Private);
        }
        if pem.len() > MAX_PEM {
            return Err(PublicKeyError::Unreadable);
        }
        let key = if pem.starts_with("-----BEGIN RSA PUBLIC KEY-----") {
            rsa::PublicKey::from_pkcs1_pem(pem).map_err(|error| match error {
                rsa::pkcs1::Error::KeyMalformed => PublicKeyError::Unfit,
                _ => PublicKeyError::Unreadable,
            })
        } else {
            rsa::PublicKey::from_public_key_pem(pem).map_err(|error| match error {
                rsa::pkcs8::spki::Error::KeyMalformed => PublicKeyError::Unfit,
                _ => PublicKeyError::Unreadable,
            })
        }?;
        // That the exponent is odd, and so is the modulus, the library has seen to.
        if !BITS.contains(&key.n().bit_width()) || *key.e() < rsa::BoxedUint::from(3_u64) {
            return Err(PublicKeyError::Unfit);
        }
        Ok(Self::of(key))
    }

    fn of(rsa: rsa::PublicKey) -> Self {
        let der = rsa.to_public_key_der().expect("a valid key can be written");
        Self {
            fingerprint: Sha256::digest(der.as_bytes()).into(),
            rsa,
        }
    }

    /// As PEM of SPKI.
    #[allow(clippy::missing_panics_doc, reason = "they cannot happen")]
    pub fn to_pem(&self) -> String {
        self.rsa
            .to_public_key_pem(LineEnding::LF)
            .expect("a valid key can be written")
    }

    /// Names the key: SHA-256 of its SPKI in DER.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// The length of the modulus in bits.
    pub fn bits(&self) -> u32 {
        self.rsa.n().bit_width()
    }

    /// The length of the modulus in bytes.
    pub(super) fn len(&self) -> usize {
        self.rsa.size()
    }

    pub(super) fn rsa(&self) -> &rsa::PublicKey {
        &self.rsa
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fingerprint = data_encoding::HEXLOWER.encode(&self.fingerprint);
        f.debug_tuple("PublicKey").field(&fingerprint).finish()
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_pem())
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pem = String::deserialize(deserializer)?;
        Self::from_pem(&pem).map_err(serde::de::Error::custom)
    }
}

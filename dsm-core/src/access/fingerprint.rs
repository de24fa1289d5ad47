use std::fmt;
use std::str::FromStr;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

/// The digest of a client certificate's DER that a client has to show.
///
/// It reads hexadecimal digits in any case, with colons and spaces anywhere: 40 of them are a
/// SHA-1, 64 a SHA-256. It is written in lower case without separators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(into = "String", try_from = "String")]
pub enum Fingerprint {
    /// SHA-1, for fingerprints that come from elsewhere.
    Sha1([u8; 20]),
    /// SHA-256.
    Sha256([u8; 32]),
}

/// Why a text is not a [`Fingerprint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FingerprintError {
    /// Something other than hexadecimal digits, colons and spaces.
    #[error("a fingerprint consists of hexadecimal digits, colons and spaces")]
    Digit,
    /// As many digits as no known digest has.
    #[error("a fingerprint has 40 hexadecimal digits (SHA-1) or 64 (SHA-256), not {0}")]
    Length(usize),
}

/// What is known of the certificate that a client has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertificateDigests {
    sha1: Option<[u8; 20]>,
    sha256: Option<[u8; 32]>,
}

impl CertificateDigests {
    /// Both digests of the certificate's DER.
    pub fn new(sha1: [u8; 20], sha256: [u8; 32]) -> Self {
        Self {
            sha1: Some(sha1),
            sha256: Some(sha256),
        }
    }

    /// One digest, where there is no certificate at hand but only its fingerprint: it matches
    /// nothing but that fingerprint.
    pub fn only(fingerprint: Fingerprint) -> Self {
        let (sha1, sha256) = match fingerprint {
            Fingerprint::Sha1(digest) => (Some(digest), None),
            Fingerprint::Sha256(digest) => (None, Some(digest)),
        };
        Self { sha1, sha256 }
    }
}

impl Fingerprint {
    /// Whether the certificate is the one meant, compared in constant time.
    pub fn matches(&self, certificate: &CertificateDigests) -> bool {
        match self {
            Self::Sha1(expected) => certificate
                .sha1
                .is_some_and(|shown| shown.ct_eq(expected).into()),
            Self::Sha256(expected) => certificate
                .sha256
                .is_some_and(|shown| shown.ct_eq(expected).into()),
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&match self {
            Self::Sha1(digest) => HEXLOWER.encode(digest),
            Self::Sha256(digest) => HEXLOWER.encode(digest),
        })
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let digits: Vec<u8> = text.bytes().filter(|byte| !b": ".contains(byte)).collect();
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(FingerprintError::Digit);
        }
        let wrong_length = FingerprintError::Length(digits.len());
        let bytes = HEXLOWER_PERMISSIVE
            .decode(&digits)
            .map_err(|_| wrong_length)?;
        <[u8; 20]>::try_from(&*bytes)
            .map(Self::Sha1)
            .or_else(|_| <[u8; 32]>::try_from(&*bytes).map(Self::Sha256))
            .map_err(|_| wrong_length)
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = FingerprintError;

    fn try_from(text: String) -> Result<Self, FingerprintError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::{CertificateDigests, Fingerprint, FingerprintError};

    const SHA1: [u8; 20] = [0xAB; 20];
    const SHA256: [u8; 32] = [0x1F; 32];

    #[test]
    fn every_spelling_of_one_digest_is_the_same() {
        let colons = ["AB"; 20].join(":");
        let spaces = ["ab"; 20].join(" ");
        let plain = "aB".repeat(20);
        for text in [&colons, &spaces, &plain] {
            assert_eq!(text.parse(), Ok(Fingerprint::Sha1(SHA1)));
        }
        assert_eq!("1F".repeat(32).parse(), Ok(Fingerprint::Sha256(SHA256)));
    }

    #[test]
    fn it_is_written_so_that_it_reads_back() {
        for fingerprint in [Fingerprint::Sha1(SHA1), Fingerprint::Sha256(SHA256)] {
            assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
            let json = serde_json::to_string(&fingerprint).unwrap();
            assert_eq!(json, format!("\"{fingerprint}\""));
            assert_eq!(
                serde_json::from_str::<Fingerprint>(&json).unwrap(),
                fingerprint
            );
        }
        assert_eq!(Fingerprint::Sha1(SHA1).to_string(), "ab".repeat(20));
        assert!(serde_json::from_str::<Fingerprint>("\"abcd\"").is_err());
    }

    #[test]
    fn anything_else_is_refused() {
        for (text, error) in [
            (String::new(), FingerprintError::Length(0)),
            ("a".repeat(39), FingerprintError::Length(39)),
            ("a".repeat(41), FingerprintError::Length(41)),
            ("a".repeat(62), FingerprintError::Length(62)),
            ("g".repeat(40), FingerprintError::Digit),
            (format!("{}\t", "a".repeat(40)), FingerprintError::Digit),
            (format!("0x{}", "a".repeat(38)), FingerprintError::Digit),
            ("é".repeat(20), FingerprintError::Digit),
        ] {
            assert_eq!(text.parse::<Fingerprint>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_digest_matches_only_its_own_kind_and_bytes() {
        let shown = CertificateDigests::new(SHA1, SHA256);
        assert!(Fingerprint::Sha1(SHA1).matches(&shown));
        assert!(Fingerprint::Sha256(SHA256).matches(&shown));
        for index in 0..20 {
            let mut other = SHA1;
            other[index] ^= 1;
            assert!(!Fingerprint::Sha1(other).matches(&shown));
        }
        for index in 0..32 {
            let mut other = SHA256;
            other[index] ^= 0x80;
            assert!(!Fingerprint::Sha256(other).matches(&shown));
        }
        let only = CertificateDigests::only(Fingerprint::Sha1(SHA1));
        assert!(Fingerprint::Sha1(SHA1).matches(&only));
        assert!(!Fingerprint::Sha256(SHA256).matches(&only));
        let only = CertificateDigests::only(Fingerprint::Sha256(SHA256));
        assert!(Fingerprint::Sha256(SHA256).matches(&only));
        assert!(!Fingerprint::Sha1(SHA1).matches(&only));
    }
}

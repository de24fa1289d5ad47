#![allow(clippy::disallowed_methods, reason = "what a client does")]

use super::*;
use crate::crypto::CryptoError;
use crate::entropy::{Entropy as _, OsEntropy};

const FORMATS: [SealingFormat; 3] = [
    SealingFormat::Jwe,
    SealingFormat::OaepSha1,
    SealingFormat::OaepSha256,
];

/// Made once: it takes a while.
fn pair() -> &'static (PublicKey, PrivateKey) {
    static PAIR: std::sync::OnceLock<(PublicKey, PrivateKey)> = std::sync::OnceLock::new();
    PAIR.get_or_init(|| {
        let pair = KeyPair::generate(&OsEntropy);
        let private = PrivateKey::from_pem(pair.private.expose()).expect("just made");
        (pair.public, private)
    })
}

fn random(length: usize) -> Vec<u8> {
    let mut text = vec![0; length];
    OsEntropy.fill(&mut text);
    text
}

#[test]
fn what_is_sealed_opens_in_its_own_format_only() {
    let (public, private) = pair();
    for format in FORMATS {
        for length in [0, 1, 100, public.limit(format).unwrap_or(70_000)] {
            let text = random(length);
            let sealed = public.seal(format, &OsEntropy, &text).expect("sealed");
            assert_eq!(*private.open(format, &sealed).expect("opened"), text);
            for other in FORMATS.into_iter().filter(|other| *other != format) {
                assert!(
                    private.open(other, &sealed).is_err(),
                    "{format:?} as {other:?}"
                );
            }
        }
    }
}

#[test]
fn the_same_value_is_never_sealed_twice_alike() {
    let (public, _) = pair();
    for format in FORMATS {
        let seal = || public.seal(format, &OsEntropy, b"value").expect("sealed");
        assert_ne!(seal(), seal());
    }
}

#[test]
fn a_value_too_long_for_bare_rsa_is_refused() {
    let (public, _) = pair();
    assert_eq!(public.bits(), 3072);
    for (format, limit) in [
        (SealingFormat::OaepSha1, 342),
        (SealingFormat::OaepSha256, 318),
    ] {
        assert_eq!(public.limit(format), Some(limit));
        let refused = public.seal(format, &OsEntropy, &random(limit + 1));
        assert_eq!(refused, Err(SealError::TooLong { limit }));
    }
    assert_eq!(public.limit(SealingFormat::Jwe), None);
}

#[test]
fn nothing_opens_with_another_key() {
    let (public, _) = pair();
    let other = KeyPair::generate(&OsEntropy);
    let other = PrivateKey::from_pem(other.private.expose()).expect("just made");
    for format in FORMATS {
        let sealed = public.seal(format, &OsEntropy, b"value").expect("sealed");
        let opened = other.open(format, &sealed);
        assert_eq!(opened.err(), Some(CryptoError::Open), "{format:?}");
    }
}

#[test]
fn every_character_counts() {
    let (public, private) = pair();
    for format in FORMATS {
        let sealed = public.seal(format, &OsEntropy, b"value").expect("sealed");
        // A prime step: all of them would take a while.
        for at in (0..sealed.len()).step_by(7) {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert!(
                private.open(format, &changed).is_err(),
                "{format:?} at {at}"
            );
            assert!(
                private.open(format, &sealed[..at]).is_err(),
                "{format:?} cut at {at}"
            );
        }
        assert!(private.open(format, &format!("{sealed}A")).is_err());
        assert!(private.open(format, &format!("{sealed}.")).is_err());
    }
}

#[test]
fn a_jwe_with_extensions_or_other_algorithms_is_not_read() {
    let (public, private) = pair();
    let sealed = public
        .seal(SealingFormat::Jwe, &OsEntropy, b"value")
        .expect("sealed");
    let (_, rest) = sealed.split_once('.').expect("has parts");
    for header in [
        r#"{"alg":"RSA-OAEP-256","enc":"A256GCM","crit":["x"]}"#,
        r#"{"alg":"RSA-OAEP-256","enc":"A256GCM","zip":"DEF"}"#,
        r#"{"alg":"RSA1_5","enc":"A256GCM"}"#,
        r#"{"alg":"RSA-OAEP-256","enc":"A128GCM"}"#,
        r#"{"alg":"RSA-OAEP-256"}"#,
        "no JSON",
    ] {
        let header = data_encoding::BASE64URL_NOPAD.encode(header.as_bytes());
        let opened = private.open(SealingFormat::Jwe, &format!("{header}.{rest}"));
        assert_eq!(opened.err(), Some(CryptoError::UnsupportedFormat));
    }
}

#[test]
fn a_public_key_goes_through_pem() {
    let (public, _) = pair();
    let pem = public.to_pem();
    assert!(pem.starts_with("-----BEGIN PUBLIC KEY-----\n"), "{pem}");
    for text in [pem.clone(), format!("\n{pem}\n"), pem.replace('\n', "\r\n")] {
        assert_eq!(PublicKey::from_pem(&text).as_ref(), Ok(public));
    }
}

#[test]
fn what_is_no_fit_public_key_is_told_apart() {
    let refused = |pem: &str| PublicKey::from_pem(pem).expect_err("refused");
    assert_eq!(refused(""), PublicKeyError::Unreadable);
    assert_eq!(refused("ssh-rsa AAAA"), PublicKeyError::Unreadable);
    let private = KeyPair::generate(&OsEntropy).private;
    assert_eq!(refused(private.expose()), PublicKeyError::Private);
    let pem = pair().0.to_pem();
    assert_eq!(refused(&pem[..pem.len() / 2]), PublicKeyError::Unreadable);
    assert_eq!(refused(&"-".repeat(10_000)), PublicKeyError::Unreadable);
    for bits in [1024, 1536, 4608] {
        assert_eq!(
            refused(&pem_of(bits, 65537)),
            PublicKeyError::Unfit,
            "{bits}"
        );
    }
    for bits in [2048, 4096] {
        for exponent in [3, 65537] {
            let key = PublicKey::from_pem(&pem_of(bits, exponent)).expect("fits");
            assert_eq!(key.bits(), bits);
        }
    }
    for exponent in [1, 2, 65536, 1 << 40] {
        let pem = pem_of(2048, exponent);
        assert_eq!(refused(&pem), PublicKeyError::Unfit, "{exponent}");
    }
}

/// A public key in PKCS#1 with a modulus of this length, which nobody can factor.
fn pem_of(bits: u32, exponent: u64) -> String {
    let mut modulus = random(bits as usize / 8);
    modulus[0] |= 0x80;
    *modulus.last_mut().expect("has bytes") |= 1;
    let exponent = exponent.to_be_bytes();
    let exponent: Vec<u8> = exponent.into_iter().skip_while(|byte| *byte == 0).collect();
    let key = rsa::pkcs1::RsaPublicKeyRef {
        modulus: rsa::pkcs1::UintRef::new(&modulus).expect("a number"),
        public_exponent: rsa::pkcs1::UintRef::new(&exponent).expect("a number"),
    };
    let document = rsa::pkcs8::Document::encode_msg(&key).expect("encoded");
    document
        .to_pem("RSA PUBLIC KEY", rsa::pkcs8::LineEnding::LF)
        .expect("encoded")
}

#[test]
fn private_keys_are_read_in_both_forms() {
    use rsa::pkcs1::EncodeRsaPrivateKey as _;
    use rsa::pkcs8::DecodePrivateKey as _;

    let pair = KeyPair::generate(&OsEntropy);
    let key = rsa::PrivateKey::from_pkcs8_pem(pair.private.expose()).expect("just made");
    let pkcs1 = key
        .to_pkcs1_pem(rsa::pkcs8::LineEnding::LF)
        .expect("written");
    let sealed = pair
        .public
        .seal(SealingFormat::Jwe, &OsEntropy, b"value")
        .expect("sealed");
    for pem in [pair.private.expose(), pkcs1.as_str()] {
        let private = PrivateKey::from_pem(pem).expect("read");
        assert_eq!(
            *private.open(SealingFormat::Jwe, &sealed).expect("opened"),
            b"value"
        );
    }
    for pem in ["", &pair.public.to_pem()] {
        assert_eq!(PrivateKey::from_pem(pem).err(), Some(PrivateKeyError));
    }
}

#[test]
fn debug_shows_no_private_key() {
    let pair = KeyPair::generate(&OsEntropy);
    let private = PrivateKey::from_pem(pair.private.expose()).expect("just made");
    let shown = format!("{pair:?} {private:?}");
    assert!(!shown.contains("BEGIN") && shown.len() < 200, "{shown}");
}

//! Sealed texts under random damage and in each other's place.
//!
//! `DSM_CASES` says how many random cases each property is tried with.

use std::sync::Arc;

use dsm_core::crypto::{
    Context, CryptoError, HEADER_LEN, OVERHEAD, RootKey, RootKeyId, RootKeys, Sealer, StaticKeys,
    root_key_id,
};
use dsm_core::entropy::OsEntropy;
use proptest::collection::vec;
use proptest::prelude::*;

/// The bytes before the root key's id: the magic, the format and the algorithm.
const MAGIC_LEN: usize = HEADER_LEN - 8;

fn config() -> ProptestConfig {
    let cases = std::env::var("DSM_CASES").map_or(5_000, |cases| {
        cases.parse().expect("DSM_CASES is a number of cases")
    });
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn sealer() -> Sealer {
    let keys = StaticKeys::generate(&OsEntropy);
    Sealer::new([7; 16], Arc::new(keys), Arc::new(OsEntropy)).expect("static keys always load")
}

fn texts() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..300)
}

/// Where a record belongs: label, kind, id and revision.
type Place = (String, u16, u64, u64);

fn places() -> impl Strategy<Value = Place> {
    ("[a-z]{1,12}", any::<u16>(), any::<u64>(), any::<u64>())
}

fn context(sealer: &Sealer, (label, kind, id, revision): &Place) -> Context {
    sealer.context(label, *kind, *id).bind(*revision)
}

/// One way to damage an envelope.
#[derive(Debug, Clone)]
enum Damage {
    /// One bit changes.
    Flip { byte: usize, bit: u32 },
    /// What follows is lost.
    Truncate { length: usize },
    /// Something follows.
    Extend { by: Vec<u8> },
}

/// Damage of an envelope of `length` bytes.
fn damage(length: usize) -> impl Strategy<Value = Damage> {
    prop_oneof![
        4 => (0..length, 0..8_u32).prop_map(|(byte, bit)| Damage::Flip { byte, bit }),
        2 => (0..length).prop_map(|length| Damage::Truncate { length }),
        1 => vec(any::<u8>(), 1..64).prop_map(|by| Damage::Extend { by }),
    ]
}

impl Damage {
    fn apply(&self, sealed: &mut Vec<u8>) {
        match self {
            Self::Flip { byte, bit } => sealed[*byte] ^= 1 << bit,
            Self::Truncate { length } => sealed.truncate(*length),
            Self::Extend { by } => sealed.extend_from_slice(by),
        }
    }

    /// How opening `damaged`, which this made, must fail.
    fn error(&self, damaged: &[u8]) -> CryptoError {
        match self {
            Self::Flip { byte, .. } if *byte < MAGIC_LEN => CryptoError::UnsupportedFormat,
            Self::Flip { byte, .. } if *byte < HEADER_LEN => {
                let id = damaged[MAGIC_LEN..HEADER_LEN].try_into();
                CryptoError::UnknownKey(RootKeyId(id.expect("an id is 8 bytes")))
            }
            Self::Truncate { length } if *length < OVERHEAD => CryptoError::UnsupportedFormat,
            _ => CryptoError::Open,
        }
    }
}

#[test]
fn texts_open_as_they_were_sealed() {
    let sealer = sealer();
    proptest!(config(), |(text in texts(), place in places())| {
        let context = context(&sealer, &place);
        let sealed = sealer.seal(&context, &text);
        prop_assert_eq!(sealed.len(), OVERHEAD + text.len());
        prop_assert_eq!(root_key_id(&sealed), Ok(sealer.active()));
        let opened = sealer.open(&context, &sealed);
        prop_assert_eq!(opened.as_deref(), Ok(&text));
    });
}

#[test]
fn a_rewrapped_text_opens_as_it_was_sealed() {
    let (old, new) = (RootKey::generate(&OsEntropy), RootKey::generate(&OsEntropy));
    let with = |keys| {
        let keys = Arc::new(StaticKeys::new(keys));
        Sealer::new([7; 16], keys, Arc::new(OsEntropy)).expect("static keys always load")
    };
    let before = with(RootKeys::only(old.clone()));
    let during = with(RootKeys::new(new.clone(), vec![old]));
    let after = with(RootKeys::only(new));
    proptest!(config(), |(text in texts(), place in places())| {
        let context = context(&before, &place);
        let sealed = before.seal(&context, &text);
        let rewrapped = during.rewrap(&context, &sealed);
        let rewrapped = rewrapped.expect("unwraps").expect("was under the old key");
        let opened = after.open(&context, &rewrapped);
        prop_assert_eq!(opened.as_deref(), Ok(&text));
        prop_assert_eq!(
            after.open(&context, &sealed),
            Err(CryptoError::UnknownKey(before.active()))
        );
    });
}

#[test]
fn damaged_texts_never_open() {
    let sealer = sealer();
    let cases = texts().prop_flat_map(|text| {
        let length = OVERHEAD + text.len();
        (Just(text), damage(length))
    });
    proptest!(config(), |((text, damage) in cases, place in places())| {
        let context = context(&sealer, &place);
        let mut sealed = sealer.seal(&context, &text);
        damage.apply(&mut sealed);
        let error = damage.error(&sealed);
        prop_assert_eq!(sealer.open(&context, &sealed), Err(error));
    });
}

#[test]
fn bytes_that_were_never_sealed_neither_open_nor_panic() {
    let sealer = sealer();
    let context = sealer.context("record", 1, 1);
    let mut header = sealer.seal(&context, b"");
    header.truncate(HEADER_LEN);
    proptest!(config(), |(rest in vec(any::<u8>(), 0..400), with_header in any::<bool>())| {
        let mut bytes = if with_header { header.clone() } else { Vec::new() };
        bytes.extend_from_slice(&rest);
        prop_assert!(sealer.open(&context, &bytes).is_err());
        prop_assert!(sealer.open_keyring(&bytes).is_err());
    });
}

#[test]
fn no_single_bit_and_no_last_byte_can_be_missed() {
    let sealer = sealer();
    let context = sealer.context("record", 3, 9).bind(1);
    let sealed = sealer.seal(&context, b"a short text");
    let flips =
        (0..sealed.len()).flat_map(|byte| (0..8).map(move |bit| Damage::Flip { byte, bit }));
    let truncations = (0..sealed.len()).map(|length| Damage::Truncate { length });
    for damage in flips.chain(truncations) {
        let mut damaged = sealed.clone();
        damage.apply(&mut damaged);
        assert_eq!(
            sealer.open(&context, &damaged),
            Err(damage.error(&damaged)),
            "{damage:?}"
        );
    }
    assert_eq!(
        sealer.open(&context, &sealed).as_deref(),
        Ok(&b"a short text".to_vec())
    );
}

#[test]
fn no_record_opens_in_the_place_of_another() {
    let sealer = sealer();
    // Neighbours differ in one respect at a time: kind, id or revision.
    let contexts: Vec<Context> = (0..100_u16)
        .map(|n| {
            sealer
                .context("record", n % 4, u64::from(n / 4 % 5))
                .bind(u64::from(n / 20))
        })
        .collect();
    let records: Vec<Vec<u8>> = contexts
        .iter()
        .map(|context| sealer.seal(context, b"the same text everywhere"))
        .collect();
    let mut swaps = 0;
    for (at, context) in contexts.iter().enumerate() {
        for (from, record) in records.iter().enumerate() {
            let opened = sealer.open(context, record);
            if at == from {
                assert!(opened.is_ok(), "record {at} in its own place");
            } else {
                assert_eq!(opened, Err(CryptoError::Open), "record {from} at {at}");
                swaps += 1;
            }
        }
    }
    assert_eq!(swaps, 9_900);
}

//! Sealed texts: nothing that was not sealed here opens, and what was sealed does.
#![no_main]

use std::sync::{Arc, LazyLock};

use dsm_core::crypto::{Sealer, StaticKeys};
use dsm_core::entropy::OsEntropy;
use libfuzzer_sys::fuzz_target;

static SEALER: LazyLock<Sealer> = LazyLock::new(|| {
    let keys = StaticKeys::generate(&OsEntropy);
    Sealer::new([7; 16], Arc::new(keys), Arc::new(OsEntropy)).expect("static keys always load")
});

fuzz_target!(|data: &[u8]| {
    let context = SEALER.context("fuzz", 1, 2).bind(3);
    assert!(SEALER.open(&context, data).is_err(), "it was never sealed");
    // A sound one, damaged by the rest of the input: a place, and what stands there instead.
    let Some((&[a, b, ref text @ ..], damage)) = data.split_at_checked(data.len() / 2) else {
        return;
    };
    let mut sealed = SEALER.seal(&context, text);
    let opened = SEALER.open(&context, &sealed).expect("it was sealed here");
    assert_eq!(&opened[..], text);
    let place = usize::from(u16::from_be_bytes([a, b])) % sealed.len();
    let before = sealed.clone();
    for (at, byte) in sealed[place..].iter_mut().zip(damage) {
        *at = *byte;
    }
    if damage.len() % 7 == 1 {
        sealed.truncate(place);
    }
    let opened = SEALER.open(&context, &sealed);
    assert_eq!(
        opened.is_ok(),
        sealed == before,
        "only what was sealed opens"
    );
});

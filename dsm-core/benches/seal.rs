//! What sealing costs: texts of typical sizes, an index term, a rewrap.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dsm_core::crypto::{Keyring, RootKey, RootKeys, Sealer, StaticKeys};
use dsm_core::entropy::OsEntropy;
use dsm_core::store::Kind;

/// A password, a page of key/value pairs, a large file.
const SIZES: [(&str, usize); 3] = [("100 B", 100), ("4 KiB", 4 << 10), ("64 KiB", 64 << 10)];

fn sealer(keys: RootKeys) -> Sealer {
    let keys = Arc::new(StaticKeys::new(keys));
    Sealer::new([7; 16], keys, Arc::new(OsEntropy)).expect("static keys always load")
}

fn texts(c: &mut Criterion) {
    let sealer = sealer(RootKeys::only(RootKey::generate(&OsEntropy)));
    let context = sealer.context("record", 1, 1).bind(1);

    let mut seal = c.benchmark_group("seal");
    for (name, size) in SIZES {
        let text = vec![0x5a; size];
        seal.throughput(Throughput::Bytes(size as u64));
        seal.bench_with_input(BenchmarkId::from_parameter(name), &text, |b, text| {
            b.iter(|| sealer.seal(black_box(&context), black_box(text)));
        });
    }
    seal.finish();

    let mut open = c.benchmark_group("open");
    for (name, size) in SIZES {
        let sealed = sealer.seal(&context, &vec![0x5a; size]);
        open.throughput(Throughput::Bytes(size as u64));
        open.bench_with_input(BenchmarkId::from_parameter(name), &sealed, |b, sealed| {
            b.iter(|| sealer.open(black_box(&context), black_box(sealed)));
        });
    }
    open.finish();
}

fn rewrap(c: &mut Criterion) {
    let old = RootKey::generate(&OsEntropy);
    let new = RootKey::generate(&OsEntropy);
    let before = sealer(RootKeys::only(old.clone()));
    let during = sealer(RootKeys::new(new, vec![old]));
    let context = before.context("record", 1, 1);
    let sealed = before.seal(&context, &[0x5a; 4 << 10]);
    assert!(
        during
            .rewrap(&context, &sealed)
            .is_ok_and(|sealed| sealed.is_some()),
        "there is something to rewrap"
    );
    c.bench_function("rewrap/4 KiB", |b| {
        b.iter(|| during.rewrap(black_box(&context), black_box(&sealed)));
    });
}

fn term(c: &mut Criterion) {
    let keyring = Keyring::generate(&OsEntropy);
    c.bench_function("term", |b| {
        b.iter(|| {
            keyring.term(
                black_box(Kind(1)),
                black_box("identity"),
                black_box(b"production/database/main"),
            )
        });
    });
}

criterion_group!(benches, texts, rewrap, term);
criterion_main!(benches);

//! A store that lies: whatever it hands back, nothing wrong is believed.

use std::sync::Arc;

use dsm_core::audit::{AuditQuery, Operation, Outcome};
use dsm_core::store::{IndexTerm, Kind, MemoryStore, Page, Query, Record, Store, Term};
use dsm_core::testing::FaultyStore;
use dsm_core::vault::{Error, VaultOptions};

use super::fixture::{Fixture, fields, identity};

const SECRET: Kind = Kind(12);

async fn faulty(secrets: usize) -> (Fixture, Arc<FaultyStore>, Vec<Record>) {
    let inner = Arc::new(MemoryStore::default());
    let store = Arc::new(FaultyStore::new(inner.clone()));
    // Without a cache every look goes to the store.
    let options = VaultOptions {
        max_staleness: std::time::Duration::ZERO,
        ..Default::default()
    };
    let f = Fixture::over(store.clone(), options, |fields| fields).await;
    for n in 0..secrets {
        f.vault
            .create_secret(&f.me, &format!("s{n}"), fields("1"))
            .await
            .unwrap();
    }
    let query = Query::new(SECRET).oldest_first();
    let records = inner.list(&query, Page::first(1000)).await.unwrap().records;
    (f, store, records)
}

#[tokio::test]
async fn no_record_opens_in_the_place_of_another() {
    let (f, store, records) = faulty(100).await;
    assert_eq!(records.len(), 100);
    for there in &records {
        for other in records.iter().filter(|other| other.key != there.key) {
            let (there, other) = (there.clone(), other.clone());
            let key = there.key;
            store.tamper(move |record| {
                if record.key == there.key {
                    *record = Record {
                        key: there.key,
                        ..other.clone()
                    };
                }
            });
            let error = f.vault.find_secret(&f.me, key.id.into()).await.unwrap_err();
            assert!(matches!(error, Error::Internal { .. }), "{error:?}");
        }
    }
}

#[tokio::test]
async fn a_swapped_index_does_not_give_another_secret() {
    let (f, store, records) = faulty(2).await;
    f.vault
        .attach_secret(&f.me, f.authorization.id, records[0].key.id.into())
        .await
        .unwrap();
    f.vault
        .attach_secret(&f.me, f.authorization.id, records[1].key.id.into())
        .await
        .unwrap();
    let client = f.principal().await;
    let (one, two) = (records[0].clone(), records[1].clone());
    store.tamper(move |record| {
        if record.key == one.key {
            *record = two.clone();
        }
    });
    let error = f
        .vault
        .read_secret(&client, &identity("s0"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Internal { .. }), "{error:?}");
}

#[tokio::test]
async fn every_flipped_column_is_noticed() {
    let (f, store, records) = faulty(1).await;
    let id = records[0].key.id;
    let key = records[0].key;
    type Flip = fn(&mut Record);
    let flips: [(&str, Flip); 9] = [
        ("revision", |r| r.revision += 1),
        ("created_at", |r| {
            r.created_at += chrono::TimeDelta::microseconds(1)
        }),
        ("expires_at", |r| r.expires_at = Some(r.created_at)),
        ("term", |r| r.terms[0].term = Term([7; 16])),
        ("term's uniqueness", |r| r.terms[0].unique = false),
        ("term's absence", |r| r.terms.clear()),
        ("term's presence", |r| {
            r.terms.push(IndexTerm {
                term: Term([1; 16]),
                unique: false,
            })
        }),
        ("body's length", |r| r.body.truncate(r.body.len() / 2)),
        ("body's absence", |r| r.body.clear()),
    ];
    for (name, flip) in flips {
        store.tamper(move |record| {
            if record.key == key {
                flip(record);
            }
        });
        let error = f.vault.find_secret(&f.me, id.into()).await.unwrap_err();
        assert!(matches!(error, Error::Internal { .. }), "{name}: {error:?}");
    }
    store.heal();
    f.vault.find_secret(&f.me, id.into()).await.unwrap();
}

#[tokio::test]
async fn every_flipped_byte_of_a_record_is_noticed() {
    let (f, store, records) = faulty(1).await;
    let key = records[0].key;
    f.vault
        .attach_secret(&f.me, f.authorization.id, key.id.into())
        .await
        .unwrap();
    let client = f.principal().await;
    for position in 0..records[0].body.len() {
        store.tamper(move |record| {
            if record.key == key {
                record.body[position] ^= 1;
            }
        });
        // Metadata or value, whichever is hit: a read needs both.
        let error = f
            .vault
            .read_secret(&client, &identity("s0"))
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::Internal { .. }),
            "{position}: {error:?}"
        );
    }
    store.heal();
    f.vault.read_secret(&client, &identity("s0")).await.unwrap();
}

#[tokio::test]
async fn values_of_another_version_or_secret_do_not_open() {
    let (f, store, records) = faulty(2).await;
    for record in &records {
        f.vault
            .attach_secret(&f.me, f.authorization.id, record.key.id.into())
            .await
            .unwrap();
    }
    f.rewrite(records[0].key.id.into(), "2").await;
    let client = f.principal().await;
    f.vault.read_secret(&client, &identity("s0")).await.unwrap();
    let (older, other) = (value_of(&records[0]), value_of(&records[1]));
    let key = records[0].key;
    for foreign in [older, other] {
        store.tamper(move |record| {
            if record.key == key {
                let meta = meta_of(record);
                record.body = [&meta[..], &foreign[..]].concat();
            }
        });
        let error = f
            .vault
            .read_secret(&client, &identity("s0"))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Internal { .. }), "{error:?}");
    }
}

fn meta_len(record: &Record) -> usize {
    4 + u32::from_be_bytes(record.body[..4].try_into().unwrap()) as usize
}

fn meta_of(record: &Record) -> Vec<u8> {
    record.body[..meta_len(record)].to_vec()
}

fn value_of(record: &Record) -> Vec<u8> {
    record.body[meta_len(record)..].to_vec()
}

#[tokio::test]
async fn a_damaged_value_is_recorded_as_failed() {
    let (f, store, records) = faulty(1).await;
    let key = records[0].key;
    f.vault
        .attach_secret(&f.me, f.authorization.id, key.id.into())
        .await
        .unwrap();
    let client = f.principal().await;
    store.tamper(move |record| {
        if record.key == key {
            *record.body.last_mut().unwrap() ^= 1;
        }
    });
    let trail = async |operation| {
        let query = AuditQuery {
            operation: Some(operation),
            ..AuditQuery::newest(10)
        };
        let page = f.vault.search_audit(&f.me, &query).await.unwrap();
        let told = page
            .found
            .into_iter()
            .map(|found| match found.event.outcome {
                Outcome::Allowed => "allowed".to_owned(),
                Outcome::Failed { reason } => reason,
                Outcome::Denied { rule, .. } => rule,
            });
        told.collect::<Vec<_>>()
    };
    let broken = "record 12/1 does not open";
    f.vault
        .read_secret(&client, &identity("s0"))
        .await
        .unwrap_err();
    assert_eq!(trail(Operation::ReadSecret).await, [broken, "allowed"]);
    f.vault.read_secrets(&client).await.unwrap_err();
    assert_eq!(trail(Operation::ReadSecret).await[..2], [broken, "allowed"]);
    let update = f
        .vault
        .update_secret(&f.me, key.id.into(), fields("2"), None);
    update.await.unwrap_err();
    assert_eq!(trail(Operation::UpdateSecret).await, [broken, "allowed"]);
}

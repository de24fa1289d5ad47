use std::sync::Arc;

use chrono::TimeDelta;

use super::*;
use crate::audit::fixture::{chained, event, vault};
use crate::audit::{Actor, AuditSink as _, ObjectRef, Outcome, StoreSink, Verifier, verify_lines};
use crate::id::{ApplicationId, OperatorId};
use crate::store::MemoryStore;

const A: ServerId = ServerId([1; 16]);
const B: ServerId = ServerId([2; 16]);

/// Twelve reads by two servers in batches of three, a second apart, and one refusal.
async fn filled() -> (Arc<MemoryStore>, Arc<Sealer>, Arc<Keyring>, Vec<Event>) {
    let store = Arc::new(MemoryStore::new());
    let (sealer, keyring) = vault();
    let sinks = [A, B].map(|server| {
        let sink = StoreSink::new(
            Arc::clone(&store) as _,
            Arc::clone(&sealer),
            Arc::clone(&keyring),
        );
        (Head::start(server), sink)
    });
    let mut all = Vec::new();
    let mut heads = sinks;
    for round in 0..4 {
        let mut events = Vec::new();
        for turn in 0..3 {
            let id = round * 3 + turn;
            let mut event = event(id);
            event.at += TimeDelta::seconds(i64::try_from(id).unwrap());
            if id == 7 {
                event.outcome = Outcome::Denied {
                    rule: "ip".to_owned(),
                    reason: "not from there".to_owned(),
                };
                event.ip = Some([10, 9, 9, 9].into());
                event.actor = Actor::Unknown {
                    claimed: Some("x".to_owned()),
                };
                event.object = Some(ObjectRef::absent(ObjectKind::Secret, "none"));
            }
            if id == 8 {
                event.actor = Actor::Operator {
                    id: Some(OperatorId(5)),
                    name: "root".to_owned(),
                };
                event.operation = Operation::RevealSecret;
            }
            events.push(event);
        }
        let (head, sink) = &mut heads[usize::try_from(round % 2).unwrap()];
        let batch = chained(*head, &events);
        *head = *batch.head();
        sink.append(batch).await.unwrap();
        all.extend(events);
    }
    (store, sealer, keyring, all)
}

#[tokio::test]
async fn everything_is_found_newest_first_page_by_page() {
    let (store, sealer, keyring, all) = filled().await;
    for limit in 1..=13 {
        let mut query = AuditQuery::newest(limit);
        let mut found = Vec::new();
        loop {
            let page = search(&*store, &sealer, &keyring, &query).await.unwrap();
            assert!(page.found.len() <= limit);
            found.extend(page.found.into_iter().map(|found| found.event));
            let Some(next) = page.next else { break };
            assert_eq!(next.to_string().parse(), Ok(next));
            query.after = Some(next);
        }
        found.reverse();
        assert_eq!(found, all, "limit {limit}");
    }
    assert_eq!("3".parse::<Cursor>(), Err(NotACursor));
    assert_eq!("3-x".parse::<Cursor>(), Err(NotACursor));
}

#[tokio::test]
async fn a_cursor_stays_where_it_is_when_more_is_appended() {
    let (store, sealer, keyring, all) = filled().await;
    let mut query = AuditQuery::newest(4);
    let first = search(&*store, &sealer, &keyring, &query).await.unwrap();
    query.after = first.next;
    let before = search(&*store, &sealer, &keyring, &query).await.unwrap();
    let other = StoreSink::new(
        Arc::clone(&store) as _,
        Arc::clone(&sealer),
        Arc::clone(&keyring),
    );
    let head = Head::start(ServerId([3; 16]));
    other.append(chained(head, &all[..2])).await.unwrap();
    let after = search(&*store, &sealer, &keyring, &query).await.unwrap();
    assert_eq!(before, after);
}

#[tokio::test]
async fn every_filter_finds_what_it_names_and_nothing_else() {
    type Change = fn(&mut AuditQuery);
    let (store, sealer, keyring, all) = filled().await;
    let start = all[0].at;
    let cases: &[(Change, &[u64])] = &[
        (
            |q| q.actor = Some(ActorFilter::Application(ApplicationId(1))),
            &[0, 1, 2, 3, 4, 5, 6, 9, 10, 11],
        ),
        (
            |q| q.actor = Some(ActorFilter::Application(ApplicationId(2))),
            &[],
        ),
        (|q| q.actor = Some(ActorFilter::Unknown), &[7]),
        (
            |q| q.actor = Some(ActorFilter::Claimed("x".to_owned())),
            &[7],
        ),
        (
            |q| q.actor = Some(ActorFilter::Claimed("y".to_owned())),
            &[],
        ),
        (
            |q| q.actor = Some(ActorFilter::Operator(OperatorId(5))),
            &[8],
        ),
        (
            |q| q.actor = Some(ActorFilter::OperatorName("root".to_owned())),
            &[8],
        ),
        (|q| q.actor = Some(ActorFilter::Vault), &[]),
        (|q| q.operation = Some(Operation::RevealSecret), &[8]),
        (|q| q.operation = Some(Operation::CreateSecret), &[]),
        (|q| q.outcome = Some(OutcomeFilter::Denied), &[7]),
        (|q| q.outcome = Some(OutcomeFilter::Failed), &[]),
        (|q| q.ip = Some([10, 9, 9, 9].into()), &[7]),
        (
            |q| q.object = Some(ObjectFilter::Id(ObjectKind::Secret, 4)),
            &[4],
        ),
        (
            |q| q.object = Some(ObjectFilter::Id(ObjectKind::Client, 4)),
            &[],
        ),
        (
            |q| q.object = Some(ObjectFilter::Name(ObjectKind::Secret, "none".to_owned())),
            &[7],
        ),
        (
            |q| q.object = Some(ObjectFilter::Kind(ObjectKind::Client)),
            &[],
        ),
        // Both terms are in the batch, in different entries.
        (
            |q| {
                q.outcome = Some(OutcomeFilter::Denied);
                q.operation = Some(Operation::RevealSecret);
            },
            &[],
        ),
    ];
    for (number, (change, expected)) in cases.iter().enumerate() {
        let mut query = AuditQuery::newest(100);
        change(&mut query);
        let page = search(&*store, &sealer, &keyring, &query).await.unwrap();
        let mut found: Vec<_> = page.found.into_iter().map(|f| f.event).collect();
        found.reverse();
        let expected: Vec<_> = expected
            .iter()
            .map(|id| all[usize::try_from(*id).unwrap()].clone())
            .collect();
        assert_eq!(found, expected, "case {number}");
    }
    let mut query = AuditQuery::newest(100);
    query.from = Some(start + TimeDelta::seconds(4));
    query.until = Some(start + TimeDelta::seconds(9));
    let page = search(&*store, &sealer, &keyring, &query).await.unwrap();
    let ids: Vec<_> = page
        .found
        .iter()
        .map(|f| (f.event.at - start).num_seconds())
        .collect();
    assert_eq!(ids, [9, 8, 7, 6, 5, 4]);
}

#[tokio::test]
async fn an_export_verifies() {
    let (store, sealer, keyring, _) = filled().await;
    let mut out = Vec::new();
    assert_eq!(export(&*store, &sealer, None, &mut out).await.unwrap(), 12);
    let report = verify_lines(Verifier::new(Some(&keyring)), out.as_slice()).unwrap();
    assert_eq!(report.faults, []);
    assert_eq!(
        report.chains.iter().map(|c| c.entries).collect::<Vec<_>>(),
        [6, 6]
    );
    let mut out = Vec::new();
    assert_eq!(
        export(&*store, &sealer, Some(B), &mut out).await.unwrap(),
        6
    );
    let report = verify_lines(Verifier::new(None), out.as_slice()).unwrap();
    assert!(report.is_sound() && report.chain(B).is_some() && report.chain(A).is_none());
}

//! Numbers for new records.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;

use super::KIND;
use crate::store::{Kind, Store};

/// The first number is 1 and each is greater than the one before.
pub async fn ids_start_at_one_and_grow(store: Arc<dyn Store>) {
    let mut last = store.next_id(KIND).await.expect("a number");
    assert_eq!(last, 1);
    for _ in 0..200 {
        let next = store.next_id(KIND).await.expect("a number");
        assert!(next > last);
        last = next;
    }
}

/// Each kind has its own numbers.
pub async fn kinds_count_apart(store: Arc<dyn Store>) {
    for kind in [0, 1, u16::MAX] {
        assert_eq!(store.next_id(Kind(kind)).await.expect("a number"), 1);
    }
}

/// No number is given twice, and each caller's numbers grow.
pub async fn racing_callers_get_different_ids(store: Arc<dyn Store>) {
    let callers = (0..16).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut ids = Vec::new();
            for _ in 0..40 {
                ids.push(store.next_id(KIND).await.expect("a number"));
            }
            ids
        })
    });
    let mut all = BTreeSet::new();
    for joined in join_all(callers).await {
        let ids = joined.expect("no panic");
        assert!(ids.is_sorted());
        all.extend(ids);
    }
    assert_eq!(all.len(), 16 * 40);
}

/// Records brought from elsewhere do not meet new ones, at once and for numbers held in reserve.
pub async fn ids_go_on_after_what_was_brought(store: Arc<dyn Store>) {
    store.advance_ids(KIND, 500).await.expect("advanced");
    let next = store.next_id(KIND).await.expect("a number");
    assert!(next > 500);
    let far = next + 1_000_000;
    store.advance_ids(KIND, far).await.expect("advanced");
    let mut last = far;
    for _ in 0..100 {
        let next = store.next_id(KIND).await.expect("a number");
        assert!(next > last);
        last = next;
    }
    assert_eq!(store.next_id(Kind(1)).await.expect("a number"), 1);
}

/// A number of the past changes nothing; one that no store counts to is refused.
pub async fn ids_never_go_back(store: Arc<dyn Store>) {
    store.advance_ids(KIND, 900).await.expect("advanced");
    let first = store.next_id(KIND).await.expect("a number");
    for past in [0, 3, first - 1, first] {
        store.advance_ids(KIND, past).await.expect("accepted");
    }
    assert!(store.next_id(KIND).await.expect("a number") > first);
    let refused = store.advance_ids(KIND, u64::MAX).await;
    assert!(refused.is_err());
    assert!(store.next_id(KIND).await.expect("a number") < 2_000);
}

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

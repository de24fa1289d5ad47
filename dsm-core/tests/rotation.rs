//! Rotations over the memory store.

use std::sync::Arc;

use dsm_core::store::{MemoryStore, Store};

dsm_core::rotation_conformance!(|| async {
    (Arc::new(MemoryStore::default()) as Arc<dyn Store>, ())
});

/// Over the one store that never waits for anything, so that time goes on where it is waited for.
#[tokio::test(start_paused = true)]
async fn a_slow_target_is_given_up_on() {
    let store = Arc::new(MemoryStore::default());
    dsm_core::testing::rotation::a_slow_target_is_given_up_on(store).await;
}

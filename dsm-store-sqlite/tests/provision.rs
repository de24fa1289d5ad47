//! Provisioning over SQLite.

use std::sync::Arc;

use dsm_core::store::Store;
use dsm_store_sqlite::SqliteStore;

dsm_core::provision_conformance!(|| async {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = SqliteStore::open(folder.path().join("store.db")).await;
    let store: Arc<dyn Store> = Arc::new(store.expect("the store opens"));
    (store, folder)
});

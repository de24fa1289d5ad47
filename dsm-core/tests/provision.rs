//! Provisioning over the memory store.

use std::sync::Arc;

use dsm_core::store::{MemoryStore, Store};

dsm_core::provision_conformance!(|| async {
    (Arc::new(MemoryStore::default()) as Arc<dyn Store>, ())
});

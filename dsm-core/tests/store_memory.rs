//! The memory store against the conformance suite.

use std::sync::Arc;

use dsm_core::store::MemoryStore;

dsm_core::store_conformance!(|| async { Arc::new(MemoryStore::new()) });

//! The management interface, called in this process over a vault of its own.

mod applications;
mod audit;
mod authorizations;
mod clients;
mod conditions;
#[path = "../common/conformance.rs"]
mod conformance;
mod idempotency;
mod keys;
mod lists;
mod operators;
mod permissions;
mod problems;
mod provisioning;
mod registries;
mod secrets;
#[path = "../common/store.rs"]
mod store;
mod support;
mod variables;
mod versions;

//! The management interface, called in this process over a vault in memory.

mod applications;
mod audit;
mod authorizations;
mod conditions;
mod idempotency;
mod lists;
mod operators;
mod permissions;
mod problems;
mod registries;
mod secrets;
mod support;
mod versions;

//! The built program, as people and init systems run it.

#[path = "program/audit.rs"]
mod audit;
#[path = "program/commands.rs"]
mod commands;
#[path = "program/harness.rs"]
mod harness;
#[path = "common/pki.rs"]
mod pki;
#[path = "program/quickstart.rs"]
mod quickstart;
#[path = "program/refusals.rs"]
mod refusals;
#[path = "program/rotation.rs"]
mod rotation;
#[path = "program/serving.rs"]
mod serving;
#[path = "program/stores.rs"]
mod stores;
#[path = "program/tls.rs"]
mod tls;
#[path = "program/transfer.rs"]
mod transfer;

//! The use cases of the vault over the memory store.
#![allow(
    clippy::items_after_statements,
    clippy::semicolon_if_nothing_returned,
    clippy::unused_self,
    clippy::unwrap_used,
    reason = "a test fails where it unwraps, and reads as it is told"
)]

mod applications;
mod clients;
mod expiry;
mod failures;
mod fixture;
mod keys;
mod methods;
mod pipelines;
mod reading;
mod registering;
mod sealing;
mod tampering;
mod versions;
mod writing;

//! The Postgres store against throwaway servers.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod cancellation;
mod conformance;
mod failover;
mod network;
mod opening;
mod replication;
mod several;
mod statements;
mod support;
mod switchover;
mod tls;

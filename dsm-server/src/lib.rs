//! The server around the vault: HTTP in, commands for the vault out, replies back.
//!
//! A request takes one way: [`http::accept`] bounds the connection and knows the peer,
//! [`http::router`] finds the route and reads the body, and the route's handler turns the
//! [`Call`](http::call::Call) into a command. What a reply of each surface looks like is decided
//! above this layer; here it is a callback.
#![deny(missing_docs)]

pub mod api;
pub mod app;
pub mod commands;
pub mod config;
pub mod hardening;
pub mod health;
pub mod http;
pub mod log;
pub mod metrics;
pub mod openapi;
pub mod serve;
pub mod sts;
pub mod throttle;

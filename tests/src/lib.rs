//! What the end to end tests and the load run have in common: a server program that is started and
//! stopped, somewhere to keep its vault, and a small client.
#![deny(missing_docs)]

pub mod api;
pub mod client;
pub mod fill;
pub mod place;
pub mod server;
pub mod writers;

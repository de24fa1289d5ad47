//! What the end to end tests and the load run have in common: a server program that is started and
//! stopped, and a small client.
#![deny(missing_docs)]

pub mod client;
pub mod fill;
pub mod server;

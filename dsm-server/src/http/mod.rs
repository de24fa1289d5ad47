//! HTTP/1.1: connections, routes, bodies and the client's address.

pub mod accept;
pub mod call;
pub mod client_ip;
pub mod fields;
pub mod form;
pub mod json;
pub mod operation;
pub mod path;
pub mod router;
mod timed;

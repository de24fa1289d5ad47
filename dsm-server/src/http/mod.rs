//! HTTP/1.1: connections, routes, bodies and the client's address.

pub mod accept;
pub mod call;
pub mod client_certificate;
pub mod client_ip;
mod connection;
pub mod fields;
pub mod form;
pub mod json;
pub mod operation;
pub mod path;
pub mod places;
pub mod router;
pub mod signed;
mod timed;
pub mod tls;

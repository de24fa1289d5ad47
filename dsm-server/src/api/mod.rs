//! The two interfaces, and what they share: the form of secret values and the table of statuses.

pub mod data;
pub mod iso;
pub mod log;
mod shown;
pub mod status;
pub mod v1;

//! Throwaway servers for the tests: real programs of this machine, each on a free port, with its
//! data in a temporary folder, gone when its handle is dropped.

pub mod postgres;
pub mod proxy;
pub mod redis;

//! Throwaway servers for the tests: real programs of this machine, each on a free port, with its
//! data in a temporary folder, gone when its handle is dropped; and what else of other people's
//! programs they check against.

pub mod authority;
mod kept;
pub mod mariadb;
pub mod moto;
pub mod postgres;
pub mod proxy;
pub mod python;
pub mod rabbitmq;
pub mod redis;
pub mod sshd;

/// Whether what a test needs is there. When it is not, one line says what to install, and under CI
/// that is a failure.
///
/// # Panics
///
/// Under CI, when it is missing.
pub fn is_there(available: Result<(), String>) -> bool {
    let Err(what) = available else {
        return true;
    };
    assert!(std::env::var_os("CI").is_none(), "{what}");
    #[allow(clippy::print_stderr, reason = "why a test was not run")]
    {
        eprintln!("ignored: {what}");
    }
    false
}

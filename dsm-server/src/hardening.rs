//! What the process gives up at start, and the descriptors it claims.

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

/// Keeps the memory of this process, keys included, out of core dumps and away from other
/// processes of the same user.
///
/// # Errors
///
/// When the system refuses; the server should not start then.
pub fn forbid_core_dumps() -> std::io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Raises the number of open files to what the system allows at most, since each connection takes
/// one and the usual 1,024 are fewer than the connections of the default configuration.
///
/// Returns the number, `None` for no limit.
///
/// # Errors
///
/// When the system refuses; the server works with fewer.
pub fn raise_open_files() -> std::io::Result<Option<u64>> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised)?;
    Ok(limit.maximum)
}

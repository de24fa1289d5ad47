//! The files and their modes.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use dsm_core::store::StoreError;

/// Creates the file, empty, and its folder where they are missing, legible to this user alone.
/// SQLite gives the files it adds the mode of this one.
pub(crate) fn create(path: &Path) -> Result<(), StoreError> {
    let unavailable = |error: io::Error| {
        StoreError::unavailable(
            format!("{} cannot be created: check its folder", path.display()),
            error,
        )
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(folder).map_err(unavailable)?;
    match new(path) {
        Ok(file) => {
            // Otherwise a loss of power could take the name away from what was committed.
            let synced = file
                .sync_all()
                .and_then(|()| File::open(folder)?.sync_all());
            synced.map_err(unavailable)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(unavailable(error)),
    }
}

fn new(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)
}

/// Takes the lock that makes this process the server; it ends with the returned file.
pub(crate) fn lock(path: &Path) -> Result<File, StoreError> {
    let mut name = OsString::from(path);
    name.push(".lock");
    let beside = PathBuf::from(name);
    let unavailable = |error: io::Error| {
        StoreError::unavailable(format!("{} cannot be locked", beside.display()), error)
    };
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(&beside).map_err(unavailable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(format!(
            "{} is already served by another process",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(unavailable(error)),
    }
}

use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, HEXLOWER};
use zeroize::Zeroizing;

use super::{RootKey, RootKeyId, RootKeys};
use crate::entropy::Entropy;

/// Where root keys come from.
pub trait KeyProvider: Send + Sync + fmt::Debug {
    /// The keys as they are now. Asked at start and again when a record names an unknown key, so
    /// that a rotation made elsewhere is noticed. Blocks for as long as the source does.
    fn load(&self) -> Result<RootKeys, KeyError>;
}

/// Why root keys are not to be had. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The source is not there.
    #[error(
        "there is no root key at {0}; restore it from where you keep its copy: without it nothing opens"
    )]
    Missing(String),
    /// The source says something that is not a root key. What it says is not repeated.
    #[error(
        "{place}, line {line}: not a root key; expected `<16 hex digits> <base64 of 32 bytes>`"
    )]
    Malformed {
        /// The file or variable.
        place: String,
        /// Counted from 1.
        line: usize,
    },
    /// Two keys with one name.
    #[error("{place}: root key {id} is listed twice")]
    Double {
        /// The file or variable.
        place: String,
        /// The name.
        id: RootKeyId,
    },
    /// Others may read the file.
    #[error("{path} can be read by others (mode {mode:04o}); run: chmod 600 {path}")]
    Exposed {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// There is a key already where a new one was to be made.
    #[error("{0} exists already and is not overwritten")]
    Exists(String),
    /// The file system failed.
    #[error("{path} cannot be used: {source}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// Root keys in a file that only its owner can read: one line per key, the active one first.
#[derive(Debug, Clone)]
pub struct KeyFile {
    path: PathBuf,
}

impl KeyFile {
    /// The keys in the file at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file is there.
    pub fn exists(&self) -> bool {
        self.path.symlink_metadata().is_ok()
    }

    /// Makes the file with one new key, durably, with mode 0600, and its folder with 0700 when that
    /// is missing. Never overwrites: of several that make it at the same time one succeeds.
    pub fn create(&self, entropy: &dyn Entropy) -> Result<(), KeyError> {
        if self.exists() {
            return Err(KeyError::Exists(self.place()));
        }
        let key = RootKey::generate(entropy);
        // Each has a name of its own, whoever else makes one.
        let name = format!("new-{}", HEXLOWER.encode(&key.id().0));
        self.write(&RootKeys::only(key), &name, |from, to| {
            // Unlike a renaming it fails when somebody else was faster.
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        })
    }

    /// Adds a new active key; the others stay for what they sealed. The file is replaced in one
    /// step, so a crash leaves the old or the new one.
    pub fn add(&self, entropy: &dyn Entropy) -> Result<RootKeyId, KeyError> {
        let old = self.load()?;
        let active = RootKey::generate(entropy);
        let id = active.id();
        let mut retired = vec![old.active().clone()];
        retired.extend_from_slice(old.retired());
        self.replace(&RootKeys::new(active, retired))?;
        Ok(id)
    }

    /// Forgets all keys but the active one. What they sealed is lost unless it was rewrapped.
    pub fn forget_retired(&self) -> Result<(), KeyError> {
        let keys = self.load()?;
        self.replace(&RootKeys::only(keys.active().clone()))
    }

    fn replace(&self, keys: &RootKeys) -> Result<(), KeyError> {
        self.write(keys, "new", |from, to| fs::rename(from, to))
    }

    /// Writes the keys to a file with another extension, durably, and has that put in its place.
    fn write(
        &self,
        keys: &RootKeys,
        extension: &str,
        put: impl FnOnce(&Path, &Path) -> io::Result<()>,
    ) -> Result<(), KeyError> {
        let io = |source| KeyError::Io {
            path: self.place(),
            source,
        };
        let folder = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(io)?;
        let mut text = Zeroizing::new(String::from(
            "# Root keys of this vault, the active one first. Whoever has this file can read every\n\
             # secret; without it nobody can. Keep a copy apart from the data.\n",
        ));
        for key in std::iter::once(keys.active()).chain(keys.retired()) {
            text.push_str(&HEXLOWER.encode(&key.id().0));
            text.push(' ');
            text.push_str(&Zeroizing::new(BASE64.encode(key.bytes())));
            text.push('\n');
        }
        let temporary = self.path.with_extension(extension);
        // Left by a crash, if it is there; never the file in use.
        let _ = fs::remove_file(&temporary);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(io)?;
        file.write_all(text.as_bytes()).map_err(io)?;
        file.sync_all().map_err(io)?;
        put(&temporary, &self.path).map_err(|error| {
            // Of use to nobody.
            let _ = fs::remove_file(&temporary);
            match error.kind() {
                io::ErrorKind::AlreadyExists => KeyError::Exists(self.place()),
                _ => io(error),
            }
        })?;
        fs::File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(io)
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

impl KeyProvider for KeyFile {
    fn load(&self) -> Result<RootKeys, KeyError> {
        let io = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => KeyError::Missing(self.place()),
            _ => KeyError::Io {
                path: self.place(),
                source,
            },
        };
        let mode = fs::metadata(&self.path).map_err(io)?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed {
                path: self.place(),
                mode,
            });
        }
        let text = Zeroizing::new(fs::read_to_string(&self.path).map_err(io)?);
        parse(&self.place(), text.lines())
    }
}

/// Root keys in an environment variable: the lines of a [`KeyFile`], separated by commas. Other
/// processes of the same user can read a process's environment, so a file is the better place.
#[derive(Debug, Clone)]
pub struct EnvironmentKeys {
    variable: String,
}

impl EnvironmentKeys {
    /// The keys in this variable.
    pub fn new(variable: impl Into<String>) -> Self {
        Self {
            variable: variable.into(),
        }
    }
}

impl KeyProvider for EnvironmentKeys {
    fn load(&self) -> Result<RootKeys, KeyError> {
        let place = format!("the environment variable {}", self.variable);
        let text = std::env::var(&self.variable).map_err(|_| KeyError::Missing(place.clone()))?;
        let text = Zeroizing::new(text);
        parse(&place, text.split(','))
    }
}

/// Root keys in memory, for embedders that fetch them elsewhere, and for tests.
#[derive(Debug, Clone)]
pub struct StaticKeys(RootKeys);

impl StaticKeys {
    /// These keys.
    pub fn new(keys: RootKeys) -> Self {
        Self(keys)
    }

    /// One new key. What is sealed under it is lost with the process.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self(RootKeys::only(RootKey::generate(entropy)))
    }
}

impl KeyProvider for StaticKeys {
    fn load(&self) -> Result<RootKeys, KeyError> {
        Ok(self.0.clone())
    }
}

fn parse<'a>(place: &str, lines: impl Iterator<Item = &'a str>) -> Result<RootKeys, KeyError> {
    let mut keys: Vec<RootKey> = Vec::new();
    for (index, line) in lines.enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = parse_key(line).ok_or_else(|| KeyError::Malformed {
            place: place.to_owned(),
            line: index + 1,
        })?;
        if keys.iter().any(|other| other.id() == key.id()) {
            return Err(KeyError::Double {
                place: place.to_owned(),
                id: key.id(),
            });
        }
        keys.push(key);
    }
    if keys.is_empty() {
        return Err(KeyError::Missing(place.to_owned()));
    }
    let active = keys.remove(0);
    Ok(RootKeys::new(active, keys))
}

fn parse_key(line: &str) -> Option<RootKey> {
    let (id, key) = line.split_once(' ')?;
    let id: [u8; 8] = HEXLOWER.decode(id.as_bytes()).ok()?.try_into().ok()?;
    let key = Zeroizing::new(BASE64.decode(key.as_bytes()).ok()?);
    let mut bytes = Zeroizing::new([0; 32]);
    if key.len() != bytes.len() {
        return None;
    }
    bytes.copy_from_slice(&key);
    Some(RootKey::new(RootKeyId(id), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::OsEntropy;

    fn file() -> (tempfile::TempDir, KeyFile) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = KeyFile::new(folder.path().join("keys/root.key"));
        (folder, file)
    }

    #[test]
    fn a_key_file_is_private_and_never_overwritten() {
        let (_folder, file) = file();
        assert!(matches!(file.load(), Err(KeyError::Missing(_))));
        file.create(&OsEntropy).expect("created");
        let mode = fs::metadata(file.path())
            .expect("is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(file.create(&OsEntropy), Err(KeyError::Exists(_))));
    }

    #[test]
    fn of_several_that_make_a_key_file_one_succeeds() {
        for _ in 0..20 {
            let (_folder, file) = file();
            let results = std::thread::scope(|scope| {
                let threads = [(); 8].map(|()| scope.spawn(|| file.create(&OsEntropy)));
                threads.map(|thread| thread.join().expect("no panic"))
            });
            let made = results.iter().filter(|result| result.is_ok()).count();
            assert_eq!(made, 1, "{results:?}");
            let others =
                |result: &&Result<(), KeyError>| matches!(result, Err(KeyError::Exists(_)));
            assert_eq!(results.iter().filter(others).count(), 7, "{results:?}");
            let folder = file.path().parent().expect("a folder");
            assert_eq!(folder.read_dir().expect("a folder").count(), 1);
        }
    }

    #[test]
    fn adding_a_key_keeps_the_old_one_for_opening() {
        let (_folder, file) = file();
        file.create(&OsEntropy).expect("created");
        let first = file.load().expect("loads").active().id();
        let second = file.add(&OsEntropy).expect("added");
        let keys = file.load().expect("loads");
        assert_eq!(keys.active().id(), second);
        assert!(keys.find(first).is_some());
        file.forget_retired().expect("forgotten");
        assert!(file.load().expect("loads").find(first).is_none());
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let (_folder, file) = file();
        file.create(&OsEntropy).expect("created");
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).expect("chmod");
        assert!(matches!(
            file.load(),
            Err(KeyError::Exposed { mode: 0o640, .. })
        ));
    }

    #[test]
    fn malformed_keys_are_named_by_line_and_not_repeated() {
        let text = "# comment\n0011223344556677 c2hvcnQ=";
        let error = parse("file", text.lines()).expect_err("too short");
        assert_eq!(
            error.to_string(),
            "file, line 2: not a root key; expected `<16 hex digits> <base64 of 32 bytes>`"
        );
        let line = format!("0011223344556677 {}", BASE64.encode(&[1; 32]));
        let twice = format!("{line}\n{line}");
        assert!(matches!(
            parse("file", twice.lines()),
            Err(KeyError::Double { .. })
        ));
        assert!(matches!(
            parse("file", "".lines()),
            Err(KeyError::Missing(_))
        ));
    }
}

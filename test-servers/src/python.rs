//! Programs and libraries of Python's package index that tests check against, at pinned versions, each
//! set in a virtual environment of its own below `target`.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Opens what is sealed as JWE.
pub const JWCRYPTO: Venv = Venv {
    name: "jwcrypto",
    packages: &["jwcrypto==1.6.1", "cryptography==50.0.2"],
};

/// Plays AWS: its identities and its token service.
pub const MOTO: Venv = Venv {
    name: "moto",
    packages: &[
        "moto==5.2.5",
        "boto3==1.44.8",
        "flask==3.1.3",
        "flask-cors==6.0.5",
    ],
};

/// Checks the description of the interface, and the server against it.
pub const OPENAPI: Venv = Venv {
    name: "openapi",
    packages: &["schemathesis==4.32.5", "openapi-spec-validator==0.9.0"],
};

/// Every environment that tests use; `cargo xtask test` makes those that are missing.
pub const ALL: &[Venv] = &[JWCRYPTO, MOTO, OPENAPI];

/// Written last and holding what was installed, so that a half-made environment, or one of other
/// versions, does not count.
const MARK: &str = "installed";

/// A set of packages in a virtual environment of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Venv {
    /// Its folder.
    pub name: &'static str,
    /// What is installed, as pip takes it: `name==version`.
    pub packages: &'static [&'static str],
}

impl Venv {
    /// Whether it can be used, or else what is to be done.
    ///
    /// # Errors
    ///
    /// One line for people.
    pub fn available(&self) -> Result<(), String> {
        let folder = self.folder();
        let mark = fs::read_to_string(folder.join(MARK)).unwrap_or_default();
        // Goes through the link: the Python that it was made with may be gone.
        if mark == self.mark() && folder.join("bin/python").exists() {
            return Ok(());
        }
        Err(format!(
            "the Python packages {} are missing: `cargo xtask test` installs them",
            self.packages.join(" ")
        ))
    }

    /// Makes it when it is missing or of other versions. Several processes may do so at a time.
    ///
    /// # Errors
    ///
    /// One line for people: there is no Python, or the packages cannot be had.
    pub fn install(&self) -> Result<(), String> {
        let folder = self.folder();
        let _alone = alone(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        if self.available().is_ok() {
            return Ok(());
        }
        let made = Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&folder)
            .status();
        if !made.is_ok_and(|status| status.success()) {
            return Err("python3 cannot make virtual environments".to_owned());
        }
        let installed = self
            .python()
            .args(["-m", "pip", "install", "--quiet", "--no-input"])
            .arg("--disable-pip-version-check")
            .args(self.packages)
            .stdin(Stdio::null())
            .status();
        if !installed.is_ok_and(|status| status.success()) {
            return Err(format!("pip cannot install {}", self.packages.join(" ")));
        }
        fs::write(folder.join(MARK), self.mark()).map_err(|error| error.to_string())
    }

    /// Its interpreter.
    pub fn python(&self) -> Command {
        self.program("python")
    }

    /// A program that a package of it brought.
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.folder().join("bin").join(name));
        // Of whoever runs the tests; it would come before what is pinned.
        command.env_remove("PYTHONPATH").env_remove("PYTHONHOME");
        command
    }

    fn folder(&self) -> PathBuf {
        root().join("target/python").join(self.name)
    }

    fn mark(&self) -> String {
        self.packages.join("\n")
    }
}

/// Waits until no other process makes this environment.
fn alone(folder: &Path) -> io::Result<File> {
    fs::create_dir_all(folder.parent().unwrap_or(folder))?;
    let lock = File::create(folder.with_extension("lock"))?;
    lock.lock()?;
    Ok(lock)
}

/// The root of the workspace: the folder above the member that cargo runs.
fn root() -> PathBuf {
    let member = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    member.parent().map(Path::to_owned).unwrap_or(member)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_is_pinned_and_every_folder_its_own() {
        for (index, venv) in ALL.iter().enumerate() {
            for package in venv.packages {
                let (name, version) = package.split_once("==").unwrap_or_default();
                assert!(!name.is_empty() && !version.is_empty(), "{package}");
            }
            let same = ALL[..index].iter().find(|other| other.name == venv.name);
            assert!(same.is_none(), "{}", venv.name);
        }
    }

    #[test]
    fn what_was_never_made_is_not_there() {
        let venv = Venv {
            name: "never-made",
            packages: &["nothing==0"],
        };
        let missing = venv.available().expect_err("was not made");
        assert!(missing.contains("nothing==0"), "{missing}");
    }
}

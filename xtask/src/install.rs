//! Tools beyond the toolchain, at pinned versions.

use crate::Failure;
use crate::sh::{cargo, program};

/// A cargo subcommand from crates.io.
pub(crate) struct Tool {
    /// As cargo calls it.
    pub(crate) subcommand: &'static str,
    /// The crate.
    pub(crate) package: &'static str,
    /// The version that is installed when there is none; any installed one is used.
    pub(crate) version: &'static str,
}

/// Checks licences, sources, duplicates and advisories.
pub(crate) const DENY: Tool = Tool {
    subcommand: "deny",
    package: "cargo-deny",
    version: "0.20.2",
};

/// Builds with every combination of features.
pub(crate) const HACK: Tool = Tool {
    subcommand: "hack",
    package: "cargo-hack",
    version: "0.6.46",
};

/// Mutation testing.
pub(crate) const MUTANTS: Tool = Tool {
    subcommand: "mutants",
    package: "cargo-mutants",
    version: "27.1.0",
};

/// A faster test runner. Used where it is installed, never required.
pub(crate) const NEXTEST: Tool = Tool {
    subcommand: "nextest",
    package: "cargo-nextest",
    version: "0.9.143",
};

impl Tool {
    /// Whether it is installed.
    pub(crate) fn is_there(&self) -> bool {
        cargo([self.subcommand, "--version"]).succeeds()
    }

    /// Installs it when it is missing.
    pub(crate) fn ensure(&self) -> Result<(), Failure> {
        if self.is_there() {
            return Ok(());
        }
        let wanted = format!("{}@{}", self.package, self.version);
        cargo(["install", "--locked", &wanted]).run()
    }
}

/// A compiler for the C parts of dependencies (SQLite), which cargo cannot install.
pub(crate) fn c_compiler() -> Result<(), Failure> {
    if program("cc").args(["--version"]).succeeds() {
        return Ok(());
    }
    Err(Failure(
        "there is no C compiler `cc`; on Debian: apt-get install build-essential".to_owned(),
    ))
}

/// Programs of Debian packages that some tests use. What is missing is installed where that is
/// allowed; elsewhere one line says what to install, and those tests show themselves as ignored.
const PROGRAMS: &[(&str, &str)] = &[("strace", "strace")];

/// Installs what is missing of [`PROGRAMS`].
pub(crate) fn debian_programs() {
    let missing: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(name, _)| !program(name).args(["-V"]).succeeds())
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return;
    }
    let install = ["install", "--yes", "--no-install-recommends"];
    let update = program("apt-get").args(["update"]);
    let installed = update.succeeds()
        && program("apt-get")
            .args(install)
            .args(missing.iter().copied())
            .succeeds();
    if !installed {
        eprintln!(
            "some tests are left out; on Debian: apt-get install {}",
            missing.join(" ")
        );
    }
}

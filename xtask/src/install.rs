//! Tools beyond the toolchain, at pinned versions.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use dsm_test_servers::mariadb::Mariadb;
use dsm_test_servers::postgres::Postgres;
use dsm_test_servers::python;
use dsm_test_servers::rabbitmq::RabbitMq;
use dsm_test_servers::redis::Redis;

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

/// What some tests use and Debian packages have.
struct Programs {
    are_there: fn() -> bool,
    packages: &'static [&'static str],
}

/// What is missing is installed where that is allowed; elsewhere one line says what to install, and
/// those tests show themselves as ignored.
const PROGRAMS: &[Programs] = &[
    Programs {
        are_there: || program("strace").args(["-V"]).succeeds(),
        packages: &["strace"],
    },
    Programs {
        are_there: || Postgres::available().is_ok(),
        packages: &["postgresql"],
    },
    Programs {
        are_there: || Mariadb::available().is_ok(),
        packages: &["mariadb-server"],
    },
    // Sentinel is the same program, called otherwise.
    Programs {
        are_there: || Redis::available().is_ok(),
        packages: &["redis-server", "redis-tools"],
    },
    Programs {
        are_there: || RabbitMq::available().is_ok(),
        packages: &["rabbitmq-server"],
    },
    Programs {
        are_there: || {
            let programs = ["/usr/sbin/sshd", "/usr/bin/pkill"];
            programs.iter().all(|it| Path::new(it).exists())
        },
        packages: &["openssh-server", "openssh-client", "procps"],
    },
    Programs {
        are_there: || program("openssl").args(["version"]).succeeds(),
        packages: &["openssl"],
    },
    Programs {
        are_there: || {
            let makes_environments = ["-c", "import ensurepip, venv"];
            program("python3").args(makes_environments).succeeds()
        },
        packages: &["python3-venv"],
    },
];

/// Installs what is missing of [`PROGRAMS`].
pub(crate) fn debian_programs() {
    let missing = PROGRAMS.iter().filter(|programs| !(programs.are_there)());
    let missing: Vec<&str> = missing
        .flat_map(|programs| programs.packages)
        .copied()
        .collect();
    if !missing.is_empty() && !install(&missing) {
        eprintln!(
            "some tests are left out; on Debian: apt-get install {}",
            missing.join(" ")
        );
    }
}

/// Makes the Python environments that tests use and that are missing, or says which are left out.
pub(crate) fn python_packages() {
    for venv in python::ALL {
        if let Err(reason) = venv.install() {
            eprintln!("the tests that use {} are left out: {reason}", venv.name);
        }
    }
}

fn install(packages: &[&str]) -> bool {
    // The packages would start services, which the tests do not use.
    let Ok(_guard) = NoServices::begin() else {
        return false;
    };
    program("apt-get").args(["update"]).succeeds()
        && program("apt-get")
            .args(["install", "--yes", "--no-install-recommends"])
            .args(packages.iter().copied())
            .env("DEBIAN_FRONTEND", "noninteractive")
            .succeeds()
}

/// While it is there, packages that are installed start no services, unless the machine has a policy
/// of its own about that.
struct NoServices {
    made: bool,
}

impl NoServices {
    /// What Debian asks before it starts a service; 101 forbids it.
    const POLICY: &str = "/usr/sbin/policy-rc.d";

    fn begin() -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let made = options
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(Self::POLICY);
        match made {
            Ok(mut file) => {
                file.write_all(b"#!/bin/sh\nexit 101\n")?;
                Ok(Self { made: true })
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Self { made: false }),
            Err(error) => Err(error),
        }
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.made {
            // Whoever cannot remove it could not make it.
            let _ = fs::remove_file(Self::POLICY);
        }
    }
}

//! Certificates by which servers are trusted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::kept::run;

/// The authority's own certificate.
pub(crate) const CA: &str = "ca.pem";
/// The server's certificate.
pub(crate) const CERTIFICATE: &str = "server.pem";
/// The server's private key.
pub(crate) const KEY: &str = "server.key";

/// An authority and a certificate of it for 127.0.0.1 and `localhost`, gone with their handle.
#[derive(Debug)]
pub struct Authority(TempDir);

impl Authority {
    /// A new one, which nobody trusts yet.
    pub fn new() -> io::Result<Self> {
        let folder = TempDir::with_prefix("dsm-authority-")?;
        make(folder.path())?;
        Ok(Self(folder))
    }

    /// The authority's own certificate.
    pub fn ca(&self) -> PathBuf {
        self.0.path().join(CA)
    }

    /// The server's certificate.
    pub fn certificate(&self) -> PathBuf {
        self.0.path().join(CERTIFICATE)
    }

    /// The server's private key.
    pub fn key(&self) -> PathBuf {
        self.0.path().join(KEY)
    }
}

/// Makes an authority of its own and a certificate for 127.0.0.1 and `localhost`, all in `folder`.
pub(crate) fn make(folder: &Path) -> io::Result<()> {
    const NEW_KEY: [&str; 5] = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ];
    const DAYS: [&str; 2] = ["-days", "3650"];
    let openssl = |arguments: &[&[&str]]| {
        let mut command = Command::new("openssl");
        command.current_dir(folder).args(arguments.concat());
        run(&mut command).map(|_| ())
    };
    fs::write(
        folder.join("server.ext"),
        "basicConstraints=CA:FALSE\nsubjectAltName=IP:127.0.0.1,DNS:localhost\n",
    )?;
    openssl(&[
        &["req", "-x509", "-subj", "/CN=tests"],
        &DAYS,
        &NEW_KEY,
        &["-keyout", "ca.key", "-out", CA],
    ])?;
    openssl(&[
        &["req", "-subj", "/CN=localhost"],
        &NEW_KEY,
        &["-keyout", KEY, "-out", "server.csr"],
    ])?;
    openssl(&[
        &["x509", "-req", "-in", "server.csr", "-out", CERTIFICATE],
        &DAYS,
        &["-CA", CA, "-CAkey", "ca.key", "-CAcreateserial"],
        &["-extfile", "server.ext"],
    ])
}

//! The keys of TLS, which only make sense together.

use std::path::{Path, PathBuf};

use crate::config::settings::Settings;
use crate::http::tls::{ClientCertificates, TlsFiles};

const CERTIFICATE: &str = "tls.certificate";
const KEY: &str = "tls.key";
const CLIENTS: &str = "tls.client_certificates";
const CLIENT_CA: &str = "tls.client_ca";

/// The files, when a certificate is given.
pub(super) fn read(given: &mut Settings) -> Option<TlsFiles> {
    let mut path = |key| -> Option<PathBuf> {
        let path = given.parsed(key, PathBuf::new());
        (!path.as_os_str().is_empty()).then_some(path)
    };
    let (certificate, key, authorities) = (path(CERTIFICATE), path(KEY), path(CLIENT_CA));
    let clients = clients(given, authorities);
    match (certificate, key) {
        (Some(certificate), Some(key)) => Some(TlsFiles {
            certificate,
            key,
            clients,
        }),
        (None, None) => {
            for key in [CLIENTS, CLIENT_CA] {
                if given.has(key) && !given.has(CERTIFICATE) {
                    given.refuse(key, "has no meaning without tls.certificate and tls.key");
                }
            }
            None
        }
        (Some(_), None) => {
            given.refuse(CERTIFICATE, "needs tls.key beside it");
            None
        }
        (None, Some(_)) => {
            given.refuse(KEY, "needs tls.certificate beside it");
            None
        }
    }
}

fn clients(given: &mut Settings, authorities: Option<PathBuf>) -> ClientCertificates {
    let mode: String = given.parsed(CLIENTS, "off".to_owned());
    match (mode.as_str(), authorities) {
        ("off", None) => {}
        ("optional", Some(path)) => return ClientCertificates::Optional(path),
        ("required", Some(path)) => return ClientCertificates::Required(path),
        ("off", Some(_)) => {
            let message = "has no meaning while tls.client_certificates is off";
            given.refuse(CLIENT_CA, message);
        }
        ("optional" | "required", None) => given.refuse(CLIENTS, "needs tls.client_ca beside it"),
        _ => given.refuse(CLIENTS, "must be off, optional or required"),
    }
    ClientCertificates::Off
}

/// The keys by which the files are set.
pub(super) fn settings(files: &TlsFiles) -> Vec<(&'static str, String)> {
    let text = |path: &Path| path.display().to_string();
    let mut settings = vec![
        (CERTIFICATE, text(&files.certificate)),
        (KEY, text(&files.key)),
    ];
    let (mode, authorities) = match &files.clients {
        ClientCertificates::Off => ("off", None),
        ClientCertificates::Optional(path) => ("optional", Some(path)),
        ClientCertificates::Required(path) => ("required", Some(path)),
    };
    settings.push((CLIENTS, mode.to_owned()));
    settings.extend(authorities.map(|path| (CLIENT_CA, text(path))));
    settings
}

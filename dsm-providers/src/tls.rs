//! Whether and how a connection is encrypted.

use std::sync::Arc;

use dsm_core::provider::{Options, ProviderError};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::options::{Checked, one_of};
use crate::place::Place;

const MODE: &str = "tls";
const CA: &str = "tls_ca";

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// By TLS; the certificate is good for the name.
    VerifyFull,
    /// Not at all.
    Off,
}

/// Notes what is wrong with the options `tls` and `tls_ca`.
pub(crate) fn check(checked: &mut Checked<'_>) {
    let mode = checked.parsed(MODE, parse_mode);
    let ca = checked.parsed(CA, parse_ca);
    if mode == Some(Mode::Off) && ca.is_some() {
        checked.problem("options.tls_ca", "is of no use with tls = off");
    }
}

/// How a target is connected to.
pub(crate) fn mode(place: &Place, options: &Options) -> Result<Mode, ProviderError> {
    match options.get(MODE) {
        Some(text) => parse_mode(text).map_err(|why| wrong(MODE, &why)),
        None if place.is_loopback() && !options.contains_key(CA) => Ok(Mode::Off),
        None => Ok(Mode::VerifyFull),
    }
}

/// The certificates to trust: those of the option, or those of the system.
pub(crate) fn roots(options: &Options) -> Result<Vec<CertificateDer<'static>>, ProviderError> {
    if let Some(text) = options.get(CA) {
        return parse_ca(text).map_err(|why| wrong(CA, &why));
    }
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let none =
            "the system has no certificates to trust: install ca-certificates or give tls_ca";
        return Err(ProviderError::Unavailable(none.to_owned()));
    }
    Ok(found.certs)
}

/// What a client of rustls needs.
pub(crate) fn config(options: &Options) -> Result<Arc<ClientConfig>, ProviderError> {
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(roots(options)?);
    if added == 0 {
        return Err(wrong(CA, "has no certificate that can be trusted"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(|error| ProviderError::Unavailable(error.to_string()))?;
    let config = builder.with_root_certificates(store).with_no_client_auth();
    Ok(Arc::new(config))
}

fn parse_mode(text: &str) -> Result<Mode, String> {
    let modes = [Mode::VerifyFull, Mode::Off];
    one_of(text, &["verify-full", "off"]).map(|place| modes[place])
}

fn parse_ca(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match certificates {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err("must be certificates in PEM".to_owned()),
    }
}

fn wrong(name: &str, why: &str) -> ProviderError {
    ProviderError::Refused(format!("the option {name} of the target {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Options {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn what_leaves_this_machine_is_encrypted_unless_said() {
        let chosen = |address: &str, pairs: &[(&str, &str)]| {
            mode(&address.parse().unwrap(), &options(pairs)).unwrap()
        };
        assert_eq!(chosen("127.0.0.1:5432", &[]), Mode::Off);
        assert_eq!(chosen("db.example.org", &[]), Mode::VerifyFull);
        assert_eq!(chosen("10.0.0.1", &[]), Mode::VerifyFull);
        assert_eq!(chosen("10.0.0.1", &[("tls", "off")]), Mode::Off);
        let forced = [("tls", "verify-full")];
        assert_eq!(chosen("localhost", &forced), Mode::VerifyFull);
    }

    #[test]
    fn wrong_options_are_named() {
        let options = options(&[("tls", "require"), ("tls_ca", "a path")]);
        let mut checked = Checked::new(&options);
        check(&mut checked);
        let problems = checked.finish();
        let fields: Vec<&str> = problems.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(fields, ["options.tls", "options.tls_ca"]);
    }
}

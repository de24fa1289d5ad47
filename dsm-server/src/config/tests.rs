use std::fs;

use tempfile::TempDir;

use super::settings::KEYS;
use super::{Config, ConfigErrors, Flags, Place};
use crate::http::tls::ClientCertificates;

fn file(text: &str) -> (TempDir, Flags) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("dsm.toml");
    fs::write(&path, text).expect("written");
    let flags = Flags {
        config: Some(path),
        ..Flags::default()
    };
    (dir, flags)
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn places(errors: &ConfigErrors) -> Vec<String> {
    let key = |place: &Place| match place {
        Place::File { key, .. } => format!("file {key}"),
        other => other.to_string(),
    };
    errors.0.iter().map(|error| key(&error.place)).collect()
}

#[test]
fn the_defaults_are_those_of_a_laptop() {
    let config = Config::load(&Flags::default(), []).expect("defaults");
    assert_eq!(config.listen.to_string(), "127.0.0.1:8200");
    assert_eq!(config.store.expose(), "sqlite:./dsm-data/vault.db");
    assert_eq!(config.root_key.to_string(), "file:./dsm-data/root.key");
    assert!(config.trusted_proxies.is_empty() && !config.auto_register);
    assert_eq!(config.requests.body, 256 * 1024);
}

#[test]
fn flags_win_over_variables_and_those_over_the_file() {
    let (_dir, mut flags) = file(
        "listen = '127.0.0.1:1'\ndata_dir = '/file'\nauto_register = true\n\
         trusted_proxies = ['10.0.0.0/8', '192.0.2.1']\n[limits]\nconnections = 7\nhead_s = 3\n",
    );
    flags.listen = Some("127.0.0.1:3".into());
    flags.set = vec!["limits.head_s=5".into()];
    let variables = variables(&[
        ("DSM_LISTEN", "127.0.0.1:2"),
        ("DSM_DATA_DIR", "/variable"),
        ("DSM_LIMITS_HEAD_S", "4"),
        ("DSM_TRUSTED_PROXYS", "10.0.0.0/8"),
        ("PATH", "/bin"),
    ]);
    let config = Config::load(&flags, variables).expect("a configuration");
    assert_eq!(config.listen.port(), 3);
    assert_eq!(config.store.expose(), "sqlite:/variable/vault.db");
    assert!(config.auto_register);
    assert_eq!(config.connections.connections, 7);
    assert_eq!(config.connections.head.as_secs(), 5);
    assert_eq!(config.trusted_proxies.len(), 2);
    assert_eq!(config.ignored_variables, ["DSM_TRUSTED_PROXYS"]);
}

#[test]
fn every_wrong_value_is_named_with_its_place() {
    let (_dir, mut flags) = file(
        "max_staleness_ms = 1.5\n[audit]\nbefore_answer = 'never'\n\
         [audit.sink]\nurl = 'x'\n[limits]\nconnections = 0\n",
    );
    flags.store = Some("hunter2".into());
    flags.set = vec!["nothing".into(), "unknown=hunter2".into()];
    let variables = variables(&[
        ("DSM_ROOT_KEY", "hunter2"),
        ("DSM_AUTO_REGISTER", "hunter2"),
        ("DSM_TRUSTED_PROXIES", "10.0.0.0/8, hunter2"),
        ("DSM_FORWARDED_HEADER", "hunter2"),
        ("DSM_LISTEN", "hunter2"),
        ("DSM_DATA_DIR", ""),
        ("DSM_LOG_LEVEL", "=hunter2="),
        ("DSM_LOG_FORMAT", "hunter2"),
    ]);
    let errors = Config::load(&flags, variables).expect_err("all wrong");
    let mut places = places(&errors);
    places.sort();
    assert_eq!(
        places,
        [
            "--set",
            "--set unknown",
            "--store",
            "DSM_AUTO_REGISTER",
            "DSM_DATA_DIR",
            "DSM_FORWARDED_HEADER",
            "DSM_LISTEN",
            "DSM_LOG_FORMAT",
            "DSM_LOG_LEVEL",
            "DSM_ROOT_KEY",
            "DSM_TRUSTED_PROXIES",
            "file audit.before_answer",
            "file audit.sink.url",
            "file limits.connections",
            "file max_staleness_ms",
        ]
    );
    assert!(
        !format!("{errors} {errors:?}").contains("hunter2"),
        "{errors}"
    );
}

#[test]
fn an_unreadable_file_is_an_error_that_shows_none_of_it() {
    let (_dir, flags) = file("\nstore = 'postgres://dsm:hunter2@db\n");
    let errors = Config::load(&flags, []).expect_err("no TOML").to_string();
    assert!(errors.ends_with("is no TOML at line 2"), "{errors}");
    let missing = variables(&[("DSM_CONFIG", "/nonexistent/dsm.toml")]);
    let errors = Config::load(&Flags::default(), missing).expect_err("no file");
    assert!(
        errors
            .to_string()
            .contains("/nonexistent/dsm.toml cannot be read")
    );
}

#[test]
fn plain_http_off_loopback_has_to_be_asked_for() {
    for listen in ["0.0.0.0:80", "[::]:80", "192.0.2.1:80"] {
        let mut flags = Flags {
            listen: Some(listen.into()),
            ..Flags::default()
        };
        let errors = Config::load(&flags, []).expect_err("not asked for");
        assert_eq!(places(&errors), ["--listen"]);
        flags.allow_plain_http = true;
        assert!(Config::load(&flags, []).is_ok());
    }
    for listen in ["127.9.9.9:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
        let loopback = variables(&[("DSM_LISTEN", listen)]);
        assert!(
            Config::load(&Flags::default(), loopback).is_ok(),
            "{listen}"
        );
    }
}

#[test]
fn the_printed_configuration_has_every_key_and_the_same_effect() {
    let flags = Flags {
        store: Some("postgres://dsm:hunter2@db/vault".into()),
        set: vec![
            "trusted_proxies=10.0.0.0/8, ::1".into(),
            "retention.versions=5".into(),
            "log.format=json".into(),
            "tls.certificate=server.pem".into(),
            "tls.key=server.key".into(),
            "tls.client_certificates=required".into(),
            "tls.client_ca=clients.pem".into(),
        ],
        ..Flags::default()
    };
    let config = Config::load(&flags, []).expect("a configuration");
    let toml = config.to_toml();
    assert!(toml.contains("postgres://dsm:***@db/vault") && !toml.contains("hunter2"));
    assert!(!format!("{config:?}").contains("hunter2"));
    let (_dir, flags) = file(&toml);
    let again = Config::load(&flags, []).expect("the printed configuration");
    assert_eq!(again.to_toml(), toml);
    let table: toml::Table = toml.parse().expect("TOML");
    for key in KEYS {
        let mut parts = key.split('.');
        let first = table.get(parts.next().unwrap_or_default()).expect(key);
        let leaf = parts.fold(first, |value, part| value.get(part).expect(key));
        assert!(!leaf.is_table(), "{key}");
    }
}

#[test]
fn the_files_of_tls_come_together() {
    let load = |pairs: &[&str]| {
        let flags = Flags {
            listen: Some("0.0.0.0:8200".into()),
            set: pairs.iter().map(|pair| (*pair).to_owned()).collect(),
            ..Flags::default()
        };
        Config::load(&flags, [])
    };
    let (certificate, key) = ("tls.certificate=a.pem", "tls.key=a.key");
    let (optional, ca) = ("tls.client_certificates=optional", "tls.client_ca=ca.pem");
    let config = load(&[certificate, key]).expect("no client certificates");
    let files = config.tls.expect("files");
    assert_eq!(files.clients, ClientCertificates::Off);
    let config = load(&[certificate, key, optional, ca]).expect("optional ones");
    let files = config.tls.clone().expect("files");
    assert_eq!(files.clients, ClientCertificates::Optional("ca.pem".into()));
    assert!(
        config
            .to_toml()
            .contains("client_certificates = \"optional\"")
    );
    for (pairs, wrong) in [
        (&[certificate][..], "--set tls.certificate"),
        (&[key], "--set tls.key"),
        (
            &[certificate, key, optional],
            "--set tls.client_certificates",
        ),
        (&[certificate, key, ca], "--set tls.client_ca"),
        (
            &[certificate, key, ca, "tls.client_certificates=maybe"],
            "--set tls.client_certificates",
        ),
    ] {
        let errors = load(pairs).expect_err("they do not fit");
        assert!(places(&errors).contains(&wrong.to_owned()), "{errors}");
    }
    let plain = Flags {
        set: vec![optional.into(), ca.into()],
        ..Flags::default()
    };
    let errors = Config::load(&plain, []).expect_err("no certificate");
    assert_eq!(
        places(&errors),
        ["--set tls.client_certificates", "--set tls.client_ca"]
    );
}

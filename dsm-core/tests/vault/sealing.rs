#![allow(clippy::disallowed_methods, reason = "what a client does")]

use std::sync::{Arc, OnceLock};

use dsm_core::access::{Rule, SealingFormat};
use dsm_core::audit::AuditQuery;
use dsm_core::crypto::KeyFile;
use dsm_core::crypto::sealing::{KeyPair, PrivateKey};
use dsm_core::entropy::OsEntropy;
use dsm_core::secret::{
    AccessKey, CloudProvider, Credential, KeyValue, OutputMap, OutputValue, SecretData, SshKey,
};
use dsm_core::store::{ChangeSet, Kind, MemoryStore, RecordKey, Store};
use dsm_core::vault::{
    ApplicationFields, AuthorizationFields, Caller, Error, OpenedSecret, Registration, Registry,
    SealingOptions, SecretFields, Vault, VaultOptions,
};

use super::fixture::{Fixture, identity};

const FORMATS: [SealingFormat; 3] = [
    SealingFormat::Jwe,
    SealingFormat::OaepSha1,
    SealingFormat::OaepSha256,
];

/// A pair that a client made; once for all tests, since it takes a while.
fn of_client() -> &'static (String, PrivateKey) {
    static PAIR: OnceLock<(String, PrivateKey)> = OnceLock::new();
    PAIR.get_or_init(|| {
        let pair = KeyPair::generate(&OsEntropy);
        let private = PrivateKey::from_pem(pair.private.expose()).unwrap();
        (pair.public.to_pem(), private)
    })
}

fn sealing(format: SealingFormat) -> AuthorizationFields {
    AuthorizationFields {
        encrypt_sensitive: Some(true),
        encryption_format: Some(format),
        ..AuthorizationFields::default()
    }
}

/// An authorization that seals to the client's own key.
async fn with_client_key(options: VaultOptions, format: SealingFormat) -> Fixture {
    let f = Fixture::with(options, |fields| fields).await;
    let id = f.authorization.id;
    let registered = f.vault.register_public_key(&f.me, id, &of_client().0);
    registered.await.unwrap();
    let changed = f
        .vault
        .update_authorization(&f.me, id, sealing(format), None);
    changed.await.unwrap();
    f
}

fn everything() -> SecretData {
    let credential = || Credential {
        host: Some("h".into()),
        user: Some("u".into()),
        password: Some("canary-password".into()),
        additional_information: Some("i".into()),
        ip: Some("1.2.3.4".into()),
        ..Credential::default()
    };
    SecretData {
        credentials: vec![credential()],
        ssh_keys: vec![SshKey {
            user: Some("root".into()),
            private_key: Some("canary-ssh".into()),
            public_key: Some("ssh-ed25519 x".into()),
            password: Some("canary-phrase".into()),
            ..SshKey::default()
        }],
        access_keys: vec![AccessKey {
            provider: CloudProvider::Aws,
            access_key_id: Some("AK".into()),
            secret_access_key: Some("canary-cloud".into()),
            ttl: Some(60),
            access_key_id_label: None,
            secret_access_key_label: None,
            managed: None,
        }],
        key_values: [
            ("A".to_owned(), KeyValue(Some("canary-pair".into()))),
            ("B".to_owned(), KeyValue(None)),
        ]
        .into(),
        ..SecretData::default()
    }
}

async fn attached(f: &Fixture, name: &str, data: SecretData) {
    let fields = SecretFields::new("name", data);
    let secret = f.vault.create_secret(&f.me, name, fields).await.unwrap();
    let attached = f.vault.attach_secret(&f.me, f.authorization.id, secret.id);
    attached.await.unwrap();
}

/// Which fields are sealed, and what they hold.
fn opened(secret: &OpenedSecret, format: SealingFormat, key: &PrivateKey) -> Vec<(String, String)> {
    let mut sealed = Vec::new();
    for (name, value) in secret.data.iter().flat_map(OutputMap::iter) {
        match value {
            OutputValue::Sealed(text) => {
                let opened = key.open(format, text).unwrap();
                let opened = String::from_utf8(opened.to_vec()).unwrap();
                sealed.push((name.to_owned(), opened));
            }
            OutputValue::Sensitive(_) => panic!("{name} is not sealed"),
            OutputValue::Clear(text) => assert!(!text.contains("canary"), "{name}"),
            OutputValue::Null => {}
        }
    }
    sealed
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    expected.iter().map(owned).collect()
}

const SEALED: [(&str, &str); 5] = [
    ("password", "canary-password"),
    ("password", "canary-phrase"),
    ("private_key", "canary-ssh"),
    ("secret_access_key", "canary-cloud"),
    ("A", "canary-pair"),
];

#[tokio::test]
async fn what_is_sensitive_leaves_sealed_in_every_answer_and_the_rest_in_clear() {
    for format in FORMATS {
        let f = with_client_key(VaultOptions::default(), format).await;
        let key = &of_client().1;
        attached(&f, "a", everything()).await;
        let client = f.principal().await;
        let secret = f.vault.read_secret(&client, &identity("a")).await.unwrap();
        assert_eq!(opened(&secret, format, key), pairs(&SEALED), "{format:?}");
        let clear =
            |map: usize, name: &str| secret.data[map].value(name).and_then(OutputValue::expose);
        assert_eq!(clear(0, "username"), Some("u"));
        assert_eq!(clear(0, "ip"), Some("1.2.3.4"));
        assert_eq!(clear(1, "public_key"), Some("ssh-ed25519 x"));
        assert_eq!(clear(2, "access_key_id"), Some("AK"));
        assert_eq!(clear(2, "TTL"), Some("60"));
        let all = f.vault.read_secrets(&client).await.unwrap();
        assert_eq!(opened(&all[0], format, key), pairs(&SEALED));
        let application = f.vault.read_application(&client).await.unwrap();
        assert_eq!(opened(&application.secrets[0], format, key), pairs(&SEALED));
        let written = SecretFields::new("new", everything());
        let written = f.vault.write_secret(&client, &identity("b"), written).await;
        assert_eq!(
            opened(&written.unwrap().secret, format, key),
            pairs(&SEALED)
        );
    }
}

#[tokio::test]
async fn key_value_pairs_are_left_as_they_are_where_that_is_configured() {
    let options = VaultOptions {
        sealing: SealingOptions {
            key_values: false,
            ..SealingOptions::default()
        },
        ..VaultOptions::default()
    };
    let f = with_client_key(options, SealingFormat::Jwe).await;
    attached(&f, "a", everything()).await;
    let client = f.principal().await;
    let secret = f.vault.read_secret(&client, &identity("a")).await.unwrap();
    let pair = secret.data[3].value("A").and_then(OutputValue::expose);
    assert_eq!(pair, Some("canary-pair"));
    let password = secret.data[0].value("password");
    assert!(matches!(password, Some(OutputValue::Sealed(_))));
}

#[tokio::test]
async fn what_was_sealed_is_given_again_until_its_key_its_format_or_its_version_is_another() {
    let f = with_client_key(VaultOptions::default(), SealingFormat::Jwe).await;
    let secret = f.secret("a", "1").await;
    let client = f.principal().await;
    let read = async || {
        let client = f.principal().await;
        let read = f.vault.read_secret(&client, &identity("a")).await.unwrap();
        let text = read.data[0].value("KEY").and_then(OutputValue::expose);
        text.unwrap().to_owned()
    };
    let first = read().await;
    assert_eq!(read().await, first);
    f.rewrite(secret.id, "2").await;
    let second = read().await;
    assert_ne!(second, first);
    assert_eq!(
        *of_client().1.open(SealingFormat::Jwe, &second).unwrap(),
        b"2"
    );
    let fields = sealing(SealingFormat::OaepSha1);
    let id = f.authorization.id;
    f.vault
        .update_authorization(&f.me, id, fields, None)
        .await
        .unwrap();
    let third = read().await;
    assert_eq!(
        *of_client().1.open(SealingFormat::OaepSha1, &third).unwrap(),
        b"2"
    );
    let pair = KeyPair::generate(&OsEntropy);
    let pem = pair.public.to_pem();
    let registered = f.vault.register_public_key(&f.me, id, &pem);
    registered.await.unwrap();
    let fourth = read().await;
    let other = PrivateKey::from_pem(pair.private.expose()).unwrap();
    assert_eq!(*other.open(SealingFormat::OaepSha1, &fourth).unwrap(), b"2");
    assert!(
        of_client()
            .1
            .open(SealingFormat::OaepSha1, &fourth)
            .is_err()
    );
    drop(client);
}

#[tokio::test]
async fn a_value_too_long_for_bare_rsa_refuses_the_whole_answer_and_stands_in_the_history() {
    let f = with_client_key(VaultOptions::default(), SealingFormat::OaepSha1).await;
    let fits = "x".repeat(342);
    f.secret("fits", &fits).await;
    let long = f.secret("long", &"canary".repeat(100)).await;
    let client = f.principal().await;
    f.vault
        .read_secret(&client, &identity("fits"))
        .await
        .unwrap();
    for _ in 0..2 {
        let refused = f.vault.read_secret(&client, &identity("long")).await;
        let error = refused.unwrap_err();
        let Error::Conflict(message) = &error else {
            panic!("{error:?}")
        };
        assert!(
            message.contains("data[0].KEY") && message.contains("342"),
            "{message}"
        );
        assert!(!message.contains("canary"), "{message}");
    }
    let refused = f.vault.read_secrets(&client).await;
    assert!(matches!(refused, Err(Error::Conflict(_))));
    let errors = f
        .vault
        .list_secret_errors(&f.me, long.id, dsm_core::store::Page::first(10));
    let errors = errors.await.unwrap().items;
    assert_eq!(
        errors.len(),
        1,
        "asked for again, it is no other error: {errors:?}"
    );
    assert_eq!(errors[0].item.as_deref(), Some("data[0].KEY"));
    let found = f.vault.find_secret(&f.me, long.id).await.unwrap();
    assert!(found.has_error && found.version == 1);
    let failed = f
        .vault
        .search_audit(&f.me, &AuditQuery::newest(50))
        .await
        .unwrap();
    let failed = failed
        .found
        .iter()
        .filter(|found| matches!(found.event.outcome, dsm_core::audit::Outcome::Failed { .. }));
    assert!(failed.count() >= 4, "two reads of one secret, one of two");
    // The writer could not be given it back either: nothing is written.
    for name in ["long", "new"] {
        let fields = super::fixture::fields(&"canary".repeat(100));
        let refused = f.vault.write_secret(&client, &identity(name), fields).await;
        assert!(matches!(refused, Err(Error::Conflict(_))), "{name}");
    }
    let jwe = sealing(SealingFormat::Jwe);
    let id = f.authorization.id;
    f.vault
        .update_authorization(&f.me, id, jwe, None)
        .await
        .unwrap();
    let client = f.principal().await;
    let read = f
        .vault
        .read_secret(&client, &identity("long"))
        .await
        .unwrap();
    assert_eq!(
        opened(&read, SealingFormat::Jwe, &of_client().1)[0].1.len(),
        600
    );
    let absent = f
        .vault
        .read_secret(&client, &identity("new"))
        .await
        .unwrap_err();
    assert!(matches!(absent, Error::Denied(denial) if denial.rule() == Rule::SecretExists));
}

#[tokio::test]
async fn a_pair_is_made_when_the_flag_is_first_set_and_kept_across_toggles() {
    let f = Fixture::new().await;
    let id = f.authorization.id;
    let none = f.vault.download_private_key(&f.me, id).await.unwrap_err();
    assert!(matches!(none, Error::NotFound(_)), "{none:?}");
    let none = f.vault.download_public_key(&f.me, id).await.unwrap_err();
    assert!(matches!(none, Error::NotFound(_)), "{none:?}");
    let on = || sealing(SealingFormat::Jwe);
    let made = f
        .vault
        .update_authorization(&f.me, id, on(), None)
        .await
        .unwrap();
    assert!(made.private_key.is_none(), "it is kept");
    let key = f.vault.download_private_key(&f.me, id).await.unwrap();
    assert!(key.expose().starts_with("-----BEGIN PRIVATE KEY-----\n"));
    let public = f.vault.download_public_key(&f.me, id).await.unwrap();
    assert!(public.starts_with("-----BEGIN PUBLIC KEY-----\n"));
    f.secret("a", "1").await;
    let client = f.principal().await;
    let read = f.vault.read_secret(&client, &identity("a")).await.unwrap();
    let private = PrivateKey::from_pem(key.expose()).unwrap();
    let expected = pairs(&[("KEY", "1")]);
    assert_eq!(opened(&read, SealingFormat::Jwe, &private), expected);
    let off = AuthorizationFields {
        encrypt_sensitive: Some(false),
        ..AuthorizationFields::default()
    };
    f.vault
        .update_authorization(&f.me, id, off, None)
        .await
        .unwrap();
    let client = f.principal().await;
    let read = f.vault.read_secret(&client, &identity("a")).await.unwrap();
    assert_eq!(super::fixture::value(&read), Some("1"));
    f.vault
        .update_authorization(&f.me, id, on(), None)
        .await
        .unwrap();
    assert_eq!(
        f.vault.download_public_key(&f.me, id).await.unwrap(),
        public
    );
    assert_eq!(f.vault.download_private_key(&f.me, id).await.unwrap(), key);
    let trail = operations(&f).await;
    for operation in [
        "authorization.key.create",
        "authorization.private_key.download",
        "authorization.public_key.download",
    ] {
        assert!(trail.contains(&operation), "{operation}: {trail:?}");
    }
    let made = trail.iter().filter(|it| **it == "authorization.key.create");
    assert_eq!(made.count(), 1);
}

async fn operations(f: &Fixture) -> Vec<&'static str> {
    let found = f
        .vault
        .search_audit(&f.me, &AuditQuery::newest(100))
        .await
        .unwrap();
    found
        .found
        .iter()
        .map(|found| found.event.operation.as_str())
        .collect()
}

#[tokio::test]
async fn a_private_key_that_is_not_kept_is_handed_out_once() {
    let options = VaultOptions {
        sealing: SealingOptions {
            keep_private_keys: false,
            ..SealingOptions::default()
        },
        ..VaultOptions::default()
    };
    let f = Fixture::with(options, |fields| fields).await;
    let id = f.authorization.id;
    let on = || sealing(SealingFormat::OaepSha256);
    let made = f
        .vault
        .update_authorization(&f.me, id, on(), None)
        .await
        .unwrap();
    let private = made.private_key.expect("handed out");
    let again = f
        .vault
        .update_authorization(&f.me, id, on(), None)
        .await
        .unwrap();
    assert!(again.private_key.is_none());
    let refused = f.vault.download_private_key(&f.me, id).await.unwrap_err();
    assert!(matches!(&refused, Error::Conflict(text) if text.contains("handed out")));
    f.secret("a", "1").await;
    let client = f.principal().await;
    let read = f.vault.read_secret(&client, &identity("a")).await.unwrap();
    let private = PrivateKey::from_pem(private.expose()).unwrap();
    let expected = pairs(&[("KEY", "1")]);
    assert_eq!(opened(&read, SealingFormat::OaepSha256, &private), expected);
    let trail = operations(&f).await;
    assert!(
        trail.contains(&"authorization.private_key.download"),
        "{trail:?}"
    );

    // An application that registers one is handed its own.
    let registration = Registration {
        application: ApplicationFields {
            name: Some("made".into()),
            ..ApplicationFields::default()
        },
        authorization: AuthorizationFields {
            system: Some("sys".into()),
            environment: Some("dev".into()),
            ..AuthorizationFields::default()
        },
    };
    let made = f
        .vault
        .register_application(&client, registration)
        .await
        .unwrap();
    assert!(made.authorization.encrypt_sensitive, "as its maker's");
    let format = made.authorization.encryption_format;
    assert_eq!(format, SealingFormat::OaepSha256);
    assert!(PrivateKey::from_pem(made.private_key.unwrap().expose()).is_ok());
}

#[tokio::test]
async fn a_key_of_the_client_takes_the_place_of_the_one_made_here() {
    let f = Fixture::with(VaultOptions::default(), |fields| AuthorizationFields {
        encrypt_sensitive: Some(true),
        ..fields
    })
    .await;
    let id = f.authorization.id;
    f.vault.download_private_key(&f.me, id).await.unwrap();
    for wrong in ["", "no key", &of_client().0[..200]] {
        let refused = f
            .vault
            .register_public_key(&f.me, id, wrong)
            .await
            .unwrap_err();
        let Error::Invalid(fields) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(fields[0].field, "public_key");
    }
    f.vault
        .download_private_key(&f.me, id)
        .await
        .expect("nothing has changed");
    for _ in 0..2 {
        let registered = f.vault.register_public_key(&f.me, id, &of_client().0);
        registered.await.unwrap();
    }
    let refused = f.vault.download_private_key(&f.me, id).await.unwrap_err();
    assert!(matches!(&refused, Error::Conflict(text) if text.contains("client")));
    assert_eq!(
        f.vault.download_public_key(&f.me, id).await.unwrap(),
        of_client().0
    );
    f.secret("a", "1").await;
    let client = f.principal().await;
    let read = f.vault.read_secret(&client, &identity("a")).await.unwrap();
    let expected = pairs(&[("KEY", "1")]);
    assert_eq!(opened(&read, SealingFormat::Jwe, &of_client().1), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_pairs_that_are_made_at_once_one_remains() {
    let f = Arc::new(Fixture::new().await);
    let id = f.authorization.id;
    let tries = (0..4).map(|_| {
        let f = Arc::clone(&f);
        tokio::spawn(async move {
            let on = sealing(SealingFormat::Jwe);
            f.vault.update_authorization(&f.me, id, on, None).await
        })
    });
    let mut done = 0;
    for one in tries.collect::<Vec<_>>() {
        match one.await.unwrap() {
            Ok(_) => done += 1,
            Err(Error::Stale) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(done >= 1);
    let private = f.vault.download_private_key(&f.me, id).await.unwrap();
    let private = PrivateKey::from_pem(private.expose()).unwrap();
    f.secret("a", "1").await;
    let client = f.principal().await;
    let read = f.vault.read_secret(&client, &identity("a")).await.unwrap();
    assert_eq!(
        opened(&read, SealingFormat::Jwe, &private),
        pairs(&[("KEY", "1")])
    );
}

#[tokio::test]
async fn a_key_ends_with_its_authorization() {
    for by_operator in [true, false] {
        let f = with_client_key(VaultOptions::default(), SealingFormat::Jwe).await;
        let id = f.authorization.id;
        if by_operator {
            f.vault.revoke_authorization(&f.me, id, None).await.unwrap();
        } else {
            let client = f.principal().await;
            f.vault.revoke_self(&client).await.unwrap();
        }
        let gone = f.vault.download_public_key(&f.me, id).await.unwrap_err();
        assert!(matches!(gone, Error::NotFound(_)), "{gone:?}");
        let refused = f.vault.register_public_key(&f.me, id, &of_client().0).await;
        assert!(matches!(refused, Err(Error::Conflict(_))));
    }
}

#[tokio::test]
async fn a_private_key_goes_through_a_rotation_of_the_root_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = KeyFile::new(folder.path().join("root.key"));
    file.create(&OsEntropy).unwrap();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let builder = || Vault::builder_dyn(store.clone(), Arc::new(file.clone()));
    let vault = builder().initialise().await.unwrap();
    let me = Caller::embedded("test");
    for (registry, name) in [(Registry::System, "sys"), (Registry::Environment, "dev")] {
        vault
            .create_registry_entry(&me, registry, name, "")
            .await
            .unwrap();
    }
    let application = vault.create_application(&me, ApplicationFields::new("app"));
    let application = application.await.unwrap().id;
    let fields = AuthorizationFields {
        encrypt_sensitive: Some(true),
        ..AuthorizationFields::new("sys", "dev")
    };
    let made = vault
        .create_authorization(&me, application, fields)
        .await
        .unwrap();
    let before = vault.download_private_key(&me, made.id).await.unwrap();
    let new = file.add(&OsEntropy).unwrap();
    vault.rewrap(&me, |_| ()).await.unwrap();
    assert_eq!(vault.count_not_under(new).await.unwrap(), 0);
    file.forget_retired().unwrap();
    let again = builder().open().await.unwrap();
    let after = again.download_private_key(&me, made.id).await.unwrap();
    assert_eq!(after, before);
}

#[tokio::test]
async fn a_damaged_private_key_does_not_open() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let f = Fixture::over(store.clone(), VaultOptions::default(), |fields| {
        AuthorizationFields {
            encrypt_sensitive: Some(true),
            ..fields
        }
    })
    .await;
    let id = f.authorization.id;
    let key = RecordKey::new(Kind(17), id);
    let record = store.find(key).await.unwrap().expect("a key");
    let mut body = record.body.clone();
    *body.last_mut().unwrap() ^= 1;
    let changed = dsm_core::store::Record {
        body,
        ..record.clone()
    };
    let set = ChangeSet::default().update(changed, record.revision);
    store.commit(set).await.unwrap();
    let refused = f.vault.download_private_key(&f.me, id).await.unwrap_err();
    assert!(matches!(refused, Error::Internal { .. }), "{refused:?}");
}

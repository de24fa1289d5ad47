use std::sync::Arc;

use dsm_core::crypto::{KeyFile, StaticKeys};
use dsm_core::entropy::OsEntropy;
use dsm_core::secret::{OutputValue, SecretData};
use dsm_core::store::{MemoryStore, Store};
use dsm_core::vault::{Caller, OpenError, SecretFields, Vault};

struct Keys {
    _folder: tempfile::TempDir,
    file: KeyFile,
    store: Arc<dyn Store>,
}

impl Keys {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("root.key"));
        file.create(&OsEntropy).unwrap();
        Self {
            _folder: folder,
            file,
            store: Arc::new(MemoryStore::default()),
        }
    }

    fn builder(&self) -> dsm_core::vault::VaultBuilder {
        Vault::builder_dyn(self.store.clone(), Arc::new(self.file.clone()))
    }
}

fn me() -> Caller {
    Caller::embedded("test")
}

async fn fill(vault: &Vault) {
    for n in 0..20 {
        let data = SecretData::key_values([("KEY", format!("value {n}"))]);
        vault
            .create_secret(&me(), &format!("s{n}"), SecretFields::new("n", data))
            .await
            .unwrap();
    }
}

async fn check(vault: &Vault) {
    for id in 1..=20 {
        let maps = vault.reveal_version(&me(), id.into(), 1).await.unwrap();
        let value = maps[0].value("KEY").and_then(OutputValue::expose).unwrap();
        assert_eq!(value, format!("value {}", id - 1));
    }
}

#[tokio::test]
async fn rotation_wraps_everything_anew_and_values_stay() {
    let keys = Keys::new();
    let vault = keys.builder().initialise().await.unwrap();
    fill(&vault).await;
    let old = vault.root_key();
    let new = keys.file.add(&OsEntropy).unwrap();
    let before = vault.find_secret(&me(), 1.into()).await.unwrap();
    let mut steps = 0;
    let done = vault.rewrap(&me(), |_| steps += 1).await.unwrap();
    assert!(
        done.rewrapped >= 44,
        "20 secrets, 20 versions, 4 engines: {done:?}"
    );
    assert!(steps > 0);
    assert_eq!(vault.root_key(), new);
    assert_eq!(vault.count_not_under(new).await.unwrap(), 0);
    assert!(vault.count_not_under(old).await.unwrap() > 0);
    let after = vault.find_secret(&me(), 1.into()).await.unwrap();
    assert_eq!(
        before.revision, after.revision,
        "rewrapping is no change of the object"
    );
    check(&vault).await;
    // The old key opens nothing any more but the log.
    keys.file.forget_retired().unwrap();
    let again = keys.builder().open().await.unwrap();
    check(&again).await;
    let done = again.rewrap(&me(), |_| ()).await.unwrap();
    assert_eq!(done.rewrapped, 0, "nothing is left to do");
}

#[tokio::test]
async fn a_server_that_does_not_know_the_new_key_yet_learns_it() {
    let keys = Keys::new();
    let server = keys.builder().initialise().await.unwrap();
    fill(&server).await;
    keys.file.add(&OsEntropy).unwrap();
    let tool = keys.builder().open().await.unwrap();
    tool.rewrap(&me(), |_| ()).await.unwrap();
    check(&server).await;
    let data = SecretData::key_values([("KEY", "late")]);
    server
        .create_secret(&me(), "late", SecretFields::new("n", data))
        .await
        .unwrap();
    assert_eq!(server.count_not_under(tool.root_key()).await.unwrap(), 0);
}

#[tokio::test]
async fn another_key_does_not_open_the_vault_and_nothing_is_made_over_it() {
    let keys = Keys::new();
    keys.builder().initialise().await.unwrap();
    let other = Arc::new(StaticKeys::generate(&OsEntropy));
    let builder = || Vault::builder_dyn(keys.store.clone(), other.clone());
    assert!(matches!(
        builder().open().await,
        Err(OpenError::WrongKey(_))
    ));
    assert!(matches!(
        builder().initialise().await,
        Err(OpenError::NotEmpty)
    ));
    assert!(matches!(
        keys.builder().initialise().await,
        Err(OpenError::NotEmpty)
    ));
}

#[tokio::test]
async fn an_empty_store_is_not_opened() {
    let keys = Keys::new();
    assert!(matches!(
        keys.builder().open().await,
        Err(OpenError::NotInitialised)
    ));
}

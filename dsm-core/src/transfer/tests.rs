use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::copy::contents;
use super::*;
use crate::audit::{AuditQuery, Operation};
use crate::crypto::{KeyProvider, StaticKeys};
use crate::entropy::OsEntropy;
use crate::secret::SecretData;
use crate::store::{Kind, MemoryStore, Page, Query, Snapshot as _, SnapshotPart, Store};
use crate::testing::{FaultyStore, ManualClock, StoreCall};
use crate::vault::{Caller, OpenError, Registry, SecretFields, Vault};

struct Source {
    vault: Vault,
    store: Arc<dyn Store>,
    keys: Arc<dyn KeyProvider>,
    me: Caller,
}

async fn source() -> Source {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let keys: Arc<dyn KeyProvider> = Arc::new(StaticKeys::generate(&OsEntropy));
    let clock = Arc::new(ManualClock::default());
    let vault = Vault::builder_dyn(Arc::clone(&store), Arc::clone(&keys));
    let vault = vault.clock(clock).initialise().await.expect("a vault");
    let me = Caller::embedded("test");
    vault
        .create_registry_entry(&me, Registry::System, "sys", "")
        .await
        .expect("a system");
    let source = Source {
        vault,
        store,
        keys,
        me,
    };
    for number in 0..300 {
        source.secret(&format!("s{number}")).await;
    }
    source
}

impl Source {
    async fn secret(&self, name: &str) {
        let mut fields = SecretFields::new("n", SecretData::key_values([("KEY", name)]));
        fields.expires_at = Some(Some(self.vault.now() + chrono::TimeDelta::days(9)));
        let created = self.vault.create_secret(&self.me, name, fields).await;
        created.expect("a secret");
    }

    /// One attempt to copy everything.
    async fn copy(&self, to: &dyn Store) -> Result<Contents, TransferError> {
        migrate(&*self.store, to, |_| ()).await
    }

    async fn backup(&self, path: &std::path::Path) -> (BackupHeader, Contents) {
        let mut file = fs::File::create(path).expect("a file");
        let written = self.vault.backup(&self.me, &mut file, |_| ()).await;
        written.expect("a backup")
    }
}

#[tokio::test]
async fn a_copy_has_the_contents_of_its_source_and_opens() {
    let source = source().await;
    let to = Arc::new(MemoryStore::new());
    let copied = source.copy(&*to).await.expect("copied");
    assert_eq!(
        copied,
        contents(&*source.store).await.expect("the contents")
    );
    assert!(copied.records > 600 && copied.jobs == 300 && copied.log > 0);
    let vault = Vault::builder_dyn(to, Arc::clone(&source.keys));
    let vault = vault.clock(Arc::new(ManualClock::default())).open().await;
    let vault = vault.expect("the copy opens");
    // New numbers do not meet those that were brought.
    let fields = SecretFields::new("n", SecretData::key_values([("KEY", "new")]));
    let created = vault.create_secret(&source.me, "new", fields).await;
    assert!(created.expect("a secret").id.0 > 300);
}

#[tokio::test]
async fn a_copy_goes_on_after_a_failure_at_any_step() {
    let source = source().await;
    let to = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
    let mut allowed = 0;
    let copied = loop {
        // Each attempt gets one write further than the one before it, counting those that fail
        // after they took effect.
        let left = Arc::new(AtomicUsize::new(allowed));
        to.fail_when(move |call| {
            matches!(
                call,
                StoreCall::Commit | StoreCall::Answer | StoreCall::AppendLog
            ) && left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                    left.checked_sub(1)
                })
                .is_err()
        });
        match source.copy(&*to).await {
            Ok(copied) => break copied,
            Err(TransferError::Store(_)) => allowed += 1,
            Err(other) => panic!("{other}"),
        }
        to.heal();
        let opened = Vault::builder_dyn(to.clone(), Arc::clone(&source.keys)).open();
        let refused = opened.await.map(drop);
        assert!(
            matches!(
                refused,
                Err(OpenError::Unfinished | OpenError::NotInitialised)
            ),
            "{refused:?}"
        );
    };
    assert!(allowed >= 3);
    to.heal();
    assert_eq!(
        copied,
        contents(&*source.store).await.expect("the contents")
    );
    assert!(!unfinished(&*to).await.expect("an answer"));
}

#[tokio::test]
async fn a_destination_with_anything_in_it_is_refused_and_left_alone() {
    let (one, other) = (source().await, source().await);
    let before = contents(&*other.store).await.expect("the contents");
    let refused = one.copy(&*other.store).await;
    assert!(
        matches!(refused, Err(TransferError::NotEmpty(_))),
        "{refused:?}"
    );
    assert_eq!(contents(&*other.store).await.expect("the contents"), before);

    // Also one that another transfer began.
    let to = FaultyStore::new(Arc::new(MemoryStore::new()));
    let mut left = 3;
    to.fail_when(move |call| {
        left -= i32::from(call == StoreCall::Commit);
        left < 0
    });
    one.copy(&to).await.expect_err("it is interrupted");
    to.heal();
    let refused = other.copy(&to).await;
    assert!(
        matches!(refused, Err(TransferError::NotEmpty(_))),
        "{refused:?}"
    );
    one.copy(&to).await.expect("its own goes on");
}

#[tokio::test]
async fn a_source_that_changed_between_two_attempts_is_found_out() {
    let source = source().await;
    let to = FaultyStore::new(Arc::new(MemoryStore::new()));
    let mut left = 3;
    to.fail_when(move |call| {
        left -= i32::from(call == StoreCall::Commit);
        left < 0
    });
    source.copy(&to).await.expect_err("it is interrupted");
    to.heal();
    // An update of what was copied already.
    let fields = SecretFields::new("other", SecretData::key_values([("KEY", "x")]));
    let query = Query::new(Kind(12)).oldest_first();
    let page = source.store.list(&query, Page::first(1)).await;
    let id = page.expect("a page").records[0].key.id;
    let updated = source
        .vault
        .update_secret(&source.me, id.into(), fields, None)
        .await;
    updated.expect("updated");
    let refused = source.copy(&to).await;
    assert!(
        matches!(refused, Err(TransferError::Differs { .. })),
        "{refused:?}"
    );
    assert!(unfinished(&to).await.expect("an answer"));
}

#[tokio::test]
async fn a_source_that_is_written_to_meanwhile_is_found_out() {
    let source = source().await;
    let to = MemoryStore::new();
    let before = source.store.snapshot().await.expect("a snapshot");
    source.secret("late").await;
    // What `migrate` does, with a snapshot from before the write.
    let origin = origin_of(&*source.store).await.expect("a vault");
    let mut before = before;
    copy(&mut *before, origin, &to, |_| ())
        .await
        .expect("copied");
    let refused = source.copy(&to).await;
    assert!(
        matches!(refused, Err(TransferError::NotEmpty(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_finished_copy_is_told_again() {
    let source = source().await;
    let to = MemoryStore::new();
    let first = source.copy(&to).await.expect("copied");
    // As after an answer that was lost at the very end.
    assert_eq!(source.copy(&to).await.expect("it is there"), first);
}

#[tokio::test]
async fn a_backup_is_restored_whole() {
    let source = source().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("backup");
    let (header, written) = source.backup(&path).await;
    let backup = Backup::open(&path, Arc::clone(&source.keys), Arc::new(OsEntropy));
    let backup = backup.expect("a backup");
    assert_eq!((backup.header(), backup.contents()), (&header, &written));
    let to = Arc::new(MemoryStore::new());
    let restored = backup.restore(&*to, |_| ()).await;
    assert_eq!(restored.expect("restored"), written);
    let opened = Vault::builder_dyn(to.clone(), Arc::clone(&source.keys)).open();
    opened.await.expect("the vault opens");

    // Never over a vault, be it the same one, which went on since, or another.
    let again = backup.restore(&*to, |_| ()).await;
    assert!(
        matches!(again, Err(TransferError::NotEmpty(_))),
        "{again:?}"
    );
    let other = self::source().await;
    let refused = backup.restore(&*other.store, |_| ()).await;
    assert!(
        matches!(&refused, Err(TransferError::OtherVault { backup, .. }) if *backup == header.vault),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_backup_under_load_holds_whole_changes() {
    let source = Arc::new(source().await);
    let folder = tempfile::tempdir().expect("a folder");
    let writing = tokio::spawn({
        let source = Arc::clone(&source);
        async move {
            for number in 0..200 {
                source.secret(&format!("t{number}")).await;
            }
        }
    });
    for round in 0..5 {
        let path = folder.path().join(format!("backup{round}"));
        let (_, contents) = source.backup(&path).await;
        // A secret, its first version and its job come together.
        let backup = Backup::open(&path, Arc::clone(&source.keys), Arc::new(OsEntropy));
        let backup = backup.expect("a backup");
        let mut snapshot = backup.snapshot().expect("it is read again");
        let (mut secrets, mut versions) = (0, 0);
        while let Some(part) = snapshot.next().await.expect("a part") {
            if let SnapshotPart::Records(records) = part {
                secrets += records.iter().filter(|r| r.key.kind == Kind(12)).count();
                versions += records.iter().filter(|r| r.key.kind == Kind(13)).count();
            }
        }
        assert_eq!((secrets, secrets as u64), (versions, contents.jobs));
    }
    writing.await.expect("no panic");
}

#[tokio::test]
async fn a_damaged_backup_is_refused() {
    let source = source().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("backup");
    source.backup(&path).await;
    let whole = fs::read(&path).expect("the file");
    let open = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("written");
        Backup::open(&path, Arc::clone(&source.keys), Arc::new(OsEntropy)).map(drop)
    };
    open(&whole).expect("it is whole");
    for length in (0..whole.len()).step_by(whole.len() / 31) {
        let refused = open(&whole[..length]);
        assert!(
            matches!(refused, Err(TransferError::Damaged(_))),
            "{length}: {refused:?}"
        );
    }
    for place in (0..whole.len()).step_by(whole.len() / 31) {
        let mut altered = whole.clone();
        altered[place] ^= 1;
        assert!(open(&altered).is_err(), "{place}");
        // As somebody would who knows the format.
        let end = altered.len() - 32;
        if place < end {
            let sum = sha2::Digest::finalize(sha2::Digest::chain_update(
                <sha2::Sha256 as sha2::Digest>::new(),
                &altered[..end],
            ));
            altered[end..].copy_from_slice(&sum);
            assert!(open(&altered).is_err(), "{place}");
        }
    }
    let mut longer = whole.clone();
    longer.push(0);
    assert!(open(&longer).is_err());
}

#[tokio::test]
async fn a_backup_under_an_unknown_key_is_refused_by_its_name() {
    let source = source().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("backup");
    let (header, _) = source.backup(&path).await;
    let other = Arc::new(StaticKeys::generate(&OsEntropy));
    let refused = Backup::open(&path, other, Arc::new(OsEntropy)).map(drop);
    assert!(
        matches!(refused, Err(TransferError::UnknownKey(id)) if id == header.root_key),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_backup_holds_no_plaintext_and_is_recorded() {
    let source = source().await;
    source.secret("very-recognisable-identity").await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("backup");
    source.backup(&path).await;
    let bytes = fs::read(&path).expect("the file");
    let needle = b"very-recognisable-identity";
    assert!(!bytes.windows(needle.len()).any(|window| window == needle));
    let query = AuditQuery::newest(5);
    let found = source.vault.search_audit(&source.me, &query).await;
    let found = found.expect("a page").found;
    let mut operations = found.iter().map(|found| found.event.operation);
    assert!(operations.any(|operation| operation == Operation::BackupVault));
}

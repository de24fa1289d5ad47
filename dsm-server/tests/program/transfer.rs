use std::fs;

use crate::harness::{Client, Place};

#[test]
fn a_migrated_vault_is_served_as_it_was() {
    let place = Place::new();
    let (process, line) = place.quickstart();
    let password = Client::new(&line.url).password(&line);
    process.stop();
    let migrated = place.run(&[
        "migrate",
        "--from",
        "sqlite:data/vault.db",
        "--to",
        "sqlite:other/vault.db",
    ]);
    let migrated = migrated.succeeded();
    assert!(migrated.out.starts_with("both hold "), "{migrated:?}");
    assert!(migrated.out.contains("digest"), "{migrated:?}");

    fs::remove_file(place.database()).expect("it is not needed any more");
    let serve = [
        "quickstart",
        "--json",
        "--listen",
        "127.0.0.1:0",
        "--store",
        "sqlite:other/vault.db",
    ];
    let (_process, now) = place.quickstart_with(&serve);
    let client = Client::new(&now.url);
    assert_eq!(client.password(&line), password);
    assert_eq!(client.me(&line.operator_token), 200);
}

#[test]
fn a_migration_refuses_what_it_cannot_do_and_changes_nothing() {
    let place = Place::new();
    let (process, _) = place.quickstart();
    let to_other = [
        "migrate",
        "--from",
        "sqlite:data/vault.db",
        "--to",
        "sqlite:other/vault.db",
    ];
    place.run(&to_other).refused(75, &["another process"]);
    process.stop();

    let same = "sqlite:data/vault.db";
    let refused = place.run(&["migrate", "--from", same, "--to", same]);
    refused.refused(78, &["the same store"]);
    let absent = ["migrate", "--from", "sqlite:absent.db", "--to", same];
    place.run(&absent).refused(78, &["no vault at absent.db"]);

    // Into a vault of its own.
    let other = Place::new();
    let (process, _) = other.quickstart();
    process.stop();
    let url = format!("sqlite:{}", other.database().display());
    let before = fs::read(other.database()).expect("the file");
    let refused = place.run(&["migrate", "--from", same, "--to", &url]);
    refused.refused(65, &["not empty"]);
    assert_eq!(fs::read(other.database()).expect("the file"), before);
}

#[test]
fn a_backup_taken_beside_a_server_is_restored() {
    let place = Place::new();
    let (process, line) = place.quickstart();
    let password = Client::new(&line.url).password(&line);
    let backed = place.run(&["backup", "vault.backup"]).succeeded();
    assert!(backed.out.contains("vault.backup holds"), "{backed:?}");
    let file = place.path().join("vault.backup");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(&file).expect("the file").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    // Never over a file, and never half of one.
    let again = place.run(&["backup", "vault.backup"]);
    again.refused(74, &["vault.backup", "exists"]);
    let left = fs::read_dir(place.path()).expect("the folder");
    let left = left.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    assert!(
        left.into_iter()
            .all(|name| !name.starts_with(".dsm-backup"))
    );
    process.kill();

    // Over the vault that is there: refused.
    let refused = place.run(&["restore", "vault.backup"]);
    assert_eq!(refused.code, Some(65), "{refused:?}");
    assert!(refused.err.contains("not empty"), "{refused:?}");

    for name in ["vault.db", "vault.db-wal", "vault.db-shm"] {
        // The last two may be gone already.
        let _ = fs::remove_file(place.data().join(name));
    }
    fs::remove_dir_all(place.data().join("audit")).expect("lost with the machine");
    let restored = place.run(&["restore", "vault.backup"]).succeeded();
    assert!(restored.out.contains("holds"), "{restored:?}");
    let (_process, url) = place.serve();
    let client = Client::new(&url);
    assert_eq!(client.password(&line), password);
    assert_eq!(client.me(&line.operator_token), 200);
}

#[test]
fn a_backup_that_is_damaged_or_of_another_vault_is_refused_before_anything_is_written() {
    let place = Place::new();
    let (process, _) = place.quickstart();
    process.stop();
    place.run(&["backup", "good"]).succeeded();
    let good = fs::read(place.path().join("good")).expect("the file");
    let damaged = place.path().join("damaged");
    let to = ["restore", "damaged", "--store", "sqlite:new/vault.db"];
    for (bytes, word) in [
        (&good[..good.len() / 2], "cut off"),
        (&good[..good.len() - 1], "cut off"),
        (b"something else", "does not begin"),
    ] {
        fs::write(&damaged, bytes).expect("written");
        place.run(&to).refused(65, &["not a whole backup", word]);
    }
    let mut altered = good.clone();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    fs::write(&damaged, &altered).expect("written");
    place.run(&to).refused(65, &["checksum"]);
    assert!(!place.path().join("new").exists());

    // Another vault has other keys: named, so that the right file can be found.
    let other = Place::new();
    let (process, _) = other.quickstart();
    process.stop();
    let path = place.path().join("good").display().to_string();
    let refused = other.run(&["restore", &path, "--store", "sqlite:new/vault.db"]);
    let key = fs::read_to_string(place.key()).expect("a key file");
    let name = key
        .lines()
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| line.split(' ').next())
        .expect("a name");
    refused.refused(78, &[name]);
    assert!(!other.path().join("new").exists());

    // With the key at hand it is told apart by the name of its vault.
    fs::copy(place.key(), other.path().join("their.key")).expect("copied");
    let source = "file:their.key";
    let refused = other.run(&["restore", &path, "--root-key", source]);
    assert_eq!(refused.code, Some(65), "{refused:?}");
    assert!(
        refused.err.contains("the backup is of vault"),
        "{refused:?}"
    );
}

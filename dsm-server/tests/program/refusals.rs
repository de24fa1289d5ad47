//! What cannot work is refused with a sentence, and nothing is made or changed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::harness::Place;

/// A folder with a vault that is not served.
fn stopped() -> Place {
    let place = Place::new();
    place.run(&["init"]).succeeded();
    place
}

const START: [&[&str]; 2] = [
    &["quickstart", "--json", "--listen", "127.0.0.1:0"],
    &["serve", "--listen", "127.0.0.1:0"],
];

#[test]
fn a_lost_key_is_not_replaced() {
    let place = stopped();
    fs::remove_file(place.key()).expect("the key");
    let before = place.files();
    for arguments in START.into_iter().chain([&["init"][..], &["key", "rotate"]]) {
        let ended = place.run(arguments);
        ended.refused(78, &["there is no root key at", "root.key", "restore it"]);
        assert_eq!(names(&place.files()), names(&before));
    }
    let database = |files: &[(std::path::PathBuf, Vec<u8>)]| {
        let found = files.iter().find(|(path, _)| *path == place.database());
        found.expect("the database").1.clone()
    };
    assert!(database(&place.files()) == database(&before), "unchanged");
}

fn names(files: &[(std::path::PathBuf, Vec<u8>)]) -> Vec<&std::path::PathBuf> {
    files.iter().map(|(path, _)| path).collect()
}

#[test]
fn another_key_is_refused() {
    let (place, other) = (stopped(), stopped());
    fs::copy(other.key(), place.key()).expect("copied");
    for arguments in START {
        let ended = place.run(arguments);
        ended.refused(78, &["does not open this vault", "find the key file"]);
    }
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let place = stopped();
    fs::set_permissions(place.key(), fs::Permissions::from_mode(0o644)).expect("chmod");
    for arguments in START {
        place
            .run(arguments)
            .refused(78, &["mode 0644", "chmod 600"]);
    }
}

#[test]
fn a_malformed_key_is_not_repeated() {
    let place = stopped();
    fs::write(place.key(), "0011223344556677 hunter2\n").expect("written");
    let ended = place.run(START[1]);
    ended.refused(78, &["root.key, line 1: not a root key"]);
    assert!(!ended.err.contains("hunter2"));
}

#[test]
fn nothing_is_made_beside_the_trail_of_a_lost_store() {
    let place = Place::new();
    let (process, _) = place.quickstart();
    process.stop();
    fs::remove_file(place.database()).expect("the database");
    let before = place.files();
    for arguments in [START[0], &["init"]] {
        let ended = place.run(arguments);
        ended.refused(78, &["audit trail of a vault", "restore its store"]);
        assert_eq!(place.files(), before);
    }
}

#[test]
fn a_damaged_database_is_named() {
    let place = stopped();
    let sound = fs::read(place.database()).expect("the database");
    let page = 4096;
    assert!(sound.len() > 8 * page, "all of it is in this file");
    let mut headless = sound.clone();
    headless[..100].fill(0xa5);
    let mut torn = sound.clone();
    torn[page..].fill(0xa5);
    let mut empty_pages = sound.clone();
    empty_pages[page..].fill(0);
    for damaged in [headless, torn, empty_pages, b"SQLite format 3\0".to_vec()] {
        fs::write(place.database(), &damaged).expect("written");
        for arguments in START {
            let ended = place.run(arguments);
            ended.refused(65, &["vault.db"]);
            assert!(ended.err.contains("damaged"), "{ended:?}");
        }
    }
    fs::write(place.database(), &sound).expect("written");
    place.run(&["check"]).succeeded();
}

#[test]
fn an_audit_trail_that_cannot_be_kept_is_named() {
    let place = stopped();
    let audit = place.data().join("audit");
    // The folder is made at the first start.
    assert!(!audit.exists());
    fs::write(&audit, "in the way").expect("written");
    place
        .run(START[1])
        .refused(74, &["audit trail in", "cannot be used"]);
}

#[test]
fn plain_http_stays_on_loopback() {
    let place = stopped();
    let ended = place.run(&["serve", "--listen", "0.0.0.0:0"]);
    ended.refused(
        78,
        &["--listen", "not a loopback address", "allow_plain_http"],
    );
    let ended = place.run(&["quickstart", "--listen", "0.0.0.0:0", "--allow-plain-http"]);
    ended.refused(78, &["loopback only"]);
}

#[test]
fn every_wrong_setting_is_named() {
    let place = Place::new();
    let file = place.path().join("dsm.toml");
    let text = "listen = \"hunter2\"\ntoken_lifetime_s = 0\ncolour = \"blue\"\n[audit]\nbefore_answer = \"hunter2\"\n";
    fs::write(&file, text).expect("written");
    let mut command = place.command(&["serve", "--config", "dsm.toml", "--set", "drain_grace_s=x"]);
    let output = command.env("DSM_STORE", "hunter2").output();
    let output = output.expect("the program");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(78), "{said}");
    for name in [
        "listen",
        "token_lifetime_s",
        "colour",
        "audit.before_answer",
        "DSM_STORE",
        "drain_grace_s",
    ] {
        assert!(said.contains(name), "{name} is missing: {said}");
    }
    assert!(!said.contains("hunter2"), "{said}");
    assert!(!place.data().exists(), "nothing was made");
}

#[test]
fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let place = stopped();
    for command in ["serve", "quickstart"] {
        let ended = place.run(&[command, "--listen", &address]);
        ended.refused(71, &[&format!("cannot listen on {address}")]);
    }
}

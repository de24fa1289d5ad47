use std::time::{Duration, Instant};

use crate::harness::{Client, PATIENCE, Place};

#[test]
fn an_operator_added_beside_a_server_works_and_ends_when_revoked() {
    let place = Place::new();
    let (process, line) = place.quickstart();
    let client = Client::new(&line.url);
    let arguments = [
        "operator",
        "add",
        "bob",
        "--permission",
        "Secrets.View",
        "--expires",
        "1h",
    ];
    let added = place.run(&arguments).succeeded();
    let token = added.out.trim_end();
    assert_eq!(client.get("/api/v1/secrets", token).0, 200, "at once");
    assert_eq!(client.get("/api/v1/operators", token).0, 403);

    let listed = place.run(&["operator", "list"]).succeeded().out;
    let bob: Vec<&str> = listed
        .lines()
        .find(|line| line.contains("\tbob\t"))
        .expect("bob is listed")
        .split('\t')
        .collect();
    assert_eq!(bob[2], "active");
    assert_eq!(bob[4], "Secrets.View");
    assert!(!listed.contains(token));

    place.run(&["operator", "revoke", bob[0]]).succeeded();
    let revoked = Instant::now();
    while client.get("/api/v1/secrets", token).0 != 401 {
        assert!(revoked.elapsed() < PATIENCE, "it still works");
    }
    // The second of `max_staleness`, and what the calls themselves take on a busy machine.
    assert!(revoked.elapsed() < Duration::from_secs(3));
    let listed = place.run(&["operator", "list"]).succeeded().out;
    assert!(listed.contains("\tbob\trevoked\t"), "{listed}");

    let nobody = place.run(&["operator", "revoke", "4294967295"]);
    nobody.refused(65, &["there is no such operator"]);
    process.stop();
}

#[test]
fn wrong_arguments_are_refused_by_name() {
    let place = Place::new();
    for (arguments, word) in [
        (
            &["operator", "add", "bob", "--permission", "All"][..],
            "Secrets.View",
        ),
        (&["operator", "add", "bob", "--expires", "soon"], "90d"),
        (&["operator", "revoke", "bob"], "bob"),
    ] {
        let ended = place.run(arguments);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains(word), "{ended:?}");
    }
    assert!(!place.data().exists());
}

#[test]
fn the_configuration_is_shown_with_secrets_masked() {
    let place = Place::new();
    let arguments = [
        "serve",
        "--print-config",
        "--store",
        "postgres://dsm:hunter2@localhost/dsm",
    ];
    let shown = place.run(&arguments).succeeded().out;
    assert!(shown.contains("store = \"postgres://dsm:***@localhost/dsm\""));
    assert!(!shown.contains("hunter2"));
    std::fs::write(place.path().join("again.toml"), &shown).expect("written");
    let again = place.run(&["serve", "--print-config", "--config", "again.toml"]);
    assert_eq!(again.succeeded().out, shown, "the same effect");
}

#[test]
fn a_check_says_what_a_start_would() {
    let place = Place::new();
    let missing = place.run(&["check"]);
    assert_eq!(missing.code, Some(78), "{missing:?}");
    for part in [
        "ok      configuration",
        "REFUSED key",
        "REFUSED store",
        "ok      audit",
    ] {
        assert!(missing.out.contains(part), "{missing:?}");
    }
    assert!(!place.data().exists(), "nothing was made");

    place.run(&["init"]).succeeded();
    let ready = place.run(&["check"]).succeeded().out;
    assert!(ready.ends_with("a server would start\n"), "{ready}");
    let (process, _) = place.serve();
    let beside = place.run(&["check"]).succeeded().out;
    assert_eq!(beside, ready);
    process.stop();

    std::fs::remove_file(place.key()).expect("the key");
    let lost = place.run(&["check"]);
    assert_eq!(lost.code, Some(78));
    assert!(lost.out.contains("REFUSED key: there is no root key"));
    assert!(lost.out.contains("REFUSED vault: there is no root key"));
    assert!(lost.out.contains("ok      store"));

    let wrong = place.run(&["check", "--listen", "nowhere"]);
    assert_eq!(wrong.code, Some(78));
    assert!(wrong.out.contains("REFUSED configuration"));
}

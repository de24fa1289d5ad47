//! Stores that cannot be used, as the program says it.

use crate::harness::Place;

/// Nobody listens there.
#[cfg(any(feature = "postgres", feature = "redis"))]
fn nobody() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// Tried again and again, each time with the reason, then given up.
#[cfg(any(feature = "postgres", feature = "redis"))]
fn is_waited_for(url: &str, place: &Place) {
    let ended = place.run(&["init", "--store", url, "--set", "store_wait_s=2"]);
    ended.refused(69, &["the store is unavailable"]);
    let tries = ended.err.matches("the store is tried again").count();
    assert!(tries >= 2, "{ended:?}");
    assert!(!ended.err.contains("hunter2"), "{ended:?}");

    // A command beside a server does not wait for one.
    let ended = place.run(&["operator", "list", "--store", url]);
    ended.refused(69, &["the store is unavailable"]);
    assert!(!ended.err.contains("tried again"), "{ended:?}");
}

#[cfg(feature = "postgres")]
#[test]
fn a_postgres_that_cannot_be_reached_is_waited_for() {
    let url = format!("postgres://dsm:hunter2@127.0.0.1:{}/dsm", nobody());
    is_waited_for(&url, &Place::new());
}

#[cfg(feature = "redis")]
#[test]
fn a_redis_that_cannot_be_reached_is_waited_for() {
    let url = format!("redis://:hunter2@127.0.0.1:{}/0", nobody());
    is_waited_for(&url, &Place::new());
}

#[cfg(feature = "postgres")]
#[test]
fn a_wrong_url_of_postgres_is_refused_without_repeating_it() {
    for url in [
        "postgres://dsm:hunter2@host:notaport/dsm",
        "postgres://dsm:hunter2@host/dsm?sslmode=hunter2",
    ] {
        let ended = Place::new().run(&["serve", "--store", url]);
        assert_eq!(ended.code, Some(78), "{ended:?}");
        assert!(!ended.err.contains("hunter2"), "{ended:?}");
    }
}

#[cfg(feature = "redis")]
#[test]
fn a_wrong_url_of_redis_is_refused_without_repeating_it() {
    for url in [
        "redis://:hunter2@host:notaport",
        "redis://:hunter2@host/0?min_replicas=hunter2",
    ] {
        let ended = Place::new().run(&["serve", "--store", url]);
        assert_eq!(ended.code, Some(78), "{ended:?}");
        assert!(!ended.err.contains("hunter2"), "{ended:?}");
    }
}

#[test]
fn a_store_that_was_not_built_in_is_named_with_its_feature() {
    let place = Place::new();
    for (url, feature, built) in [
        ("sqlite:x.db", "sqlite", cfg!(feature = "sqlite")),
        (
            "postgres://db/vault",
            "postgres",
            cfg!(feature = "postgres"),
        ),
        ("redis://db", "redis", cfg!(feature = "redis")),
        ("redis+sentinel://db/name", "redis", cfg!(feature = "redis")),
    ] {
        if !built {
            let ended = place.run(&["serve", "--store", url]);
            ended.refused(78, &[feature, "--features"]);
        }
    }
    // In a build with every store this is what remains to be refused.
    let ended = place.run(&["serve", "--store", "mysql://db/vault"]);
    ended.refused(78, &["must be sqlite:PATH"]);
    let ended = place.run(&["serve", "--store", "memory:"]);
    ended.refused(78, &["memory:", "quickstart"]);
}

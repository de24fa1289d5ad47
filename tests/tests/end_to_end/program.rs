use std::path::Path;
use std::time::Duration;

use dsm_core::crypto::{KeyFile, KeyProvider as _};
use dsm_tests::api::{Bearer, secret};
use dsm_tests::place::Place;
use dsm_tests::writers::{Then, Writers};
use serde_json::json;
use tokio::task::block_in_place;

use crate::operator::Furnished;
use crate::picture::picture;

const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) async fn a_secret_survives_a_restart(place: Place) {
    let server = place.server().expect("the server starts");
    let client = Bearer::application(&server).await.expect("a token");
    client
        .make("/iso/sctm/secret", secret("kept", "value"))
        .await;
    assert_eq!(server.stop().expect("stopped"), Some(0));
    let server = place.server().expect("the server starts again");
    // With the token of before.
    let found = client.at(&server).value("kept").await;
    assert_eq!(found.expect("an answer").as_deref(), Some("value"));
}

pub(crate) async fn everything_is_as_it_was_after_a_restart(place: Place) {
    let server = place.server().expect("the server starts");
    let furnished = Furnished::new(&server).await;
    let client = furnished.client(&server).await;
    let printed = server.printed.clone();
    let operator = Bearer::operator(&server);
    let ended = json!({"expires_at": null, "description": "changed"});
    let path = format!("/api/v1/secrets/{}", furnished.secret);
    operator.gives(200, "PATCH", &path, Some(ended)).await;
    let before = picture(&operator).await;
    assert_eq!(server.stop().expect("stopped"), Some(0));

    let server = place.server().expect("the server starts again");
    assert_eq!(server.printed.client_id, printed.client_id);
    assert_eq!(server.printed.client_secret, printed.client_secret);
    let operator = operator.at(&server);
    assert_eq!(picture(&operator).await, before);
    let found = client.at(&server).value("db/main").await;
    assert_eq!(found.expect("an answer").as_deref(), Some("second"));
    // Numbers go on.
    let made = operator.make("/api/v1/secrets", secret("next", "x")).await;
    let number = |id: &str| id.parse::<u64>().expect("a number");
    assert!(number(made["id"].as_str().expect("an id")) > number(&furnished.secret));
}

pub(crate) async fn the_trail_is_sound_in_the_folder_and_in_the_store(place: Place) {
    let server = place.server().expect("the server starts");
    let furnished = Furnished::new(&server).await;
    let client = furnished.client(&server).await;
    assert!(client.value("db/main").await.expect("an answer").is_some());
    // Beside the server as well.
    place.succeeds(&["audit", "verify", "--in-store"]);
    assert_eq!(server.stop().expect("stopped"), Some(0));
    for arguments in [&["audit", "verify"][..], &["audit", "verify", "--in-store"]] {
        let report = place.succeeds(arguments);
        assert!(report.ends_with("\nsound\n"), "{report}");
    }
    let exported = place.succeeds(&["audit", "export"]);
    assert!(exported.contains("secret.read") && !exported.contains("second"));
}

pub(crate) async fn the_key_is_rotated_under_load(place: Place) {
    let server = place.server().expect("the server starts");
    let furnished = Furnished::new(&server).await;
    let before = picture(&furnished.operator).await;
    let first = KeyFile::new(place.key()).load().expect("a key");
    let token = server.token().await.expect("a token");
    let writers = Writers::start(&server, &token, 2, "load", Then::GoOn);
    writers.wait_for(20, PATIENCE).await;
    let rotated = block_in_place(|| place.succeeds(&["key", "rotate"]));
    assert!(rotated.contains("0 are left under older keys"), "{rotated}");
    writers.wait_for(20, PATIENCE).await;
    let written = writers.end().await;
    assert_eq!(written.unknown.len(), 0, "every request was answered");
    assert_eq!(server.stop().expect("stopped"), Some(0));

    // The old key is not needed for anything that is served.
    let keys = KeyFile::new(place.key());
    assert_ne!(
        keys.load().expect("keys").active().id(),
        first.active().id()
    );
    let server = place.server().expect("the server starts again");
    let reader = Bearer::new(&server, &token);
    let found = written.find(&reader).await;
    assert_eq!((found.lost, found.torn), (vec![], vec![]));
    let operator = furnished.operator.at(&server);
    let path = format!("/api/v1/secrets/{}/versions/1/reveal", furnished.secret);
    let revealed = operator.gives(200, "POST", &path, Some(json!({}))).await;
    assert_eq!(revealed["data"], json!([{"KEY": "first"}]));
    let shown = operator.get("/api/v1/applications?limit=500").await;
    assert_eq!(shown["items"], before["applications"]);
}

pub(crate) async fn who_only_looks_makes_nothing(place: Place) {
    let file = place.path().join("backup");
    let file = file.to_str().expect("a path in UTF-8");
    for arguments in [
        &["check"][..],
        &["backup", file],
        &["operator", "list"],
        &["audit", "verify", "--in-store"],
        &["serve", "--listen", "127.0.0.1:0"],
    ] {
        let output = place.run(arguments);
        assert_eq!(output.status.code(), Some(78), "{arguments:?}: {output:?}");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(
            said.contains("there is no vault at"),
            "{arguments:?}: {said}"
        );
        assert!(said.contains("dsm-server init"), "{arguments:?}: {said}");
    }
    assert!(!Path::new(file).exists());
    // It was left as empty as a restore needs it.
    assert_eq!(place.succeeds(&["init"]).lines().count(), 1);
}

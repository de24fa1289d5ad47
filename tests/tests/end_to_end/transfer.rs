use std::time::Duration;

use dsm_tests::api::Bearer;
use dsm_tests::place::{Backend, Place};
use dsm_tests::writers::{Then, Writers};
use tokio::task::block_in_place;

use crate::operator::Furnished;
use crate::picture::picture;

const PATIENCE: Duration = Duration::from_mins(1);

/// What was acknowledged before the backup began is in it; of what was written meanwhile, each is in
/// it whole or not at all.
pub(crate) async fn a_backup_under_load_is_restored_into_the_other_stores(place: Place) {
    let server = place.server().expect("the server starts");
    let furnished = Furnished::new(&server).await;
    let token = server.token().await.expect("a token");
    let early = Writers::start(&server, &token, 2, "early", Then::GoOn);
    early.wait_for(30, PATIENCE).await;
    let early = early.end().await;
    let late = Writers::start(&server, &token, 2, "late", Then::GoOn);
    late.wait_for(10, PATIENCE).await;
    let file = place.path().join("vault.backup").display().to_string();
    block_in_place(|| place.succeeds(&["backup", &file]));
    late.wait_for(10, PATIENCE).await;
    let late = late.end().await;
    assert_eq!((early.unknown.len(), late.unknown.len()), (0, 0));
    assert_eq!(server.stop().expect("stopped"), Some(0));

    for backend in Backend::LASTING {
        if backend == place.backend() || !backend.is_there() {
            continue;
        }
        let other = place.beside(backend);
        block_in_place(|| other.succeeds(&["restore", &file]));
        let server = other.server().expect("the server starts");
        let reader = Bearer::new(&server, &token);
        let found = early.find(&reader).await;
        assert_eq!((found.lost, found.torn), (vec![], vec![]), "{backend:?}");
        let found = late.find(&reader).await;
        assert_eq!(found.torn, Vec::<String>::new(), "{backend:?}");
        let client = furnished.client(&server).await;
        let value = client.value("db/main").await.expect("an answer");
        assert_eq!(value.as_deref(), Some("second"), "{backend:?}");
        assert_eq!(server.stop().expect("stopped"), Some(0));
        other.succeeds(&["audit", "verify", "--in-store"]);
        // Never over what is there.
        let refused = other.run(&["restore", &file]);
        assert_eq!(refused.status.code(), Some(65), "{backend:?}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_migrates_through_every_store_and_back() {
    if !Backend::LASTING.into_iter().all(Backend::is_there) {
        return;
    }
    let mut places = vec![Place::new(Backend::Sqlite)];
    let server = places[0].server().expect("the server starts");
    let token = server.token().await.expect("a token");
    Furnished::new(&server).await;
    let writers = Writers::start(&server, &token, 2, "many", Then::GoOn);
    writers.wait_for(30, PATIENCE).await;
    let written = writers.end().await;
    let before = picture(&Bearer::operator(&server)).await;
    assert_eq!(server.stop().expect("stopped"), Some(0));

    for backend in [Backend::Postgres, Backend::Redis, Backend::Sqlite] {
        let from = &places[places.len() - 1];
        let to = from.beside(backend);
        let migrate = ["migrate", "--from", from.store(), "--to", to.store()];
        let told = block_in_place(|| to.succeeds(&migrate));
        assert!(told.starts_with("both hold "), "{told}");
        let server = to.server().expect("the server starts");
        assert_eq!(
            picture(&Bearer::operator(&server)).await,
            before,
            "{backend:?}"
        );
        let found = written.find(&Bearer::new(&server, &token)).await;
        assert_eq!((found.lost, found.torn), (vec![], vec![]), "{backend:?}");
        assert_eq!(server.stop().expect("stopped"), Some(0));
        to.succeeds(&["audit", "verify", "--in-store"]);
        places.push(to);
    }
}

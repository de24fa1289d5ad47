//! A database that is lost with its machine, and the one that takes its place.
//!
//! `DSM_CYCLES` (1) times.

#![allow(clippy::print_stdout, reason = "what a run was")]

use std::time::{Duration, Instant};

use dsm_test_servers::postgres::Postgres;
use dsm_test_servers::redis::{Redis, with_parameter};
use dsm_tests::api::Bearer;
use dsm_tests::place::{Backend, Place, through};
use dsm_tests::writers::{Then, Writers, setting};
use tokio::task::block_in_place;

const PATIENCE: Duration = Duration::from_mins(1);
/// Within which writes are taken again.
const BACK: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_standby_has_what_was_acknowledged() {
    if !Backend::Postgres.is_there() {
        return;
    }
    for _ in 0..setting("DSM_CYCLES", 1) {
        let mut primary = Postgres::start_with(&[]).expect("Postgres starts");
        let standby = primary.standby().expect("a standby");
        // Of the primary alone: the standby, once promoted, has none to wait for.
        for statement in [
            "ALTER SYSTEM SET synchronous_standby_names = '*'",
            "SELECT pg_reload_conf()",
        ] {
            primary.sql(statement).expect("set");
        }
        let hosts = format!("127.0.0.1:{},127.0.0.1:{}", primary.port(), standby.port());
        let place = Place::at(Backend::Postgres, through(&primary.url(), &hosts));
        let name = "a promoted standby";
        fail_over(&place, name, || {
            primary.kill9().expect("killed");
            standby.promote().expect("promoted");
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_replica_has_what_was_acknowledged() {
    if !Backend::Redis.is_there() {
        return;
    }
    for _ in 0..setting("DSM_CYCLES", 1) {
        let mut master = Redis::start_with(&[]).expect("Redis starts");
        // One more than the writes wait for, so that one is left to confirm them.
        let _replicas = [(); 2].map(|()| master.replica().expect("a replica"));
        let sentinels = master.sentinels("primary", 3).expect("Sentinels");
        let url = with_parameter(&sentinels.url(), "min_replicas", "1");
        let place = Place::at(Backend::Redis, url);
        fail_over(&place, "a promoted replica", || {
            master.kill9().expect("killed");
        })
        .await;
    }
}

async fn fail_over(place: &Place, name: &str, lose: impl FnOnce()) {
    let server = place.server().expect("the server starts");
    let token = server.token().await.expect("a token");
    let writers = Writers::start(&server, &token, 8, "over", Then::GoOn);
    writers.wait_for(100, PATIENCE).await;
    let lost = Instant::now();
    block_in_place(lose);
    let before = lost.elapsed();
    writers.wait_for(1, BACK).await;
    let back = lost.elapsed();
    writers.wait_for(20, PATIENCE).await;
    let written = writers.end().await;
    server.ready(PATIENCE).await.expect("it is ready again");
    let found = written.find(&Bearer::new(&server, &token)).await;
    assert_eq!((found.lost, found.torn), (vec![], vec![]));
    println!(
        "{name}: {} acknowledged writes, 0 lost, 0 torn, {} with an unknown end; writing again \
         {back:.1?} after the loss, of which {before:.1?} until the promotion was asked for",
        written.acknowledged.len(),
        written.unknown.len(),
    );
    let log = server.log();
    assert!(!log.contains("panicked"), "{log}");
    assert_eq!(server.stop().expect("stopped"), Some(0));
    place.succeeds(&["audit", "verify"]);
    place.succeeds(&["audit", "verify", "--in-store"]);
}

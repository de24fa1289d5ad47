//! Every route that checks credentials stops doing so when checks fail too often.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use chrono::TimeDelta;
use dsm_core::access::Permissions;
use dsm_core::audit::{AuditQuery, Outcome};
use dsm_server::http::call::Surface;
use warp::http::Method;
use warp::http::header::RETRY_AFTER;

use crate::exchange::Ask;
use crate::request::request;
use crate::world::World;

/// Failed checks in a minute, from one address, unless configured otherwise.
const ADDRESS: u32 = 60;
const UNKNOWN: &str = "nobody";

/// A request with wrong credentials, each time others.
fn wrong(method: &Method, pattern: &str, number: u32, from: IpAddr) -> Ask {
    let mut ask = if pattern.starts_with("/iso/oauth2/") {
        let form = format!(
            "grant_type=client_credentials&client_id=c{number}&client_secret={UNKNOWN}&token=t"
        );
        Ask::new(method, pattern).raw("application/x-www-form-urlencoded", form)
    } else {
        request(method, pattern).bearer(&format!("{UNKNOWN}{number}"))
    };
    ask.from = from;
    ask
}

#[tokio::test]
async fn every_route_that_checks_a_credential_is_throttled() {
    let world = World::new().await;
    let operator = world.operator(Permissions::all()).await;
    let routes: BTreeSet<(String, &'static str, bool)> = world
        .routes()
        .iter()
        .filter(|route| route.surface != Surface::Health)
        .map(|route| {
            let v1 = route.surface == Surface::V1;
            (route.method.to_string(), route.pattern, v1)
        })
        .collect();
    let mut failed = Vec::new();
    for (number, (method, pattern, v1)) in (0_u32..).zip(&routes) {
        let method: Method = method.parse().expect("a method");
        let from = |network: u32| IpAddr::V4(Ipv4Addr::from_bits(network << 24 | number));
        let (here, elsewhere) = (from(10), from(11));
        let mut statuses = BTreeSet::new();
        for count in 0..ADDRESS {
            let answer = world.answer(wrong(&method, pattern, count, here)).await;
            statuses.insert(answer.status.as_u16());
        }
        let refused = world.answer(wrong(&method, pattern, ADDRESS, here)).await;
        let surface = if *v1 { Surface::V1 } else { Surface::Iso };
        let after = refused.headers.get(RETRY_AFTER);
        let after = after.and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
        let other = world.answer(wrong(&method, pattern, 0, elsewhere)).await;
        let mut other_good = Ask::new(&Method::GET, "/api/v1/me").bearer(&operator);
        other_good.from = elsewhere;
        let good = world.answer(other_good).await;
        world.clock.advance(TimeDelta::minutes(1));
        let later = world.answer(wrong(&method, pattern, 0, here)).await;
        let seen = (
            statuses,
            refused.status.as_u16(),
            after,
            refused.misshapen(surface),
            other.status.as_u16(),
            good.status.as_u16(),
            later.status.as_u16(),
        );
        if seen != (BTreeSet::from([401]), 429, Some(60), None, 401, 200, 401) {
            failed.push(format!("{method} {pattern}: {seen:?}"));
        }
    }
    assert!(routes.len() > 20);
    assert!(failed.is_empty(), "{failed:#?}");
}

#[tokio::test]
async fn a_flood_leaves_one_record_and_locks_out_nobody_who_was_there() {
    let world = World::new().await;
    let token = world.token().await;
    let operator = world.operator(Permissions::all()).await;
    let read = |token: &str| request(&Method::GET, "/iso/sctm/secret/{identity…}").bearer(token);
    let mut me = Ask::new(&Method::GET, "/api/v1/me").bearer(&operator);
    me.from = crate::world::CLIENT;
    assert_eq!(world.answer(read(&token)).await.status, 200);
    assert_eq!(world.answer(me).await.status, 200);
    let newcomer = world.token().await;
    for count in 0..ADDRESS + 40 {
        world.answer(read(&format!("{UNKNOWN}{count}"))).await;
    }
    // All of them share one address with the flood.
    assert_eq!(world.answer(read(&token)).await.status, 200);
    let me = Ask::new(&Method::GET, "/api/v1/me").bearer(&operator);
    assert_eq!(world.answer(me).await.status, 200);
    assert_eq!(world.answer(read(&newcomer)).await.status, 429);
    world.clock.advance(TimeDelta::minutes(1));
    assert_eq!(world.answer(read(&newcomer)).await.status, 200);

    let query = AuditQuery::newest(500);
    let page = world.vault.search_audit(&world.me, &query).await;
    let mut denied = Vec::new();
    for found in page.expect("the trail").found {
        if let Outcome::Denied { rule, reason } = found.event.outcome {
            denied.push((rule, reason));
        }
    }
    let throttled: Vec<_> = denied
        .iter()
        .filter(|(rule, _)| rule == "throttle")
        .collect();
    assert_eq!(throttled.len(), 1, "{denied:#?}");
    assert!(throttled[0].1.starts_with("60 checks"), "{throttled:?}");
    let tokens = denied.iter().filter(|(rule, _)| rule == "token").count();
    assert_eq!(tokens, ADDRESS as usize, "checks that were made");
}

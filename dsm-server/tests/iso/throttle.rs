use chrono::TimeDelta;
use http::Method;
use http::header::RETRY_AFTER;

use crate::world::{Answer, FORM, World};

const HERE: &str = "192.0.2.1:4000";
const ELSEWHERE: &str = "192.0.2.2:4000";

async fn ask(world: &World, id: &str, secret: &str) -> Answer {
    let body = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
    let headers = [("content-type", FORM)];
    world
        .send(Method::POST, "/iso/oauth2/token", &headers, body)
        .await
}

#[tokio::test]
async fn a_client_that_fails_too_often_is_locked_out_from_there_alone() {
    let world = World::new().await;
    let id = world.credentials.client_id.clone();
    let right = world.credentials.client_secret.expose();
    for n in 0..20 {
        // One client, whatever the spelling.
        let id = if n % 2 == 0 {
            id.clone()
        } else {
            id.to_uppercase()
        };
        ask(&world, &id, "wrong").await.fails(401, "Client");
    }
    let refused = ask(&world, &id, "wrong").await;
    refused.fails(429, "Too many");
    assert_eq!(refused.headers[RETRY_AFTER], "60");
    ask(&world, &id, right).await.fails(429, "Too many");
    ask(&world, "another", "wrong").await.fails(401, "Client");
    world.come_from(ELSEWHERE);
    assert_eq!(ask(&world, &id, right).await.status, 200);
    world.come_from(HERE);
    world.clock.advance(TimeDelta::seconds(59));
    let refused = ask(&world, &id, right).await;
    refused.fails(429, "Too many");
    assert_eq!(refused.headers[RETRY_AFTER], "1");
    world.clock.advance(TimeDelta::seconds(1));
    assert_eq!(ask(&world, &id, right).await.status, 200);
}

#[tokio::test]
async fn a_right_secret_from_a_wrong_place_counts_as_a_wrong_one_does() {
    let world = World::new().await;
    let id = world.credentials.client_id.clone();
    let right = world.credentials.client_secret.expose();
    world
        .authorize(|fields| fields.allowed_ips = Some(vec!["192.0.2.2".to_owned()]))
        .await;
    for _ in 0..20 {
        ask(&world, &id, right).await.fails(401, "Client");
    }
    ask(&world, &id, right).await.fails(429, "Too many");
}

#[tokio::test]
async fn a_client_that_was_there_gets_tokens_and_uses_them_beside_a_flood() {
    let world = World::new().await;
    let id = world.credentials.client_id.clone();
    let right = world.credentials.client_secret.expose();
    assert_eq!(ask(&world, &id, right).await.status, 200);
    for n in 0..60 {
        ask(&world, &format!("unknown{n}"), "wrong")
            .await
            .fails(401, "Client");
    }
    ask(&world, "unknown", "wrong").await.fails(429, "Too many");
    let answer = ask(&world, &id, right).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let token = answer.body["access_token"].as_str().expect("a token");
    let found = world.get(token, "/iso/sctm/secrets").await;
    assert_eq!(found.status, 200, "{}", found.body);
    let unknown = world.get("dsm_at_unknown", "/iso/sctm/secrets").await;
    unknown.fails(429, "Too many");
}

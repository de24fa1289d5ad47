//! Credentials on targets, as operators and applications see them: made over `/api/v1`, rotated, read
//! over `/iso`, and settled when nothing logs in any more.

#[path = "../../dsm-server/tests/common/conformance.rs"]
mod conformance;
#[path = "routes/exchange.rs"]
#[allow(dead_code, reason = "the table of requests uses the rest")]
mod exchange;
#[path = "routes/request.rs"]
#[allow(dead_code, reason = "the table of requests uses the rest")]
mod request;
#[path = "routes/world.rs"]
#[allow(dead_code, reason = "the table of requests uses the rest")]
mod world;

use chrono::TimeDelta;
use dsm_core::access::Permissions;
use dsm_core::testing::provider::{FakeCall, Fault};
use serde_json::{Value, json};
use warp::http::Method;

use crate::exchange::Ask;
use crate::world::World;

const ADMIN: &str = "admin-password-of-the-fake";
const FIRST: &str = "the-first-password";

/// A world, an operator who may do everything, and a client.
struct Rotations {
    world: World,
    operator: String,
    client: String,
}

impl Rotations {
    /// With target 3, `second`, on which the accounts `app_a` and `app_b` are.
    async fn new() -> Self {
        let world = World::new().await;
        let this = Self {
            operator: world.operator(Permissions::all()).await,
            client: world.token().await,
            world,
        };
        for account in ["app_a", "app_b"] {
            this.world.target.add_account(account, FIRST);
        }
        let target = json!({
            "name": "second", "provider": "fake", "address": "here",
            "password_policy": {"length": 20, "alphabet": "abcdefghijklmnopqrstuvwxyz-_"},
            "admin_credential": {"username": "admin", "password": ADMIN},
        });
        let made = this.v1("POST", "targets", &target, 201).await;
        assert_eq!(made["id"], "3");
        this
    }

    /// What a call of `/api/v1` is answered, which must have this status.
    async fn v1(&self, method: &str, path: &str, body: &Value, status: u16) -> Value {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut ask = Ask::new(&method, format!("/api/v1/{path}")).bearer(&self.operator);
        if !body.is_null() {
            ask = ask.json(body);
        }
        let answer = self.world.answer(ask).await;
        assert_eq!(
            answer.status.as_u16(),
            status,
            "{method} {path}: {}",
            answer.json()
        );
        for value in [ADMIN, FIRST] {
            let text = answer.json().to_string();
            assert!(!text.contains(value), "{method} {path}: {text}");
        }
        answer.json()
    }

    async fn show(&self, path: &str) -> Value {
        self.v1("GET", path, &Value::Null, 200).await
    }

    /// A secret that the client reads, with the credential of `app_a`; its id.
    async fn secret(&self, pair: Option<&str>) -> String {
        let mut item = json!({
            "target": "second",
            "fields": {"host": "db1", "user": "app_a", "password": FIRST},
        });
        if let Some(pair) = pair {
            item["pair_user"] = json!(pair);
        }
        let body = json!({
            "identity": "app/db", "name": "Database",
            "data": {"credentials": [{"credential": item}]},
        });
        let made = self.v1("POST", "secrets", &body, 201).await;
        let id = made["id"].as_str().expect("an id").to_owned();
        let attach = format!("authorizations/1/secrets/{id}");
        self.v1("PUT", &attach, &Value::Null, 204).await;
        id
    }

    async fn rotate(&self, id: &str, overlap: Option<u64>) -> Value {
        let body = json!({"overlap_seconds": overlap});
        let asked = self
            .v1("POST", &format!("secrets/{id}/rotate"), &body, 202)
            .await;
        asked["attempts"][0].clone()
    }

    async fn work(&self) {
        self.world.vault.renew(9).await.expect("a round");
    }

    async fn newest_attempt(&self, id: &str) -> Value {
        let attempts = self.show(&format!("secrets/{id}/attempts?limit=1")).await;
        attempts["items"][0].clone()
    }

    /// The user and the password that the client is served, which log in.
    async fn served(&self) -> (String, String) {
        let ask = Ask::new(&Method::GET, "/iso/sctm/secret/app/db").bearer(&self.client);
        let answer = self.world.answer(ask).await;
        assert_eq!(answer.status, 200);
        let data = answer.json()["secret"]["data"][0].clone();
        let text = |name: &str| data[name].as_str().expect("a text").to_owned();
        let (user, password) = (text("username"), text("password"));
        assert!(self.world.target.accepts(&user, &password), "{user}");
        (user, password)
    }

    /// What the client is answered that writes the secret.
    async fn write(&self, data: &Value) -> (u16, Value) {
        let body = json!({"identity": "app/db", "data": data});
        let ask = Ask::new(&Method::POST, "/iso/sctm/secret").bearer(&self.client);
        let answer = self.world.answer(ask.json(&body)).await;
        (answer.status.as_u16(), answer.json())
    }
}

#[tokio::test]
async fn a_credential_is_rotated_on_request_and_readers_get_what_logs_in() {
    let this = Rotations::new().await;
    let tested = this.v1("POST", "targets/3/test", &Value::Null, 200).await;
    assert_eq!(tested["works"], true);
    assert_eq!(tested["checks"][0]["what"], "log in");
    let id = this.secret(None).await;
    assert_eq!(this.served().await, ("app_a".to_owned(), FIRST.to_owned()));
    let attempt = this.rotate(&id, None).await;
    assert_eq!(attempt["state"], "idle");
    assert_eq!(attempt["item"]["user"], "app_a");
    assert_eq!(
        this.rotate(&id, None).await["id"],
        attempt["id"],
        "the one under way again"
    );
    this.work().await;
    let (user, password) = this.served().await;
    assert_eq!(user, "app_a");
    assert_ne!(password, FIRST);
    assert_eq!(password.len(), 20, "as the target's policy has it");
    assert!(!this.world.target.accepts("app_a", FIRST));
    let attempt = this.newest_attempt(&id).await;
    assert_eq!(attempt["state"], "retired");
    assert_eq!(attempt["method"], "in_place");
    assert_eq!(attempt["promotion"]["version"], 2);
    assert!(attempt["promotion"]["window_ms"].is_u64());
    let secret = this.show(&format!("secrets/{id}")).await;
    assert_eq!(secret["version"], 2);
    assert_eq!(secret["managed"][0]["target"], "second");
    assert_eq!(secret["has_error"], false);
    let deleted = this.v1("DELETE", "targets/3", &Value::Null, 409).await;
    assert!(
        deleted["detail"]
            .as_str()
            .is_some_and(|text| text.contains("secret"))
    );
}

#[tokio::test]
async fn of_two_accounts_the_old_one_works_until_the_overlap_is_over() {
    let this = Rotations::new().await;
    let id = this.secret(Some("app_b")).await;
    this.rotate(&id, Some(600)).await;
    this.work().await;
    let (user, second) = this.served().await;
    assert_eq!(user, "app_b");
    assert!(this.world.target.accepts("app_a", FIRST), "the overlap");
    this.world.clock.advance(TimeDelta::seconds(601));
    this.work().await;
    assert!(!this.world.target.accepts("app_a", FIRST));
    // For a leak: what is served now ends at once.
    this.rotate(&id, Some(0)).await;
    this.work().await;
    this.work().await;
    let (user, _) = this.served().await;
    assert_eq!(user, "app_a");
    assert!(!this.world.target.accepts("app_b", &second));
    let attempts = this.show(&format!("secrets/{id}/attempts")).await;
    let states: Vec<_> = attempts["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|attempt| attempt["state"].clone())
        .collect();
    assert_eq!(states, ["retired", "retired"]);
}

#[tokio::test]
async fn what_nobody_accepts_waits_for_an_operator_who_settles_it() {
    let this = Rotations::new().await;
    let id = this.secret(None).await;
    let target = &this.world.target;
    target.add_account("app_a", "changed-by-somebody");
    target.fault_when(|call| (call == FakeCall::ChangePassword).then_some(Fault::ForgetsBefore));
    this.rotate(&id, None).await;
    this.work().await;
    target.heal();
    let secret = this.show(&format!("secrets/{id}")).await;
    assert_eq!(secret["has_error"], true);
    assert_eq!(secret["needs_operator"], true);
    assert_eq!(secret["version"], 1);
    let errors = this.show(&format!("secrets/{id}/errors")).await;
    let error = &errors["items"][0];
    assert_eq!(error["operation"], "rotate");
    assert_eq!(error["kind"], "needs_operator");
    assert_eq!(error["step"], "log in");
    assert_eq!(error["item"], "credential app_a@second");
    assert_eq!(error["next_try_at"], Value::Null);
    let attempt = this.newest_attempt(&id).await;
    assert_eq!(attempt["state"], "needs_operator");
    let decisions = ["retry", "accept_candidate", "accept_current"];
    assert_eq!(attempt["decisions"], json!(decisions));
    let number = attempt["id"].as_str().expect("an id");
    let settle = format!("secrets/{id}/attempts/{number}/settle");
    let decide = |how: &'static str, status| {
        let (this, settle) = (&this, settle.as_str());
        async move {
            let settled = this
                .v1("POST", settle, &json!({"decision": how}), status)
                .await;
            this.work().await;
            settled
        }
    };
    assert_eq!(
        decide("accept_candidate", 202).await["settled"],
        "accept_candidate"
    );
    let waits = this.newest_attempt(&id).await;
    assert_eq!(waits["state"], "needs_operator", "it does not log in");
    target.add_account("app_a", FIRST);
    decide("retry", 202).await;
    assert_eq!(this.newest_attempt(&id).await["state"], "retired");
    assert_ne!(this.served().await.1, FIRST);
    let secret = this.show(&format!("secrets/{id}")).await;
    assert_eq!(secret["needs_operator"], false);
    decide("retry", 409).await;
    let elsewhere = format!("secrets/1/attempts/{number}/settle");
    let body = json!({"decision": "retry"});
    this.v1("POST", &elsewhere, &body, 404).await;
}

#[tokio::test]
async fn clients_change_no_managed_credential_and_name_no_target() {
    let this = Rotations::new().await;
    let id = this.secret(None).await;
    let item = |fields: Value| json!({"credentials": [{"credential": fields}]});
    let other = item(json!({"fields": {"user": "app_a", "password": "mine"}}));
    let named = item(json!({"target": "second", "fields": {"user": "app_b"}}));
    // Before, while and after it is rotated.
    for state in ["", "planned", "retired"] {
        if state == "planned" {
            let down = |call| (call == FakeCall::ChangePassword).then_some(Fault::Down);
            this.world.target.fault_when(down);
            this.rotate(&id, None).await;
            this.work().await;
        } else if state == "retired" {
            this.world.target.heal();
            this.world.clock.advance(TimeDelta::minutes(2));
            this.work().await;
            assert_eq!(this.newest_attempt(&id).await["state"], state);
        }
        let before = this.served().await;
        assert_eq!(this.write(&other).await.0, 409, "{state}");
        let (status, body) = this.write(&named).await;
        assert_eq!(status, 400, "{state}");
        let message = body["message"].as_str().expect("a message");
        assert!(message.contains("credential.target"), "{message}");
        assert_eq!(this.served().await, before, "{state}");
        // Whatever is beside it is theirs.
        let pairs = json!({"key_value": {"fields": {"STATE": state}}});
        assert_eq!(this.write(&pairs).await.0, 200, "{state}");
    }
}

#[tokio::test]
async fn items_that_cannot_be_managed_are_refused_by_name() {
    let this = Rotations::new().await;
    this.secret(None).await;
    let before = this.world.state().await;
    for (credentials, field) in [
        (
            json!([{"credential": {"target": "nowhere", "fields": {"user": "x"}}}]),
            "data",
        ),
        (
            json!([{"credential": {"target": "second", "fields": {"user": "app_a"}}}]),
            "data",
        ),
        (
            json!([{"credential": {"target": "second", "fields": {}}}]),
            "data",
        ),
        (
            json!([{"credential": {"pair_user": "x", "fields": {"user": "y"}}}]),
            "data.credentials[0].credential.pair_user",
        ),
        (
            json!([{"credential": {"target": 7, "fields": {"user": "y"}}}]),
            "data.credentials[0].credential.target",
        ),
        (
            json!([{"credential": {"target": "second", "user": "x", "fields": {}}}]),
            "data.credentials[0].credential.user",
        ),
    ] {
        let data = json!({"credentials": credentials});
        let body = json!({"identity": "more", "name": "More", "data": data});
        let refused = this.v1("POST", "secrets", &body, 422).await;
        let errors = refused["errors"].as_array().expect("a list");
        let named = errors.iter().any(|error| error["field"] == field);
        assert!(named, "{field}: {refused}");
    }
    assert!(this.world.state().await == before, "nothing is stored");
}

#[tokio::test]
async fn targets_that_are_wrong_are_refused_by_field() {
    let this = Rotations::new().await;
    let good = json!({
        "name": "third", "provider": "fake", "address": "here",
        "admin_credential": {"username": "admin", "password": "x"},
    });
    for (field, value, named) in [
        ("provider", json!("nobody"), "provider"),
        ("address", json!(""), "address"),
        ("options", json!({"a": 1}), "options.a"),
        (
            "password_policy",
            json!({"length": 7}),
            "password_policy.length",
        ),
        (
            "password_policy",
            json!({"alphabet": "ab", "length": 8}),
            "password_policy",
        ),
        (
            "password_policy",
            json!({"size": 8}),
            "password_policy.size",
        ),
        ("admin_credential", json!({}), "admin_credential.username"),
        (
            "admin_credential",
            json!({"username": "a"}),
            "admin_credential.password",
        ),
        (
            "admin_credential",
            json!({"secret": "999"}),
            "admin_credential.secret",
        ),
        (
            "admin_credential",
            json!({"secret": "1", "username": "a"}),
            "admin_credential.secret",
        ),
        (
            "admin_credential",
            json!({"username": "a", "password": "p", "private_key": "k"}),
            "admin_credential.password",
        ),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let refused = this.v1("POST", "targets", &body, 422).await;
        let errors = refused["errors"].as_array().expect("a list");
        let found = errors.iter().any(|error| error["field"] == named);
        assert!(found, "{named}: {refused}");
    }
    this.v1("POST", "targets", &good, 201).await;
    this.v1("POST", "targets", &good, 409).await;
    let renamed = json!({"name": "fourth"});
    this.v1("PATCH", "targets/4", &renamed, 422).await;
    let borrowed = json!({"admin_credential": {"secret": "1"}, "enabled": false});
    let changed = this.v1("PATCH", "targets/4", &borrowed, 200).await;
    assert_eq!(changed["admin_credential"], json!({"secret": "1"}));
    let tested = this.v1("POST", "targets/4/test", &Value::Null, 200).await;
    assert_eq!(tested["works"], false);
    assert_eq!(tested["error"]["kind"], "unavailable");
    this.v1("DELETE", "targets/4", &Value::Null, 204).await;
    this.v1("GET", "targets/4", &Value::Null, 404).await;
}

use std::collections::BTreeSet;
use std::sync::OnceLock;

use dsm_core::access::{Permission, Permissions};
use dsm_core::crypto::sealing::KeyPair;
use dsm_core::entropy::OsEntropy;
use serde_json::{Value, json};

use crate::support::{Server, authorization};

/// A route by its name, a request of it that is right, and the permission that it takes.
type Row = (&'static str, &'static str, &'static str, Value, Permission);

/// Made once: it takes a while.
fn public_key() -> &'static str {
    static KEY: OnceLock<String> = OnceLock::new();
    KEY.get_or_init(|| KeyPair::generate(&OsEntropy).public.to_pem())
}

fn table() -> Vec<Row> {
    use Permission as P;
    let none = || Value::Null;
    let name = || json!({"name": "new"});
    let application = json!({"name": "new", "authentication_method": "oauth2"});
    let secret = json!({"identity": "new", "name": "New"});
    let explain = json!({"ip": "127.0.0.1", "resource": "Application"});
    let mut table = vec![
        (
            "v1.applications.list",
            "GET",
            "/applications",
            none(),
            P::ApplicationsView,
        ),
        (
            "v1.applications.create",
            "POST",
            "/applications",
            application,
            P::ApplicationsWrite,
        ),
        (
            "v1.applications.show",
            "GET",
            "/applications/1",
            none(),
            P::ApplicationsView,
        ),
        (
            "v1.applications.change",
            "PATCH",
            "/applications/1",
            name(),
            P::ApplicationsWrite,
        ),
        (
            "v1.applications.delete",
            "DELETE",
            "/applications/2",
            none(),
            P::ApplicationsWrite,
        ),
        (
            "v1.applications.authorizations.list",
            "GET",
            "/applications/1/authorizations",
            none(),
            P::AuthorizationsView,
        ),
        (
            "v1.applications.authorizations.create",
            "POST",
            "/applications/1/authorizations",
            authorization(&["1"]),
            P::AuthorizationsWrite,
        ),
        (
            "v1.authorizations.list",
            "GET",
            "/authorizations",
            none(),
            P::AuthorizationsView,
        ),
        (
            "v1.authorizations.show",
            "GET",
            "/authorizations/1",
            none(),
            P::AuthorizationsView,
        ),
        (
            "v1.authorizations.change",
            "PATCH",
            "/authorizations/1",
            name(),
            P::AuthorizationsWrite,
        ),
        (
            "v1.authorizations.revoke",
            "DELETE",
            "/authorizations/1",
            none(),
            P::AuthorizationsWrite,
        ),
        (
            "v1.authorizations.attach",
            "PUT",
            "/authorizations/1/secrets/2",
            none(),
            P::AuthorizationsWrite,
        ),
        (
            "v1.authorizations.detach",
            "DELETE",
            "/authorizations/1/secrets/1",
            none(),
            P::AuthorizationsWrite,
        ),
        (
            "v1.authorizations.credentials",
            "POST",
            "/authorizations/1/credentials",
            none(),
            P::AuthorizationsReveal,
        ),
        (
            "v1.authorizations.clients.list",
            "GET",
            "/authorizations/1/clients",
            none(),
            P::AuthorizationsView,
        ),
        (
            "v1.authorizations.clients.rotate",
            "POST",
            "/authorizations/1/clients/rotate",
            none(),
            P::AuthorizationsWrite,
        ),
        (
            "v1.authorizations.clients.revoke",
            "DELETE",
            "/authorizations/1/clients/1",
            none(),
            P::AuthorizationsWrite,
        ),
        (
            "v1.authorizations.explain",
            "POST",
            "/authorizations/1/explain",
            explain,
            P::AuthorizationsView,
        ),
        (
            "v1.authorizations.private_key",
            "GET",
            "/authorizations/1/private-key",
            none(),
            P::KeysDownload,
        ),
        (
            "v1.authorizations.public_key",
            "GET",
            "/authorizations/1/public-key",
            none(),
            P::AuthorizationsView,
        ),
        (
            "v1.authorizations.public_key.register",
            "PUT",
            "/authorizations/1/public-key",
            json!({"public_key": public_key()}),
            P::AuthorizationsWrite,
        ),
        ("v1.secrets.list", "GET", "/secrets", none(), P::SecretsView),
        (
            "v1.secrets.create",
            "POST",
            "/secrets",
            secret,
            P::SecretsWrite,
        ),
        (
            "v1.secrets.show",
            "GET",
            "/secrets/1",
            none(),
            P::SecretsView,
        ),
        (
            "v1.secrets.change",
            "PATCH",
            "/secrets/1",
            name(),
            P::SecretsWrite,
        ),
        (
            "v1.secrets.delete",
            "DELETE",
            "/secrets/1",
            none(),
            P::SecretsWrite,
        ),
        (
            "v1.secrets.delete",
            "DELETE",
            "/secrets/1?purge=true",
            none(),
            P::SecretsPurge,
        ),
        (
            "v1.secrets.enable",
            "POST",
            "/secrets/1/enable",
            none(),
            P::SecretsWrite,
        ),
        (
            "v1.secrets.disable",
            "POST",
            "/secrets/1/disable",
            none(),
            P::SecretsWrite,
        ),
        (
            "v1.secrets.expire",
            "POST",
            "/secrets/1/expire",
            none(),
            P::SecretsWrite,
        ),
        (
            "v1.secrets.errors",
            "GET",
            "/secrets/1/errors",
            none(),
            P::SecretsView,
        ),
        (
            "v1.secrets.versions.list",
            "GET",
            "/secrets/1/versions",
            none(),
            P::SecretsView,
        ),
        (
            "v1.secrets.versions.show",
            "GET",
            "/secrets/1/versions/1",
            none(),
            P::SecretsView,
        ),
        (
            "v1.secrets.versions.reveal",
            "POST",
            "/secrets/1/versions/1/reveal",
            none(),
            P::SecretsReveal,
        ),
        (
            "v1.secrets.versions.restore",
            "POST",
            "/secrets/1/versions/1/restore",
            none(),
            P::SecretsWrite,
        ),
        (
            "v1.secrets.compare",
            "GET",
            "/secrets/1/compare?from=2&to=1",
            none(),
            P::SecretsView,
        ),
        ("v1.audit.list", "GET", "/audit", none(), P::AuditView),
        ("v1.api-logs.list", "GET", "/api-logs", none(), P::AuditView),
        (
            "v1.secrets.rotate",
            "POST",
            "/secrets/5/rotate",
            json!({}),
            P::SecretsRotate,
        ),
        (
            "v1.secrets.attempts.list",
            "GET",
            "/secrets/5/attempts",
            none(),
            P::SecretsView,
        ),
        (
            "v1.secrets.attempts.settle",
            "POST",
            "/secrets/5/attempts/1/settle",
            json!({"decision": "retry"}),
            P::SecretsRotate,
        ),
        ("v1.targets.list", "GET", "/targets", none(), P::TargetsView),
        (
            "v1.targets.create",
            "POST",
            "/targets",
            target("new"),
            P::TargetsWrite,
        ),
        (
            "v1.targets.show",
            "GET",
            "/targets/1",
            none(),
            P::TargetsView,
        ),
        (
            "v1.targets.change",
            "PATCH",
            "/targets/1",
            json!({"password_policy": {"length": 20}}),
            P::TargetsWrite,
        ),
        (
            "v1.targets.delete",
            "DELETE",
            "/targets/2",
            none(),
            P::TargetsWrite,
        ),
        (
            "v1.targets.test",
            "POST",
            "/targets/1/test",
            none(),
            P::TargetsWrite,
        ),
        (
            "v1.profiles.list",
            "GET",
            "/profiles",
            none(),
            P::ProfilesView,
        ),
        (
            "v1.profiles.create",
            "POST",
            "/profiles",
            json!({"identifier": "new", "kind": "credential", "target": "db"}),
            P::ProfilesWrite,
        ),
        (
            "v1.profiles.show",
            "GET",
            "/profiles/1",
            none(),
            P::ProfilesView,
        ),
        (
            "v1.profiles.change",
            "PATCH",
            "/profiles/1",
            json!({"ttl_seconds": 600}),
            P::ProfilesWrite,
        ),
        (
            "v1.profiles.delete",
            "DELETE",
            "/profiles/2",
            none(),
            P::ProfilesWrite,
        ),
        ("v1.leases.list", "GET", "/leases", none(), P::LeasesView),
        ("v1.leases.show", "GET", "/leases/1", none(), P::LeasesView),
        (
            "v1.leases.revoke",
            "DELETE",
            "/leases/1",
            none(),
            P::LeasesWrite,
        ),
        (
            "v1.variables.list",
            "GET",
            "/variables",
            none(),
            P::VariablesView,
        ),
        (
            "v1.variables.show",
            "GET",
            "/variables/1",
            none(),
            P::VariablesView,
        ),
        (
            "v1.variables.review",
            "PATCH",
            "/variables/1",
            json!({"status": "approved_manually"}),
            P::VariablesWrite,
        ),
        (
            "v1.variables.reveal",
            "POST",
            "/variables/1/reveal",
            none(),
            P::VariablesReveal,
        ),
        (
            "v1.variables.delete",
            "DELETE",
            "/variables/1",
            none(),
            P::VariablesWrite,
        ),
        (
            "v1.deploys.list",
            "GET",
            "/deploys",
            none(),
            P::VariablesView,
        ),
        (
            "v1.operators.list",
            "GET",
            "/operators",
            none(),
            P::OperatorsView,
        ),
        (
            "v1.operators.create",
            "POST",
            "/operators",
            json!({"name": "new", "permissions": []}),
            P::OperatorsWrite,
        ),
        (
            "v1.operators.revoke",
            "DELETE",
            "/operators/1",
            none(),
            P::OperatorsWrite,
        ),
    ];
    macro_rules! registry {
        ($($name:literal)+) => {$(
            table.extend([
                (
                    concat!("v1.", $name, ".list"),
                    "GET",
                    concat!("/", $name),
                    none(),
                    P::RegistriesView,
                ),
                (
                    concat!("v1.", $name, ".create"),
                    "POST",
                    concat!("/", $name),
                    name(),
                    P::RegistriesWrite,
                ),
                (
                    concat!("v1.", $name, ".show"),
                    "GET",
                    concat!("/", $name, "/1"),
                    none(),
                    P::RegistriesView,
                ),
                (
                    concat!("v1.", $name, ".change"),
                    "PATCH",
                    concat!("/", $name, "/1"),
                    name(),
                    P::RegistriesWrite,
                ),
            ]);
        )+};
    }
    registry!("environments" "systems" "engines" "application-types" "lines-of-business");
    table
}

/// Everything that can be seen of the vault.
async fn state(server: &Server) -> Vec<Value> {
    let mut state = Vec::new();
    for list in [
        "/environments",
        "/systems",
        "/engines",
        "/application-types",
        "/lines-of-business",
        "/applications",
        "/authorizations",
        "/secrets",
        "/secrets/1/versions",
        "/secrets/2/versions",
        "/operators",
    ] {
        let listed = server.get(&format!("{list}?limit=500")).await;
        assert_eq!(listed.status, 200, "{list}");
        state.push(listed.body);
    }
    // A list leaves the attached secrets out.
    state.insert(0, server.get("/authorizations/1").await.body);
    state
}

/// A target that nothing refers to, and secret 5 with a credential on the other one, whose rotation
/// is under way.
async fn manage(server: &Server) {
    server.make("/targets", target("spare")).await;
    let credential = json!({
        "target": "db", "fields": {"user": "app", "password": "hunter2"},
    });
    let body = json!({
        "identity": "managed", "name": "Managed",
        "data": {"credentials": [{"credential": credential}]},
    });
    let made = server.make("/secrets", body).await;
    assert_eq!(made["id"], "5");
    let asked = server.post("/secrets/5/rotate", json!({})).await;
    assert_eq!(asked.status, 202, "{asked:?}");
}

fn target(name: &str) -> Value {
    json!({
        "name": name, "provider": "fake", "address": "here",
        "admin_credential": {"username": "admin", "password": "hunter2"},
    })
}

async fn status(server: &Server, row: &Row, token: &str) -> u16 {
    let (_, method, path, body, _) = row;
    let ask = server.ask(method, path).by(token);
    let ask = if body.is_null() { ask } else { ask.json(body) };
    let answer = ask.answer().await;
    if answer.status >= 400 {
        answer.problem(answer.status);
    }
    answer.status
}

#[tokio::test]
async fn every_route_has_its_row() {
    let server = Server::start().await;
    let routes: BTreeSet<&str> = server
        .router
        .routes()
        .iter()
        .map(|route| route.name)
        .collect();
    let mut rows: BTreeSet<&str> = table().iter().map(|row| row.0).collect();
    // Who asks who they are needs no permission.
    rows.insert("v1.me");
    assert_eq!(routes, rows);
}

#[tokio::test]
async fn who_lacks_the_permission_is_refused_and_changes_nothing() {
    let server = Server::start().await;
    server.furnish().await;
    let mut tokens = Vec::new();
    for permission in Permission::ALL {
        tokens.push((*permission, server.operator_without(&[*permission]).await));
    }
    let before = state(&server).await;
    for row in table() {
        let (_, token) = tokens
            .iter()
            .find(|(one, _)| *one == row.4)
            .expect("a token");
        assert_eq!(
            status(&server, &row, token).await,
            403,
            "{} {}",
            row.1,
            row.2
        );
        assert_eq!(state(&server).await, before, "{} {}", row.1, row.2);
    }
}

#[tokio::test]
async fn who_has_only_the_permission_is_let_through() {
    for row in table() {
        let server = Server::start().await;
        server.furnish().await;
        if row.2.ends_with("-key") {
            let sealing = json!({"encrypt_sensitive": true});
            server.patch("/authorizations/1", sealing).await;
        }
        crate::variables::register(&server).await;
        crate::provisioning::provision(&server).await;
        manage(&server).await;
        let token = server.operator([row.4].into_iter().collect()).await;
        let status = status(&server, &row, &token).await;
        // The rotation does not wait for an operator, which is a matter beyond permissions.
        let settles = row.0 == "v1.secrets.attempts.settle";
        assert!(
            [200, 201, 202, 204].contains(&status) || settles && status == 409,
            "{} {}: {status}",
            row.1,
            row.2
        );
    }
}

#[tokio::test]
async fn every_route_wants_a_token() {
    let server = Server::start().await;
    server.furnish().await;
    let before = state(&server).await;
    let revoked = server.operator(Permissions::all()).await;
    server.delete("/operators/2").await;
    let rows = table();
    let me = ("v1.me", "GET", "/me", Value::Null, Permission::AuditView);
    for (_, method, path, body, _) in rows.iter().chain([&me]) {
        for authorization in [
            None,
            Some(""),
            Some("Bearer"),
            Some("Bearer "),
            Some("Bearer dsm_op_unknown"),
            Some("Basic YTpi"),
            Some(&*format!("Bearer {revoked}")),
            Some(&*format!("Bearer {revoked} {revoked}")),
        ] {
            let ask = server.ask(method, path);
            let ask = match authorization {
                Some(value) => ask.header("authorization", value),
                None => ask.without("authorization"),
            };
            let ask = if body.is_null() { ask } else { ask.json(body) };
            let answer = ask.answer().await;
            answer.problem(401);
            assert_eq!(
                answer.header("www-authenticate"),
                Some("Bearer"),
                "{method} {path}"
            );
        }
    }
    let mut after = state(&server).await;
    // The operator that was made and revoked here.
    let operators = after
        .last_mut()
        .and_then(|list| list["items"].as_array_mut());
    operators.expect("a list").remove(0);
    assert_eq!(after, before);
}

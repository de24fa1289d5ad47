//! Requests that are no requests: on every route a status of the client's fault in the shape of
//! its surface, the field named where it is one, and nothing stored.

#[path = "../../dsm-server/tests/common/conformance.rs"]
mod conformance;
#[path = "routes/exchange.rs"]
mod exchange;
#[path = "surface/fields.rs"]
mod fields;
#[path = "routes/request.rs"]
mod request;
#[path = "routes/world.rs"]
#[allow(dead_code, reason = "the table of requests uses the rest")]
mod world;

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use dsm_core::access::Permissions;
use dsm_server::app::App;
use dsm_server::http::call::Surface;
use dsm_server::http::router::{RequestLimits, Route};
use serde_json::json;
use warp::http::Method;

use crate::exchange::{Answer, Ask};
use crate::fields::{TOKEN, required, typed};
use crate::request::{fields, request};
use crate::world::{State, World};

/// Where failures are those of RFC 6749.
const OAUTH2: &str = "/iso/oauth2/";

/// A world, good credentials for both surfaces, and what is stored.
struct Surfaces {
    world: World,
    client: String,
    operator: String,
    before: State,
}

impl Surfaces {
    async fn new() -> Self {
        let world = World::new().await;
        let client = world.token().await;
        let operator = world.operator(Permissions::all()).await;
        let before = world.state().await;
        // A write that changes nothing but a time shows as well.
        world.clock.advance(TimeDelta::minutes(1));
        Self {
            world,
            client,
            operator,
            before,
        }
    }

    fn routes(&self) -> &[Route<App>] {
        self.world.routes()
    }

    /// The routes that take a body.
    fn writes(&self) -> impl Iterator<Item = &Route<App>> {
        self.routes().iter().filter(|route| !route.method.is_safe())
    }

    /// The right request for a route, by somebody who may do it.
    fn request(&self, route: &Route<App>) -> Ask {
        let ask = request(&route.method, route.pattern);
        match route.surface {
            Surface::V1 => ask.bearer(&self.operator),
            Surface::Iso | Surface::Health => ask.bearer(&self.client),
        }
    }

    /// The answer to a request that must be refused with one of these, in the right shape, without
    /// showing or storing anything.
    async fn refuses(&self, route: &Route<App>, ask: Ask, statuses: &[u16], what: &str) -> Answer {
        let answer = self.world.answer(ask).await;
        let shown = String::from_utf8_lossy(&answer.body).into_owned();
        let status = answer.status.as_u16();
        assert!(
            statuses.contains(&status),
            "{route:?}, {what}: {status} {shown}"
        );
        assert_eq!(
            answer.misshapen(route.surface),
            None,
            "{route:?}, {what}: {shown}"
        );
        assert!(!answer.is_sensitive(), "{route:?}, {what}: {shown}");
        assert!(
            self.world.state().await == self.before,
            "{route:?}, {what}: something was stored"
        );
        answer
    }
}

/// Whether an answer names the field: as a member of the problem, or in words.
fn names(answer: &Answer, surface: Surface, field: &str) -> bool {
    let body = answer.json();
    match surface {
        Surface::V1 => body["errors"]
            .as_array()
            .is_some_and(|errors| errors.iter().any(|error| error["field"] == *field)),
        Surface::Iso | Surface::Health => body["message"]
            .as_str()
            .is_some_and(|message| message.contains(field)),
    }
}

#[tokio::test]
async fn paths_that_no_route_has_are_not_found() {
    let surfaces = Surfaces::new().await;
    for route in surfaces.routes() {
        if route.pattern.contains('…') {
            continue;
        }
        let mut ask = surfaces.request(route);
        let path = ask.path.split('?').next().unwrap_or_default();
        ask.path = format!("{path}x/nothing/here");
        surfaces.refuses(route, ask, &[404], "another path").await;
    }
}

#[tokio::test]
async fn methods_that_a_path_has_not_are_refused_with_those_it_has() {
    let surfaces = Surfaces::new().await;
    let mut methods: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for route in surfaces.routes() {
        let of_path = methods.entry(route.pattern).or_default();
        of_path.insert(route.method.to_string());
    }
    for route in surfaces.routes() {
        let allowed = &methods[route.pattern];
        for method in [
            "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PURGE",
        ] {
            if allowed.contains(method) {
                continue;
            }
            let mut ask = surfaces.request(route);
            ask.method = Method::from_bytes(method.as_bytes()).expect("a method");
            let answer = surfaces.refuses(route, ask, &[405], method).await;
            let named = answer.headers["allow"].to_str().expect("ASCII");
            let named: BTreeSet<String> = named.split(", ").map(str::to_owned).collect();
            assert_eq!(named, *allowed, "{route:?}");
        }
    }
}

#[tokio::test]
async fn bodies_over_the_limit_are_refused() {
    let surfaces = Surfaces::new().await;
    let limit = RequestLimits::default().body;
    for route in surfaces.routes() {
        for body in [
            vec![b' '; limit + 1],
            format!("{{\"name\":\"{}\"}}", "x".repeat(limit)).into_bytes(),
        ] {
            let ask = surfaces.request(route).raw("application/json", body);
            surfaces.refuses(route, ask, &[413], "too long").await;
        }
    }
}

#[tokio::test]
async fn bodies_that_are_no_json_object_are_refused() {
    let surfaces = Surfaces::new().await;
    let deep = |open: &str, close: &str| {
        ["{\"name\":", &open.repeat(40), "1", &close.repeat(40), "}"].concat()
    };
    let keys: Vec<String> = (0..1001).map(|key| format!("\"k{key}\":1")).collect();
    let bodies = [
        ("too deep", deep("[", "]")),
        ("too deep", deep("{\"a\":", "}")),
        ("too many keys", format!("{{{}}}", keys.join(","))),
        ("a key twice", "{\"name\":\"a\",\"name\":\"b\"}".to_owned()),
        (
            "a key twice",
            "{\"identity\":\"a\",\"identity\":\"a\"}".to_owned(),
        ),
        (
            "a key twice below",
            "{\"data\":{\"a\":1,\"a\":2}}".to_owned(),
        ),
        ("cut off", "{\"name\":".to_owned()),
        ("more behind it", "{} {}".to_owned()),
        ("a list", "[]".to_owned()),
        ("a number", "7".to_owned()),
        ("no JSON", "name=new".to_owned()),
        ("a lone surrogate", "{\"name\":\"\\ud800\"}".to_owned()),
    ];
    for route in surfaces.writes() {
        for (what, body) in &bodies {
            let ask = surfaces.request(route);
            let ask = ask.raw("application/json", body.clone());
            surfaces.refuses(route, ask, &[400], what).await;
        }
        let ask = surfaces
            .request(route)
            .raw("application/json", &b"{\"name\":\"\xff\"}"[..]);
        surfaces.refuses(route, ask, &[400], "no UTF-8").await;
    }
}

#[tokio::test]
async fn bodies_of_another_type_are_refused() {
    let surfaces = Surfaces::new().await;
    for route in surfaces.writes() {
        let mut types = vec![
            "text/plain",
            "application/xml",
            "application/octet-stream",
            "json",
        ];
        if route.surface == Surface::V1 {
            types.extend([
                "application/x-www-form-urlencoded",
                "multipart/form-data; boundary=x",
            ]);
            if route.method != Method::PATCH {
                types.push("application/merge-patch+json");
            }
        }
        for content_type in types {
            let ask = surfaces
                .request(route)
                .raw(content_type, "{\"name\":\"new\"}");
            // RFC 6749, section 5.2, has one status for all that is wrong with a request.
            let status = if route.pattern.starts_with(OAUTH2) {
                400
            } else {
                415
            };
            surfaces.refuses(route, ask, &[status], content_type).await;
        }
    }
}

#[tokio::test]
async fn forms_that_cannot_be_read_are_refused() {
    let surfaces = Surfaces::new().await;
    for route in surfaces
        .writes()
        .filter(|route| route.surface == Surface::Iso)
    {
        for (content_type, body) in [
            ("application/x-www-form-urlencoded", "name=%ff"),
            ("multipart/form-data", "--x\r\n"),
            ("multipart/form-data; boundary=x", "no part at all"),
        ] {
            let ask = surfaces.request(route).raw(content_type, body);
            surfaces.refuses(route, ask, &[400], body).await;
        }
    }
}

#[tokio::test]
async fn fields_that_nobody_knows_are_named_where_operators_write() {
    let surfaces = Surfaces::new().await;
    for route in surfaces
        .writes()
        .filter(|route| route.surface == Surface::V1)
    {
        let mut fields = fields(&route.method, route.pattern);
        fields["surplus"] = json!("x");
        let ask = surfaces.request(route).json(&fields);
        let answer = surfaces
            .refuses(route, ask, &[422], "a surplus field")
            .await;
        assert!(
            names(&answer, route.surface, "surplus"),
            "{route:?}: {}",
            answer.json()
        );
        let mut ask = surfaces.request(route);
        ask.path.push_str("?surplus=x");
        let answer = surfaces
            .refuses(route, ask, &[400], "a surplus parameter")
            .await;
        assert!(
            names(&answer, route.surface, "surplus"),
            "{route:?}: {}",
            answer.json()
        );
    }
}

#[tokio::test]
async fn fields_of_another_type_are_named() {
    let surfaces = Surfaces::new().await;
    for route in surfaces.writes() {
        for (field, takes) in typed(&route.method, route.pattern) {
            for value in takes.wrong(route.surface) {
                let mut fields = fields(&route.method, route.pattern);
                if route.pattern.starts_with(OAUTH2) {
                    fields = json!({"grant_type": "client_credentials", "token": "t"});
                }
                fields[field] = value.clone();
                let statuses: &[u16] = if route.surface == Surface::V1 {
                    &[422]
                } else {
                    &[400]
                };
                let ask = surfaces.request(route).json(&fields);
                let what = format!("{field} = {value}");
                let answer = surfaces.refuses(route, ask, statuses, &what).await;
                let body = answer.json();
                let named = match route.surface {
                    // The wrong part of a list or an object is named below it.
                    Surface::V1 => body["errors"].as_array().is_some_and(|errors| {
                        let mut fields = errors.iter().filter_map(|error| error["field"].as_str());
                        fields.any(|name| {
                            let rest = name.strip_prefix(field);
                            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
                        })
                    }),
                    Surface::Iso | Surface::Health => names(&answer, route.surface, field),
                };
                assert!(named, "{route:?}, {what}: {body}");
            }
        }
    }
}

#[tokio::test]
async fn required_fields_that_are_missing_are_all_named() {
    let surfaces = Surfaces::new().await;
    for route in surfaces
        .writes()
        .filter(|route| route.method == Method::POST)
    {
        let required = required(route.pattern);
        if required.is_empty() {
            continue;
        }
        let status = if route.surface == Surface::V1 {
            422
        } else {
            400
        };
        let ask = surfaces.request(route).json(&json!({}));
        let answer = surfaces.refuses(route, ask, &[status], "no fields").await;
        for field in required {
            assert!(
                names(&answer, route.surface, field),
                "{route:?} {field}: {}",
                answer.json()
            );
        }
    }
}

#[tokio::test]
async fn fields_that_come_twice_in_a_form_are_named() {
    let surfaces = Surfaces::new().await;
    for (pattern, body, field) in [
        (
            TOKEN,
            "grant_type=client_credentials&grant_type=client_credentials",
            "grant_type",
        ),
        (
            TOKEN,
            "grant_type=client_credentials&client_id=a&client_id=b&client_secret=c",
            "client_id",
        ),
        (
            "/iso/dapp/application",
            "application=a&Application=b&system=sys&environment=dev",
            "application",
        ),
        (
            "/iso/dapp/application",
            "application=caller&system=sys&SYSTEM=sys&environment=dev",
            "system",
        ),
        (
            "/iso/sctm/secret",
            "identity=db/main&identity=db/main&description=x",
            "identity",
        ),
        (
            "/iso/sctm/secret",
            "identity=db/main&data=e30=&date=e30=",
            "data",
        ),
    ] {
        let route = surfaces
            .routes()
            .iter()
            .find(|route| route.method == Method::POST && route.pattern == pattern);
        let route = route.expect("a route");
        let ask = surfaces
            .request(route)
            .raw("application/x-www-form-urlencoded", body);
        let answer = surfaces.refuses(route, ask, &[400], body).await;
        assert!(
            names(&answer, route.surface, field),
            "{body}: {}",
            answer.json()
        );
    }
}

//! The running belt: what the vendor's command line client does in a pipeline, and the operator of
//! Kubernetes beside it, in exactly the bytes that they send, read into types as strict as theirs.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use dsm_tests::api::Bearer;
use dsm_tests::client::{Answer, Connection};
use dsm_tests::place::Place;
use dsm_tests::server::Server;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

const FORM: &str = "application/x-www-form-urlencoded";
const TOKEN: &str = "/iso/oauth2/token";
const VARIABLES: &str = "/iso/cicd/variables";
const ENV: &str = "PATH=/usr/bin\nDB_HOST=db.example.org\nDB_USER=belt\nDB_PASSWORD=it's a 'pass=word'\n\
                   AWS_ID=AKIAIOSFODNN7EXAMPLE\nAWS_SECRET=wJalr/XUt+nFE=\nDEPLOY_KEY=-----BEGIN KEY-----\n\
                   MIIE\n-----END KEY-----\nFORGOTTEN_TOKEN=abc";

/// As the client's own types: a field of another type fails the whole of it, null and absent are
/// the empty text.
#[derive(Debug, Deserialize)]
struct Base {
    response: Response,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Response {
    #[serde(default)]
    status: Option<i64>,
    #[serde(default)]
    message: Option<String>,
    error: bool,
    #[serde(default)]
    error_code: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[allow(clippy::struct_field_names, reason = "the names on the wire")]
struct Token {
    token_type: String,
    expires_in: i64,
    access_token: String,
}

#[derive(Debug, Deserialize)]
struct Registered {
    id: Option<String>,
    signature: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Shown {
    application: Application,
}

#[derive(Debug, Deserialize)]
struct Application {
    name: Option<String>,
    #[serde(default)]
    description: Option<String>,
    tags: Option<Vec<String>>,
    system: Option<String>,
    environment: Option<String>,
    secrets: Option<Vec<Secret>>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    secrets: Option<Vec<Secret>>,
}

#[derive(Debug, Deserialize)]
#[allow(clippy::struct_field_names, reason = "the names on the wire")]
struct Secret {
    secret_id: Option<String>,
    secret_name: Option<String>,
    identity: Option<String>,
    version: Option<String>,
    expiration_date: Option<String>,
    engine: Option<String>,
    data: Option<Vec<BTreeMap<String, Option<String>>>>,
}

/// A client with the headers of Go's `net/http`.
struct Go<'s> {
    server: &'s Server,
    bearer: Option<String>,
}

impl Go<'_> {
    async fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        let addr = self.server.addr();
        let length = match method {
            "GET" => String::new(),
            _ => format!("Content-Length: {}\r\n", body.len()),
        };
        let bearer = self.bearer.as_ref();
        let bearer = bearer.map(|token| format!("Authorization: Bearer {token}\r\n"));
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {addr}\r\nUser-Agent: Go-http-client/1.1\r\n\
             {length}{}Content-Type: {FORM}\r\nAccept-Encoding: gzip\r\n\r\n{body}",
            bearer.unwrap_or_default(),
        );
        let mut connection = Connection::open(addr).await.expect("a connection");
        connection
            .send(request.as_bytes())
            .await
            .expect("an answer")
    }

    /// The client looks at no status: the body must parse and have no error in it.
    async fn call<T: DeserializeOwned>(&self, method: &str, path: &str, body: &str) -> T {
        let answer = self.send(method, path, body).await;
        let shown = String::from_utf8_lossy(&answer.body);
        let base: Base = serde_json::from_slice(&answer.body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}: {shown}"));
        let failed = base.response.error || base.error.is_some_and(|error| !error.is_empty());
        assert!(!failed, "{method} {path}: {shown}");
        assert_eq!(base.response.status, Some(i64::from(answer.status)));
        assert_eq!(base.response.error_code, Some(0));
        assert_eq!(base.message, None);
        assert!(
            base.response
                .message
                .is_some_and(|message| !message.is_empty())
        );
        serde_json::from_slice(&answer.body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}: {shown}"))
    }

    /// A new token before each call; the one from before is still in the header.
    async fn log_in(&mut self, id: &str, secret: &str) {
        let body = format!("client_id={id}&client_secret={secret}&grant_type=client_credentials");
        let token: Token = self.call("POST", TOKEN, &body).await;
        assert!(token.token_type.eq_ignore_ascii_case("bearer") && token.expires_in > 0);
        self.bearer = Some(token.access_token);
    }
}

/// Base64 as the client writes it, in a form.
fn encoded(text: &str) -> String {
    let standard = BASE64.encode(text.as_bytes());
    standard
        .replace('+', "-")
        .replace('/', "_")
        .replace('=', "%2C")
}

/// What the client makes shell variables of: all maps of all secrets in one, the last wins.
fn flattened(secrets: Option<Vec<Secret>>) -> BTreeMap<String, String> {
    let maps = secrets.into_iter().flatten().flat_map(|secret| {
        for text in [
            &secret.secret_id,
            &secret.secret_name,
            &secret.version,
            &secret.engine,
        ] {
            assert!(text.as_ref().is_some_and(|text| !text.is_empty()));
        }
        assert_eq!(secret.expiration_date.as_deref(), Some(""));
        secret.data.into_iter().flatten()
    });
    let pairs = maps.flatten();
    pairs
        .map(|(name, value)| (name, value.unwrap_or_default()))
        .collect()
}

pub(crate) async fn the_running_belt_goes_from_the_first_call_to_the_last(place: Place) {
    let server = place.server().expect("the server starts");
    let printed = &server.printed;
    let map = json!({
        "access_keys": [{"name": "belt/cloud", "type": "aws", "fields": {
            "access_key_id": "AWS_ID", "secret_access_key": "AWS_SECRET",
        }}],
        "credentials": [{"name": "belt/db", "fields": {
            "user": "DB_USER", "password": "DB_PASSWORD", "host": "DB_HOST",
        }}],
        "key_value": [{"name": "BELT_VARIABLES", "fields": ["DEPLOY_KEY"]}],
    });
    let variables = format!("env={}&map={}", encoded(ENV), encoded(&map.to_string()));

    // Twice: a pipeline runs again and again.
    for run in 1..=2 {
        let mut client = Go {
            server: &server,
            bearer: None,
        };
        client
            .log_in(&printed.client_id, &printed.client_secret)
            .await;
        let body = "application=belt&environment=ci&system=runners";
        let registered: Registered = client.call("POST", "/iso/dapp/Application", body).await;
        let (Some(id), Some(signature)) = (registered.id, registered.signature) else {
            panic!("the client would go on with its old credentials");
        };
        client.log_in(&id, &signature).await;
        let _: Base = client.call("POST", VARIABLES, &variables).await;
        client.log_in(&id, &signature).await;
        let shown: Shown = client.call("GET", "/iso/dapp/Application", "").await;
        let application = shown.application;
        assert_eq!(application.name.as_deref(), Some("belt"));
        assert_eq!(application.system.as_deref(), Some("runners"));
        assert_eq!(application.environment.as_deref(), Some("ci"));
        assert_eq!(application.tags, Some(Vec::new()));
        assert_eq!(application.description, None);
        let found = flattened(application.secrets);
        for (name, value) in [
            ("DB_HOST", "db.example.org"),
            ("DB_USER", "belt"),
            ("DB_PASSWORD", "it's a 'pass=word'"),
            ("AWS_ID", "AKIAIOSFODNN7EXAMPLE"),
            ("AWS_SECRET", "wJalr/XUt+nFE="),
            ("DEPLOY_KEY", "-----BEGIN KEY-----\nMIIE\n-----END KEY-----"),
        ] {
            assert_eq!(found.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(!found.contains_key("FORGOTTEN_TOKEN"));

        // The later layout of the client lists as well.
        client.log_in(&id, &signature).await;
        let listed: Listed = client.call("GET", "/iso/sctm/secret", "").await;
        let versions: Vec<_> = listed
            .secrets
            .iter()
            .flatten()
            .map(|one| one.version.as_deref())
            .collect();
        assert_eq!(
            versions,
            [Some("1"); 3],
            "run {run}: the same again is no version"
        );
        external_secrets(&server, &id, &signature).await;
    }

    let operator = Bearer::operator(&server);
    let kept = operator
        .get("/api/v1/variables?status=pending_review")
        .await;
    let names: Vec<_> = kept["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["FORGOTTEN_TOKEN"]);
    let deploys = operator.get("/api/v1/deploys?system=runners").await;
    assert_eq!(deploys["items"].as_array().map(Vec::len), Some(2));
}

/// The provider of External Secrets: both answers must be 200 and no other success.
async fn external_secrets(server: &Server, id: &str, secret: &str) {
    let mut client = Go {
        server,
        bearer: None,
    };
    let body = format!("client_id={id}&client_secret={secret}&grant_type=client_credentials");
    let answer = client.send("POST", TOKEN, &body).await;
    assert_eq!(answer.status, 200);
    let token: Token = serde_json::from_slice(&answer.body).expect("a token");
    client.bearer = Some(token.access_token);
    let answer = client.send("GET", "/iso/dapp/application", "").await;
    assert_eq!(answer.status, 200);
    let base: Base = serde_json::from_slice(&answer.body).expect("its base");
    assert!(!base.response.error);
    let shown: Shown = serde_json::from_slice(&answer.body).expect("its types");
    let secrets = shown.application.secrets.expect("a list");
    let found = secrets
        .iter()
        .find(|one| one.identity.as_deref() == Some("belt/db"));
    let data = found.and_then(|one| one.data.as_ref()).expect("its data");
    let property = data.iter().find_map(|map| map.get("DB_PASSWORD"));
    assert_eq!(
        property.and_then(Option::as_deref),
        Some("it's a 'pass=word'")
    );
}

pub(crate) async fn failures_are_failures_to_these_clients(place: Place) {
    let server = place.server().expect("the server starts");
    let mut client = Go {
        server: &server,
        bearer: None,
    };
    let printed = &server.printed;
    client
        .log_in(&printed.client_id, &printed.client_secret)
        .await;
    let wrong = "client_id=x&client_secret=y&grant_type=client_credentials";
    for (method, path, body) in [
        ("POST", TOKEN, wrong),
        ("POST", VARIABLES, "env=!"),
        ("POST", VARIABLES, "map=e30x"),
        (
            "POST",
            "/iso/dapp/Application",
            "application=&environment=ci&system=runners",
        ),
        ("GET", "/iso/sctm/secret/none", ""),
        ("GET", "/iso/none", ""),
        ("DELETE", VARIABLES, ""),
    ] {
        let answer = client.send(method, path, body).await;
        let base: Base = serde_json::from_slice(&answer.body).expect("its base");
        assert!(base.response.error, "{method} {path}");
        assert!(
            base.message.is_some_and(|message| !message.is_empty()),
            "{method} {path}"
        );
    }
}

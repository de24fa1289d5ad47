//! Clients that AWS vouches for, against moto in its place and the real server program; and AWS's
//! published vectors of Signature Version 4.

#[path = "aws/moto.rs"]
mod moto;
#[path = "aws/sign.rs"]
mod sign;

use dsm_core::time::{Clock as _, SystemClock, Timestamp};
use dsm_test_servers::python::MOTO;
use dsm_tests::api::Bearer;
use dsm_tests::client::{self, Answer};
use dsm_tests::server::Server;
use serde_json::{Value, json};

use crate::moto::Moto;
use crate::sign::{Keys, Signing, signed};

const BODY: &str = "Action=GetCallerIdentity&Version=2011-06-15";
const GRANT: &str = "urn:dsm:params:oauth:grant-type:aws";

/// The vectors that AWS publishes with its C library (Apache-2.0). Left out are those whose requests
/// HTTP does not have (a folded header, a space or a letter beyond ASCII in the target) and those that
/// encode a path once, which only S3 does.
#[test]
fn the_published_vectors_of_signature_version_4_pass() {
    let vectors: Vec<Value> =
        serde_json::from_str(include_str!("aws/vectors.json")).expect("a list");
    assert!(vectors.len() > 30);
    for vector in &vectors {
        let text = |name: &str| vector[name].as_str().expect("a text");
        let flag = |name: &str| vector[name].as_bool().expect("a flag");
        let (head, body) = text("request")
            .split_once("\n\n")
            .unwrap_or((text("request"), ""));
        let mut lines = head.lines();
        let first = lines.next().expect("a request line");
        let (method, rest) = first.split_once(' ').expect("a method");
        let (target, _) = rest.rsplit_once(' ').expect("a version");
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(':').expect("a header"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let host = &headers.iter().find(|(name, _)| name == "Host");
        let uri = format!("https://{}{target}", host.expect("a host").1);
        let signing = Signing {
            method,
            uri: &uri,
            headers: &headers,
            body,
            service: "service",
            at: "2015-08-30T12:36:00Z".parse().expect("an instant"),
            normalise: flag("normalize"),
            hash_header: flag("sign_body"),
            sign_token: !flag("omit_session_token"),
        };
        let keys = Keys {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            session_token: vector["token"].as_str().map(str::to_owned),
        };
        let (signature, _) = signed(&signing, &keys);
        assert_eq!(signature, text("signature"), "{}", text("name"));
    }
}

/// A server that asks moto, with an application that lists some of its identities.
struct World {
    moto: Moto,
    server: Server,
    unique_key: String,
    authorization: String,
    operator: Bearer,
    _data: tempfile::TempDir,
}

impl World {
    async fn new(moto: Moto) -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let endpoint = format!("aws.sts_endpoint=http://{}", moto.addr);
        let server = Server::quickstart_with(data.path(), &["--set", &endpoint]).expect("a server");
        let operator = Bearer::operator(&server);
        let application = json!({
            "name": "cloud", "authentication_method": "aws",
            "aws_arns": ["arn:aws:iam::123456789012:user/team/*", "arn:aws:iam::123456789012:role/ci"],
        });
        let application = operator.make("/api/v1/applications", application).await;
        let id = application["id"].as_str().expect("an id");
        let authorization = json!({
            "enabled": true, "encrypt_sensitive": false, "allow_application_creation": false,
            "environment": "quickstart", "system": "quickstart", "allowed_ips": ["127.0.0.1"],
            "secrets": ["1"],
        });
        let path = format!("/api/v1/applications/{id}/authorizations");
        let made = operator.make(&path, authorization).await;
        let authorization = made["id"].as_str().expect("an id").to_owned();
        let path = format!("/api/v1/authorizations/{authorization}/credentials");
        let shown = operator.gives(200, "POST", &path, None).await;
        let unique_key = shown["unique_key"].as_str().expect("a key").to_owned();
        Self {
            moto,
            server,
            unique_key,
            authorization,
            operator,
            _data: data,
        }
    }

    /// What a client signs and hands over.
    fn signed_by(&self, keys: &Keys, nonce: &str, at: Timestamp) -> Value {
        let host = self.moto.addr.to_string();
        let uri = format!("http://{host}/");
        let own = [
            ("host".to_owned(), host),
            (
                "content-type".to_owned(),
                "application/x-www-form-urlencoded".to_owned(),
            ),
            ("x-dsm-nonce".to_owned(), nonce.to_owned()),
        ];
        let signing = Signing {
            method: "POST",
            uri: &uri,
            headers: &own,
            body: BODY,
            service: "sts",
            at,
            normalise: true,
            hash_header: false,
            sign_token: true,
        };
        let (_, added) = signed(&signing, keys);
        let all = own.into_iter().chain(added);
        Value::Object(
            all.map(|(name, value)| (name, Value::from(value)))
                .collect(),
        )
    }

    async fn ask(&self, key: &str, headers: &Value) -> Answer {
        let body = json!({
            "grant_type": GRANT, "unique_key": key, "aws_headers": headers, "aws_body": BODY,
        });
        let json = [("Content-Type", "application/json")];
        let body = body.to_string();
        let asked = client::send(
            self.server.addr(),
            "POST",
            "/iso/oauth2/token",
            &json,
            body.as_bytes(),
        );
        asked.await.expect("an answer")
    }

    /// Runs the client of the documentation as it stands there.
    fn the_documented_client_gets_a_token(&self, keys: &Keys) {
        let page = include_str!("../../docs/authentication.md");
        let (_, rest) = page.split_once("```python\n").expect("an example");
        let (example, _) = rest.split_once("```").expect("its end");
        let token = keys.session_token.as_deref().unwrap_or_default();
        let run = MOTO
            .python()
            .args(["-c", example])
            .env("STS_ENDPOINT", format!("http://{}", self.moto.addr))
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", &keys.access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", &keys.secret_access_key)
            .env("AWS_SESSION_TOKEN", token)
            .env("DSM_URL", format!("http://{}", self.server.addr()))
            .env("DSM_UNIQUE_KEY", &self.unique_key)
            .output()
            .expect("Python runs");
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(run.stdout.starts_with(b"dsm_at_"), "{said}");
    }

    /// The answer is the uniform failure, and the trail has a refusal by the rule.
    async fn refuses(&self, answer: Answer, rule: &str) {
        let body = answer.json();
        assert_eq!(answer.status, 401, "{body}");
        assert_eq!(body["error"], "invalid_client");
        assert_eq!(body["message"], "Client authentication failed");
        // The copy that is searched follows the file.
        let path = "/api/v1/audit?outcome=denied&limit=1";
        let mut newest = Value::Null;
        for _ in 0..500 {
            newest = self.operator.get(path).await["items"]
                .get(0)
                .cloned()
                .unwrap_or_default();
            if newest["outcome"]["rule"] == rule {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("{rule} is not in the trail but {newest}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_aws_vouches_for_gets_a_token_and_nobody_else() {
    if !dsm_test_servers::is_there(MOTO.available()) {
        return;
    }
    let moto = Moto::start();
    let people = moto.furnish().await;
    let world = World::new(moto).await;
    let now = SystemClock.now();
    let key = world.unique_key.clone();
    // A user of the list, and the session of a role of the list.
    for (nonce, keys) in [("1", &people.user), ("2", &people.session)] {
        let headers = world.signed_by(keys, nonce, now);
        let answer = world.ask(&key, &headers).await;
        let body = answer.json();
        assert_eq!(answer.status, 200, "{body}");
        let token = body["access_token"].as_str().expect("a token");
        let client = Bearer::new(&world.server, token);
        let read = client.get("/iso/sctm/secrets").await;
        assert_eq!(read["secrets"].as_array().map(Vec::len), Some(1));
        // The same signed request once more.
        let again = world.ask(&key, &headers).await;
        world.refuses(again, "nonce").await;
    }
    world.the_documented_client_gets_a_token(&people.session);
    let forged = Keys {
        secret_access_key: "forged".to_owned(),
        ..people.user.clone()
    };
    let unknown = Keys {
        access_key_id: "AKIAUNKNOWN000000000".to_owned(),
        ..people.user.clone()
    };
    for keys in [&forged, &unknown] {
        let headers = world.signed_by(keys, "3", now);
        let answer = world.ask(&key, &headers).await;
        world.refuses(answer, "aws_identity").await;
    }
    let mut altered = world.signed_by(&people.user, "4", now);
    altered["x-dsm-nonce"] = json!("another");
    let answer = world.ask(&key, &altered).await;
    world.refuses(answer, "aws_identity").await;
    let old = now - chrono::TimeDelta::seconds(360);
    let headers = world.signed_by(&people.user, "5", old);
    let answer = world.ask(&key, &headers).await;
    world.refuses(answer, "aws_request_age").await;
    let headers = world.signed_by(&people.user, "6", now);
    let answer = world.ask("dsm_uk_another", &headers).await;
    world.refuses(answer, "unique_key").await;
    // None of the identities is listed any more.
    let path = format!("/api/v1/authorizations/{}", world.authorization);
    let shown = world.operator.get(&path).await;
    let application = shown["application"]["id"].as_str().expect("an id");
    let path = format!("/api/v1/applications/{application}");
    let others = json!({"aws_arns": ["arn:aws:iam::999999999999:*"]});
    world
        .operator
        .gives(200, "PATCH", &path, Some(others))
        .await;
    let headers = world.signed_by(&people.user, "7", now);
    let answer = world.ask(&key, &headers).await;
    world.refuses(answer, "aws_arn").await;
    // And STS is gone.
    let World { moto, .. } = &world;
    let headers = world.signed_by(&people.user, "8", now);
    let pid = rustix::process::Pid::from_raw(i32::try_from(moto.pid()).expect("a process id"));
    rustix::process::kill_process(pid.expect("a process"), rustix::process::Signal::KILL)
        .expect("moto ends");
    let answer = world.ask(&key, &headers).await;
    world.refuses(answer, "aws_endpoint").await;
}

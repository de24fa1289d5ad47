//! A receiver of signed requests, over a target in memory.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use dsm_core::provider::{
    AccountKeys as _, Accounts as _, IssuedKeys as _, Key, LogIn, NewAccount, Passwords as _,
    ProviderError,
};
use dsm_core::secret::SecretText;
use dsm_core::testing::provider::FakeTarget;
use dsm_providers::webhook::{SignedParts, signature};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The name of the key of both sides.
pub(crate) const NAME: &str = "vault";
/// The key of both sides.
pub(crate) const KEY: &str = "Key-of-both-sides-of-the-tests-1";
/// Where requests go.
pub(crate) const PATH: &str = "/hooks/dsm";

/// A receiver; ends with its handle.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    pub(crate) fake: Arc<FakeTarget>,
    state: Arc<State>,
    serving: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let fake = FakeTarget::shared();
        let state = Arc::new(State {
            fake: fake.clone(),
            hosts: Mutex::new(BTreeSet::from([address.to_string()])),
            seen: Mutex::default(),
        });
        let shared = state.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    let answer = service_fn(|request| answer(&state, request));
                    // A client that hangs up is nothing to a test.
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), answer)
                        .await;
                });
            }
        });
        Self {
            address,
            fake,
            state,
            serving,
        }
    }

    /// Something in front of it passes on what is signed for this address.
    pub(crate) fn stands_behind(&self, address: SocketAddr) {
        let mut hosts = self.state.hosts.lock().expect("nobody panics");
        hosts.insert(address.to_string());
    }
}

#[derive(Debug)]
struct State {
    fake: Arc<FakeTarget>,
    /// What it is called in requests.
    hosts: Mutex<BTreeSet<String>>,
    seen: Mutex<BTreeSet<String>>,
}

async fn answer(
    state: &State,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    let header = |name: &str| {
        let value = head.headers.get(name).and_then(|it| it.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let nonce = header("dsm-nonce");
    let host = header("host");
    let is_for_it = state.hosts.lock().expect("nobody panics").contains(&host);
    let parts = SignedParts {
        host: &host,
        path: head.uri.path(),
        timestamp: header("dsm-timestamp").parse().unwrap_or_default(),
        nonce: &nonce,
        body: &body,
    };
    let is_signed = is_for_it && header("dsm-signature") == signature(KEY.as_bytes(), &parts);
    let is_new = state
        .seen
        .lock()
        .expect("nobody panics")
        .insert(nonce.clone());
    let (status, said) = if header("dsm-key") != NAME || !is_signed || head.uri.path() != PATH {
        (
            StatusCode::UNAUTHORIZED,
            json!({ "refused": "the signature is wrong" }),
        )
    } else if !is_new || nonce.len() != 32 {
        (
            StatusCode::CONFLICT,
            json!({ "refused": "the nonce was seen before" }),
        )
    } else {
        let command: Value = serde_json::from_slice(&body).expect("signed, so it is JSON");
        match perform(&state.fake, &command).await {
            Ok(mut done) => {
                done["done"] = true.into();
                (StatusCode::OK, done)
            }
            Err(ProviderError::Refused(why)) => {
                (StatusCode::UNPROCESSABLE_ENTITY, json!({ "refused": why }))
            }
            Err(ProviderError::Unavailable(why)) => (
                StatusCode::SERVICE_UNAVAILABLE,
                json!({ "unavailable": why }),
            ),
            Err(ProviderError::OutcomeUnknown(_)) => (StatusCode::BAD_GATEWAY, json!(null)),
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(said.to_string())));
    *response.status_mut() = status;
    Ok(response)
}

async fn perform(fake: &FakeTarget, command: &Value) -> Result<Value, ProviderError> {
    let target = FakeTarget::target();
    let text = |name: &str| command[name].as_str().unwrap_or_default();
    let account = text("account");
    let password = SecretText::new(text("password"));
    let accepted = |said: LogIn| json!({ "accepted": said == LogIn::Accepted });
    Ok(match text("operation") {
        "test" => json!({ "checks": [{ "what": "log in", "works": true, "message": "" }] }),
        "log_in" => accepted(
            dsm_core::provider::Passwords::log_in(fake, &target, account, &password).await?,
        ),
        "change_password" => {
            fake.change_password(&target, account, &password).await?;
            json!({})
        }
        "list_keys" => {
            let listed = fake.list_keys(&target, account).await?;
            let listed: Vec<Value> = listed
                .iter()
                .map(|key| json!({ "id": key.id, "active": key.active }))
                .collect();
            json!({ "keys": listed })
        }
        "log_in_with_key" => {
            let key = Key {
                id: text("id").to_owned(),
                secret: SecretText::new(text("secret")),
                public: None,
            };
            accepted(dsm_core::provider::AccountKeys::log_in(fake, &target, account, &key).await?)
        }
        "issue_key" => {
            let key = fake.issue_key(&target, account).await?;
            json!({ "key": { "id": key.id, "secret": key.secret.expose() } })
        }
        "deactivate_key" => {
            fake.deactivate_key(&target, account, text("id")).await?;
            json!({})
        }
        "delete_key" => {
            fake.delete_key(&target, account, text("id")).await?;
            json!({})
        }
        "create_account" => {
            let account = NewAccount {
                name: account,
                password: command.get("password").map(|_| &password),
                roles: &[],
                expires_at: None,
                template: None,
            };
            fake.create_account(&target, &account).await?;
            json!({})
        }
        "drop_account" => {
            fake.drop_account(&target, account, None).await?;
            json!({})
        }
        "list_accounts" => {
            json!({ "accounts": fake.list_accounts(&target, text("prefix")).await? })
        }
        other => return Err(ProviderError::Refused(format!("there is no {other}"))),
    })
}

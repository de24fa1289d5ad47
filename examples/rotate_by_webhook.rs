//! A system of one's own behind the webhook: a receiver that checks what the vault signs and changes
//! passwords as it is told.

mod rotation;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use dsm_core::provider::{Login, Options, Proof, Target};
use dsm_core::time::{Clock as _, SystemClock};
use dsm_providers::webhook::{SignedParts, Webhook, signature};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;

const PATH: &str = "/hooks/dsm";
/// The name of the key that both sides have, and the key.
const NAME: &str = "vault";
const KEY: &str = "Key-of-both-sides-of-the-example";

/// Accounts with their passwords. A real receiver has a system behind it that keeps them.
type Accounts = Arc<Mutex<HashMap<String, String>>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let accounts = Accounts::default();
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let accounts = Arc::clone(&accounts);
            let answer = service_fn(move |request| answer(address, Arc::clone(&accounts), request));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    let target = || Target {
        name: "legacy".to_owned(),
        address: address.to_string(),
        options: Options::from([("path".to_owned(), PATH.to_owned())]),
        admin: Login {
            user: NAME.to_owned(),
            proof: Proof::Password(KEY.into()),
        },
    };
    let provider = Arc::new(Webhook::default());
    rotation::rotate_password(provider, target, &["orders"], &[]).await?;
    serving.abort();
    Ok(())
}

async fn answer(
    address: SocketAddr,
    accounts: Accounts,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let (status, said) = if head.method == Method::POST && head.uri.path() == PATH {
        receive(address, &accounts, &head.headers, &body)
    } else {
        refuse("there is nothing here")
    };
    let mut response = Response::new(Full::new(said.to_string().into()));
    *response.status_mut() = status;
    Ok(response)
}

/// What a request gets: nothing is looked at before its signature is found good.
fn receive(
    address: SocketAddr,
    accounts: &Accounts,
    headers: &HeaderMap,
    body: &Bytes,
) -> (StatusCode, Value) {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let timestamp = header("dsm-timestamp").and_then(|text| text.parse().ok());
    let parts = SignedParts {
        host: &address.to_string(),
        path: PATH,
        timestamp: timestamp.unwrap_or_default(),
        nonce: header("dsm-nonce").unwrap_or_default(),
        body,
    };
    let expected = signature(KEY.as_bytes(), &parts);
    let shown = header("dsm-signature").unwrap_or_default();
    let now = SystemClock.now().timestamp();
    let is_timely = now.abs_diff(parts.timestamp) <= 300;
    if !bool::from(shown.as_bytes().ct_eq(expected.as_bytes())) || !is_timely {
        return refuse("the signature is not good");
    }
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
    let mut accounts = accounts.lock().unwrap_or_else(PoisonError::into_inner);
    let (account, password) = (text("account"), text("password"));
    let done = match &*text("operation") {
        "test" => json!({"done": true, "checks": []}),
        "create_account" => {
            accounts.insert(account, password);
            json!({"done": true})
        }
        "change_password" => match accounts.get_mut(&account) {
            Some(current) => {
                *current = password;
                json!({"done": true})
            }
            None => return refuse("there is no such account"),
        },
        "log_in" => {
            let accepted = accounts
                .get(&account)
                .is_some_and(|known| *known == password);
            json!({"done": true, "accepted": accepted})
        }
        _ => return refuse("it does not do that"),
    };
    (StatusCode::OK, done)
}

fn refuse(why: &str) -> (StatusCode, Value) {
    (StatusCode::UNPROCESSABLE_ENTITY, json!({ "refused": why }))
}

//! The proofs of the methods beside OAuth 2.0, right and wrong.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use data_encoding::BASE64;
use dsm_core::aws::StsError;
use dsm_core::id::{AuthorizationId, ClientId};
use dsm_core::oauth1::{self, BaseUri, Parameter, Scheme, SignatureMethod, SignedRequest};
use dsm_core::secret::SecretText;
use dsm_core::vault::{AuthorizationFields, Credentials};
use serde_json::json;
use warp::http::Method;

use crate::exchange::Ask;
use crate::world::{AUTHORIZATION, STS, World};

const HOST: &str = "dsm.example.org";
/// Each signature has one of its own.
static NONCES: AtomicU32 = AtomicU32::new(0);
/// Whom the application lists.
const ARN: &str = "arn:aws:iam::123456789012:role/caller";

/// A request with its signature of OAuth 1.0, spoilt as the fault says.
pub(crate) async fn signed(world: &World, mut ask: Ask, fault: &str) -> Ask {
    let revealed = world.revealed(AUTHORIZATION).await;
    let Credentials::OAuth1(own) = revealed else {
        panic!("{revealed:?}");
    };
    let (mut key, mut token) = (own.consumer_key, own.token);
    let (mut secret, token_secret) = (own.consumer_secret, own.token_secret);
    let mut at = world.vault.now().timestamp();
    match fault {
        "nobody" => key = "0".repeat(key.len()),
        "method" => key = world.credentials(AuthorizationId(2)).await.client_id,
        "token" => token = "0".repeat(token.len()),
        "secret" => secret = SecretText::new("dsm-os-wrong"),
        "old" => at -= 301,
        "early" => at += 301,
        "replaced" => replace(world).await,
        "gone" => revoke(world).await,
        _ => {}
    }
    let at = at.to_string();
    let nonce = NONCES.fetch_add(1, Ordering::Relaxed).to_string();
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let mut protocol: Vec<(String, String)> = [
        ("oauth_consumer_key", key.as_str()),
        ("oauth_token", &token),
        (
            "oauth_signature_method",
            if fault == "plain" {
                "PLAINTEXT"
            } else {
                "HMAC-SHA256"
            },
        ),
        ("oauth_timestamp", &at),
        ("oauth_nonce", &nonce),
        (
            "oauth_version",
            if fault == "version" { "2.0" } else { "1.0" },
        ),
    ]
    .map(owned)
    .into();
    if fault == "body-hash" {
        protocol.push(owned(("oauth_body_hash", &BASE64.encode(&[0; 32]))));
    }
    if fault == "missing" {
        protocol.retain(|(name, _)| name != "oauth_nonce");
    }
    let (path, query) = ask.path.split_once('?').unwrap_or((&ask.path, ""));
    let uri = BaseUri::new(Scheme::Http, HOST, path).expect("a host");
    let bytes = |(name, value): &(String, String)| -> Parameter {
        (name.clone().into_bytes(), value.clone().into_bytes())
    };
    // Nothing in the queries of the table needs an encoding.
    let asked = query.split('&').filter_map(|pair| pair.split_once('='));
    let request = SignedRequest {
        method: ask.method.to_string(),
        uri,
        parameters: protocol
            .iter()
            .cloned()
            .chain(asked.map(owned))
            .map(|it| bytes(&it))
            .collect(),
        body: None,
    };
    let signature = oauth1::sign(
        &request,
        SignatureMethod::HmacSha256,
        &secret,
        &token_secret,
    );
    protocol.push(owned(("oauth_signature", &BASE64.encode(&signature))));
    if fault == "repeated" {
        protocol.push(protocol[0].clone());
    }
    let parameter = |(name, value): &(String, String)| {
        let value = value.replace('+', "%2B").replace('=', "%3D");
        format!("{name}=\"{}\"", value.replace('/', "%2F"))
    };
    let parameters: Vec<String> = protocol.iter().map(parameter).collect();
    let header = if fault == "garbled" {
        "OAuth oauth_consumer_key=, x".to_owned()
    } else {
        format!("OAuth {}", parameters.join(", "))
    };
    ask = ask.header("authorization", &header);
    match fault {
        "no-host" => ask,
        "sent-to" => ask.header("host", "other.example.org"),
        "used" => {
            let ask = ask.header("host", HOST);
            world.answer(ask.clone()).await;
            ask
        }
        _ => ask.header("host", HOST),
    }
}

/// Has an account made for the container that [`CONTAINER`](crate::world::CONTAINER) is of, as a world
/// whose client has tokens has one already.
pub(crate) async fn provision(world: &World) {
    let container = json!({"pod_name": "pod", "deploy": "deploy", "namespace": "space"});
    let ask = Ask::new(&Method::POST, "/iso/coe/dapp/provision").json(&container);
    let answer = world.answer(signed(world, ask, "good").await).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// A request with a request signed for AWS as its credentials, spoilt as the fault says.
pub(crate) async fn identified(world: &World, ask: Ask, fields: &str, fault: &str) -> Ask {
    let key = match world.revealed(AUTHORIZATION).await {
        Credentials::Aws { unique_key } => unique_key.expose().to_owned(),
        other => panic!("{other:?}"),
    };
    let signature = "0123456789abcdef".repeat(4);
    let answer = match fault {
        "forged" => Err(StsError::Refused("SignatureDoesNotMatch".to_owned())),
        "down" => Err(StsError::Unavailable("nothing within 10 s".to_owned())),
        "unlisted" => Ok("arn:aws:iam::999999999999:role/caller"),
        _ => Ok(ARN),
    };
    let answer = answer.map(|arn| arn.parse().expect("an ARN"));
    world.sts.answer(signature.as_str(), answer);
    let key = match fault {
        "key" => "dsm-uk-wrong".to_owned(),
        "no-key" => String::new(),
        "method" => of_another_method(world).await,
        _ => key,
    };
    match fault {
        "replaced" => replace(world).await,
        "gone" => revoke(world).await,
        _ => {}
    }
    let now = world.vault.now()
        + match fault {
            "old" => TimeDelta::seconds(-301),
            "early" => TimeDelta::seconds(301),
            _ => TimeDelta::zero(),
        };
    let service = if fault == "service" { "s3" } else { "sts" };
    let signed = if fault == "unsigned" {
        "host"
    } else {
        "host;x-amz-date"
    };
    let day = now.format("%Y%m%d");
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=AKID/{day}/us-east-1/{service}/aws4_request, \
         SignedHeaders={signed}, Signature={signature}"
    );
    let headers = json!({
        "Authorization": authorization,
        "Host": if fault == "host" { "sts.elsewhere.example" } else { STS },
        "X-Amz-Date": now.format("%Y%m%dT%H%M%SZ").to_string(),
    });
    let headers = match fault {
        "garbled" => "x".to_owned(),
        _ => percent(&headers.to_string()),
    };
    let body = match fault {
        "body" => "Action%3DGetSessionToken%26Version%3D2011-06-15",
        _ => "Action%3DGetCallerIdentity%26Version%3D2011-06-15",
    };
    let fields = format!("{fields}&unique_key={key}&aws_headers={headers}&aws_body={body}");
    let ask = ask.raw("application/x-www-form-urlencoded", fields);
    if fault == "used" {
        world.answer(ask.clone()).await;
    }
    ask
}

/// New credentials in place of the client's own, at once.
async fn replace(world: &World) {
    let overlap = Some(Duration::ZERO);
    let rotated = world
        .vault
        .rotate_clients(&world.me, AUTHORIZATION, overlap);
    rotated.await.expect("new credentials");
}

/// Takes the client's own credentials away.
pub(crate) async fn revoke(world: &World) {
    let revoked = world
        .vault
        .revoke_client(&world.me, AUTHORIZATION, ClientId(1));
    revoked.await.expect("a revoked client");
}

/// The unique key of an authorization whose application does not use AWS.
async fn of_another_method(world: &World) -> String {
    let fields = AuthorizationFields {
        unique_key: Some(Some("other".to_owned())),
        ..AuthorizationFields::default()
    };
    let other = AuthorizationId(2);
    let changed = world
        .vault
        .update_authorization(&world.me, other, fields, None);
    changed.await.expect("a changed authorization");
    "other".to_owned()
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

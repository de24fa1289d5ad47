//! The key that sensitive values of an authorization are sealed to.

use http::StatusCode;
use serde_json::json;

use crate::api::status::{Failure, Kind};
use crate::api::v1::endpoint::{get, put};
use crate::api::v1::input;
use crate::api::v1::request::{Answer, Request};
use crate::app::App;
use crate::http::call::Reply;
use crate::http::fields::{FieldReader, string};
use crate::http::operation::{self, Shape};
use crate::http::router::Route;

const PUBLIC: &str = "/api/v1/authorizations/{id}/public-key";
const PRIVATE: &str = "/api/v1/authorizations/{id}/private-key";
/// As it is commonly called; none is registered.
const PEM: &str = "application/x-pem-file";
/// A key that nobody has the private one of.
const EXAMPLE: &str = include_str!("keys.pem");

pub(super) fn routes() -> Vec<Route<App>> {
    vec![
        get(
            PRIVATE,
            "v1.authorizations.private_key",
            "Gives the private key of an authorization",
        )
        .says("There is none to give where the client made the key, or where private keys are not kept.")
        .fails(Kind::Conflict)
        .answers(StatusCode::OK, pem("The key, as PKCS#8"))
        .by(private),
        get(
            PUBLIC,
            "v1.authorizations.public_key",
            "Gives the public key of an authorization",
        )
        .answers(StatusCode::OK, pem("The key, as SPKI"))
        .by(public),
        put(
            PUBLIC,
            "v1.authorizations.public_key.register",
            "Has values of an authorization sealed to a key that its client made",
        )
        .says("An RSA key of 2048 to 4096 bits, as PEM of SPKI or PKCS#1.")
        .body(public_key)
        .gives_nothing()
        .by(register),
    ]
}

fn pem(description: &'static str) -> operation::Answer {
    operation::Answer::of(description, PEM, Shape::text())
}

async fn private(request: Request) -> Answer {
    let key = request
        .vault()
        .download_private_key(&request.caller, request.id("id")?)
        .await?;
    Ok(Reply::bytes(StatusCode::OK, PEM, key.expose().to_owned()))
}

async fn public(request: Request) -> Answer {
    let key = request
        .vault()
        .download_public_key(&request.caller, request.id("id")?)
        .await?;
    Ok(Reply::bytes(StatusCode::OK, PEM, key))
}

fn public_key(mut body: FieldReader) -> Result<String, Failure> {
    let shape = || Shape::fixed(json!({"type": "string", "examples": [EXAMPLE]}));
    let key = body.required("public_key", shape, string);
    let wrong = input::wrong(body);
    key.filter(|_| wrong.is_empty())
        .ok_or_else(|| Failure::invalid(wrong))
}

async fn register(request: Request, key: Result<String, Failure>) -> Answer {
    let key = key?;
    request
        .vault()
        .register_public_key(&request.caller, request.id("id")?, &key)
        .await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

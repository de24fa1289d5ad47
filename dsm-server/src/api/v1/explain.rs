//! `/authorizations/{id}/explain`: why a request would be permitted or refused.

use std::net::IpAddr;
use std::str::FromStr;

use dsm_core::access::{
    AuthenticationMethod, CertificateDigests, Finding, Fingerprint, Origin, Outcome, Resource,
};
use dsm_core::aws::Arn;
use dsm_core::secret::Identity;
use dsm_core::vault::Hypothesis;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize as _, Serialize};
use serde_json::json;

use crate::api::status::Failure;
use crate::api::v1::input;
use crate::api::v1::request::{Answer, Request};
use crate::http::call::Reply;
use crate::http::fields::{FieldReader, string};
use crate::http::operation::Shape;

/// What every rule says, in the order in which they are tried.
#[derive(Serialize, JsonSchema)]
pub(super) struct Explanation {
    /// Whether the request would be permitted: no rule failed.
    permitted: bool,
    rules: Vec<Finding>,
}

pub(super) async fn explain(request: Request, hypothesis: Result<Hypothesis, Failure>) -> Answer {
    let (id, hypothesis) = (request.id("id")?, hypothesis?);
    let rules = request
        .vault()
        .explain(&request.caller, id, hypothesis)
        .await?;
    let permitted = rules
        .iter()
        .all(|finding| finding.outcome != Outcome::Failed);
    Ok(Reply::json(
        StatusCode::OK,
        &Explanation { permitted, rules },
    ))
}

pub(super) fn hypothesis(mut body: FieldReader) -> Result<Hypothesis, Failure> {
    let ip = body.required("ip", ip_address, |value| {
        let ip = string(value)?.parse::<IpAddr>();
        ip.map_err(|_| "must be an IP address")
    });
    let referrer = body.optional_string("referrer");
    let fingerprint = body.optional("fingerprint", Shape::of::<Fingerprint>, |value| {
        let fingerprint = string(value)?.parse::<Fingerprint>();
        fingerprint.map_err(|_| "must be a SHA-1 or SHA-256 in hexadecimal")
    });
    let resource = body.required("resource", Shape::of::<Resource>, |value| {
        let resource = string(value)?.parse::<Resource>();
        resource.map_err(|_| "must be Application, CI/CD or Secret Management")
    });
    let identity = body.optional_string("identity");
    if let Some(text) = &identity
        && let Err(error) = Identity::from_str(text)
    {
        body.reject("identity", error.to_string());
    }
    let at = body.instant("at");
    let method = body.optional("method", Shape::of::<AuthenticationMethod>, |value| {
        let method = AuthenticationMethod::deserialize(value);
        method.map_err(|_| "must be oauth2, oauth1 or aws")
    });
    let arn = body.optional("arn", Shape::text, |value| {
        let arn = string(value)?.parse::<Arn>();
        arn.map_err(|_| "must be the ARN of one principal")
    });
    let wrong = input::wrong(body);
    match resource {
        Some(resource) if wrong.is_empty() => Ok(Hypothesis {
            origin: Origin {
                // As the accept loop has it: an IPv4 address in IPv6 form is the IPv4 address.
                ip: ip.map(|ip| ip.to_canonical()),
                referrer,
                certificate: fingerprint.map(CertificateDigests::only),
            },
            resource,
            identity,
            at,
            method,
            arn,
        }),
        _ => Err(Failure::invalid(wrong)),
    }
}

/// An address of either family.
pub(super) fn ip_address() -> Shape {
    let form = |format| Shape::fixed(json!({"type": "string", "format": format}));
    form("ipv4").or(form("ipv6"))
}

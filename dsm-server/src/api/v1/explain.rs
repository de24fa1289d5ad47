//! `/authorizations/{id}/explain`: why a request would be permitted or refused.

use std::net::IpAddr;
use std::str::FromStr;

use dsm_core::access::{CertificateDigests, Finding, Fingerprint, Origin, Outcome, Resource};
use dsm_core::secret::Identity;
use dsm_core::vault::Hypothesis;
use http::StatusCode;
use serde::Serialize;

use crate::api::status::Failure;
use crate::api::v1::input;
use crate::api::v1::request::{Answer, Request};
use crate::http::call::Reply;
use crate::http::fields::FieldReader;

/// What every rule says, in the order in which they are tried.
#[derive(Serialize)]
struct Explanation {
    /// Whether the request would be permitted: no rule failed.
    permitted: bool,
    rules: Vec<Finding>,
}

pub(super) async fn explain(request: Request) -> Answer {
    request.no_condition()?;
    let id = request.id("id")?;
    let hypothesis = read(request.body()?)?;
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

fn read(mut body: FieldReader) -> Result<Hypothesis, Failure> {
    let ip = body.required_string("ip");
    let ip: Option<IpAddr> = parsed(&mut body, "ip", &ip, "must be an IP address");
    let referrer = body.optional_string("referrer");
    let fingerprint = body.optional_string("fingerprint");
    let fingerprint: Option<Fingerprint> = fingerprint.and_then(|text| {
        let message = "must be a SHA-1 or SHA-256 in hexadecimal";
        parsed(&mut body, "fingerprint", &text, message)
    });
    let resource = body.required_string("resource");
    let message = "must be Application, CI/CD or Secret Management";
    let resource: Option<Resource> = parsed(&mut body, "resource", &resource, message);
    let identity = body.optional_string("identity");
    if let Some(text) = &identity
        && let Err(error) = Identity::from_str(text)
    {
        body.reject("identity", error.to_string());
    }
    let at = body.instant("at");
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
        }),
        _ => Err(Failure::invalid(wrong)),
    }
}

/// The parsed form of a text that is not known to be missing already.
fn parsed<T: FromStr>(
    body: &mut FieldReader,
    name: &'static str,
    text: &str,
    message: &str,
) -> Option<T> {
    let parsed = text.parse().ok();
    if parsed.is_none() && !text.is_empty() {
        body.reject(name, message);
    }
    parsed
}

//! Requests that are signed by OAuth 1.0: their header, query and form, and what is signed of them.
#![no_main]

use bytes::Bytes;
use dsm_core::oauth1::{Fault, Protocol, Scheme, SignedRequest, base_string, sign, verify};
use dsm_core::secret::SecretText;
use dsm_server::http::call::{Call, Peer};
use dsm_server::http::signed;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::{Request, Uri};
use libfuzzer_sys::fuzz_target;

const FORM: &str = "application/x-www-form-urlencoded";
const SIGNATURE: &[u8] = b"oauth_signature";

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else {
        return;
    };
    let scheme = match kind & 3 {
        0 => None,
        1 => Some(Scheme::Http),
        _ => Some(Scheme::Https),
    };
    let Some(call) = request(rest, kind & 4 != 0) else {
        return;
    };
    let Some(Ok(request)) = signed::read(&call, scheme) else {
        return;
    };
    assert!(!request.parameters.iter().any(|(name, _)| {
        call.query_as_sent().is_empty()
            && call.body.is_empty()
            && name.eq_ignore_ascii_case(b"realm")
    }));
    let base = base_string(&request);
    assert_eq!(base.matches('&').count(), 2, "method, URI and parameters");
    assert!(base.bytes().all(|byte| byte.is_ascii_graphic()));
    let Ok(protocol) = Protocol::of(&request) else {
        return;
    };
    // Whatever was read can be signed; the signature is found good, by these secrets alone.
    let [consumer, token] = ["consumer", "token"].map(SecretText::new);
    let signature = sign(&request, protocol.method, &consumer, &token);
    let protocol = Protocol {
        signature: signature.clone(),
        body_hash: None,
        ..protocol
    };
    assert_eq!(verify(&request, &protocol, &consumer, &token), Ok(()));
    let other = verify(&request, &protocol, &token, &consumer);
    assert_eq!(other, Err(Fault::Signature));
    // It covers every parameter but itself.
    for (place, (name, _)) in request.parameters.iter().enumerate() {
        let mut changed: SignedRequest = request.clone();
        changed.parameters[place].1.push(b'x');
        let same = sign(&changed, protocol.method, &consumer, &token) == signature;
        assert_eq!(same, name == SIGNATURE);
    }
});

/// A line each for target, host and header; what follows is the body.
fn request(data: &[u8], is_form: bool) -> Option<Call> {
    let mut parts = data.splitn(4, |byte| *byte == b'\n');
    let target = Uri::try_from(parts.next()?).ok()?;
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = target;
    for name in [HOST, AUTHORIZATION] {
        add(&mut request, name, parts.next().unwrap_or_default());
    }
    if is_form {
        add(&mut request, CONTENT_TYPE, FORM.as_bytes());
    }
    *request.body_mut() = Bytes::copy_from_slice(parts.next().unwrap_or_default());
    Some(Call::unrouted(
        request,
        Peer::new(([192, 0, 2, 1], 1).into()),
    ))
}

fn add(request: &mut Request<Bytes>, name: HeaderName, value: &[u8]) {
    if !value.is_empty()
        && let Ok(value) = HeaderValue::from_bytes(value)
    {
        request.headers_mut().insert(name, value);
    }
}

//! Requests signed by OAuth 1.0, taken apart for the core, which verifies them
//! ([RFC 5849, section 3.4.1](https://www.rfc-editor.org/rfc/rfc5849#section-3.4.1)).
//!
//! The parameters of the protocol come in the `Authorization` header, in the query or in a form. Path
//! and query count as they were sent, by whatever alias of an endpoint.

use dsm_core::oauth1::{BaseUri, Fault, Parameter, Scheme, SignedRequest};
use http::header::{AUTHORIZATION, HOST};
use percent_encoding::percent_decode;

use crate::http::call::Call;

/// A parameter that every signed request has, in one place or another.
const CONSUMER_KEY: &[u8] = b"oauth_consumer_key";
const FORM: &str = "application/x-www-form-urlencoded";

/// The signed request in `call`; `None` when it is none: it has another `Authorization`, or names no
/// consumer. `scheme` is what the client speaks, if that could be determined.
pub fn read(call: &Call, scheme: Option<Scheme>) -> Option<Result<SignedRequest, Fault>> {
    let header = match call.header(AUTHORIZATION) {
        Some(header) => Some(of_scheme(header)?),
        None if call.headers().contains_key(AUTHORIZATION) => return None,
        None => None,
    };
    let mut parameters = pairs(call.query_as_sent().as_bytes());
    let is_form = call.media_type().as_deref() == Some(FORM);
    if is_form {
        parameters.extend(pairs(call.body.trim_ascii_end()));
    }
    if header.is_none() && !parameters.iter().any(|(name, _)| name == CONSUMER_KEY) {
        return None;
    }
    Some(assemble(call, scheme, header, parameters, is_form))
}

fn assemble(
    call: &Call,
    scheme: Option<Scheme>,
    header: Option<&str>,
    mut parameters: Vec<Parameter>,
    is_form: bool,
) -> Result<SignedRequest, Fault> {
    let scheme = scheme.ok_or(Fault::Malformed("the forwarded protocol"))?;
    // A target in absolute form names the host itself.
    let authority = match call.head.uri.authority() {
        Some(authority) => authority.as_str(),
        None => call.header(HOST).ok_or(Fault::Missing("Host"))?,
    };
    let uri = BaseUri::new(scheme, authority, call.sent_path())?;
    if let Some(header) = header {
        parameters.extend(of_header(header)?);
    }
    Ok(SignedRequest {
        method: call.method().as_str().to_owned(),
        uri,
        parameters,
        body: (!is_form).then(|| call.body.to_vec()),
    })
}

/// What follows the scheme in a header of OAuth 1.0.
fn of_scheme(header: &str) -> Option<&str> {
    let header = header.trim();
    let (scheme, rest) = header.split_once([' ', '\t']).unwrap_or((header, ""));
    scheme.eq_ignore_ascii_case("oauth").then(|| rest.trim())
}

/// The parameters of the header but the realm
/// ([section 3.5.1](https://www.rfc-editor.org/rfc/rfc5849#section-3.5.1)).
fn of_header(text: &str) -> Result<Vec<Parameter>, Fault> {
    let malformed = || Fault::Malformed("Authorization");
    let mut parameters = Vec::new();
    for pair in text.split(',').map(str::trim) {
        // A list may have empty elements.
        if pair.is_empty() {
            continue;
        }
        let (name, value) = pair.split_once('=').ok_or_else(malformed)?;
        let value = value.trim_start();
        let value = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
        let value = value.filter(|it| !it.contains('"')).ok_or_else(malformed)?;
        let name = decoded(name.trim_end().as_bytes());
        if !name.eq_ignore_ascii_case(b"realm") {
            parameters.push((name, decoded(value.as_bytes())));
        }
    }
    Ok(parameters)
}

/// The pairs of a form or a query, decoded.
fn pairs(text: &[u8]) -> Vec<Parameter> {
    let pairs = text.split(|byte| *byte == b'&');
    let pairs = pairs.filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let mut half = || form_decoded(halves.next().unwrap_or_default());
            (half(), half())
        })
        .collect()
}

fn form_decoded(text: &[u8]) -> Vec<u8> {
    let plus = |byte: &u8| if *byte == b'+' { b' ' } else { *byte };
    decoded(&text.iter().map(plus).collect::<Vec<u8>>())
}

fn decoded(text: &[u8]) -> Vec<u8> {
    percent_decode(text).collect()
}

#[cfg(test)]
mod tests {
    use super::{Fault, of_header, of_scheme, pairs};

    fn texts(parameters: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<(String, String)> {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        parameters
            .into_iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect()
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn headers_are_read_and_the_realm_is_left_out() {
        let header = "oAuth realm=\"Example\",\n  oauth_consumer_key=\"0685bd9184jfhq22\" , \
                      oauth_token=\"ad180jjd733klru7\",,oauth_signature=\"wOJIO9A2W5mFwDgiDvZbTSMK%2FPY%3D\"";
        let rest = of_scheme(header).expect("the scheme");
        let read = of_header(rest).expect("well-formed");
        assert_eq!(
            texts(read),
            owned(&[
                ("oauth_consumer_key", "0685bd9184jfhq22"),
                ("oauth_token", "ad180jjd733klru7"),
                ("oauth_signature", "wOJIO9A2W5mFwDgiDvZbTSMK/PY="),
            ])
        );
        // A plus is no space here.
        let read = of_header("a=\"b+c\", d=\"\"").expect("well-formed");
        assert_eq!(texts(read), owned(&[("a", "b+c"), ("d", "")]));
        for wrong in ["a", "a=b", "a=\"b", "a=b\"", "a=\"", "a=\"b\"c\""] {
            let read = of_header(wrong);
            assert_eq!(read, Err(Fault::Malformed("Authorization")), "{wrong}");
        }
        assert_eq!(of_scheme("OAuth"), Some(""));
        for other in ["Bearer a", "OAuth2 a", "oauth_token=\"a\"", ""] {
            assert_eq!(of_scheme(other), None, "{other}");
        }
    }

    #[test]
    fn forms_and_queries_are_read_as_the_rfc_has_it() {
        assert_eq!(
            texts(pairs(b"b5=%3D%253D&a3=a&c%40=&a2=r%20b&&c2&a3=2+q&=x")),
            owned(&[
                ("b5", "=%3D"),
                ("a3", "a"),
                ("c@", ""),
                ("a2", "r b"),
                ("c2", ""),
                ("a3", "2 q"),
                ("", "x"),
            ])
        );
        assert_eq!(pairs(b"%FF=%00"), [(vec![0xFF], vec![0])]);
    }
}

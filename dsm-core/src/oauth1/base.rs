//! The signature base string
//! ([RFC 5849, section 3.4.1](https://www.rfc-editor.org/rfc/rfc5849#section-3.4.1)).

use super::protocol::Fault;
use super::{Parameter, SignedRequest};
use crate::access::Scheme;

/// Everything of a request that its signature covers, as one text.
pub fn base_string(request: &SignedRequest) -> String {
    let mut base = request.method.to_ascii_uppercase();
    base.push('&');
    encode_into(&mut base, request.uri.0.as_bytes());
    base.push('&');
    encode_into(&mut base, normalised(&request.parameters).as_bytes());
    base
}

/// The base string URI ([section 3.4.1.2](https://www.rfc-editor.org/rfc/rfc5849#section-3.4.1.2)):
/// scheme and host in lower case, the port unless it is the scheme's own, and the path as sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUri(pub(super) String);

impl BaseUri {
    /// The URI of `path` at `authority`, which is the `Host` header's value.
    ///
    /// # Errors
    ///
    /// [`Fault::Malformed`] when the authority is no host with or without a port.
    pub fn new(scheme: Scheme, authority: &str, path: &str) -> Result<Self, Fault> {
        let malformed = Fault::Malformed("Host");
        let (host, port) = split(authority).ok_or(malformed)?;
        let port = match port {
            None | Some("") => None,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                let port: u16 = digits.parse().map_err(|_| malformed)?;
                Some(port).filter(|port| *port != scheme.default_port())
            }
            Some(_) => return Err(malformed),
        };
        let forbidden = |c: char| c.is_whitespace() || c.is_control() || "/?#@\\".contains(c);
        if host.is_empty() || host.contains(forbidden) {
            return Err(malformed);
        }
        let mut uri = format!("{}://{}", scheme.as_str(), host.to_ascii_lowercase());
        if let Some(port) = port {
            uri.push(':');
            uri.push_str(&port.to_string());
        }
        uri.push_str(if path.is_empty() { "/" } else { path });
        Ok(Self(uri))
    }
}

/// Host and port. An IPv6 address keeps its brackets.
fn split(authority: &str) -> Option<(&str, Option<&str>)> {
    if authority.starts_with('[') {
        let (host, rest) = authority.split_at(authority.find(']')? + 1);
        return match rest {
            "" => Some((host, None)),
            rest => Some((host, Some(rest.strip_prefix(':')?))),
        };
    }
    match authority.split_once(':') {
        None => Some((authority, None)),
        Some((_, port)) if port.contains(':') => None,
        Some((host, port)) => Some((host, Some(port))),
    }
}

/// The parameters but the signature, encoded, sorted by name and then by value, and joined
/// ([section 3.4.1.3.2](https://www.rfc-editor.org/rfc/rfc5849#section-3.4.1.3.2)).
fn normalised(parameters: &[Parameter]) -> String {
    let signed = parameters
        .iter()
        .filter(|(name, _)| name != b"oauth_signature");
    let mut pairs: Vec<(String, String)> = signed
        .map(|(name, value)| (encode(name), encode(value)))
        .collect();
    pairs.sort_unstable();
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(&name);
        text.push('=');
        text.push_str(&value);
    }
    text
}

/// Percent-encoded as [section 3.6](https://www.rfc-editor.org/rfc/rfc5849#section-3.6) has it.
pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    encode_into(&mut text, bytes);
    text
}

fn encode_into(text: &mut String, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

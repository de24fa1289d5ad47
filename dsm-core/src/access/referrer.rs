use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Scheme;

/// An entry of a list of allowed referrers: the pages from which requests may come.
///
/// It reads `https://example.org`, `https://example.org:8443/app` or `https://*.example.org`.
/// Scheme, host and port have to be the same; a default port may be written or left out. The path
/// is a prefix that ends where a segment ends: `/app` covers `/app` and `/app/x` but not `/apple`,
/// and `/app/` covers what lies below it. `*.` stands for one or more whole labels, so the bare
/// domain is not covered. An international name is written in its ASCII form.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(into = "String", try_from = "String")]
pub struct ReferrerRule {
    place: Referrer,
    /// The host is that of a domain whose names below it are meant.
    below: bool,
}

/// What is compared of a `Referer` header: scheme, host, port and path, in one form.
///
/// It reads only what cannot be understood in two ways. User information, fragments, backslashes,
/// white space and anything beyond ASCII are refused, and in the path dot segments and encoded
/// dots, slashes, backslashes and percent signs, which lead elsewhere once somebody resolves or
/// decodes them. The query is dropped.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Referrer {
    scheme: Scheme,
    host: String,
    port: u16,
    path: String,
}

/// Why a text is neither a [`Referrer`] nor a [`ReferrerRule`]. It repeats nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReferrerError {
    /// Not `http://` or `https://`.
    #[error("a referrer starts with http:// or https://")]
    Scheme,
    /// White space, control characters, backslashes, or more than ASCII.
    #[error(
        "a referrer is printable ASCII without spaces and backslashes; \
         write international names in their xn-- form"
    )]
    Character,
    /// A name or a password before the host.
    #[error("a referrer has no user information")]
    UserInformation,
    /// A fragment.
    #[error("a referrer has no fragment")]
    Fragment,
    /// A query in a rule.
    #[error("an allowed referrer has no query")]
    Query,
    /// Neither a domain name nor an address.
    #[error("the host of a referrer is a domain name, an IPv4 address or an IPv6 address in []")]
    Host,
    /// An asterisk anywhere but as the first label of a domain.
    #[error("* stands only in front of a domain name, as in https://*.example.org")]
    Wildcard,
    /// Not a port.
    #[error("the port of a referrer is a number from 1 to 65535 without leading zeros")]
    Port,
    /// A path that may be understood in two ways.
    #[error(
        "the path of a referrer has no dot segments, no stray %, and no encoded dots, slashes, \
         backslashes, percent signs or control characters"
    )]
    Path,
}

impl ReferrerRule {
    /// Whether a request from this page is allowed.
    pub fn allows(&self, referrer: &Referrer) -> bool {
        self.covers(referrer, false)
    }

    /// Whether `other` allows every page that this one allows.
    pub fn is_within(&self, other: &Self) -> bool {
        other.covers(&self.place, self.below)
    }

    /// Whether it covers a page and all below its path; with `below`, on every name below the
    /// host too.
    fn covers(&self, place: &Referrer, below: bool) -> bool {
        let host = if self.below {
            let same = below && place.host == self.place.host;
            same || place
                .host
                .strip_suffix(&self.place.host)
                .is_some_and(|labels| labels.ends_with('.'))
        } else {
            !below && place.host == self.place.host
        };
        host && place.scheme == self.place.scheme
            && place.port == self.place.port
            && place
                .path
                .strip_prefix(&self.place.path)
                .is_some_and(|rest| {
                    rest.is_empty() || rest.starts_with('/') || self.place.path.ends_with('/')
                })
    }
}

impl FromStr for ReferrerRule {
    type Err = ReferrerError;

    fn from_str(text: &str) -> Result<Self, ReferrerError> {
        let parts = Parts::split(text)?;
        if parts.query {
            return Err(ReferrerError::Query);
        }
        if parts.path.contains('*') {
            return Err(ReferrerError::Wildcard);
        }
        let domain = parts.host.strip_prefix("*.");
        let host = match domain {
            Some(domain) => domain_name(domain).ok_or(ReferrerError::Wildcard)?,
            None if parts.host.contains('*') => return Err(ReferrerError::Wildcard),
            None => host(parts.host)?,
        };
        Ok(Self {
            below: domain.is_some(),
            place: parts.at(host)?,
        })
    }
}

impl FromStr for Referrer {
    type Err = ReferrerError;

    fn from_str(text: &str) -> Result<Self, ReferrerError> {
        let parts = Parts::split(text)?;
        let host = host(parts.host)?;
        parts.at(host)
    }
}

/// The pieces of a referrer, as they were written.
struct Parts<'a> {
    scheme: Scheme,
    host: &'a str,
    port: Option<&'a str>,
    path: &'a str,
    query: bool,
}

impl<'a> Parts<'a> {
    fn split(text: &'a str) -> Result<Self, ReferrerError> {
        if !text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') {
            return Err(ReferrerError::Character);
        }
        if text.contains('#') {
            return Err(ReferrerError::Fragment);
        }
        let (scheme, rest) = text.split_once("://").ok_or(ReferrerError::Scheme)?;
        let scheme = if scheme.eq_ignore_ascii_case("https") {
            Scheme::Https
        } else if scheme.eq_ignore_ascii_case("http") {
            Scheme::Http
        } else {
            return Err(ReferrerError::Scheme);
        };
        let (rest, query) = match rest.split_once('?') {
            Some((rest, _)) => (rest, true),
            None => (rest, false),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(ReferrerError::UserInformation);
        }
        // Colons before the bracket belong to the address.
        let address = authority.rfind(']').unwrap_or(0);
        let (host, port) = match authority[address..].find(':') {
            Some(colon) => {
                let (host, port) = authority.split_at(address + colon);
                (host, Some(&port[1..]))
            }
            None => (authority, None),
        };
        Ok(Self {
            scheme,
            host,
            port,
            path,
            query,
        })
    }

    fn at(&self, host: String) -> Result<Referrer, ReferrerError> {
        let port = match self.port {
            None => self.scheme.default_port(),
            Some(text) => text
                .parse()
                .ok()
                .filter(|port: &u16| *port != 0 && port.to_string() == text)
                .ok_or(ReferrerError::Port)?,
        };
        Ok(Referrer {
            scheme: self.scheme,
            host,
            port,
            path: path(self.path)?,
        })
    }
}

/// A host in its one form.
fn host(text: &str) -> Result<String, ReferrerError> {
    let address = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    if let Some(address) = address {
        let address: Ipv6Addr = address.parse().map_err(|_| ReferrerError::Host)?;
        return Ok(format!("[{address}]"));
    }
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(address.to_string());
    }
    domain_name(text).ok_or(ReferrerError::Host)
}

/// A domain name in lower case.
fn domain_name(text: &str) -> Option<String> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let name = text.to_ascii_lowercase();
    // Clients take a name that ends in a number, such as 127.1 or 0x7f.1, for an IPv4 address:
    // https://url.spec.whatwg.org/#ends-in-a-number-checker
    let last = name.rsplit('.').next()?;
    let is_number = last.bytes().all(|b| b.is_ascii_digit())
        || last
            .strip_prefix("0x")
            .is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    (name.len() <= 253 && name.split('.').all(label) && !is_number).then_some(name)
}

/// A path in its one form: unreserved characters as they are, other encodings in upper case.
fn path(text: &str) -> Result<String, ReferrerError> {
    if text.is_empty() {
        return Ok("/".to_owned());
    }
    let mut path = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        path.push_str(&rest[..at]);
        let digits = rest.get(at + 1..at + 3).ok_or(ReferrerError::Path)?;
        let decoded = data_encoding::HEXUPPER_PERMISSIVE
            .decode(digits.as_bytes())
            .map_err(|_| ReferrerError::Path)?;
        match decoded[..] {
            [b'.' | b'/' | b'\\' | b'%' | 0..=0x1F | 0x7F] => return Err(ReferrerError::Path),
            [byte] if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) => {
                path.push(char::from(byte));
            }
            _ => {
                path.push('%');
                path.push_str(&digits.to_ascii_uppercase());
            }
        }
        rest = &rest[at + 3..];
    }
    path.push_str(rest);
    // Some servers cut parameters off a segment before they resolve it.
    let is_dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
    if path.split('/').any(is_dots) {
        return Err(ReferrerError::Path);
    }
    Ok(path)
}

impl fmt::Display for ReferrerRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Referrer {
            scheme,
            host,
            port,
            path,
        } = &self.place;
        let below = if self.below { "*." } else { "" };
        write!(f, "{}://{below}{host}", scheme.as_str())?;
        if *port != scheme.default_port() {
            write!(f, ":{port}")?;
        }
        if path != "/" {
            f.write_str(path)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Referrer {
    /// Leaves out the path, which may hold anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Referrer")
            .field("scheme", &self.scheme)
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl From<ReferrerRule> for String {
    fn from(rule: ReferrerRule) -> Self {
        rule.to_string()
    }
}

impl TryFrom<String> for ReferrerRule {
    type Error = ReferrerError;

    fn try_from(text: String) -> Result<Self, ReferrerError> {
        text.parse()
    }
}

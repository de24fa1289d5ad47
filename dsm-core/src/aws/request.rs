//! The one request that is sent on for a client: `sts:GetCallerIdentity`, signed by
//! [Signature Version 4](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html).

use std::collections::BTreeMap;
use std::fmt;

use chrono::{NaiveDateTime, TimeDelta};

use super::SignedIdentity;
use crate::time::Timestamp;

/// How old a request may be, or how far ahead the clock of who signed it.
const WINDOW: TimeDelta = TimeDelta::seconds(300);
/// What a client may have signed. Everything else that it signed refuses the request; what it did not
/// sign is left out.
const SIGNED: [&str; 6] = [
    "content-length",
    "content-type",
    "host",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-security-token",
];
/// The header by which two requests of one second differ; any value.
const NONCE: &str = "x-dsm-nonce";
/// What has to be signed.
const REQUIRED: [&str; 2] = ["host", "x-amz-date"];
const AUTHORIZATION: &str = "authorization";
const ALGORITHM: &str = "AWS4-HMAC-SHA256 ";
/// The longest value of a header; a session token has up to 4 KiB or so.
const MAX_VALUE: usize = 8 * 1024;
/// The body, its two fields in either order.
const BODIES: [&str; 2] = [
    "Action=GetCallerIdentity&Version=2011-06-15",
    "Version=2011-06-15&Action=GetCallerIdentity",
];

/// Why a request is not sent on, for the audit trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestFault {
    /// Another method, or another body.
    #[error("the request is not a POST of Action=GetCallerIdentity&Version=2011-06-15")]
    NotGetCallerIdentity,
    /// A header is missing.
    #[error("the header {0} is missing or not signed")]
    Missing(&'static str),
    /// A header is there twice.
    #[error("a header is given more than once")]
    Repeated,
    /// A header is not of its form.
    #[error("the header {0} is malformed")]
    Malformed(&'static str),
    /// A header is signed that is not sent on.
    #[error("a header is signed that is none of those of this request")]
    Foreign,
    /// The request is signed for another host.
    #[error("the request is not signed for the host of the configured endpoint")]
    OtherHost,
    /// The request is signed for another service.
    #[error("the request is not signed for the service sts")]
    OtherService,
}

/// A request that is good to be sent, if its signature is.
///
/// `Debug` shows the time only: a session token is among the headers.
#[derive(Clone, PartialEq, Eq)]
pub struct IdentityRequest {
    headers: Vec<(String, String)>,
    body: String,
    signature: String,
    signed_at: Timestamp,
}

impl fmt::Debug for IdentityRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityRequest")
            .field("signed_at", &self.signed_at)
            .finish_non_exhaustive()
    }
}

impl IdentityRequest {
    /// The request in what a client handed over, if it is one for `host`. Neither its age nor its
    /// signature are checked.
    ///
    /// # Errors
    ///
    /// [`RequestFault`].
    pub fn read(shown: &SignedIdentity<'_>, host: &str) -> Result<Self, RequestFault> {
        if shown.method != "POST" || !BODIES.contains(&shown.body) {
            return Err(RequestFault::NotGetCallerIdentity);
        }
        let mut headers = BTreeMap::new();
        for (name, value) in shown.headers {
            let name = name.to_ascii_lowercase();
            if headers.insert(name, value.trim()).is_some() {
                return Err(RequestFault::Repeated);
            }
        }
        let authorization = take(&mut headers, AUTHORIZATION)?;
        let Authorization {
            date,
            service,
            signed,
            signature,
        } = Authorization::read(authorization).ok_or(RequestFault::Malformed(AUTHORIZATION))?;
        if service != "sts" {
            return Err(RequestFault::OtherService);
        }
        let mut sent = vec![(AUTHORIZATION.to_owned(), authorization.to_owned())];
        for name in &signed {
            let known = SIGNED.into_iter().find(|known| known == name);
            let known = known.or_else(|| (*name == NONCE).then_some(NONCE));
            let known = known.ok_or(RequestFault::Foreign)?;
            let value = take(&mut headers, known)?;
            sent.push((known.to_owned(), value.to_owned()));
        }
        let find = |wanted: &'static str| {
            let found = sent.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.as_str())
        };
        for name in REQUIRED {
            find(name).ok_or(RequestFault::Missing(name))?;
        }
        if !find("host").is_some_and(|it| it.eq_ignore_ascii_case(host)) {
            return Err(RequestFault::OtherHost);
        }
        let signed_at = find("x-amz-date").and_then(|text| {
            let at = NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%SZ").ok()?;
            text.starts_with(date).then(|| at.and_utc())
        });
        let signed_at = signed_at.ok_or(RequestFault::Malformed("x-amz-date"))?;
        let length = shown.body.len().to_string();
        if find("content-length").is_some_and(|it| it != length) {
            return Err(RequestFault::Malformed("content-length"));
        }
        // STS reads the body as what this says, signed or not.
        if find("content-type").is_none() {
            let form = "application/x-www-form-urlencoded; charset=utf-8";
            sent.push(("content-type".to_owned(), form.to_owned()));
        }
        Ok(Self {
            signature: signature.to_owned(),
            signed_at,
            headers: sent,
            body: shown.body.to_owned(),
        })
    }

    /// The headers, names in lower case.
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// The body, a form.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// The signature, in lower hexadecimal.
    pub fn signature(&self) -> &str {
        &self.signature
    }

    /// Whether it was signed near enough to `now`.
    pub fn is_timely(&self, now: Timestamp) -> bool {
        (now - self.signed_at).abs() <= WINDOW
    }
}

/// What the header says; all of it goes to STS as it is.
struct Authorization<'a> {
    date: &'a str,
    service: &'a str,
    signed: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (mut credential, mut signed, mut signature) = (None, None, None);
        for pair in text.strip_prefix(ALGORITHM)?.split(',') {
            let (name, value) = pair.trim().split_once('=')?;
            let place = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed,
                "Signature" => &mut signature,
                _ => return None,
            };
            if place.replace(value).is_some() {
                return None;
            }
        }
        let scope: Vec<&str> = credential?.split('/').collect();
        let [_key, date, _region, service, "aws4_request"] = scope[..] else {
            return None;
        };
        let hexadecimal = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let signature: &str = signature?;
        let whole = signature.len() == 64 && signature.bytes().all(hexadecimal);
        let dated = date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit());
        (whole && dated).then(|| Self {
            date,
            service,
            signed: signed.unwrap_or_default().split(';').collect(),
            signature,
        })
    }
}

/// Takes the header out of those that are left.
fn take<'h>(
    headers: &mut BTreeMap<String, &'h str>,
    name: &'static str,
) -> Result<&'h str, RequestFault> {
    let value = headers.remove(name).ok_or(RequestFault::Missing(name))?;
    let visible = value.bytes().all(|b| (b' '..=b'~').contains(&b));
    if value.is_empty() || value.len() > MAX_VALUE || !visible {
        return Err(RequestFault::Malformed(name));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "sts.eu-west-1.amazonaws.com";
    const BODY: &str = BODIES[0];

    fn headers() -> Vec<(String, String)> {
        let signature = "0123456789abcdef".repeat(4);
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20300131/eu-west-1/sts/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date;x-dsm-nonce, Signature={signature}"
        );
        [
            ("Authorization", authorization.as_str()),
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Host", HOST),
            ("X-Amz-Date", "20300131T120000Z"),
            ("X-DSM-Nonce", "1"),
            ("User-Agent", "not signed"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    fn read(
        headers: &[(String, String)],
        method: &str,
        body: &str,
    ) -> Result<IdentityRequest, RequestFault> {
        let shown = SignedIdentity {
            unique_key: "key",
            method,
            headers,
            body,
        };
        IdentityRequest::read(&shown, HOST)
    }

    /// The headers with one set, or removed.
    fn with(name: &str, value: Option<&str>) -> Vec<(String, String)> {
        let mut headers = headers();
        headers.retain(|(it, _)| !it.eq_ignore_ascii_case(name));
        headers.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        headers
    }

    fn replaced(from: &str, to: &str) -> Vec<(String, String)> {
        let mut headers = headers();
        headers[0].1 = headers[0].1.replace(from, to);
        headers
    }

    #[test]
    fn only_what_is_signed_is_sent() {
        let request = read(&headers(), "POST", BODY).expect("a good request");
        let names: Vec<&str> = request
            .headers()
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(
            names,
            [
                "authorization",
                "content-type",
                "host",
                "x-amz-date",
                "x-dsm-nonce"
            ]
        );
        assert_eq!(request.body(), BODY);
        assert_eq!(request.signature(), "0123456789abcdef".repeat(4));
        assert!(read(&headers(), "POST", BODIES[1]).is_ok());
    }

    #[test]
    fn no_other_request_is_sent() {
        use RequestFault as Fault;

        for (method, body) in [
            ("GET", BODY),
            ("post", BODY),
            ("POST", ""),
            ("POST", "Action=AssumeRole&Version=2011-06-15"),
            (
                "POST",
                "Action=GetCallerIdentity&Version=2011-06-15&Action=AssumeRole",
            ),
        ] {
            let fault = read(&headers(), method, body);
            assert_eq!(fault, Err(Fault::NotGetCallerIdentity), "{method} {body}");
        }
        let repeated = [headers(), vec![("host".to_owned(), HOST.to_owned())]].concat();
        let long = "a".repeat(MAX_VALUE + 1);
        for (headers, fault) in [
            (with("Authorization", None), Fault::Missing("authorization")),
            (with("Host", None), Fault::Missing("host")),
            (with("Host", Some("sts.amazonaws.com")), Fault::OtherHost),
            (with("Host", Some("169.254.169.254")), Fault::OtherHost),
            (with("X-Amz-Date", None), Fault::Missing("x-amz-date")),
            (
                with("X-Amz-Date", Some("2030-01-31")),
                Fault::Malformed("x-amz-date"),
            ),
            (
                with("X-Amz-Date", Some("20300201T120000Z")),
                Fault::Malformed("x-amz-date"),
            ),
            (
                with("X-DSM-Nonce", Some("a\r\nX: y")),
                Fault::Malformed("x-dsm-nonce"),
            ),
            (
                with("X-DSM-Nonce", Some(&long)),
                Fault::Malformed("x-dsm-nonce"),
            ),
            (repeated, Fault::Repeated),
            (replaced(";host", ""), Fault::Missing("host")),
            (replaced(";x-amz-date", ""), Fault::Missing("x-amz-date")),
            (replaced("host;", "host;x-forwarded-for;"), Fault::Foreign),
            (replaced("/sts/", "/iam/"), Fault::OtherService),
            (
                replaced("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA512"),
                Fault::Malformed("authorization"),
            ),
            (
                replaced("aws4_request", "aws5_request"),
                Fault::Malformed("authorization"),
            ),
            (
                replaced("Signature=0", "Signature="),
                Fault::Malformed("authorization"),
            ),
            (
                replaced("Signature=0", "Signature=X"),
                Fault::Malformed("authorization"),
            ),
            (
                replaced("Signature=", "Credential="),
                Fault::Malformed("authorization"),
            ),
            (
                replaced("20300131/", "2030/"),
                Fault::Malformed("authorization"),
            ),
        ] {
            assert_eq!(read(&headers, "POST", BODY), Err(fault), "{headers:?}");
        }
        let lengths = replaced("content-type;", "content-length;content-type;");
        let with_length = |length: &str| {
            let length = ("Content-Length".to_owned(), length.to_owned());
            [lengths.clone(), vec![length]].concat()
        };
        assert!(read(&with_length("43"), "POST", BODY).is_ok());
        let fault = read(&with_length("44"), "POST", BODY);
        assert_eq!(fault, Err(Fault::Malformed("content-length")));
    }

    #[test]
    fn requests_count_within_five_minutes_both_ways() {
        let request = read(&headers(), "POST", BODY).expect("a good request");
        for (time, timely) in [
            ("2030-01-31T12:00:00Z", true),
            ("2030-01-31T12:05:00Z", true),
            ("2030-01-31T11:55:00Z", true),
            ("2030-01-31T12:05:00.000001Z", false),
            ("2030-01-31T11:54:59Z", false),
        ] {
            let now: Timestamp = time.parse().expect("an instant");
            assert_eq!(request.is_timely(now), timely, "{time}");
        }
    }
}

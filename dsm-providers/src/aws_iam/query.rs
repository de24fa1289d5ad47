//! AWS's query APIs: signed forms, and what their answers mean.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use bytes::Bytes;
use dsm_core::aws::Arn;
use dsm_core::provider::{KeyState, Options, ProviderError, Target};
use dsm_core::secret::SecretText;
use dsm_core::time::Clock;
use http::Request;
use http::header::CONTENT_TYPE;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use roxmltree::Document;

use crate::aws_iam::{REGION as REGION_OPTION, STS as STS_OPTION};
use crate::http::{Endpoint, Ports};
use crate::outcome::unclear;

/// The region of IAM where nothing else is said.
pub(super) const REGION: &str = "us-east-1";
/// What STS says to a key that it does not know, or that is not active.
pub(super) const UNKNOWN_KEY: &str = "InvalidClientTokenId";
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
/// What stands for itself in a form.
const FIELD: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// Identities.
    Iam,
    /// Who somebody is.
    Sts,
}

impl Service {
    fn name(self) -> &'static str {
        match self {
            Self::Iam => "iam",
            Self::Sts => "sts",
        }
    }

    fn version(self) -> &'static str {
        match self {
            Self::Iam => "2010-05-08",
            Self::Sts => "2011-06-15",
        }
    }
}

/// Requests of one key.
pub(super) struct Query<'a> {
    target: &'a Target,
    identity: Credentials,
    clock: &'a dyn Clock,
}

/// What came instead of the answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// AWS says no, and why. Nothing was changed.
    Said { code: String, message: String },
    /// Anything else.
    Else(ProviderError),
}

impl Failed {
    pub(super) fn into_error(self) -> ProviderError {
        match self {
            Self::Else(error) => error,
            Self::Said { code, message } if passes(&code, &message) => {
                ProviderError::Unavailable(format!("{code}: {message}"))
            }
            Self::Said { code, message } => ProviderError::Refused(format!("{code}: {message}")),
        }
    }
}

impl<'a> Query<'a> {
    pub(super) fn new(
        target: &'a Target,
        id: &str,
        secret: &SecretText,
        clock: &'a dyn Clock,
    ) -> Result<Self, ProviderError> {
        // It becomes part of a header.
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            let wrong = "an access key id has letters and digits".to_owned();
            return Err(ProviderError::Refused(wrong));
        }
        let identity = Credentials::new(id, secret.expose(), None, None, "vault");
        Ok(Self {
            target,
            identity,
            clock,
        })
    }

    /// Asks what changes nothing.
    pub(super) async fn read(
        &self,
        service: Service,
        action: &str,
        fields: &[(&str, &str)],
    ) -> Result<String, Failed> {
        self.send(service, action, fields, false).await
    }

    /// Asks IAM to change something.
    pub(super) async fn change(
        &self,
        action: &str,
        fields: &[(&str, &str)],
    ) -> Result<String, Failed> {
        self.send(Service::Iam, action, fields, true).await
    }

    /// The same of something that may be gone.
    pub(super) async fn change_if_there(
        &self,
        action: &str,
        fields: &[(&str, &str)],
    ) -> Result<(), ProviderError> {
        match self.change(action, fields).await {
            Ok(_) => Ok(()),
            Err(Failed::Said { code, .. }) if code == "NoSuchEntity" => Ok(()),
            Err(failed) => Err(failed.into_error()),
        }
    }

    async fn send(
        &self,
        service: Service,
        action: &str,
        fields: &[(&str, &str)],
        changes: bool,
    ) -> Result<String, Failed> {
        let options = &self.target.options;
        let region = region_of(options);
        let address = match service {
            Service::Iam => self.target.address.clone(),
            Service::Sts => sts_address(&self.target.address, options).map_err(Failed::Else)?,
        };
        let endpoint = Endpoint::new(&address, Ports::WEB, options).map_err(Failed::Else)?;
        let mut body = format!("Action={action}&Version={}", service.version());
        for (name, value) in fields {
            let value = utf8_percent_encode(value, FIELD);
            body.extend(["&", name, "="]);
            body.extend(value);
        }
        let origin = endpoint.origin().map_err(Failed::Else)?;
        let uri = format!("{origin}/");
        let authority = endpoint.authority().map_err(Failed::Else)?;
        let added = self
            .signature(service, region, &uri, &authority, &body)
            .map_err(|error| Failed::Else(ProviderError::Refused(error)))?;
        let mut request = Request::post("/").header(CONTENT_TYPE, FORM);
        for (name, value) in added {
            request = request.header(name, value);
        }
        let request = request
            .body(Bytes::from(body))
            .map_err(|error| Failed::Else(ProviderError::Refused(error.to_string())))?;
        let answer = endpoint.ask(request).await;
        let answer = answer.map_err(|none| Failed::Else(none.of(changes)))?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        if answer.status.is_success() {
            return Ok(text);
        }
        let status = answer.status.as_u16();
        match said(&text) {
            Some((code, message)) if answer.status.is_client_error() => {
                Err(Failed::Said { code, message })
            }
            Some((code, _)) => Err(Failed::Else(nonsense(
                changes,
                &format!("{code} ({status})"),
            ))),
            None => Err(Failed::Else(nonsense(changes, &format!("status {status}")))),
        }
    }

    /// The headers that prove who asks.
    fn signature(
        &self,
        service: Service,
        region: &str,
        uri: &str,
        authority: &str,
        body: &str,
    ) -> Result<Vec<(String, String)>, String> {
        let identity = self.identity.clone().into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(service.name())
            .time(SystemTime::from(self.clock.now()))
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| error.to_string())?
            .into();
        let headers = [("host", authority), ("content-type", FORM)];
        let body = SignableBody::Bytes(body.as_bytes());
        let request = SignableRequest::new("POST", uri, headers.into_iter(), body)
            .map_err(|error| error.to_string())?;
        let (added, _) = sign(request, &params)
            .map_err(|error| error.to_string())?
            .into_parts();
        let (headers, _) = added.into_parts();
        Ok(headers
            .into_iter()
            .map(|header| (header.name().to_owned(), header.value().to_owned()))
            .collect())
    }
}

/// A region as it may be part of a name.
pub(super) fn region(text: &str) -> Result<String, String> {
    let of_a_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.is_empty() || text.len() > 64 || !text.bytes().all(of_a_name) {
        return Err("must be a region such as eu-west-1".to_owned());
    }
    Ok(text.to_owned())
}

fn region_of(options: &Options) -> &str {
    options.get(REGION_OPTION).map_or(REGION, String::as_str)
}

/// Where AWS has STS for an IAM that is there.
pub(super) fn sts_beside(iam: &str, region: &str) -> Option<String> {
    let iam = iam.to_ascii_lowercase();
    let suffix = [".amazonaws.com", ".amazonaws.com.cn"]
        .into_iter()
        .find(|suffix| iam.ends_with(suffix))?;
    Some(format!("sts.{region}{suffix}"))
}

fn sts_address(iam: &str, options: &Options) -> Result<String, ProviderError> {
    if let Some(address) = options.get(STS_OPTION) {
        return Ok(address.clone());
    }
    let host = iam.split(':').next().unwrap_or_default();
    sts_beside(host, region_of(options)).ok_or_else(|| {
        ProviderError::Refused("the option sts of the target must be given".to_owned())
    })
}

/// Whether this is said to whoever shows a wrong key. A signature can also be out of date.
pub(super) fn is_rejection(code: &str, message: &str) -> bool {
    let codes = [UNKNOWN_KEY, "SignatureDoesNotMatch", "ExpiredToken"];
    codes.contains(&code) && !passes(code, message)
}

/// Whether what was said will not be said some time later.
fn passes(code: &str, message: &str) -> bool {
    let late = ["Signature expired", "Signature not yet current"];
    [
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "RequestExpired",
        "EntityTemporarilyUnmodifiable",
        "ConcurrentModification",
    ]
    .contains(&code)
        || late.iter().any(|late| message.starts_with(late))
}

/// An answer that does not say what became of the request.
pub(super) fn nonsense(changes: bool, what: &str) -> ProviderError {
    unclear(changes, what)
}

/// The code and the message of an error.
fn said(text: &str) -> Option<(String, String)> {
    let document = Document::parse(text).ok()?;
    let error = document
        .descendants()
        .find(|node| node.tag_name().name() == "Error")?;
    let code = child(error, "Code")?;
    let is_code = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let message = child(error, "Message").unwrap_or_default();
    is_code.then(|| (code.to_owned(), message.to_owned()))
}

fn child<'a>(node: roxmltree::Node<'a, '_>, name: &str) -> Option<&'a str> {
    let found = node
        .children()
        .find(|child| child.tag_name().name() == name)?;
    Some(found.text().unwrap_or_default().trim())
}

/// The one element of this name whose parent has that name.
fn only<'a, 'd>(
    document: &'a Document<'d>,
    parent: &str,
    name: &str,
) -> Option<roxmltree::Node<'a, 'd>> {
    document.descendants().find(|node| {
        node.tag_name().name() == name
            && node
                .parent()
                .is_some_and(|above| above.tag_name().name() == parent)
    })
}

/// Some of the keys of a user.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeyPage {
    pub(super) keys: Vec<KeyState>,
    /// By which the next ones are asked for.
    pub(super) marker: Option<String>,
}

pub(super) fn key_page(text: &str) -> Option<KeyPage> {
    let document = Document::parse(text).ok()?;
    let result = only(&document, "ListAccessKeysResponse", "ListAccessKeysResult")?;
    let list = only(&document, "ListAccessKeysResult", "AccessKeyMetadata")?;
    let members = list.children().filter(roxmltree::Node::is_element);
    let keys = members.map(|member| {
        Some(KeyState {
            id: child(member, "AccessKeyId")?.to_owned(),
            active: child(member, "Status")? == "Active",
        })
    });
    let more = child(result, "IsTruncated") == Some("true");
    let marker = child(result, "Marker").filter(|_| more);
    Some(KeyPage {
        keys: keys.collect::<Option<_>>()?,
        marker: marker.map(str::to_owned),
    })
}

/// The key in an answer to a request for one.
pub(super) fn new_key(text: &str) -> Option<(String, SecretText)> {
    let document = Document::parse(text).ok()?;
    let key = only(&document, "CreateAccessKeyResult", "AccessKey")?;
    let id = child(key, "AccessKeyId").filter(|id| !id.is_empty())?;
    let secret = child(key, "SecretAccessKey").filter(|secret| !secret.is_empty())?;
    Some((id.to_owned(), SecretText::new(secret)))
}

/// Who an answer says that somebody is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// A user of this name.
    User(String),
    /// A role, or the account itself.
    Other,
}

/// Who an answer names; none if it names nobody.
pub(super) fn caller(text: &str) -> Option<Caller> {
    let document = Document::parse(text).ok()?;
    let result = only(
        &document,
        "GetCallerIdentityResponse",
        "GetCallerIdentityResult",
    )?;
    let arn: Arn = child(result, "Arn")?.parse().ok()?;
    let arn = arn.to_string();
    let resource = arn.splitn(6, ':').nth(5)?;
    let path = resource.strip_prefix("user/");
    let name = path.and_then(|path| path.rsplit('/').next());
    Some(name.map_or(Caller::Other, |name| Caller::User(name.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &str, message: &str) -> String {
        format!(
            "<ErrorResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><Error>\
             <Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
             <RequestId>1</RequestId></ErrorResponse>"
        )
    }

    #[test]
    fn only_what_is_final_is_called_refused() {
        let meant = |code: &str, message: &str| {
            let (code, message) = said(&error(code, message)).unwrap();
            Failed::Said { code, message }.into_error()
        };
        for code in ["LimitExceeded", "NoSuchEntity", "AccessDenied"] {
            assert!(
                matches!(meant(code, "x"), ProviderError::Refused(_)),
                "{code}"
            );
        }
        for (code, message) in [
            ("Throttling", "Rate exceeded"),
            ("SignatureDoesNotMatch", "Signature expired: 2026"),
            ("EntityTemporarilyUnmodifiable", "x"),
        ] {
            let error = meant(code, message);
            assert!(matches!(error, ProviderError::Unavailable(_)), "{error}");
        }
        assert_eq!(said("<html><Error>no</Error></html>"), None);
        assert_eq!(said(&error("a b", "x")), None);
    }

    #[test]
    fn the_user_of_a_key_is_read_from_its_arn() {
        let answer = |arn: &str| {
            format!(
                "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                 <GetCallerIdentityResult><Arn>{arn}</Arn></GetCallerIdentityResult>\
                 </GetCallerIdentityResponse>"
            )
        };
        let named = |arn: &str| caller(&answer(arn));
        let ann = Some(Caller::User("ann".to_owned()));
        assert_eq!(named("arn:aws:iam::123456789012:user/ann"), ann);
        assert_eq!(named("arn:aws:iam::123456789012:user/team/ann"), ann);
        assert_eq!(named("arn:aws:iam::123456789012:root"), Some(Caller::Other));
        let role = "arn:aws:sts::123456789012:assumed-role/ann/ann";
        assert_eq!(named(role), Some(Caller::Other));
        assert_eq!(named("ann"), None);
        assert_eq!(caller("<Arn>arn:aws:iam::1:user/ann</Arn>"), None);
    }

    #[test]
    fn keys_are_read_with_their_state_and_their_marker() {
        let page = |inner: &str| {
            key_page(&format!(
                "<ListAccessKeysResponse><ListAccessKeysResult>{inner}</ListAccessKeysResult>\
                 </ListAccessKeysResponse>"
            ))
        };
        let member = |id: &str, status: &str| {
            format!("<member><AccessKeyId>{id}</AccessKeyId><Status>{status}</Status></member>")
        };
        let two = format!(
            "<AccessKeyMetadata>{}\n{}</AccessKeyMetadata><IsTruncated>true</IsTruncated>\
             <Marker>m</Marker>",
            member("AKIA1", "Active"),
            member("AKIA2", "Inactive")
        );
        let read = page(&two).unwrap();
        assert_eq!(read.marker.as_deref(), Some("m"));
        let keys: Vec<_> = read.keys.iter().map(|it| (&*it.id, it.active)).collect();
        assert_eq!(keys, [("AKIA1", true), ("AKIA2", false)]);
        assert_eq!(page("<IsTruncated>false</IsTruncated>"), None);
        assert_eq!(
            page("<AccessKeyMetadata><member/></AccessKeyMetadata>"),
            None
        );
    }
}

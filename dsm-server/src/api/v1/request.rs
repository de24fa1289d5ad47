//! One request of an operator: who asks, under which conditions, with what.

use std::sync::Arc;

use dsm_core::audit::Operation;
use dsm_core::vault::{Caller, FieldError, Once, Vault};
use http::Method;
use http::header::{AUTHORIZATION, HeaderName, IF_MATCH};
use sha2::{Digest as _, Sha256};

use crate::api::status::{Failure, Kind};
use crate::api::v1::problem::malformed;
use crate::app::{App, Proof};
use crate::http::call::{Call, Reply, bearer};
use crate::http::fields::{BodyError, FieldReader};

pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What a handler gives back.
pub(super) type Answer = Result<Reply, Failure>;

/// A request of an operator who has proved who they are.
pub(super) struct Request {
    /// Who asks.
    pub(super) caller: Caller,
    /// The revision that a change is meant for; none for any.
    pub(super) expected: Option<u64>,
    app: Arc<App>,
    call: Call,
}

/// The media type of a merge patch.
pub(super) const MERGE_PATCH: &str = "application/merge-patch+json";

/// A change that lost against another one, as seen by somebody who set no condition.
pub(super) fn unconditional(failure: Failure) -> Failure {
    match failure.kind {
        Kind::Stale => Failure::new(
            Kind::Conflict,
            "the object was changed by somebody else at the same time; try again",
        ),
        _ => failure,
    }
}

impl Request {
    /// The request of the operator whose token came along.
    ///
    /// `conditional` is whether the endpoint minds `If-Match`.
    pub(super) async fn of(app: Arc<App>, call: Call, conditional: bool) -> Result<Self, Failure> {
        let operation = Operation::UseOperatorToken;
        let arrival = app.arrive(&call, operation, Proof::Header).await?;
        let ip = arrival.origin().ip;
        let token = call.header(AUTHORIZATION).and_then(bearer);
        let check = app.vault.authenticate_operator(token, ip);
        let operator = app.check(&arrival, None, check).await?;
        call.head.identify(operator.actor());
        let caller = Caller {
            operator,
            ip,
            once: once(&call)?,
        };
        Ok(Self {
            caller,
            expected: expected(&call, conditional)?,
            app,
            call,
        })
    }

    /// The header `name` when it is sent once and is visible ASCII.
    pub(super) fn header(&self, name: HeaderName) -> Option<&str> {
        self.call.header(name)
    }

    /// The query string.
    pub(super) fn query(&self) -> &str {
        &self.call.query
    }

    /// The fields of the body. A patch may come as `application/merge-patch+json`
    /// ([RFC 7396](https://www.rfc-editor.org/rfc/rfc7396)).
    pub(super) fn body(&self) -> Result<FieldReader, Failure> {
        let known = match self.call.media_type().as_deref() {
            Some("application/json") => true,
            Some(MERGE_PATCH) => *self.call.method() == Method::PATCH,
            _ => self.call.body.is_empty(),
        };
        if !known {
            return Err(BodyError::UnsupportedType.into());
        }
        Ok(FieldReader::of(&self.call)?)
    }

    /// Ends a request that takes no fields, rather than to do something and pass over what the
    /// body asks for.
    pub(super) fn no_fields(&self) -> Result<(), Failure> {
        if *self.call.method() == Method::GET {
            return Ok(());
        }
        self.body()?
            .finish()
            .map_err(|issues| Failure::invalid(issues.into_iter().map(FieldError::from).collect()))
    }

    pub(super) fn vault(&self) -> &Vault {
        &self.app.vault
    }

    /// The path parameter `name`, an id or another number in its one decimal form.
    ///
    /// # Errors
    ///
    /// Not found: nothing has another id.
    pub(super) fn id<T: From<u64>>(&self, name: &str) -> Result<T, Failure> {
        let text = self.call.raw_param(name).unwrap_or_default();
        decimal(text).map(T::from).ok_or(Kind::NotFound.into())
    }
}

/// The revision that a change is meant for; `None` for any.
///
/// # Errors
///
/// Malformed: `If-Match` is neither `*` nor one entity tag of this surface, or there is one where
/// none is looked at.
fn expected(call: &Call, conditional: bool) -> Result<Option<u64>, Failure> {
    if call.method().is_safe() || !call.headers().contains_key(IF_MATCH) {
        return Ok(None);
    }
    let wrong = |message| malformed(vec![FieldError::new("If-Match", message)]);
    let text = call.header(IF_MATCH).map(str::trim);
    if text == Some("*") {
        return Ok(None);
    }
    let revision = text
        .and_then(|text| decimal(text.strip_prefix('"')?.strip_suffix('"')?))
        .ok_or_else(|| wrong("must be `*` or one revision in quotes, such as \"3\""))?;
    if conditional {
        Ok(Some(revision))
    } else {
        // Rather than to pass over it.
        Err(wrong("is not supported for this request"))
    }
}

/// The key under which a POST is done once, with a digest of the request.
fn once(call: &Call) -> Result<Option<Once>, Failure> {
    if *call.method() != Method::POST || !call.headers().contains_key(IDEMPOTENCY_KEY) {
        return Ok(None);
    }
    let Some(key) = call.header(IDEMPOTENCY_KEY) else {
        let message = "must be given once, as visible ASCII";
        return Err(malformed(vec![FieldError::new("Idempotency-Key", message)]));
    };
    let mut digest = Sha256::new();
    for part in [
        call.method().as_str().as_bytes(),
        call.path.folded().as_bytes(),
        &call.body,
    ] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    Ok(Some(Once {
        key: key.to_owned(),
        digest: digest.finalize().into(),
    }))
}

/// A number in its one decimal form: no sign, no leading zero.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let canonical =
        text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    canonical.then(|| text.parse().ok())?
}

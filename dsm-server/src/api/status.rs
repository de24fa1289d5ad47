//! What a failure looks like from outside: the one table of statuses.
//!
//! Rule and reason of a refusal stay in the audit trail. Who asked learns its class, and the field
//! of their own request where it was one.

use std::borrow::Cow;
use std::fmt::Write as _;

use dsm_core::access::DenialClass;
use dsm_core::audit::ObjectKind;
use dsm_core::vault::{Error, FieldError};
use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};

use crate::http::call::{Reply, Surface};
use crate::http::router::Refusal;

/// The sorts of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request cannot be read.
    Malformed,
    /// Fields are missing or wrong.
    Invalid,
    /// No credentials, or none that are good.
    Unauthenticated,
    /// Credentials that give no token, whatever is wrong with them.
    InvalidClient,
    /// Credentials of an application or authorization that is not in force.
    Inactive,
    /// Not allowed.
    Forbidden,
    /// No such path.
    NoRoute,
    /// No such object, as far as the caller may know.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The body did not arrive in time.
    BodyTimedOut,
    /// The state of the object is in the way.
    Conflict,
    /// The object is at another revision.
    Stale,
    /// The values are destroyed.
    Gone,
    /// The body is too long.
    TooLarge,
    /// The body is of a type that is not read.
    UnsupportedType,
    /// A fault.
    Internal,
    /// The store or the audit trail cannot be used now.
    Unavailable,
    /// The handler took too long.
    TimedOut,
    /// Too many checks of credentials have failed; in so many seconds it may be tried again.
    Throttled(u32),
}

/// One line of the table.
struct Row {
    iso: StatusCode,
    v1: StatusCode,
    /// The number that `/iso` gives beside the status.
    code: u32,
    message: &'static str,
}

impl Kind {
    fn row(self) -> Row {
        use StatusCode as S;
        let (iso, v1, code, message) = match self {
            Self::Malformed => (S::BAD_REQUEST, S::BAD_REQUEST, 1, "Malformed request"),
            Self::Invalid => (
                S::BAD_REQUEST,
                S::UNPROCESSABLE_ENTITY,
                1,
                "Some fields are wrong",
            ),
            Self::Unauthenticated => (
                S::UNAUTHORIZED,
                S::UNAUTHORIZED,
                1,
                "The access token is missing, unknown or expired",
            ),
            Self::InvalidClient => (
                S::UNAUTHORIZED,
                S::UNAUTHORIZED,
                1,
                "Client authentication failed",
            ),
            Self::Inactive => (
                S::UNAUTHORIZED,
                S::UNAUTHORIZED,
                1,
                "Inactive authorization",
            ),
            Self::Forbidden => (
                S::FORBIDDEN,
                S::FORBIDDEN,
                1,
                "You are not authorized to access this resource.",
            ),
            Self::NoRoute => (S::NOT_FOUND, S::NOT_FOUND, 4, "Resource sub not found"),
            Self::NotFound => (S::NOT_FOUND, S::NOT_FOUND, 4, "Not found"),
            Self::MethodNotAllowed => (
                S::METHOD_NOT_ALLOWED,
                S::METHOD_NOT_ALLOWED,
                1,
                "Method not allowed",
            ),
            Self::BodyTimedOut => (
                S::REQUEST_TIMEOUT,
                S::REQUEST_TIMEOUT,
                1,
                "The request did not arrive in time",
            ),
            Self::Conflict => (
                S::CONFLICT,
                S::CONFLICT,
                1,
                "The object is in no state for this request",
            ),
            Self::Stale => (
                S::CONFLICT,
                S::PRECONDITION_FAILED,
                1,
                "The object has changed since it was read",
            ),
            Self::Gone => (
                S::NOT_FOUND,
                S::GONE,
                4,
                "The secret has expired and its values are destroyed",
            ),
            Self::TooLarge => (
                S::PAYLOAD_TOO_LARGE,
                S::PAYLOAD_TOO_LARGE,
                1,
                "The request is too large",
            ),
            Self::UnsupportedType => (
                S::UNSUPPORTED_MEDIA_TYPE,
                S::UNSUPPORTED_MEDIA_TYPE,
                1,
                "The content type is not supported",
            ),
            Self::Internal => (
                S::INTERNAL_SERVER_ERROR,
                S::INTERNAL_SERVER_ERROR,
                1,
                "Unexpected error",
            ),
            Self::Unavailable => (
                S::SERVICE_UNAVAILABLE,
                S::SERVICE_UNAVAILABLE,
                1,
                "The service is unavailable for the moment",
            ),
            Self::TimedOut => (
                S::SERVICE_UNAVAILABLE,
                S::SERVICE_UNAVAILABLE,
                1,
                "The request took too long; what it changes may still be changed",
            ),
            Self::Throttled(_) => (
                S::TOO_MANY_REQUESTS,
                S::TOO_MANY_REQUESTS,
                1,
                "Too many failed attempts; try again later",
            ),
        };
        Row {
            iso,
            v1,
            code,
            message,
        }
    }

    /// The status on `surface`.
    pub fn status(self, surface: Surface) -> StatusCode {
        let row = self.row();
        match surface {
            Surface::Iso => row.iso,
            Surface::V1 | Surface::Health => row.v1,
        }
    }

    /// The headers that go with it on both surfaces.
    pub fn headers(self, reply: Reply) -> Reply {
        match self {
            // RFC 6750, section 3.
            Self::Unauthenticated | Self::Inactive => {
                reply.header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
            }
            Self::Throttled(seconds) => reply.header(RETRY_AFTER, seconds.into()),
            _ => reply,
        }
    }

    /// The `error_code` of `/iso`.
    pub fn error_code(self) -> u32 {
        self.row().code
    }

    /// What is said where there is nothing more particular to say.
    pub fn message(self) -> &'static str {
        self.row().message
    }
}

impl From<DenialClass> for Kind {
    fn from(class: DenialClass) -> Self {
        match class {
            DenialClass::Unauthenticated => Self::Unauthenticated,
            DenialClass::Inactive => Self::Inactive,
            DenialClass::Forbidden => Self::Forbidden,
            DenialClass::NotFound => Self::NotFound,
            DenialClass::Conflict => Self::Conflict,
        }
    }
}

impl From<Refusal> for Kind {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound => Self::NoRoute,
            Refusal::MethodNotAllowed => Self::MethodNotAllowed,
            Refusal::BodyTooLarge => Self::TooLarge,
            Refusal::BodyTimedOut => Self::BodyTimedOut,
            Refusal::BodyBroken => Self::Malformed,
            Refusal::TimedOut => Self::TimedOut,
            Refusal::Failed => Self::Internal,
        }
    }
}

/// A failure as its sender may learn of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The sort.
    pub kind: Kind,
    /// In words, without any value of the request.
    pub message: Cow<'static, str>,
    /// Every wrong field, by the names of the vault.
    pub fields: Vec<FieldError>,
}

impl Failure {
    /// A failure in words of its own.
    pub fn new(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            message: message.into(),
            fields: Vec::new(),
        }
    }

    /// Wrong fields.
    pub fn invalid(fields: Vec<FieldError>) -> Self {
        Self {
            fields,
            ..Kind::Invalid.into()
        }
    }
}

impl Failure {
    /// What the log says of it: no value, and no name that the sender made up.
    pub(crate) fn for_log(&self) -> String {
        let mut text = self.message.to_string();
        for wrong in &self.fields {
            let made_up = wrong.message.starts_with("is not a known");
            let field = if made_up { "a field" } else { &wrong.field };
            let _ = write!(text, "; {field}: {}", wrong.message);
        }
        text
    }
}

impl From<Kind> for Failure {
    fn from(kind: Kind) -> Self {
        Self::new(kind, kind.message())
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Kind::from(refusal).into()
    }
}

impl From<Error> for Failure {
    /// What is the operator's concern goes to the log, and no further.
    fn from(error: Error) -> Self {
        match error {
            Error::Denied(denial) => {
                let failure = Self::from(Kind::from(denial.class()));
                match denial.field() {
                    Some(field) => {
                        let message = "is more than your authorization allows";
                        Self {
                            fields: vec![FieldError::new(field, message)],
                            ..failure
                        }
                    }
                    None => failure,
                }
            }
            // The authorization is there; that it has no key needs saying.
            Error::NotFound(ObjectKind::SealingKey) => Self::new(Kind::NotFound, error.to_string()),
            Error::NotFound(_) => Kind::NotFound.into(),
            Error::Conflict(message) => Self::new(Kind::Conflict, message),
            Error::Stale => Kind::Stale.into(),
            Error::Gone => Kind::Gone.into(),
            Error::Invalid(fields) => Self::invalid(fields),
            Error::Unavailable { reason, source } => {
                let cause = source.as_deref().map(tracing::field::display);
                tracing::error!(cause, "{reason}");
                Kind::Unavailable.into()
            }
            Error::Internal { reason, source } => {
                let cause = source.as_deref().map(tracing::field::display);
                tracing::error!(cause, "{reason}");
                Kind::Internal.into()
            }
            _ => {
                tracing::error!("an error without a status");
                Kind::Internal.into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::{Failure, Kind};
    use crate::http::call::Surface;
    use crate::http::router::Refusal;
    use dsm_core::vault::{Error, FieldError};

    #[test]
    fn refusals_of_the_router_keep_their_status() {
        for refusal in [
            Refusal::NotFound,
            Refusal::MethodNotAllowed,
            Refusal::BodyTooLarge,
            Refusal::BodyTimedOut,
            Refusal::BodyBroken,
            Refusal::TimedOut,
            Refusal::Failed,
        ] {
            for surface in [Surface::Iso, Surface::V1, Surface::Health] {
                let kind = Kind::from(refusal);
                assert_eq!(kind.status(surface), refusal.status(), "{refusal:?}");
            }
        }
    }

    #[test]
    fn surfaces_differ_only_where_they_say_so() {
        for (kind, iso, v1) in [
            (Kind::Invalid, 400, 422),
            (Kind::Stale, 409, 412),
            (Kind::Gone, 404, 410),
            (Kind::Inactive, 401, 401),
            (Kind::Unavailable, 503, 503),
        ] {
            assert_eq!(kind.status(Surface::Iso).as_u16(), iso, "{kind:?}");
            assert_eq!(kind.status(Surface::V1).as_u16(), v1, "{kind:?}");
        }
    }

    #[test]
    fn reasons_inside_stay_inside() {
        for (error, status) in [
            (
                Error::Unavailable {
                    reason: "db7 refuses".to_owned(),
                    source: None,
                },
                StatusCode::SERVICE_UNAVAILABLE,
            ),
            (
                Error::Internal {
                    reason: "db7 lies".to_owned(),
                    source: None,
                },
                StatusCode::INTERNAL_SERVER_ERROR,
            ),
        ] {
            let failure = Failure::from(error);
            assert_eq!(failure.kind.status(Surface::Iso), status);
            assert!(!failure.message.contains("db7"));
        }
        let fields = vec![FieldError::new("name", "is required")];
        let failure = Failure::from(Error::Invalid(fields.clone()));
        assert_eq!(failure.fields, fields);
    }
}

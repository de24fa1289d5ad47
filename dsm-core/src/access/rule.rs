use std::fmt;

use serde::{Serialize, Serializer};

use super::Action;
use crate::audit::{Operation, Outcome};

/// Declares [`Rule`] with the name of each as it stands in the audit trail.
macro_rules! rules {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// A rule that a request can fail, in the order in which they are tried.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Rule {
            $($(#[$doc])* $variant,)+
        }

        impl Rule {
            /// All of them: those for applications, those for operators, and those that are checked
            /// where credentials and fields are read.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name, which stays what it is.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

rules! {
    /// The application is enabled.
    ApplicationEnabled = "application_enabled",
    /// The authorization has not been revoked.
    AuthorizationRevoked = "authorization_revoked",
    /// The authorization is enabled.
    AuthorizationEnabled = "authorization_enabled",
    /// The authorization has not expired.
    AuthorizationExpired = "authorization_expired",
    /// The client's address is allowed.
    Ip = "ip",
    /// The referrer is allowed.
    Referrer = "referrer",
    /// The client has shown the right certificate.
    Fingerprint = "fingerprint",
    /// The authorization may use the resource.
    Resource = "resource",
    /// A read-only authorization does not write.
    ReadOnly = "read_only",
    /// Applications are created only by an authorization that may.
    ApplicationCreation = "application_creation",
    /// Only its own application and authorization are touched, and those that it made.
    ApplicationOwnership = "application_ownership",
    /// The secret exists.
    SecretExists = "secret_exists",
    /// The secret is attached to the authorization.
    SecretAttached = "secret_attached",
    /// The secret is enabled.
    SecretEnabled = "secret_enabled",
    /// The secret has not expired.
    SecretExpired = "secret_expired",
    /// The operator has not been revoked.
    OperatorRevoked = "operator_revoked",
    /// The operator's time has not ended.
    OperatorExpired = "operator_expired",
    /// The operator has the permission.
    Permission = "permission",
    /// No authorization made by a client is wider than the client's own.
    NotWider = "not_wider",
    /// The client id belongs to a client.
    Client = "client",
    /// The client secret is the client's.
    ClientSecret = "client_secret",
    /// The application uses the method by which the client authenticates.
    AuthenticationMethod = "authentication_method",
    /// The bearer token is one that was given out.
    Token = "token",
    /// The bearer token has not expired.
    TokenExpired = "token_expired",
    /// The bearer token has not been revoked.
    TokenRevoked = "token_revoked",
    /// The credentials have not been replaced, or their overlap is not over.
    ClientEnded = "client_ended",
    /// The parameters of a request's signature are complete and well-formed.
    SignatureParameters = "signature_parameters",
    /// The request is signed by a method that is accepted.
    SignatureMethod = "signature_method",
    /// The signature is that of the request.
    Signature = "signature",
    /// The signature was made just now.
    Timestamp = "timestamp",
    /// What may be used once has not been used before.
    Nonce = "nonce",
    /// An STS endpoint is configured and answers.
    AwsEndpoint = "aws_endpoint",
    /// The request for AWS is one for `sts:GetCallerIdentity` at the configured endpoint.
    AwsRequest = "aws_request",
    /// The request for AWS was signed just now.
    AwsRequestAge = "aws_request_age",
    /// AWS says who signed the request.
    AwsIdentity = "aws_identity",
    /// Who signed it is among the application's ARNs.
    AwsArn = "aws_arn",
    /// The unique key is that of an authorization.
    UniqueKey = "unique_key",
    /// The operator's token is one that was given out and is still good.
    OperatorToken = "operator_token",
    /// Where the request comes from can be told.
    Origin = "origin",
    /// No more checks have failed from there than are allowed in a while.
    Throttle = "throttle",
}

impl Rule {
    /// What its failure amounts to for who asked, by what they asked for; an operator's call has
    /// no action.
    ///
    /// A secret that is absent and one that is not attached are of one class wherever a client
    /// could otherwise learn which it is.
    pub fn class(self, action: Option<Action>) -> DenialClass {
        match (self, action) {
            (
                Self::OperatorRevoked
                | Self::OperatorExpired
                | Self::Client
                | Self::ClientSecret
                | Self::AuthenticationMethod
                | Self::Token
                | Self::TokenExpired
                | Self::TokenRevoked
                | Self::ClientEnded
                | Self::SignatureParameters
                | Self::SignatureMethod
                | Self::Signature
                | Self::Timestamp
                | Self::Nonce
                | Self::AwsEndpoint
                | Self::AwsRequest
                | Self::AwsRequestAge
                | Self::AwsIdentity
                | Self::AwsArn
                | Self::UniqueKey
                | Self::OperatorToken,
                _,
            )
            | (_, Some(Action::Authenticate)) => DenialClass::Unauthenticated,
            (
                Self::ApplicationEnabled
                | Self::AuthorizationEnabled
                | Self::AuthorizationRevoked
                | Self::AuthorizationExpired,
                _,
            ) => DenialClass::Inactive,
            (
                Self::Ip
                | Self::Referrer
                | Self::Fingerprint
                | Self::Resource
                | Self::ReadOnly
                | Self::ApplicationCreation
                | Self::ApplicationOwnership
                | Self::NotWider
                | Self::Permission
                | Self::Origin
                | Self::Throttle,
                _,
            )
            | (Self::SecretAttached, Some(Action::WriteSecret(_))) => DenialClass::Forbidden,
            (Self::SecretExists | Self::SecretAttached, _)
            | (Self::SecretEnabled | Self::SecretExpired, Some(Action::ReadSecret(_))) => {
                DenialClass::NotFound
            }
            (Self::SecretEnabled | Self::SecretExpired, _) => DenialClass::Conflict,
        }
    }
}

impl Rule {
    /// As [`class`](Self::class), by the operation as it stands in the audit trail.
    pub fn class_in(self, operation: Operation) -> DenialClass {
        let action = match operation {
            Operation::IssueToken => Some(Action::Authenticate),
            Operation::ReadSecret => Some(Action::ReadSecret(None)),
            Operation::CreateSecret | Operation::UpdateSecret => Some(Action::WriteSecret(None)),
            _ => None,
        };
        self.class(action)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What a denial amounts to for who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DenialClass {
    /// They did not get in.
    Unauthenticated,
    /// They are known, but the application or authorization is not in force.
    Inactive,
    /// They may not.
    Forbidden,
    /// As far as they may know, there is no such thing.
    NotFound,
    /// The thing is in no state for it.
    Conflict,
}

/// A refusal.
///
/// Rule and reason are for the audit trail; who asked learns the class and no more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused by rule {rule}")]
pub struct Denial {
    rule: Rule,
    reason: String,
    class: DenialClass,
    field: Option<&'static str>,
}

impl Denial {
    pub(super) fn new(rule: Rule, reason: String, class: DenialClass) -> Self {
        Self {
            rule,
            reason,
            class,
            field: None,
        }
    }

    /// The refusal of a rule that is checked where the authentication or the input is, before or
    /// after [`decide`](super::decide()).
    pub(crate) fn of(rule: Rule, reason: impl Into<String>) -> Self {
        Self::new(rule, reason.into(), rule.class(None))
    }

    /// Names the field of the request that was refused, which its sender may learn.
    pub(crate) fn about(mut self, field: &'static str) -> Self {
        self.field = Some(field);
        self
    }

    /// The field of the request that was refused, where it was one.
    pub fn field(&self) -> Option<&'static str> {
        self.field
    }

    /// The first rule that failed.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// Why, for the reader of the audit trail.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// What it amounts to for who asked.
    pub fn class(&self) -> DenialClass {
        self.class
    }

    /// How it stands in the audit trail.
    pub fn outcome(&self) -> Outcome {
        Outcome::Denied {
            rule: self.rule.to_string(),
            reason: self.reason.clone(),
        }
    }
}

/// How one rule ends, as the tables of rules have it.
pub(super) enum Verdict<'a> {
    /// The rule holds; the text, with the entry that made it so.
    Passed(&'static str, Option<&'a dyn fmt::Display>),
    /// The rule fails.
    Failed(String),
    /// The rule has nothing to say about this request.
    NotApplicable,
}

impl Verdict<'_> {
    /// Passed, for the reason given.
    pub(super) fn passed(why: &'static str) -> Self {
        Self::Passed(why, None)
    }

    /// Failed, for the reason given.
    pub(super) fn failed(why: impl Into<String>) -> Self {
        Self::Failed(why.into())
    }
}

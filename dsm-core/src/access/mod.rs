//! Who may do what: applications, their authorizations, operators, and the one decision.
//!
//! A request of an application becomes a [`Principal`], an operator's call an [`Operator`].
//! [`decide`] and [`permit`] turn them into a [`Permit`] or a [`Denial`] that names the [`Rule`]
//! that failed; nothing else makes a permit, and nothing is opened without one. Everything here
//! is pure: the time is an argument, and no function reads or writes anything.
//!
//! Denial is the default. An authorization without allowed addresses refuses every request, a
//! client whose address is not known has none of the allowed ones, and at the very instant of its
//! expiry a thing has expired.

mod application;
mod authorization;
mod decide;
mod explain;
mod fingerprint;
mod ip;
mod operator;
mod permit;
mod principal;
mod referrer;
mod request;
mod resource;
mod rule;
mod scheme;
#[cfg(test)]
mod tests;

pub use self::application::{Application, AuthenticationMethod, CredentialProfile};
pub use self::authorization::Authorization;
pub use self::decide::decide;
pub use self::explain::{Finding, Outcome, explain, explain_proof};
pub use self::fingerprint::{CertificateDigests, Fingerprint, FingerprintError};
pub use self::ip::{IpRule, IpRuleError};
pub use self::operator::{
    Operator, Permission, Permissions, UnknownPermission, permit, permit_secret,
};
pub(crate) use self::permit::Basis;
pub use self::permit::Permit;
pub use self::principal::{Origin, Principal};
pub use self::referrer::{Referrer, ReferrerError, ReferrerRule};
pub use self::request::{Action, ApplicationTarget, AuthorizationTarget, Request, SecretTarget};
pub use self::resource::{Resource, UnknownResource};
pub use self::rule::{Denial, DenialClass, Rule};
pub use self::scheme::Scheme;
pub use crate::crypto::sealing::SealingFormat;

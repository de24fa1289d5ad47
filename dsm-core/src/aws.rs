//! Clients that AWS vouches for: a request that they signed for its Security Token Service, which says
//! who signed it.
//!
//! A client signs `sts:GetCallerIdentity` with its own AWS credentials and hands over the signed
//! request as data, never a secret key. [`IdentityRequest`] checks that it is that request and no
//! other, for the endpoint that is configured and no other; whoever speaks HTTP sends it there, behind
//! the port [`Sts`]; [`is_listed`] compares who AWS says it was with an application's list.

mod arn;
mod request;

use std::fmt;

use async_trait::async_trait;

pub(crate) use self::arn::is_pattern;
pub use self::arn::{Arn, is_listed};
pub use self::request::{IdentityRequest, RequestFault};

/// What a client hands over, as it came.
#[derive(Clone, Copy)]
pub struct SignedIdentity<'a> {
    /// The unique key of its authorization. Sensitive.
    pub unique_key: &'a str,
    /// The method of the signed request.
    pub method: &'a str,
    /// Its headers.
    pub headers: &'a [(String, String)],
    /// Its body.
    pub body: &'a str,
}

impl fmt::Debug for SignedIdentity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedIdentity").finish_non_exhaustive()
    }
}

/// The one STS endpoint that is asked.
#[async_trait]
pub trait Sts: fmt::Debug + Send + Sync {
    /// The `Host` that requests for it are signed for.
    fn authority(&self) -> &str;

    /// Sends a request whose every part was checked, and tells who AWS says has signed it.
    ///
    /// It follows no redirect, and both time and length of the answer are bounded.
    ///
    /// # Errors
    ///
    /// [`StsError::Refused`] when AWS says that the request is not good, [`StsError::Unavailable`]
    /// when it says nothing that can be used.
    async fn caller_identity(&self, request: &IdentityRequest) -> Result<Arn, StsError>;
}

/// Why AWS did not vouch for a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StsError {
    /// The signature or the credentials behind it are not good.
    #[error("STS refused the request: {0}")]
    Refused(String),
    /// There is no answer, or none that can be read.
    #[error("the STS endpoint gave no answer: {0}")]
    Unavailable(String),
}

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use crate::aws::{Arn, IdentityRequest, Sts, StsError};

/// An STS endpoint that vouches for the signatures it was told.
#[derive(Debug)]
pub struct FakeSts {
    host: String,
    known: Mutex<HashMap<String, Result<Arn, StsError>>>,
}

impl FakeSts {
    /// An endpoint that vouches for nobody.
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            known: Mutex::default(),
        }
    }

    /// From now on a request with this signature is answered so.
    pub fn answer(&self, signature: impl Into<String>, answer: Result<Arn, StsError>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(signature.into(), answer);
    }
}

#[async_trait]
impl Sts for FakeSts {
    fn authority(&self) -> &str {
        &self.host
    }

    async fn caller_identity(&self, request: &IdentityRequest) -> Result<Arn, StsError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = known.get(request.signature()).cloned();
        answer.unwrap_or_else(|| Err(StsError::Refused("SignatureDoesNotMatch".to_owned())))
    }
}

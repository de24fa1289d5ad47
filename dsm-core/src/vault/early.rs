//! Requests that are refused before it is known who asks.

use std::net::IpAddr;

use super::Vault;
use super::error::Error;
use crate::access::{Denial, Rule};
use crate::audit::{Actor, Operation};

impl Vault {
    /// Records that it cannot be told where a request comes from, and gives the error that says so.
    /// `ip` is what is known of it nevertheless.
    pub async fn refuse_origin(
        &self,
        operation: Operation,
        ip: Option<IpAddr>,
        reason: impl Into<String>,
    ) -> Error {
        self.refuse_early(Rule::Origin, operation, ip, reason.into())
            .await
    }

    /// Records that checks have failed too often, and gives the error that says so. A flood needs one
    /// such record, not one for each of its requests.
    pub async fn refuse_throttled(
        &self,
        operation: Operation,
        ip: IpAddr,
        reason: impl Into<String>,
    ) -> Error {
        self.refuse_early(Rule::Throttle, operation, Some(ip), reason.into())
            .await
    }

    async fn refuse_early(
        &self,
        rule: Rule,
        operation: Operation,
        ip: Option<IpAddr>,
        reason: String,
    ) -> Error {
        let actor = Actor::Unknown { claimed: None };
        let denial = Denial::of(rule, reason);
        self.refuse(actor, ip, operation, None, denial).await
    }
}

//! Operators and their tokens.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use super::act::Caller;
use super::client::decode_mac;
use super::error::{Error, FieldError};
use super::record::{Entity, Listing, Stored, Terms};
use super::{Vault, check, kind};
use crate::access::{Denial, Operator, Permission, Permissions, Rule};
use crate::audit::{Actor, ObjectKind, ObjectRef, Operation};
use crate::id::OperatorId;
use crate::secret::SecretText;
use crate::store::{ChangeSet, Kind, Page, Query};
use crate::time::Timestamp;

/// How operator tokens begin, so that scanners of leaked secrets know them.
pub const OPERATOR_TOKEN_PREFIX: &str = "dsm_op_";

const TOKEN: &str = "token";

/// An operator as it is stored: with the keyed hash of its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorAccount {
    /// Who it is and what it may do.
    pub operator: Operator,
    mac: String,
}

impl Entity for OperatorAccount {
    type Id = OperatorId;

    fn kind(&self) -> Kind {
        kind::OPERATOR
    }

    fn terms(&self, terms: &mut Terms<'_>) {
        terms.unique(TOKEN, &self.mac);
    }
}

impl Stored<OperatorAccount> {
    pub(crate) fn object(&self) -> ObjectRef {
        ObjectRef::new(ObjectKind::Operator, self.id, &self.operator.name)
    }
}

/// An operator to make.
#[derive(Debug, Clone)]
pub struct NewOperator {
    /// Its name.
    pub name: String,
    /// What it may do; nobody hands out what they do not have.
    pub permissions: Permissions,
    /// For how long its token is good; 90 days unless said.
    pub lifetime: Duration,
    /// When its token ends, in place of the lifetime.
    pub expires_at: Option<Timestamp>,
    /// What the caller found wrong in its own input: reported with what is found here, and nothing
    /// is written.
    pub wrong: Vec<FieldError>,
}

impl NewOperator {
    /// An operator with every permission for 90 days.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            permissions: Permissions::all(),
            lifetime: Duration::from_hours(90 * 24),
            expires_at: None,
            wrong: Vec::new(),
        }
    }
}

impl Vault {
    /// Makes an operator and shows its token, this once.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] when the call was made before under the same idempotency key: the token
    /// is not kept, so it cannot be shown again.
    pub async fn create_operator(
        &self,
        caller: &Caller,
        new: NewOperator,
    ) -> Result<(Stored<OperatorAccount>, SecretText), Error> {
        let operation = Operation::CreateOperator;
        let object = ObjectRef::absent(ObjectKind::Operator, &new.name);
        let permit = self
            .permit(caller, Permission::OperatorsWrite, operation, Some(object))
            .await?;
        if self.made_before(caller).await?.is_some() {
            return Err(shown_before());
        }
        let mut errors = new.wrong;
        check::name(&mut errors, "name", &new.name);
        if !new.permissions.is_subset(&caller.operator.permissions) {
            let message = "must not hold a permission that you do not have";
            errors.push(FieldError::new("permissions", message));
        }
        let now = self.clock.now();
        let lifetime = || TimeDelta::from_std(new.lifetime).ok();
        let expires_at = new
            .expires_at
            .or_else(|| now.checked_add_signed(lifetime()?))
            .filter(|at| *at > now);
        if expires_at.is_none() {
            errors.push(FieldError::new("expires_at", "must lie in the future"));
        }
        check::finish(errors)?;
        let token = self.random_token(OPERATOR_TOKEN_PREFIX);
        let account = OperatorAccount {
            operator: Operator {
                id: None,
                revision: 0,
                name: new.name,
                permissions: new.permissions,
                expires_at,
                revoked_at: None,
            },
            mac: HEXLOWER.encode(&self.records.keyring.token_mac(token.expose().as_bytes()).0),
        };
        let account = self.records.draft(account, &caller.operator.name).await?;
        let set = ChangeSet::default().create(self.records.encode(&account));
        let set = self.remember(caller, account.id.into(), set).await?;
        let act = self
            .act(
                permit,
                vec![caller.event(self, operation, account.object())],
            )
            .await?;
        match self.commit_once(caller, act, set).await? {
            Some(_) => Err(shown_before()),
            None => Ok((account, token)),
        }
    }

    /// A page of operators, newest first, revoked and expired ones included.
    pub async fn list_operators(
        &self,
        caller: &Caller,
        page: Page,
    ) -> Result<Listing<Stored<OperatorAccount>>, Error> {
        self.view(
            caller,
            Permission::OperatorsView,
            Operation::ViewOperator,
            None,
        )
        .await?;
        self.records.list(&Query::new(kind::OPERATOR), page).await
    }

    /// Ends an operator's token for good.
    pub async fn revoke_operator(&self, caller: &Caller, id: OperatorId) -> Result<(), Error> {
        let operation = Operation::RevokeOperator;
        let object = ObjectRef::new(ObjectKind::Operator, id, "");
        let permit = self
            .permit(caller, Permission::OperatorsWrite, operation, Some(object))
            .await?;
        let found = self
            .records
            .find::<OperatorAccount>(kind::OPERATOR, id)
            .await?;
        let old = found.ok_or(Error::NotFound(ObjectKind::Operator))?;
        if old.operator.revoked_at.is_some() {
            return Ok(());
        }
        let mut content = OperatorAccount::clone(&old);
        content.operator.revoked_at = Some(self.clock.now());
        let new = self.records.revise(&old, content, &caller.operator.name);
        let set = ChangeSet::default().update(self.records.encode(&new), old.revision);
        let act = self
            .act(permit, vec![caller.event(self, operation, new.object())])
            .await?;
        self.commit(act, set).await
    }

    /// Whose operator token this is.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] of class `Unauthenticated` for a token that is missing, unknown, revoked
    /// or expired.
    pub async fn authenticate_operator(
        &self,
        token: Option<&str>,
        ip: Option<std::net::IpAddr>,
    ) -> Result<Operator, Error> {
        let reason = match token {
            None => "there is no bearer token",
            Some(token) => match self.operator_of(token).await? {
                Some(operator) => {
                    let now = self.clock.now();
                    let over = operator.revoked_at.is_some()
                        || operator.expires_at.is_some_and(|at| now >= at);
                    if !over {
                        return Ok(operator);
                    }
                    let reason = "the operator's token is revoked or expired";
                    let denial = Denial::of(Rule::OperatorToken, reason);
                    let operation = Operation::UseOperatorToken;
                    return Err(self
                        .refuse(operator.actor(), ip, operation, None, denial)
                        .await);
                }
                None => "there is no such token",
            },
        };
        let denial = Denial::of(Rule::OperatorToken, reason);
        let actor = Actor::Unknown { claimed: None };
        Err(self
            .refuse(actor, ip, Operation::UseOperatorToken, None, denial)
            .await)
    }

    /// Whose operator token this is, if it is in force.
    pub(crate) async fn operator_behind(&self, token: &str) -> Result<Option<Actor>, Error> {
        let now = self.clock.now();
        let found = self.operator_of(token).await?.filter(|operator| {
            operator.revoked_at.is_none() && operator.expires_at.is_none_or(|at| now < at)
        });
        Ok(found.map(|operator| operator.actor()))
    }

    async fn operator_of(&self, token: &str) -> Result<Option<Operator>, Error> {
        let mac = self.records.keyring.token_mac(token.as_bytes());
        let term = self
            .records
            .term(kind::OPERATOR, TOKEN, HEXLOWER.encode(&mac.0));
        let found: Option<Arc<Stored<OperatorAccount>>> =
            self.records.cached_by(kind::OPERATOR, term).await?;
        Ok(found
            .filter(|account| decode_mac(&account.mac) == Some(mac))
            .map(|account| Operator {
                id: Some(account.id),
                revision: account.revision,
                ..account.operator.clone()
            }))
    }
}

fn shown_before() -> Error {
    Error::Conflict("the operator was made before; its token is shown only once".to_owned())
}

/// When an operator's token ends.
impl OperatorAccount {
    /// The instant from which on it is refused.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.operator.expires_at
    }
}

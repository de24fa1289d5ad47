//! Clients that AWS vouches for.

use std::net::IpAddr;

use super::super::error::Error;
use super::super::record::Stored;
use super::super::{Vault, kind};
use super::{Client, Proof, UNIQUE_KEY};
use crate::access::{
    Application, AuthenticationMethod, Authorization, Denial, Origin, Principal, Rule,
};
use crate::audit::{Actor, ObjectRef, Operation};
use crate::aws::{Arn, IdentityRequest, SignedIdentity, StsError, is_listed};

impl Vault {
    /// Who showed a request that AWS vouches for, with the unique key of its authorization.
    ///
    /// AWS is asked before the key is looked at, so that who has no AWS identity cannot try keys.
    pub(super) async fn prove_identity(
        &self,
        shown: SignedIdentity<'_>,
        operation: Operation,
        origin: Origin,
    ) -> Result<Principal, Error> {
        let ip = origin.ip;
        let (request, arn) = match self.caller_identity(&shown).await {
            Ok(identified) => identified,
            Err(denial) => return Err(self.refuse_identity(ip, operation, None, denial).await),
        };
        let Some(client) = self.client_of_key(shown.unique_key).await? else {
            let reason = format!("{arn} showed a unique key that no authorization has");
            let denial = Denial::of(Rule::UniqueKey, reason);
            return Err(self.refuse_identity(ip, operation, None, denial).await);
        };
        let object = Some(client.object());
        let application = self.application_of(&client).await?;
        let denial = match &application {
            Some(application) if application.authentication_method != AuthenticationMethod::Aws => {
                let reason = "the application does not use AWS";
                Some(Denial::of(Rule::AuthenticationMethod, reason))
            }
            Some(application) if is_listed(&application.aws_arns, &arn).is_none() => {
                let reason = format!("{arn} is not among the ARNs of the application");
                Some(Denial::of(Rule::AwsArn, reason))
            }
            Some(_) => None,
            None => Some(Denial::of(Rule::Client, "the authorization is gone")),
        };
        if let Some(denial) = denial {
            return Err(self.refuse_identity(ip, operation, object, denial).await);
        }
        let claimed = Actor::Unknown { claimed: None };
        let principal = self.proven(&client, claimed, operation, origin).await?;
        if !self.use_up(format!("aws/{}", request.signature())).await? {
            let denial = Denial::of(Rule::Nonce, "the signed request was used before");
            return Err(self.refuse_identity(ip, operation, object, denial).await);
        }
        Ok(principal)
    }

    async fn refuse_identity(
        &self,
        ip: Option<IpAddr>,
        operation: Operation,
        object: Option<ObjectRef>,
        denial: Denial,
    ) -> Error {
        let claimed = Actor::Unknown { claimed: None };
        self.refuse(claimed, ip, operation, object, denial).await
    }

    /// Who AWS says has signed the request.
    async fn caller_identity(
        &self,
        shown: &SignedIdentity<'_>,
    ) -> Result<(IdentityRequest, Arn), Denial> {
        let Some(sts) = &self.sts else {
            let reason = "no STS endpoint is configured";
            return Err(Denial::of(Rule::AwsEndpoint, reason));
        };
        let request = IdentityRequest::read(shown, sts.authority())
            .map_err(|fault| Denial::of(Rule::AwsRequest, fault.to_string()))?;
        if !request.is_timely(self.clock.now()) {
            let reason = "X-Amz-Date is more than 300 s from the server's clock";
            return Err(Denial::of(Rule::AwsRequestAge, reason));
        }
        match sts.caller_identity(&request).await {
            Ok(arn) => Ok((request, arn)),
            Err(error @ StsError::Refused(_)) => {
                Err(Denial::of(Rule::AwsIdentity, error.to_string()))
            }
            Err(error @ StsError::Unavailable(_)) => {
                tracing::warn!(%error, "a client of AWS is refused");
                Err(Denial::of(Rule::AwsEndpoint, error.to_string()))
            }
        }
    }

    /// The client whose key this is: the newest of the authorization that has it, or one that was
    /// replaced and whose overlap is not over.
    async fn client_of_key(&self, key: &str) -> Result<Option<Stored<Client>>, Error> {
        let found = self
            .records
            .find_by::<Authorization>(kind::AUTHORIZATION, UNIQUE_KEY, key)
            .await?;
        if let Some(authorization) = found {
            let now = self.clock.now();
            let clients = self.clients_of(authorization.id).await?;
            return Ok(clients.into_iter().find(|client| {
                let replaced = matches!(
                    &client.proof,
                    Proof::Identity {
                        replaced_key: Some(_)
                    }
                );
                !replaced && !client.has_ended(now)
            }));
        }
        self.records.find_by(kind::CLIENT, UNIQUE_KEY, key).await
    }

    async fn application_of(
        &self,
        client: &Stored<Client>,
    ) -> Result<Option<Stored<Application>>, Error> {
        let authorization = self
            .records
            .find::<Authorization>(kind::AUTHORIZATION, client.authorization)
            .await?;
        match authorization {
            Some(authorization) => {
                let id = authorization.application;
                self.records.find(kind::APPLICATION, id).await
            }
            None => Ok(None),
        }
    }
}

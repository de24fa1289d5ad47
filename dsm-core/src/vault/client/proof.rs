//! What a client shows to get a token, and whether it is good.

use std::fmt;

use tokio::time::Instant;

use super::super::error::Error;
use super::super::record::Stored;
use super::super::{Vault, kind};
use super::decoy::in_step;
use super::{CLIENT_ID, Client, Proof, decode_mac, is_client_id};
use crate::access::{Denial, Origin, Principal, Rule};
use crate::audit::{Actor, ObjectKind, ObjectRef, Operation};
use crate::aws::SignedIdentity;
use crate::crypto::Mac;

/// What a client shows of itself where tokens are given out, revoked and looked at.
#[derive(Clone, Copy)]
pub enum Presented<'a> {
    /// Id and secret of OAuth 2.0
    /// ([RFC 6749, section 2.3.1](https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1)).
    Secret {
        /// The public part.
        client_id: &'a str,
        /// Sensitive.
        client_secret: &'a str,
    },
    /// A request that AWS vouches for.
    Identity(SignedIdentity<'a>),
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret { .. } => "Secret",
            Self::Identity(_) => "Identity",
        })
    }
}

impl Vault {
    /// Who shows these credentials. A refusal does not tell by its time which of them is wrong.
    pub(super) async fn prove(
        &self,
        presented: Presented<'_>,
        operation: Operation,
        origin: Origin,
    ) -> Result<Principal, Error> {
        let began = Instant::now();
        let proven = match presented {
            Presented::Secret {
                client_id,
                client_secret,
            } => {
                self.prove_secret(client_id, client_secret, operation, origin)
                    .await
            }
            Presented::Identity(shown) => self.prove_identity(shown, operation, origin).await,
        };
        in_step(began, proven).await
    }

    async fn prove_secret(
        &self,
        client_id: &str,
        client_secret: &str,
        operation: Operation,
        origin: Origin,
    ) -> Result<Principal, Error> {
        let ip = origin.ip;
        let claimed = Actor::Unknown {
            claimed: is_client_id(client_id).then(|| client_id.to_owned()),
        };
        let client = self
            .records
            .find_by::<Client>(kind::CLIENT, CLIENT_ID, client_id)
            .await?;
        let decoy = match &client {
            Some(_) => None,
            None => self.find_decoy().await?,
        };
        let compared = match (&client, &decoy) {
            (Some(client), _) => Some(&**client),
            (None, decoy) => decoy.as_ref().map(|decoy| &decoy.0),
        };
        let known = compared.and_then(|client| match &client.proof {
            Proof::Secret { mac } => decode_mac(mac),
            Proof::Signature { .. } | Proof::Identity { .. } => None,
        });
        let right = self.records.keyring.client_mac(client_secret.as_bytes())
            == known.unwrap_or(Mac([0; 32]))
            && known.is_some();
        let denial = match &client {
            None => Denial::of(Rule::Client, "there is no such client"),
            Some(client) if right => {
                return self.proven(client, claimed, operation, origin).await;
            }
            Some(_) => {
                self.ask_for_nobody().await?;
                if known.is_some() {
                    Denial::of(Rule::ClientSecret, "the client secret is wrong")
                } else {
                    let reason = "the application does not use OAuth 2.0";
                    Denial::of(Rule::AuthenticationMethod, reason)
                }
            }
        };
        Err(self.refuse(claimed, ip, operation, None, denial).await)
    }

    /// The principal of a client whose proof is good.
    pub(super) async fn proven(
        &self,
        client: &Stored<Client>,
        claimed: Actor,
        operation: Operation,
        origin: Origin,
    ) -> Result<Principal, Error> {
        let ip = origin.ip;
        let now = self.clock.now();
        let denial = match self.behind(client.authorization, client.id).await? {
            Some((behind, _)) => match behind.ended(now) {
                None => {
                    self.uses.note(client.id, now, ip);
                    return Ok(behind.principal(origin));
                }
                Some(denial) => denial,
            },
            None => Denial::of(Rule::Client, "the authorization is gone"),
        };
        let object = Some(ObjectRef::new(
            ObjectKind::Client,
            client.id,
            &client.client_id,
        ));
        Err(self.refuse(claimed, ip, operation, object, denial).await)
    }
}

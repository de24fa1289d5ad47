//! Requests that are signed by OAuth 1.0, each proving who sends it.

use std::sync::Arc;

use tokio::time::Instant;

use super::super::cache::ReadAt;
use super::super::error::Error;
use super::super::record::Stored;
use super::super::{Vault, kind};
use super::decoy::{Asked, Decoy, in_step};
use super::{CLIENT_ID, Client, Proof, is_client_id};
use crate::access::{Denial, Origin, Principal, Rule};
use crate::audit::{Actor, ObjectRef, Operation};
use crate::oauth1::{self, Fault, Protocol, SignedRequest};

const OPERATION: Operation = Operation::UseSignature;

impl Vault {
    /// Who signed a request, or why it cannot be read as a signed one. What they may do is decided by
    /// each use case.
    ///
    /// A signature counts once: it uses up its nonce in the store.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] of class `Unauthenticated` for everything that is not right: the caller
    /// learns no more, the audit trail has the reason. [`Error::Unavailable`] when the store cannot
    /// tell whether the nonce is new.
    pub async fn signed_principal(
        &self,
        request: Result<SignedRequest, Fault>,
        origin: Origin,
    ) -> Result<Principal, Error> {
        let began = Instant::now();
        in_step(began, self.prove_signature(request, origin).await).await
    }

    async fn prove_signature(
        &self,
        request: Result<SignedRequest, Fault>,
        origin: Origin,
    ) -> Result<Principal, Error> {
        let read = request.and_then(|request| {
            let protocol = Protocol::of(&request)?;
            Ok((request, protocol))
        });
        let (request, protocol) = match read {
            Ok(read) => read,
            Err(fault) => {
                let nobody = Actor::Unknown { claimed: None };
                return Err(self.refuse_signature(nobody, origin, None, of(fault)).await);
            }
        };
        let key = &protocol.consumer_key;
        let claimed = Actor::Unknown {
            claimed: is_client_id(key).then(|| key.clone()),
        };
        let (client, asked) = self.look_for_signer(key).await?;
        let has_secrets = |client: &Arc<Stored<Client>>| client.sealed_value.is_some();
        let decoy = if client.as_ref().is_some_and(has_secrets) {
            None
        } else {
            self.find_decoy().await?
        };
        let verified = self.verify_signature(client.as_ref(), decoy.as_ref(), &request, &protocol);
        if let Err(denial) = verified {
            if asked == Asked::Nothing && decoy.is_none() {
                drop(self.find_decoy().await?);
            }
            if asked != Asked::Absent {
                self.ask_for_nobody().await?;
            }
            return Err(self.refuse_signature(claimed, origin, None, denial).await);
        }
        let client = client.expect("only a client's signature is verified");
        let object = Some(client.object());
        if !protocol.is_timely(self.clock.now().timestamp()) {
            let reason = "the timestamp is more than 300 s from the server's clock";
            let denial = Denial::of(Rule::Timestamp, reason);
            return Err(self.refuse_signature(claimed, origin, object, denial).await);
        }
        let principal = self
            .proven(&client, claimed.clone(), OPERATION, origin.clone())
            .await?;
        let used = format!(
            "oauth1/{}/{}/{}",
            client.id, protocol.timestamp, protocol.nonce
        );
        if !self.use_up(used).await? {
            let denial = Denial::of(Rule::Nonce, "the nonce was used before");
            return Err(self.refuse_signature(claimed, origin, object, denial).await);
        }
        Ok(principal)
    }

    /// The client of this consumer key, and what that has asked of the store.
    async fn look_for_signer(
        &self,
        key: &str,
    ) -> Result<(Option<Arc<Stored<Client>>>, Asked), Error> {
        let term = self.records.term(kind::CLIENT, CLIENT_ID, key);
        let before = ReadAt::now(&*self.clock);
        let found = self.records.dated_by::<Client>(kind::CLIENT, term).await?;
        Ok(match found {
            Some((client, read_at)) if read_at.is_since(before) => (Some(client), Asked::Found),
            Some((client, _)) => (Some(client), Asked::Nothing),
            None => (None, Asked::Absent),
        })
    }

    /// The same work whoever is named: the signature of who has no secrets is compared with one by
    /// those of the decoy.
    fn verify_signature(
        &self,
        client: Option<&Arc<Stored<Client>>>,
        decoy: Option<&Stored<Decoy>>,
        request: &SignedRequest,
        protocol: &Protocol,
    ) -> Result<(), Denial> {
        let signing = client.and_then(|client| match &client.proof {
            Proof::Signature { token } => Some((client, token)),
            Proof::Secret { .. } | Proof::Identity { .. } => None,
        });
        let opened = match (client, decoy) {
            (_, Some(decoy)) => self.open_signing_secrets(decoy).ok(),
            (Some(client), None) => self.open_signing_secrets(client).ok(),
            (None, None) => None,
        };
        let [consumer, token] = opened.unwrap_or_else(|| ["".into(), "".into()]);
        let verified = oauth1::verify(request, protocol, &consumer, &token);
        match (client, signing) {
            (None, _) => Err(Denial::of(Rule::Client, "there is no such consumer key")),
            (Some(_), None) => {
                let reason = "the application does not use OAuth 1.0";
                Err(Denial::of(Rule::AuthenticationMethod, reason))
            }
            (Some(_), Some((_, own))) if *own != protocol.token => {
                let reason = "the token is not the one of the consumer key";
                Err(Denial::of(Rule::Token, reason))
            }
            // Without secrets of its own there is none to have signed with.
            (Some(_), Some(_)) if consumer.expose().is_empty() => Err(of(Fault::Signature)),
            (Some(_), Some(_)) => verified.map_err(of),
        }
    }

    async fn refuse_signature(
        &self,
        claimed: Actor,
        origin: Origin,
        object: Option<ObjectRef>,
        denial: Denial,
    ) -> Error {
        self.refuse(claimed, origin.ip, OPERATION, object, denial)
            .await
    }
}

fn of(fault: Fault) -> Denial {
    let rule = match fault {
        Fault::Missing(_) | Fault::Repeated | Fault::Malformed(_) | Fault::Version => {
            Rule::SignatureParameters
        }
        Fault::Method => Rule::SignatureMethod,
        Fault::Signature | Fault::BodyHash => Rule::Signature,
    };
    Denial::of(rule, fault.to_string())
}

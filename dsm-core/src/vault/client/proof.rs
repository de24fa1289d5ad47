//! What a client shows to get a token, and whether it is good.

use std::fmt;
use std::str;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use zeroize::Zeroizing;

use super::super::error::Error;
use super::super::init::KEYRING_RECORD;
use super::super::record::{Records, Stored, unframe};
use super::super::{Vault, kind};
use super::{CLIENT_ID, Client, Proof, decode_mac, is_client_id};
use crate::access::{Denial, Origin, Principal, Rule};
use crate::audit::{Actor, ObjectKind, ObjectRef, Operation};
use crate::aws::SignedIdentity;
use crate::crypto::Mac;
use crate::entropy::Entropy;
use crate::id::{AuthorizationId, ClientId};
use crate::secret::SecretText;
use crate::store::{Record, RecordKey};

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

/// A client that was never made. Whoever names an unknown one has this one opened, so that it takes
/// as long as a wrong secret of one that exists.
#[derive(Debug)]
pub(crate) struct Decoy(RwLock<Record>);

impl Decoy {
    pub(crate) fn new(records: &Records, entropy: &dyn Entropy) -> Self {
        Self(RwLock::new(decoy(records, entropy)))
    }

    /// Opens it as a record that was found.
    fn open(&self, vault: &Vault) {
        let opened = vault.records.decode::<Client>(&self.record());
        if opened.is_err() {
            self.renew(vault);
        }
    }

    /// Opens its secrets, with which nobody signs.
    pub(super) fn open_secrets(&self, vault: &Vault) -> Option<[SecretText; 2]> {
        let record = self.record();
        let (_, sealed) = unframe(&record.body)?;
        let context = vault
            .records
            .sealer
            .context(DECOY, kind::CLIENT.0, NOBODY.0);
        let opened = vault.records.sealer.open(&context, sealed?);
        drop(record);
        let Some(bytes) = opened.ok() else {
            self.renew(vault);
            return None;
        };
        let secrets = str::from_utf8(&bytes).ok()?;
        let (consumer, token) = secrets.split_once('\n')?;
        Some([SecretText::new(consumer), SecretText::new(token)])
    }

    /// Another one in place of one whose root key is gone.
    fn renew(&self, vault: &Vault) {
        let fresh = decoy(&vault.records, &*vault.entropy);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = fresh;
    }

    fn record(&self) -> RwLockReadGuard<'_, Record> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What its secrets are sealed for.
const DECOY: &str = "decoy";

fn decoy(records: &Records, entropy: &dyn Entropy) -> Record {
    let mac = records.keyring.client_mac(&entropy.array::<32>());
    let content = Client {
        authorization: AuthorizationId(0),
        client_id: data_encoding::HEXLOWER.encode(&entropy.array::<21>()),
        ends_at: None,
        proof: Proof::Secret {
            mac: data_encoding::HEXLOWER.encode(&mac.0),
        },
    };
    let mut decoy = records.object(NOBODY, content, "vault");
    let secret = || data_encoding::BASE64URL_NOPAD.encode(&entropy.array::<37>());
    let secrets = Zeroizing::new([secret(), secret()].join("\n"));
    let context = records.sealer.context(DECOY, kind::CLIENT.0, NOBODY.0);
    decoy.sealed_value = Some(records.sealer.seal(&context, secrets.as_bytes()).into());
    records.encode(&decoy)
}

/// The number of no client.
const NOBODY: ClientId = ClientId(0);

impl Vault {
    /// Who shows these credentials.
    pub(super) async fn prove(
        &self,
        presented: Presented<'_>,
        operation: Operation,
        origin: Origin,
    ) -> Result<Principal, Error> {
        match presented {
            Presented::Secret {
                client_id,
                client_secret,
            } => {
                self.prove_secret(client_id, client_secret, operation, origin)
                    .await
            }
            Presented::Identity(shown) => self.prove_identity(shown, operation, origin).await,
        }
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
        let client = self.find_client(client_id).await?;
        let known = client.as_ref().and_then(|client| match &client.proof {
            Proof::Secret { mac } => decode_mac(mac),
            Proof::Signature { .. } | Proof::Identity { .. } => None,
        });
        let right = self.records.keyring.client_mac(client_secret.as_bytes())
            == known.unwrap_or(Mac([0; 32]))
            && known.is_some();
        let denial = match &client {
            None => Denial::of(Rule::Client, "there is no such client"),
            Some(_) if known.is_none() => {
                let reason = "the application does not use OAuth 2.0";
                Denial::of(Rule::AuthenticationMethod, reason)
            }
            Some(client) if right => {
                return self.proven(client, claimed, operation, origin).await;
            }
            Some(_) => {
                self.as_for_nobody().await?;
                Denial::of(Rule::ClientSecret, "the client secret is wrong")
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

    /// The client of this id, as the store has it now. One that is not there costs what a wrong
    /// secret costs: as many questions to the store, of which as many are answered, and the opening
    /// of one record.
    pub(super) async fn find_client(&self, id: &str) -> Result<Option<Stored<Client>>, Error> {
        let found = self.records.find_by(kind::CLIENT, CLIENT_ID, id).await?;
        if found.is_none() {
            drop(self.records.store.find(KEYRING_RECORD).await?);
            self.decoy.open(self);
        }
        Ok(found)
    }

    /// The question without an answer that the look for an unknown client is.
    pub(super) async fn as_for_nobody(&self) -> Result<(), Error> {
        let nobody = RecordKey::new(kind::CLIENT, NOBODY);
        drop(self.records.store.find(nobody).await?);
        Ok(())
    }
}

//! A DevOps secret manager to embed: sealed secrets with versions and expiry, applications with
//! authorizations, an audit trail that comes before every answer, and storage that is not trusted.
//!
//! ```
//! use dsm_core::access::Origin;
//! use dsm_core::crypto::StaticKeys;
//! use dsm_core::entropy::OsEntropy;
//! use dsm_core::secret::SecretData;
//! use dsm_core::store::MemoryStore;
//! use dsm_core::vault::{
//!     ApplicationFields, AuthorizationFields, Caller, Credentials, Registry, SecretFields, Vault,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let vault = Vault::builder(MemoryStore::default(), StaticKeys::generate(&OsEntropy))
//!     .initialise()
//!     .await?;
//! let me = Caller::embedded("billing service");
//! vault.create_registry_entry(&me, Registry::System, "billing", "").await?;
//! vault.create_registry_entry(&me, Registry::Environment, "production", "").await?;
//!
//! let password = SecretData::key_values([("PASSWORD", "correct horse")]);
//! let fields = SecretFields::new("Main database", password);
//! let secret = vault.create_secret(&me, "db/main", fields).await?;
//! let application =
//!     vault.create_application(&me, ApplicationFields::new("invoices")).await?;
//! let mut fields = AuthorizationFields::new("billing", "production");
//! fields.allowed_ips = Some(vec!["10.0.0.0/8".to_owned()]);
//! fields.secrets = Some(vec![secret.id]);
//! let authorization = vault.create_authorization(&me, application.id, fields).await?;
//!
//! let origin = Origin { ip: "10.1.2.3".parse().ok(), ..Origin::default() };
//! let Credentials::OAuth2(key) = vault.reveal_credentials(&me, authorization.id).await? else {
//!     unreachable!("that is how the application authenticates")
//! };
//! let token =
//!     vault.authenticate(&key.client_id, key.client_secret.expose(), origin.clone()).await?;
//! let client = vault.principal(token.token.expose(), origin).await?;
//! let opened = vault.read_secret(&client, &"db/main".parse()?).await?;
//! assert_eq!(opened.data[0].value("PASSWORD").and_then(|v| v.expose()), Some("correct horse"));
//! # vault.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What is where
//!
//! - [`vault`]: the use cases; [`Vault`](vault::Vault) is what a program holds.
//! - [`secret`]: what secrets are. [`access`]: who may do what, and the one function that decides.
//! - [`audit`]: the trail. [`crypto`]: the envelope and the root keys.
//! - [`store`]: the storage port. To bring a backend of your own, implement
//!   [`Store`](store::Store) and run its conformance suite (feature `testing`).
//! - [`provider`]: the port to systems whose credentials are managed. To bring one of your own,
//!   implement [`Provider`](provider::Provider) and run its conformance suite (feature `testing`).
//! - [`renewal`]: the rotation of credentials. [`provision`]: accounts that live for a while.
//!
//! # What it does not do
//!
//! It opens no port, starts no process and reads neither clock nor random source of its own: they
//! are handed in ([`time`], [`entropy`]). It needs a Tokio runtime around it.
#![deny(missing_docs)]

pub mod access;
pub mod audit;
pub mod aws;
pub mod crypto;
pub mod entropy;
pub mod id;
pub mod oauth1;
pub mod pipeline;
pub mod provider;
pub mod provision;
pub mod renewal;
#[cfg(feature = "schema")]
mod schema;
pub mod secret;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;
pub mod transfer;
pub mod vault;

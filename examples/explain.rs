//! Why would this request be refused? The same rules that decide also explain.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use dsm_core::access::{Origin, Resource};
use dsm_core::crypto::StaticKeys;
use dsm_core::entropy::OsEntropy;
use dsm_core::secret::SecretData;
use dsm_core::store::MemoryStore;
use dsm_core::vault::{
    ApplicationFields, AuthorizationFields, Caller, Hypothesis, Registry, SecretFields, Vault,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let keys = StaticKeys::generate(&OsEntropy);
    let vault = Vault::builder(MemoryStore::default(), keys)
        .initialise()
        .await?;
    let me = Caller::embedded("example");
    vault
        .create_registry_entry(&me, Registry::System, "billing", "")
        .await?;
    vault
        .create_registry_entry(&me, Registry::Environment, "production", "")
        .await?;
    let data = SecretData::key_values([("KEY", "value")]);
    vault
        .create_secret(&me, "db/main", SecretFields::new("Database", data))
        .await?;
    let application = vault
        .create_application(&me, ApplicationFields::new("invoices"))
        .await?;
    let mut fields = AuthorizationFields::new("billing", "production");
    fields.allowed_ips = Some(vec!["192.168.1.*".to_owned()]);
    let authorization = vault
        .create_authorization(&me, application.id, fields)
        .await?;

    let hypothesis = Hypothesis {
        origin: Origin {
            ip: "192.168.2.7".parse().ok(),
            ..Origin::default()
        },
        resource: Resource::SecretManagement,
        identity: Some("db/main".to_owned()),
        at: None,
        method: None,
        arn: None,
    };
    for finding in vault.explain(&me, authorization.id, hypothesis).await? {
        println!(
            "{:<24} {:<14} {}",
            finding.rule,
            format!("{:?}", finding.outcome),
            finding.why
        );
    }
    vault.close().await;
    Ok(())
}

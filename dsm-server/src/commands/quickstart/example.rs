//! The example in the vault: found again at every start, made where it is missing or of no use.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use dsm_core::access::{Application, Authorization, Origin, Outcome, Resource};
use dsm_core::entropy::{Entropy, OsEntropy};
use dsm_core::id::AuthorizationId;
use dsm_core::secret::{Credential, Secret, SecretData, SecretText};
use dsm_core::store::Page;
use dsm_core::vault::{
    ApplicationFields, ApplicationFilter, AuthorizationFields, AuthorizationFilter, Caller,
    ClientCredentials, Error, Hypothesis, NewOperator, Registry, SecretFields, SecretFilter,
    Stored, Vault,
};

/// The name of everything in the example.
const NAME: &str = "quickstart";
/// The identity of its secret.
const IDENTITY: &str = "quickstart/database";
const LOOPBACK: [&str; 2] = ["127.0.0.1", "::1"];
const DAY: Duration = Duration::from_hours(24);

/// Credentials that work and what they are good for.
#[derive(Debug)]
pub(super) struct Example {
    pub(super) credentials: ClientCredentials,
    pub(super) identity: String,
    pub(super) operator_token: SecretText,
}

/// How often what another server makes at the same time is looked for anew.
const ATTEMPTS: usize = 10;

/// Finds the example by its names or makes it. What was given out before stays good.
pub(super) async fn find_or_make(vault: &Vault) -> Result<Example, Error> {
    for _ in 1..ATTEMPTS {
        match try_to_find_or_make(vault).await {
            Err(Error::Conflict(_) | Error::Stale) => {}
            result => return result,
        }
    }
    try_to_find_or_make(vault).await
}

async fn try_to_find_or_make(vault: &Vault) -> Result<Example, Error> {
    let caller = Caller::embedded(NAME);
    for registry in [Registry::System, Registry::Environment] {
        match vault
            .create_registry_entry(&caller, registry, NAME, "")
            .await
        {
            Ok(_) | Err(Error::Conflict(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let secret = secret(vault, &caller).await?;
    let application = application(vault, &caller).await?;
    let credentials = credentials(vault, &caller, &application, &secret).await?;
    let mut operator = NewOperator::new(NAME);
    operator.lifetime = DAY;
    let (_, operator_token) = vault.create_operator(&caller, operator).await?;
    Ok(Example {
        credentials,
        identity: secret.identity.as_str().to_owned(),
        operator_token,
    })
}

/// The example's secret, or a next one when that has expired.
async fn secret(vault: &Vault, caller: &Caller) -> Result<Stored<Secret>, Error> {
    let mut identity = IDENTITY.to_owned();
    let mut next = 2;
    loop {
        let filter = SecretFilter {
            identity: Some(identity.clone()),
            ..SecretFilter::default()
        };
        let mut found = vault.list_secrets(caller, filter, Page::first(1)).await?;
        let Some(secret) = found.items.pop() else {
            let fields = SecretFields::new("Example database", random_login());
            return vault.create_secret(caller, &identity, fields).await;
        };
        let is_over = secret.expires_at.is_some_and(|at| vault.now() >= at);
        if !is_over && secret.destroyed_at.is_none() {
            return if secret.enabled {
                Ok(secret)
            } else {
                vault.enable_secret(caller, secret.id).await
            };
        }
        identity = format!("{IDENTITY}-{next}");
        next += 1;
    }
}

fn random_login() -> SecretData {
    let entropy: &dyn Entropy = &OsEntropy;
    let password = BASE64URL_NOPAD.encode(&entropy.array::<24>());
    let login = Credential {
        host: Some("db.example.org".to_owned()),
        user: Some("quickstart".to_owned()),
        password: Some(password.into()),
        ..Credential::default()
    };
    SecretData {
        credentials: vec![login],
        ..SecretData::default()
    }
}

async fn application(vault: &Vault, caller: &Caller) -> Result<Stored<Application>, Error> {
    let filter = ApplicationFilter {
        name: Some(NAME.to_owned()),
        ..ApplicationFilter::default()
    };
    let mut found = vault
        .list_applications(caller, filter, Page::first(1))
        .await?;
    match found.items.pop() {
        None => {
            let fields = ApplicationFields::new(NAME);
            vault.create_application(caller, fields).await
        }
        Some(application) if application.enabled => Ok(application),
        Some(application) => {
            let fields = ApplicationFields {
                enabled: Some(true),
                ..ApplicationFields::default()
            };
            vault
                .update_application(caller, application.id, fields, None)
                .await
        }
    }
}

/// The credentials of the oldest authorization that may read the secret, or of a new one.
async fn credentials(
    vault: &Vault,
    caller: &Caller,
    application: &Stored<Application>,
    secret: &Stored<Secret>,
) -> Result<ClientCredentials, Error> {
    let filter = AuthorizationFilter {
        application: Some(application.id),
        ..AuthorizationFilter::default()
    };
    let found = vault.list_authorizations(caller, filter, Page::first(500));
    for authorization in found.await?.items.into_iter().rev() {
        if authorization.name != NAME || authorization.revoked_at.is_some() {
            continue;
        }
        vault
            .attach_secret(caller, authorization.id, secret.id)
            .await?;
        if !can_read(vault, caller, &authorization, secret).await? {
            continue;
        }
        match reveal(vault, caller, authorization.id).await {
            // Its clients were revoked.
            Err(Error::NotFound(_) | Error::Conflict(_)) => {}
            result => return result,
        }
    }
    let fields = AuthorizationFields {
        name: Some(NAME.to_owned()),
        allow_application_creation: Some(true),
        allowed_ips: Some(LOOPBACK.map(str::to_owned).to_vec()),
        resources: Some(
            Resource::ALL
                .iter()
                .map(|resource| resource.as_str().to_owned())
                .collect(),
        ),
        secrets: Some(vec![secret.id]),
        ..AuthorizationFields::new(NAME, NAME)
    };
    let made = vault
        .create_authorization(caller, application.id, fields)
        .await?;
    reveal(vault, caller, made.id).await
}

async fn reveal(
    vault: &Vault,
    caller: &Caller,
    id: AuthorizationId,
) -> Result<ClientCredentials, Error> {
    let revealed = vault.reveal_credentials(caller, id).await?;
    // The application of this name may be somebody else's.
    let message = "the application `quickstart` does not use OAuth 2.0";
    let of_oauth2 = revealed.into_oauth2();
    of_oauth2.ok_or_else(|| Error::Conflict(message.to_owned()))
}

async fn can_read(
    vault: &Vault,
    caller: &Caller,
    authorization: &Stored<Authorization>,
    secret: &Stored<Secret>,
) -> Result<bool, Error> {
    let hypothesis = Hypothesis {
        origin: Origin {
            ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            ..Origin::default()
        },
        resource: Resource::SecretManagement,
        identity: Some(secret.identity.as_str().to_owned()),
        at: None,
        method: None,
        arn: None,
    };
    let findings = vault.explain(caller, authorization.id, hypothesis).await?;
    Ok(findings
        .iter()
        .all(|finding| finding.outcome != Outcome::Failed))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dsm_core::crypto::StaticKeys;
    use dsm_core::store::MemoryStore;
    use dsm_core::vault::OpenedSecret;

    use super::*;

    async fn vault() -> Vault {
        let keys = StaticKeys::generate(&OsEntropy);
        let vault = Vault::builder(MemoryStore::default(), keys).initialise();
        vault.await.expect("an empty store")
    }

    async fn read(vault: &Vault, example: &Example) -> Result<OpenedSecret, Error> {
        let origin = Origin {
            ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            ..Origin::default()
        };
        let ClientCredentials {
            client_id,
            client_secret,
        } = &example.credentials;
        let token = vault
            .authenticate(client_id, client_secret.expose(), origin.clone())
            .await?;
        let principal = vault.principal(token.token.expose(), origin).await?;
        let identity = example.identity.parse().expect("an identity");
        vault.read_secret(&principal, &identity).await
    }

    #[tokio::test]
    async fn the_same_example_is_found_again() {
        let vault = vault().await;
        let first = find_or_make(&vault).await.expect("made");
        let second = find_or_make(&vault).await.expect("found");
        assert_eq!(first.credentials.client_id, second.credentials.client_id);
        assert_eq!(first.identity, second.identity);
        for example in [&first, &second] {
            read(&vault, example).await.expect("its secret");
            let token = Some(example.operator_token.expose());
            let operator = vault.authenticate_operator(token, None).await;
            assert!(operator.expect("good for a day").expires_at.is_some());
        }
    }

    #[tokio::test]
    async fn what_is_of_no_use_any_more_is_replaced() {
        let vault = Arc::new(vault().await);
        let caller = Caller::embedded("test");
        let first = find_or_make(&vault).await.expect("made");
        let authorizations =
            vault.list_authorizations(&caller, AuthorizationFilter::default(), Page::first(9));
        let authorization = authorizations.await.expect("one").items[0].id;
        let secrets = vault.list_secrets(&caller, SecretFilter::default(), Page::first(9));
        let secret = secrets.await.expect("one").items[0].id;

        vault
            .disable_secret(&caller, secret, None)
            .await
            .expect("disabled");
        let again = find_or_make(&vault).await.expect("enabled");
        read(&vault, &again).await.expect("its secret");

        vault.expire_secret(&caller, secret).await.expect("expired");
        let next = find_or_make(&vault).await.expect("another secret");
        assert_eq!(next.identity, "quickstart/database-2");
        assert_eq!(next.credentials.client_id, first.credentials.client_id);
        read(&vault, &next).await.expect("its secret");

        vault
            .revoke_authorization(&caller, authorization, None)
            .await
            .expect("revoked");
        let other = find_or_make(&vault).await.expect("another authorization");
        assert_ne!(other.credentials.client_id, first.credentials.client_id);
        read(&vault, &other).await.expect("its secret");
    }
}

//! The caller's application: what it may read, how it registers, and how it gives up.

use dsm_core::secret::SecretText;
use dsm_core::vault::{
    ApplicationFields, AuthorizationFields, Credentials, Registered, Registration,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::auth::{Attempts, principal};
use super::input::Input;
use super::reply::{Nothing, done};
use super::shape::ApplicationBody;
use crate::api::status::Failure;
use crate::app::App;
use crate::http::call::{Call, Reply};

/// What clients of the application authenticate with, by its method. `id` and `signature` are documented
/// as those of the application; they are the client's id and secret.
#[derive(Default, Serialize, JsonSchema)]
#[schemars(rename = "Registration")]
pub(super) struct Registrant<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer_secret: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_secret: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unique_key: Option<&'a str>,
    /// Once, where the vault makes a pair and keeps no private key. Sensitive.
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key: Option<&'a str>,
}

impl<'a> From<&'a Credentials> for Registrant<'a> {
    fn from(credentials: &'a Credentials) -> Self {
        match credentials {
            Credentials::OAuth2(credentials) => Self {
                id: Some(&credentials.client_id),
                signature: Some(credentials.client_secret.expose()),
                ..Self::default()
            },
            Credentials::OAuth1(credentials) => Self {
                consumer_key: Some(&credentials.consumer_key),
                consumer_secret: Some(credentials.consumer_secret.expose()),
                token: Some(&credentials.token),
                token_secret: Some(credentials.token_secret.expose()),
                ..Self::default()
            },
            Credentials::Aws { unique_key } => Self {
                unique_key: Some(unique_key.expose()),
                ..Self::default()
            },
        }
    }
}

/// `GET /iso/dapp/application`.
pub(super) async fn read(app: &App, call: &Call) -> Result<Reply, Failure> {
    let principal = principal(app, call).await?;
    let view = app.vault.read_application(&principal).await?;
    let body = ApplicationBody::new(
        principal.application(),
        &view.system,
        &view.environment,
        &view.secrets,
    );
    let message = format!("Application {}", principal.application_id());
    Ok(done(StatusCode::OK, &message, body))
}

/// `POST /iso/dapp/application`.
pub(super) async fn register(app: &App, call: &Call) -> Result<Reply, Failure> {
    let mut attempts = Attempts::default();
    let registered = loop {
        let principal = attempts.principal(app, call).await?;
        let registration = registration_of(Input::of(call)?)?;
        let registered = app.vault.register_application(&principal, registration);
        let registered = registered.await;
        if !attempts.again(&registered) {
            break registered?;
        }
    };
    let body = Registrant {
        private_key: registered.private_key.as_ref().map(SecretText::expose),
        ..Registrant::from(&registered.credentials)
    };
    Ok(done(StatusCode::OK, &what_came_of(&registered), body))
}

/// `DELETE /iso/dapp/application/authorization`.
pub(super) async fn revoke(app: &App, call: &Call) -> Result<Reply, Failure> {
    let mut attempts = Attempts::default();
    loop {
        let principal = attempts.principal(app, call).await?;
        Input::of(call)?.finish()?;
        let revoked = app.vault.revoke_self(&principal).await;
        if !attempts.again(&revoked) {
            break revoked?;
        }
    }
    Ok(done(
        StatusCode::OK,
        "Authorization deleted successfully.",
        Nothing {},
    ))
}

fn what_came_of(registered: &Registered) -> String {
    format!(
        "Application {}: ({}) {} | Authorization {}: ({})",
        if registered.application_created {
            "created"
        } else {
            "updated"
        },
        registered.application.id,
        registered.application.name,
        if registered.authorization_created {
            "created"
        } else {
            "found"
        },
        registered.authorization.id,
    )
}

/// What is to be registered.
pub(super) fn registration_of(mut input: Input) -> Result<Registration, Failure> {
    let application = ApplicationFields {
        name: input.required(&["application"]),
        authentication_method: input.method(&["authentication_method"]),
        line_of_business: input.removable(&["line_of_business"]),
        application_type: input.removable(&["application_type"]),
        tags: input.list(&["tags"]),
        description: input.removable(&["description"]),
        aws_arns: input.list(&["aws_arns"]),
        cloud_profiles: input.list(&["cloud_profiles"]),
        credential_profiles: input.profiles(&["credential_profiles"]),
        ..ApplicationFields::default()
    };
    let authorization = AuthorizationFields {
        system: input.filled(&["system"]),
        environment: input.filled(&["environment"]),
        // An empty key would be one that everybody has.
        unique_key: input.filled(&["unique_key"]).map(Some),
        expires_at: input.instant(&["expiration_date"]),
        encrypt_sensitive: input.boolean(&["encryption_enabled"]),
        allowed_ips: input.list(&["allowed_ips"]),
        allowed_referrers: input.list(&["allowed_http_referers", "allowed_http_referrers"]),
        certificate_fingerprint: input.filled(&["certificate_fingerprint"]).map(Some),
        resources: input.list(&["authorized_resources"]),
        ..AuthorizationFields::default()
    };
    input.finish()?;
    Ok(Registration {
        application,
        authorization,
    })
}

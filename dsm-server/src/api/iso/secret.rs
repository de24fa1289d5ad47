//! Secrets, one by one and all that an authorization has.

use std::slice;

use dsm_core::secret::{Identity, IdentityError};
use dsm_core::vault::{Error, FieldError, Registry, RenewalFields, SecretFields, Written};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::auth::{Attempts, principal};
use super::input::Input;
use super::reply::{Nothing, done};
use super::shape::{ApplicationBody, Secret};
use crate::api::status::Failure;
use crate::app::App;
use crate::http::call::{Call, Reply};

#[derive(Serialize, JsonSchema)]
pub(super) struct One<'a> {
    secret: Secret<'a>,
}

/// Under the name of the documents and under that of the clients.
#[derive(Serialize, JsonSchema)]
pub(super) struct All<'a> {
    #[serde(rename = "Secrets")]
    documented: &'a [Secret<'a>],
    secrets: &'a [Secret<'a>],
}

/// `GET /iso/sctm/secret/{identity}`.
pub(super) async fn read(app: &App, call: &Call) -> Result<Reply, Failure> {
    let principal = principal(app, call).await?;
    let opened = app
        .vault
        .read_secret(&principal, &identity_of(call)?)
        .await?;
    let body = One {
        secret: Secret::full(&opened),
    };
    Ok(done(StatusCode::OK, "Secret loaded successfully.", body))
}

/// `GET /iso/sctm/secrets`.
pub(super) async fn list(app: &App, call: &Call) -> Result<Reply, Failure> {
    let principal = principal(app, call).await?;
    let opened = app.vault.read_secrets(&principal).await?;
    let secrets: Vec<Secret<'_>> = opened.iter().map(Secret::full).collect();
    let body = All {
        documented: &secrets,
        secrets: &secrets,
    };
    Ok(done(StatusCode::OK, "Secrets loaded successfully.", body))
}

/// `DELETE /iso/sctm/secret/{identity}`: it is disabled, not destroyed.
pub(super) async fn delete(app: &App, call: &Call) -> Result<Reply, Failure> {
    let mut attempts = Attempts::default();
    loop {
        let principal = attempts.principal(app, call).await?;
        let identity = identity_of(call)?;
        Input::of(call)?.finish()?;
        let deleted = app.vault.delete_secret(&principal, &identity).await;
        if !attempts.again(&deleted) {
            break deleted?;
        }
    }
    Ok(done(
        StatusCode::OK,
        "Secret deleted successfully.",
        Nothing {},
    ))
}

/// `POST /iso/sctm/secret`: makes it, or changes the one with this identity.
pub(super) async fn write(app: &App, call: &Call) -> Result<Reply, Failure> {
    let mut attempts = Attempts::default();
    let (principal, Written { secret, created }) = loop {
        let principal = attempts.principal(app, call).await?;
        let (identity, fields) = secret_of(Input::of(call)?)?;
        let written = app.vault.write_secret(&principal, &identity, fields).await;
        if !attempts.again(&written) {
            break (principal, written?);
        }
    };
    let authorization = principal.authorization();
    let system = app
        .vault
        .registry_name(Registry::System, authorization.system)
        .await?;
    let environment = app
        .vault
        .registry_name(Registry::Environment, authorization.environment)
        .await?;
    let body = ApplicationBody::new(
        principal.application(),
        &system,
        &environment,
        slice::from_ref(&secret),
    );
    Ok(if created {
        done(StatusCode::CREATED, "Secret created successfully.", body)
    } else {
        done(StatusCode::OK, "Secret updated successfully.", body)
    })
}

/// The identity at the end of the path, decoded once.
fn identity_of(call: &Call) -> Result<Identity, Failure> {
    let text = call.param("identity").unwrap_or_default();
    text.parse().map_err(|error: IdentityError| {
        Failure::invalid(vec![FieldError::new("identity", error.to_string())])
    })
}

/// What is to be written.
pub(super) fn secret_of(mut input: Input) -> Result<(Identity, SecretFields), Failure> {
    let identity = input.required(&["identity"]);
    let identity = identity.and_then(|text| match text.parse::<Identity>() {
        Ok(identity) => Some(identity),
        Err(error) => {
            input.reject("identity", error.to_string());
            None
        }
    });
    let fields = SecretFields {
        name: input.text(&["name"]),
        engine: input.filled(&["engine"]),
        expires_at: input.instant(&["expiration_date"]),
        description: input.text(&["description"]),
        renew: RenewalFields {
            cloud: input.timer(&["renew_cloud_time"]),
            credential: input.timer(&["renew_credential_time"]),
            // Documents of the vendor misspell it.
            ephemeral: input.timer(&[
                "renew_ephemeral_credential_time",
                "renew_efemeral_credential_time",
            ]),
        },
        // Documents of the vendor misprint it.
        data: input.data(&["data", "date"]),
        ..SecretFields::default()
    };
    input.finish()?;
    let identity = identity.ok_or_else(|| Error::invalid("identity", "is required"))?;
    Ok((identity, fields))
}

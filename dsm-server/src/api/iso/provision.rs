//! New accounts for a secret or a container, and their end.

use dsm_core::access::Resource;
use dsm_core::id::SecretId;
use dsm_core::renewal::Failure as Failed;
use dsm_core::secret::Identity;
use dsm_core::vault::{Container, Error, OpenedSecret, ProvisionFailure};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::auth::Attempts;
use super::input::Input;
use super::reply::{Nothing, done, failed, failed_with, in_words};
use super::shape::{Application, ApplicationBody, Secret};
use crate::api::status::{Failure, Kind};
use crate::app::App;
use crate::http::call::{Call, Reply};

/// What was provisioned: a secret with its new accounts, or the application of a container.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Provision")]
pub(super) struct Provision<'a> {
    success: bool,
    /// What could not be provisioned, if something else could.
    error_detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<Secret<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    application: Option<Application<'a>>,
}

/// Why nothing was provisioned. What was served before is served still.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Provision")]
pub(super) struct Unprovisioned<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    success: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_detail: Option<&'a str>,
}

/// What is asked for.
pub(super) enum Order {
    Secret(SecretId),
    Identity(Identity),
    Container(Container),
}

/// `/iso/coe/dapp/provision`: by `secret_id` or `identity`, or for a container.
pub(super) async fn provision(app: &App, call: &Call) -> Reply {
    answer(run(app, call, Resource::Application, order_of).await)
}

/// `/iso/sctm/provision`: by `secret_id` or `identity`.
pub(super) async fn provision_secret(app: &App, call: &Call) -> Reply {
    answer(run(app, call, Resource::SecretManagement, secret_of).await)
}

/// `/iso/coe/dapp/deprovision`.
pub(super) async fn deprovision(app: &App, call: &Call) -> Result<Reply, Failure> {
    let mut attempts = Attempts::default();
    loop {
        let principal = attempts.principal(app, call).await?;
        let (secret, container) = return_of(Input::of(call)?)?;
        let ended = app
            .vault
            .deprovision_container(&principal, secret, &container)
            .await;
        if !attempts.again(&ended) {
            break ended?;
        }
    }
    Ok(done(StatusCode::OK, "Deprovision done.", Nothing {}))
}

async fn run(
    app: &App,
    call: &Call,
    resource: Resource,
    read: fn(Input) -> Result<Order, Failure>,
) -> Result<Reply, Failure> {
    let mut attempts = Attempts::default();
    loop {
        let principal = attempts.principal(app, call).await?;
        let vault = &app.vault;
        let provisioned = match read(Input::of(call)?)? {
            Order::Secret(id) => vault.provision_secret(&principal, resource, id).await,
            Order::Identity(identity) => {
                vault
                    .provision_identity(&principal, resource, &identity)
                    .await
            }
            Order::Container(container) => {
                let failures = vault.provision_container(&principal, &container).await;
                if attempts.again(&failures) {
                    continue;
                }
                let failures = failures?;
                if !failures.is_empty() {
                    return Err(failure(&failures));
                }
                let view = vault.read_application(&principal).await?;
                let body = ApplicationBody::new(
                    principal.application(),
                    &view.system,
                    &view.environment,
                    &view.secrets,
                );
                let message = format!("Application {}", principal.application_id());
                return Ok(provisioned_as(&message, "", None, Some(body.application)));
            }
        };
        if attempts.again(&provisioned) {
            continue;
        }
        let provisioned = provisioned?;
        let Some(secret) = &provisioned.secret else {
            return Err(failure(&provisioned.failures));
        };
        let detail = detail(&provisioned.failures);
        return Ok(provisioned_as(
            "Secret provisions done.",
            &detail,
            Some(secret),
            None,
        ));
    }
}

fn provisioned_as(
    message: &str,
    error_detail: &str,
    secret: Option<&OpenedSecret>,
    application: Option<Application<'_>>,
) -> Reply {
    let body = Provision {
        success: error_detail.is_empty(),
        error_detail,
        secret: secret.map(Secret::full),
        application,
    };
    done(StatusCode::OK, message, body)
}

/// The failure, with what clients of this call look at beside the default object.
fn answer(result: Result<Reply, Failure>) -> Reply {
    result.unwrap_or_else(|failure| {
        if !matches!(
            failure.kind,
            Kind::Conflict | Kind::Stale | Kind::Unavailable
        ) {
            return failed(&failure);
        }
        let detail = in_words(&failure);
        failed_with(
            &failure,
            Unprovisioned {
                success: Some(false),
                error_detail: Some(&detail),
            },
        )
    })
}

/// What targets say of the accounts that could not be made.
fn detail(failures: &[ProvisionFailure]) -> String {
    let details: Vec<String> = failures.iter().map(ProvisionFailure::detail).collect();
    details.join("; ")
}

/// Refused by a target it is a conflict; a target that cannot be reached is unavailable.
fn failure(failures: &[ProvisionFailure]) -> Failure {
    let refused = failures.iter().any(|it| it.kind == Failed::Refused);
    let kind = if refused {
        Kind::Conflict
    } else {
        Kind::Unavailable
    };
    Failure::new(kind, detail(failures))
}

/// One of the three forms.
pub(super) fn order_of(mut input: Input) -> Result<Order, Failure> {
    let (id, identity) = (input.filled(&["secret_id"]), input.filled(&["identity"]));
    let pod_name = input.filled(&["pod_name"]);
    let deploy = input.filled(&["deploy"]);
    let namespace = input.filled(&["namespace"]);
    if pod_name.is_none() && deploy.is_none() && namespace.is_none() {
        return by_secret(input, id, identity);
    }
    for (field, text) in [
        ("pod_name", &pod_name),
        ("deploy", &deploy),
        ("namespace", &namespace),
    ] {
        if text.is_none() {
            input.reject(field, "is required with the others of a container");
        }
    }
    for (field, text) in [("secret_id", &id), ("identity", &identity)] {
        if text.is_some() {
            input.reject(field, "must not be given for a container");
        }
    }
    input.finish()?;
    Ok(Order::Container(Container {
        pod_name: pod_name.unwrap_or_default(),
        deploy: deploy.unwrap_or_default(),
        namespace: namespace.unwrap_or_default(),
    }))
}

/// A secret.
pub(super) fn secret_of(mut input: Input) -> Result<Order, Failure> {
    let (id, identity) = (input.filled(&["secret_id"]), input.filled(&["identity"]));
    by_secret(input, id, identity)
}

fn by_secret(
    mut input: Input,
    id: Option<String>,
    identity: Option<String>,
) -> Result<Order, Failure> {
    let order = match (id, identity) {
        (Some(_), Some(_)) => {
            input.reject("identity", "must not be given beside secret_id");
            None
        }
        (None, None) => {
            input.reject("secret_id", "is required, or identity");
            None
        }
        (Some(id), None) => secret_id(&mut input, &id).map(Order::Secret),
        (None, Some(identity)) => match identity.parse() {
            Ok(identity) => Some(Order::Identity(identity)),
            Err(error) => {
                input.reject("identity", format!("{error}"));
                None
            }
        },
    };
    input.finish()?;
    order.ok_or_else(|| Error::invalid("secret_id", "is required").into())
}

/// The accounts of a container that are given back.
pub(super) fn return_of(mut input: Input) -> Result<(SecretId, Container), Failure> {
    let id = input.required(&["secret_id"]);
    let id = id.and_then(|id| secret_id(&mut input, &id));
    let mut text = |name| input.required(name).unwrap_or_default();
    let container = Container {
        pod_name: text(&["pod_name"]),
        deploy: text(&["deploy"]),
        namespace: text(&["namespace"]),
    };
    input.finish()?;
    let id = id.ok_or_else(|| Error::invalid("secret_id", "is required"))?;
    Ok((id, container))
}

fn secret_id(input: &mut Input, text: &str) -> Option<SecretId> {
    let id = text.parse().ok();
    if id.is_none() {
        input.reject("secret_id", "must be a decimal number");
    }
    id.map(SecretId)
}

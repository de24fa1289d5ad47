//! `/iso`: the interface that existing clients speak.
//!
//! Every answer carries the default response object, errors a `message` beside it: some clients
//! look at nothing else, not even at the status. No field has another type than those clients
//! expect, which for most of them means text.

mod application;
mod auth;
mod client;
mod endpoint;
mod input;
mod provision;
mod reply;
mod secret;
mod shape;
mod token;
mod variables;

use http::StatusCode;

use self::endpoint::{Endpoint, delete, get, post};
use self::reply::Nothing;
pub use self::reply::refuse;
use self::shape::ApplicationBody;
use crate::api::status::Kind;
use crate::app::App;
use crate::http::router::Route;

const PROVISION: &str = "/iso/coe/dapp/provision";

impl Endpoint {
    /// Gives the accounts that it had made.
    fn provisions(self) -> Self {
        self.fails_with::<provision::Unprovisioned<'_>>(Kind::Conflict, "ProvisionFailure")
            .fails_with::<provision::Unprovisioned<'_>>(Kind::Unavailable, "ProvisionFailure")
            .fails(Kind::NotFound)
            .gives::<provision::Provision<'_>>(StatusCode::OK, "Done")
    }
}

/// The routes of this surface.
pub fn routes() -> Vec<Route<App>> {
    vec![
        post(
            "/iso/oauth2/token",
            "iso_token",
            "Gives an access token for client credentials, or for a request signed for AWS",
        )
        .for_clients::<client::Refused>()
        .fields(client::grant)
        .gives::<token::Issued<'_>>(StatusCode::OK, "A token")
        .by(async |app, call| token::issue(&app, call).await),
        post(
            "/iso/oauth2/revoke",
            "iso_token_revoke",
            "Ends an access token of the caller's authorization",
        )
        .for_clients::<client::Refused>()
        .fields(client::about_token)
        .gives::<Nothing>(StatusCode::OK, "It is good for nothing any more")
        .by(async |app, call| token::revoke(&app, call).await),
        post(
            "/iso/oauth2/introspect",
            "iso_token_introspect",
            "Tells what an access token of the caller's authorization is good for",
        )
        .for_clients::<client::Refused>()
        .fields(client::about_token)
        .gives::<token::Introspected<'_>>(StatusCode::OK, "What it is good for")
        .by(async |app, call| token::introspect(&app, call).await),
        get(
            "/iso/dapp/application",
            "iso_application",
            "Gives the caller's application with the secrets that it may read",
        )
        .gives::<ApplicationBody<'_>>(StatusCode::OK, "The application")
        .by(async |app, call| reply::answer(application::read(&app, &call).await)),
        post(
            "/iso/dapp/application",
            "iso_application_register",
            "Makes or changes an application, and finds or makes an authorization of it",
        )
        .fields(application::registration_of)
        .gives::<application::Registrant<'_>>(StatusCode::OK, "Done")
        .by(async |app, call| reply::answer(application::register(&app, &call).await)),
        delete(
            "/iso/dapp/application/authorization",
            "iso_authorization_revoke",
            "Revokes the calling authorization for good",
        )
        .gives::<Nothing>(StatusCode::OK, "Done")
        .by(async |app, call| reply::answer(application::revoke(&app, &call).await)),
        get(
            PROVISION,
            "iso_provision_get",
            "Has accounts made by profiles, for a secret or a container",
        )
        .fields(provision::order_of)
        .fails(Kind::UnsupportedType)
        .provisions()
        .by(async |app, call| provision::provision(&app, &call).await)
        .whole(),
        post(
            PROVISION,
            "iso_provision",
            "Has accounts made by profiles, for a secret or a container",
        )
        .fields(provision::order_of)
        .provisions()
        .by(async |app, call| provision::provision(&app, &call).await),
        post(
            "/iso/sctm/provision",
            "iso_provision_secret",
            "Has accounts made by profiles for a secret",
        )
        .fields(provision::secret_of)
        .provisions()
        .by(async |app, call| provision::provision_secret(&app, &call).await),
        post(
            "/iso/coe/dapp/deprovision",
            "iso_deprovision",
            "Gives the accounts of a container back",
        )
        .fields(provision::return_of)
        .fails(Kind::NotFound)
        .gives::<Nothing>(StatusCode::OK, "Done")
        .by(async |app, call| reply::answer(provision::deprovision(&app, &call).await)),
        post(
            "/iso/dapp/deprovision",
            "iso_deprovision_alias",
            "Gives the accounts of a container back",
        )
        .fields(provision::return_of)
        .fails(Kind::NotFound)
        .gives::<Nothing>(StatusCode::OK, "Done")
        .by(async |app, call| reply::answer(provision::deprovision(&app, &call).await)),
        post(
            "/iso/cicd/variables",
            "iso_variables",
            "Registers the variables of a pipeline, and makes secrets of those that are mapped",
        )
        .fields(variables::registration_of)
        .gives::<Nothing>(StatusCode::OK, "Done")
        .by(async |app, call| reply::answer(variables::register(&app, &call).await)),
        get(
            "/iso/sctm/secrets",
            "iso_secrets",
            "Gives every secret of the caller",
        )
        .gives::<secret::All<'_>>(StatusCode::OK, "The secrets")
        .by(async |app, call| reply::answer(secret::list(&app, &call).await)),
        get(
            "/iso/sctm/secret",
            "iso_secrets_alias",
            "Gives every secret of the caller",
        )
        .gives::<secret::All<'_>>(StatusCode::OK, "The secrets")
        .by(async |app, call| reply::answer(secret::list(&app, &call).await)),
        post(
            "/iso/sctm/secret",
            "iso_secret_write",
            "Makes a secret, or changes the one with this identity",
        )
        .fields(secret::secret_of)
        .gives::<ApplicationBody<'_>>(StatusCode::OK, "It was changed")
        .gives::<ApplicationBody<'_>>(StatusCode::CREATED, "It was made")
        .by(async |app, call| reply::answer(secret::write(&app, &call).await)),
        get(
            "/iso/sctm/secret/{identity…}",
            "iso_secret",
            "Gives a secret",
        )
        .gives::<secret::One<'_>>(StatusCode::OK, "The secret")
        .by(async |app, call| reply::answer(secret::read(&app, &call).await)),
        delete(
            "/iso/sctm/secret/{identity…}",
            "iso_secret_delete",
            "Disables a secret",
        )
        .gives::<Nothing>(StatusCode::OK, "Done")
        .by(async |app, call| reply::answer(secret::delete(&app, &call).await)),
    ]
}

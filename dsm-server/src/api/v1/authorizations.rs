//! `/authorizations`, and those of one application.

use std::collections::BTreeSet;

use dsm_core::access::{Authorization, Fingerprint, IpRule, ReferrerRule, Resource, SealingFormat};
use dsm_core::id::{ApplicationId, AuthorizationId, SecretId};
use dsm_core::store::Page;
use dsm_core::time::Timestamp;
use dsm_core::vault::{
    AuthorizationFields, AuthorizationFilter, GroupCursor, Registry, Stored, Vault,
    WrittenAuthorization,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize as _, Serialize};
use serde_json::Value;

use crate::api::status::Failure;
use crate::api::v1::endpoint::{delete, get, patch, post, put};
use crate::api::v1::query::{NO_CURSOR, Query, in_query, page_of};
use crate::api::v1::request::{Answer, Request};
use crate::api::v1::view::{Named, Object};
use crate::api::v1::{explain, input};
use crate::app::App;
use crate::http::call::Reply;
use crate::http::fields::FieldReader;
use crate::http::operation::Shape;
use crate::http::router::Route;

const COLLECTION: &str = "/api/v1/authorizations";
const OF_APPLICATION: &str = "/api/v1/applications/{id}/authorizations";
const ITEM: &str = "/api/v1/authorizations/{id}";
/// What a new one must have.
const REQUIRED: &[&str] = &[
    "enabled",
    "encrypt_sensitive",
    "allow_application_creation",
    "environment",
    "system",
];
const SECRET: &str = "/api/v1/authorizations/{id}/secrets/{secret_id}";

/// An authorization, without the unique key, which is a credential of AWS clients.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Authorization")]
struct View {
    code: String,
    application: Named<ApplicationId>,
    name: String,
    enabled: bool,
    revoked_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    encrypt_sensitive: bool,
    encryption_format: SealingFormat,
    allow_application_creation: bool,
    environment: String,
    system: String,
    allowed_ips: Vec<IpRule>,
    allowed_referrers: Vec<ReferrerRule>,
    certificate_fingerprint: Option<Fingerprint>,
    resources: BTreeSet<Resource>,
    read_only: bool,
    has_unique_key: bool,
    /// What it may read. Left out of lists: an authorization may see a thousand.
    #[serde(skip_serializing_if = "Option::is_none")]
    secrets: Option<BTreeSet<SecretId>>,
    created_by_authorization: Option<AuthorizationId>,
    /// Once, where the vault makes a pair and keeps no private key. Sensitive.
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key: Option<String>,
}

pub(super) fn routes() -> Vec<Route<App>> {
    vec![
        get(
            COLLECTION,
            "v1.authorizations.list",
            "Lists the authorizations of all applications, grouped by application",
        )
        .query(filter)
        .lists::<Object<View>>()
        .by(list),
        get(
            OF_APPLICATION,
            "v1.applications.authorizations.list",
            "Lists the authorizations of an application",
        )
        .query(Query::page)
        .lists::<Object<View>>()
        .by(list_of_application),
        post(
            OF_APPLICATION,
            "v1.applications.authorizations.create",
            "Makes an authorization of an application",
        )
        .body(fields)
        .requires(REQUIRED)
        .creates::<View>()
        .by(create),
        get(ITEM, "v1.authorizations.show", "Shows an authorization")
            .shows::<View>()
            .by(show),
        patch(ITEM, "v1.authorizations.change", "Changes an authorization")
            .body(fields)
            .conditional()
            .shows::<View>()
            .by(change),
        delete(
            ITEM,
            "v1.authorizations.revoke",
            "Revokes an authorization for good",
        )
        .conditional()
        .gives_nothing()
        .by(revoke),
        put(
            SECRET,
            "v1.authorizations.attach",
            "Lets an authorization have a secret",
        )
        .gives_nothing()
        .by(attach),
        delete(
            SECRET,
            "v1.authorizations.detach",
            "Takes a secret away from an authorization",
        )
        .gives_nothing()
        .by(detach),
        post(
            "/api/v1/authorizations/{id}/explain",
            "v1.authorizations.explain",
            "Says of every rule whether it would let a request pass, and why",
        )
        .body(explain::hypothesis)
        .gives::<explain::Explanation>()
        .by(explain::explain),
    ]
}

/// Which authorizations, from where on, and how many.
type Asked = (AuthorizationFilter, Option<GroupCursor>, usize);

fn filter(query: &mut Query) -> Asked {
    let filter = AuthorizationFilter {
        application: query.number("application").map(ApplicationId),
        system: query.text("system"),
        environment: query.text("environment"),
        enabled: query.flag("enabled"),
        created_from: query.instant("created_from"),
        created_until: query.instant("created_until"),
    };
    let after = query.parsed("after", Shape::text, NO_CURSOR, |text| text.parse().ok());
    (filter, after, query.limit())
}

async fn list(request: Request, (filter, after, limit): Asked) -> Answer {
    let vault = request.vault();
    let found = vault
        .list_grouped_authorizations(&request.caller, filter, after, limit)
        .await
        .map_err(in_query)?;
    page_of_views(vault, &found.items, found.next.as_ref()).await
}

async fn list_of_application(request: Request, page: Page) -> Answer {
    let application: ApplicationId = request.id("id")?;
    let filter = AuthorizationFilter {
        application: Some(application),
        ..AuthorizationFilter::default()
    };
    let vault = request.vault();
    let found = vault
        .list_authorizations(&request.caller, filter, page)
        .await?;
    // An application that is not there is no application without authorizations.
    vault.application_name(application).await?;
    page_of_views(vault, &found.items, found.next.as_ref()).await
}

async fn page_of_views(
    vault: &Vault,
    found: &[Stored<Authorization>],
    next: Option<&impl ToString>,
) -> Answer {
    let mut items = Vec::with_capacity(found.len());
    for stored in found {
        items.push(Object::of(stored, view(vault, stored).await?));
    }
    Ok(page_of(items, next.map(ToString::to_string)))
}

async fn create(request: Request, fields: AuthorizationFields) -> Answer {
    let application = request.id("id")?;
    let vault = request.vault();
    let made = vault
        .create_authorization(&request.caller, application, fields)
        .await?;
    Ok(written(vault, &made).await?.created(COLLECTION))
}

async fn show(request: Request) -> Answer {
    let vault = request.vault();
    let found = vault
        .find_authorization(&request.caller, request.id("id")?)
        .await?;
    Ok(whole(vault, &found).await?.shown())
}

async fn change(request: Request, fields: AuthorizationFields) -> Answer {
    let (id, expected) = (request.id("id")?, request.expected);
    let vault = request.vault();
    let changed = vault
        .update_authorization(&request.caller, id, fields, expected)
        .await?;
    Ok(written(vault, &changed).await?.shown())
}

async fn revoke(request: Request) -> Answer {
    request
        .vault()
        .revoke_authorization(&request.caller, request.id("id")?, request.expected)
        .await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

async fn attach(request: Request) -> Answer {
    let (id, secret) = (request.id("id")?, request.id("secret_id")?);
    request
        .vault()
        .attach_secret(&request.caller, id, secret)
        .await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

async fn detach(request: Request) -> Answer {
    let (id, secret) = (request.id("id")?, request.id("secret_id")?);
    request
        .vault()
        .detach_secret(&request.caller, id, secret)
        .await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

fn fields(mut body: FieldReader) -> AuthorizationFields {
    AuthorizationFields {
        name: input::cleared_text(&mut body, "name", Shape::text),
        enabled: input::flag(&mut body, "enabled"),
        expires_at: input::optional_instant(&mut body, "expires_at"),
        encrypt_sensitive: input::flag(&mut body, "encrypt_sensitive"),
        encryption_format: body.kept(
            "encryption_format",
            Shape::of::<SealingFormat>,
            sealing_format,
        ),
        allow_application_creation: input::flag(&mut body, "allow_application_creation"),
        environment: input::name(&mut body, "environment"),
        system: input::name(&mut body, "system"),
        allowed_ips: input::list_of(&mut body, "allowed_ips", Shape::of::<IpRule>),
        allowed_referrers: input::list_of(
            &mut body,
            "allowed_referrers",
            Shape::of::<ReferrerRule>,
        ),
        certificate_fingerprint: input::optional_text(&mut body, "certificate_fingerprint"),
        resources: input::list_of(&mut body, "resources", Shape::of::<Resource>),
        read_only: input::flag(&mut body, "read_only"),
        unique_key: input::optional_text(&mut body, "unique_key"),
        secrets: input::secrets(&mut body, "secrets"),
        wrong: input::wrong(body),
    }
}

fn sealing_format(value: Value) -> Result<SealingFormat, &'static str> {
    SealingFormat::deserialize(value).map_err(|_| "must be jwe, oaep-sha1 or oaep-sha256")
}

async fn written(vault: &Vault, written: &WrittenAuthorization) -> Result<Object<View>, Failure> {
    let mut content = whole_view(vault, written).await?;
    let key = written.private_key.as_ref();
    content.private_key = key.map(|key| key.expose().to_owned());
    Ok(Object::of(&written.authorization, content))
}

async fn whole(vault: &Vault, stored: &Stored<Authorization>) -> Result<Object<View>, Failure> {
    Ok(Object::of(stored, whole_view(vault, stored).await?))
}

/// The authorization with the secrets that it can see.
async fn whole_view(vault: &Vault, stored: &Stored<Authorization>) -> Result<View, Failure> {
    let secrets = vault.attached_secrets(stored.id).await?;
    let mut content = view(vault, stored).await?;
    content.secrets = Some(secrets.into_iter().collect());
    Ok(content)
}

async fn view(vault: &Vault, stored: &Stored<Authorization>) -> Result<View, Failure> {
    let authorization = &*stored.content;
    let application = Named {
        id: authorization.application,
        name: vault.application_name(authorization.application).await?,
    };
    let (environment, system) = (authorization.environment, authorization.system);
    Ok(View {
        code: authorization.code.clone(),
        application,
        name: authorization.name.clone(),
        enabled: authorization.enabled,
        revoked_at: authorization.revoked_at,
        expires_at: authorization.expires_at,
        encrypt_sensitive: authorization.encrypt_sensitive,
        encryption_format: authorization.encryption_format,
        allow_application_creation: authorization.allow_application_creation,
        environment: vault
            .registry_name(Registry::Environment, environment)
            .await?,
        system: vault.registry_name(Registry::System, system).await?,
        allowed_ips: authorization.allowed_ips.clone(),
        allowed_referrers: authorization.allowed_referrers.clone(),
        certificate_fingerprint: authorization.certificate_fingerprint,
        resources: authorization.resources.clone(),
        read_only: authorization.read_only,
        has_unique_key: authorization.unique_key.is_some(),
        secrets: None,
        created_by_authorization: authorization.created_by_authorization,
        private_key: None,
    })
}

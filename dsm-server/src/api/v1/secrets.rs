//! `/secrets`: metadata, values on their way in, and the state of secrets.

use dsm_core::id::SecretId;
use dsm_core::secret::{DataPatch, ItemCounts, Renewal, RenewalInterval, Secret, Status};
use dsm_core::time::Timestamp;
use dsm_core::vault::{
    FieldError, Registry, RenewalFields, SecretFields, SecretFilter, Stored, Vault,
};
use http::{Method, StatusCode};
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::api::data::{self, Strictness};
use crate::api::status::Failure;
use crate::api::v1::input;
use crate::api::v1::query::{in_query, page_of};
use crate::api::v1::request::{Answer, Request, route};
use crate::api::v1::view::Object;
use crate::app::App;
use crate::http::call::Reply;
use crate::http::fields::FieldReader;
use crate::http::router::Route;

const COLLECTION: &str = "/api/v1/secrets";
const ITEM: &str = "/api/v1/secrets/{id}";

/// A secret without its values.
#[derive(Serialize)]
struct View {
    #[serde(flatten)]
    metadata: Metadata,
    status: Status,
    version: u64,
    oldest_version: u64,
    has_error: bool,
}

/// What a secret has in common with its versions.
#[derive(Serialize)]
pub(super) struct Metadata {
    identity: String,
    name: String,
    enabled: bool,
    engine: String,
    environment: Option<String>,
    expires_at: Option<Timestamp>,
    tags: Vec<String>,
    description: String,
    renew: Timers,
    items: ItemCounts,
    destroyed_at: Option<Timestamp>,
}

#[derive(Serialize)]
struct Timers {
    #[serde(serialize_with = "minutes_or_false")]
    cloud: Option<RenewalInterval>,
    #[serde(serialize_with = "minutes_or_false")]
    credential: Option<RenewalInterval>,
    #[serde(serialize_with = "minutes_or_false")]
    ephemeral: Option<RenewalInterval>,
}

pub(super) fn routes() -> Vec<Route<App>> {
    let filters = &[
        "limit",
        "after",
        "identity",
        "name",
        "engine",
        "environment",
        "tag",
        "enabled",
        "has_error",
        "expires_from",
        "expires_until",
    ];
    vec![
        route(Method::GET, COLLECTION, "v1.secrets.list", filters, list),
        route(Method::POST, COLLECTION, "v1.secrets.create", &[], create),
        route(Method::GET, ITEM, "v1.secrets.show", &[], show),
        route(Method::PATCH, ITEM, "v1.secrets.change", &[], change),
        route(
            Method::DELETE,
            ITEM,
            "v1.secrets.delete",
            &["purge"],
            delete,
        ),
        route(
            Method::POST,
            "/api/v1/secrets/{id}/enable",
            "v1.secrets.enable",
            &[],
            enable,
        ),
        route(
            Method::POST,
            "/api/v1/secrets/{id}/disable",
            "v1.secrets.disable",
            &[],
            disable,
        ),
        route(
            Method::POST,
            "/api/v1/secrets/{id}/expire",
            "v1.secrets.expire",
            &[],
            expire,
        ),
        route(
            Method::GET,
            "/api/v1/secrets/{id}/errors",
            "v1.secrets.errors",
            &["limit", "after"],
            errors,
        ),
    ]
}

async fn list(mut request: Request) -> Answer {
    let query = &mut request.query;
    let filter = SecretFilter {
        identity: query.text("identity"),
        name: query.text("name"),
        engine: query.text("engine"),
        environment: query.text("environment"),
        tag: query.text("tag"),
        enabled: query.flag("enabled"),
        has_error: query.flag("has_error"),
        expires_from: query.instant("expires_from"),
        expires_until: query.instant("expires_until"),
    };
    let page = query.page();
    query.finish()?;
    let vault = request.vault();
    let found = vault
        .list_secrets(&request.caller, filter, page)
        .await
        .map_err(in_query)?;
    let mut items = Vec::with_capacity(found.items.len());
    for stored in &found.items {
        items.push(view(vault, stored).await?);
    }
    Ok(page_of(items, found.next))
}

async fn create(request: Request) -> Answer {
    request.no_condition()?;
    let mut body = request.body()?;
    let identity = body.required_string("identity");
    let fields = read(body);
    let vault = request.vault();
    let made = vault
        .create_secret(&request.caller, &identity, fields)
        .await?;
    Ok(view(vault, &made).await?.created(COLLECTION))
}

async fn show(request: Request) -> Answer {
    let vault = request.vault();
    let found = vault
        .find_secret(&request.caller, request.id("id")?)
        .await?;
    shown(vault, &found).await
}

async fn change(request: Request) -> Answer {
    let (id, expected) = (request.id("id")?, request.expected()?);
    let mut body = request.body()?;
    if body.value("identity").is_some() {
        body.reject("identity", "cannot be changed");
    }
    let fields = read(body);
    let vault = request.vault();
    let changed = vault
        .update_secret(&request.caller, id, fields, expected)
        .await?;
    shown(vault, &changed).await
}

async fn delete(mut request: Request) -> Answer {
    let purge = request.query.flag("purge").unwrap_or_default();
    request.query.finish()?;
    let (id, expected) = (request.id("id")?, request.expected()?);
    let (vault, caller) = (request.vault(), &request.caller);
    if purge {
        vault.purge_secret(caller, id, expected).await?;
    } else {
        vault.disable_secret(caller, id, expected).await?;
    }
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

async fn enable(request: Request) -> Answer {
    let id = target(&request)?;
    let vault = request.vault();
    let changed = vault.enable_secret(&request.caller, id).await?;
    shown(vault, &changed).await
}

async fn disable(request: Request) -> Answer {
    let id = target(&request)?;
    let vault = request.vault();
    let changed = vault.disable_secret(&request.caller, id, None).await?;
    shown(vault, &changed).await
}

async fn expire(request: Request) -> Answer {
    let id = target(&request)?;
    let vault = request.vault();
    let changed = vault.expire_secret(&request.caller, id).await?;
    shown(vault, &changed).await
}

async fn errors(mut request: Request) -> Answer {
    let page = request.query.page();
    request.query.finish()?;
    let found = request
        .vault()
        .list_secret_errors(&request.caller, request.id("id")?, page)
        .await?;
    Ok(page_of(found.items, found.next))
}

/// The secret that an action is for, which takes neither fields nor conditions.
pub(super) fn target(request: &Request) -> Result<SecretId, Failure> {
    request.no_condition()?;
    request.no_fields()?;
    request.id("id")
}

fn read(mut body: FieldReader) -> SecretFields {
    let (data, unreadable) = data(&mut body);
    let mut fields = SecretFields {
        name: input::text(&mut body, "name"),
        enabled: input::flag(&mut body, "enabled"),
        engine: input::text(&mut body, "engine"),
        environment: input::optional_text(&mut body, "environment"),
        expires_at: input::optional_instant(&mut body, "expires_at"),
        tags: input::list(&mut body, "tags"),
        description: input::cleared_text(&mut body, "description"),
        renew: body.object("renew", renewal).unwrap_or_default(),
        data,
        wrong: input::wrong(body),
    };
    fields.wrong.extend(unreadable);
    fields
}

/// The values, or what is wrong with them.
fn data(body: &mut FieldReader) -> (DataPatch, Vec<FieldError>) {
    match body.value("data") {
        None => (DataPatch::default(), Vec::new()),
        Some(value) => match data::read("data", value, Strictness::Strict) {
            Ok(patch) => (patch, Vec::new()),
            Err(wrong) => (DataPatch::default(), wrong),
        },
    }
}

fn renewal(fields: &mut FieldReader) -> RenewalFields {
    RenewalFields {
        cloud: timer(fields, "cloud"),
        credential: timer(fields, "credential"),
        ephemeral: timer(fields, "ephemeral"),
    }
}

/// Null leaves a timer as it is; `false`, 0 and `[]` turn it off.
#[allow(clippy::option_option, reason = "left alone, turned off or set")]
fn timer(fields: &mut FieldReader, name: &'static str) -> Option<Option<RenewalInterval>> {
    fields.optional(name, |value| match value {
        Value::Bool(false) => Ok(None),
        Value::Array(items) if items.is_empty() => Ok(None),
        Value::Number(number) if number.as_i64() == Some(0) => Ok(None),
        Value::Number(number) => number
            .as_i64()
            .and_then(|minutes| RenewalInterval::from_minutes(minutes).ok())
            .map(Some)
            .ok_or(NO_INTERVAL),
        _ => Err(NO_INTERVAL),
    })
}

const NO_INTERVAL: &str = "must be a whole number of minutes from 10 to 525600, or false";

/// The reply with a secret as it is now.
pub(super) async fn shown(vault: &Vault, stored: &Stored<Secret>) -> Answer {
    Ok(view(vault, stored).await?.shown())
}

async fn view(vault: &Vault, stored: &Stored<Secret>) -> Result<Object<View>, Failure> {
    let content = View {
        metadata: metadata(vault, stored).await?,
        status: stored.status(vault.now()),
        version: stored.version,
        oldest_version: stored.oldest,
        has_error: stored.has_error,
    };
    Ok(Object::of(stored, content))
}

/// The metadata with registered names in place of ids.
pub(super) async fn metadata(vault: &Vault, secret: &Secret) -> Result<Metadata, Failure> {
    let environment = match secret.environment {
        Some(id) => Some(vault.registry_name(Registry::Environment, id).await?),
        None => None,
    };
    let Renewal {
        cloud,
        credential,
        ephemeral,
    } = secret.renew;
    Ok(Metadata {
        identity: secret.identity.to_string(),
        name: secret.name.clone(),
        enabled: secret.enabled,
        engine: vault.registry_name(Registry::Engine, secret.engine).await?,
        environment,
        expires_at: secret.expires_at,
        tags: secret.tags.clone(),
        description: secret.description.clone(),
        renew: Timers {
            cloud,
            credential,
            ephemeral,
        },
        items: secret.items,
        destroyed_at: secret.destroyed_at,
    })
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    clippy::ref_option,
    reason = "the signature that serde calls"
)]
fn minutes_or_false<S: Serializer>(
    interval: &Option<RenewalInterval>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match interval {
        Some(interval) => serializer.serialize_u32(interval.minutes()),
        None => serializer.serialize_bool(false),
    }
}

//! `/secrets`: metadata, values on their way in, and the state of secrets.

use std::borrow::Cow;

use dsm_core::secret::{
    DataPatch, Identity, ItemCounts, ManagedItem, Renewal, RenewalInterval, Secret, SecretError,
    Status,
};
use dsm_core::store::Page;
use dsm_core::time::Timestamp;
use dsm_core::vault::{
    FieldError, Registry, RenewalFields, SecretFields, SecretFilter, Stored, Vault,
};
use http::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::api::data::{self, Strictness};
use crate::api::status::Failure;
use crate::api::v1::endpoint::{delete, get, patch, post};
use crate::api::v1::input;
use crate::api::v1::query::{Query, in_query, page_of};
use crate::api::v1::request::{Answer, Request};
use crate::api::v1::view::Object;
use crate::app::App;
use crate::http::call::Reply;
use crate::http::fields::{FieldReader, string};
use crate::http::operation::Shape;
use crate::http::router::Route;

const COLLECTION: &str = "/api/v1/secrets";
const ITEM: &str = "/api/v1/secrets/{id}";

/// A secret without its values.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Secret")]
pub(super) struct View {
    #[serde(flatten)]
    metadata: Metadata,
    status: Status,
    version: u64,
    oldest_version: u64,
    has_error: bool,
    /// Whether the rotation of one of its credentials waits for an operator.
    needs_operator: bool,
}

/// What a secret has in common with its versions.
#[derive(Serialize, JsonSchema)]
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
    /// Those of its items whose credentials are managed on a target.
    managed: Vec<ManagedItem>,
    destroyed_at: Option<Timestamp>,
}

/// How often what is in a secret is renewed, in minutes; false for never.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RenewalTimers")]
struct Timers {
    cloud: Timer,
    credential: Timer,
    ephemeral: Timer,
}

/// Minutes, or `false`.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum Timer {
    Every(RenewalInterval),
    Off(Off),
}

/// `false`.
struct Off;

pub(super) fn routes() -> Vec<Route<App>> {
    vec![
        get(
            COLLECTION,
            "v1.secrets.list",
            "Lists secrets, without their values",
        )
        .query(filter)
        .lists::<Object<View>>()
        .by(list),
        post(COLLECTION, "v1.secrets.create", "Makes a secret")
            .body(new_secret)
            .requires(&["name"])
            .creates::<View>()
            .by(create),
        get(
            ITEM,
            "v1.secrets.show",
            "Shows a secret, without its values",
        )
        .shows::<View>()
        .by(show),
        patch(ITEM, "v1.secrets.change", "Changes a secret")
            .says("New values make a new version; a kind of values that is named is replaced whole")
            .body(changes)
            .conditional()
            .shows::<View>()
            .by(change),
        delete(
            ITEM,
            "v1.secrets.delete",
            "Disables a secret, or destroys it",
        )
        .query(purge)
        .conditional()
        .gives_nothing()
        .by(remove),
        post(
            "/api/v1/secrets/{id}/enable",
            "v1.secrets.enable",
            "Enables a secret",
        )
        .shows::<View>()
        .by(enable),
        post(
            "/api/v1/secrets/{id}/disable",
            "v1.secrets.disable",
            "Disables a secret",
        )
        .shows::<View>()
        .by(disable),
        post(
            "/api/v1/secrets/{id}/expire",
            "v1.secrets.expire",
            "Ends a secret now, which destroys its values",
        )
        .shows::<View>()
        .by(expire),
        get(
            "/api/v1/secrets/{id}/errors",
            "v1.secrets.errors",
            "Lists what failed for a secret",
        )
        .query(Query::page)
        .lists::<SecretError>()
        .by(errors),
    ]
}

fn filter(query: &mut Query) -> (SecretFilter, Page) {
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
    (filter, query.page())
}

async fn list(request: Request, (filter, page): (SecretFilter, Page)) -> Answer {
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

fn new_secret(mut body: FieldReader) -> (String, SecretFields) {
    let identity = body.required("identity", Shape::of::<Identity>, string);
    (identity.unwrap_or_default(), fields(body))
}

async fn create(request: Request, (identity, fields): (String, SecretFields)) -> Answer {
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

fn changes(mut body: FieldReader) -> SecretFields {
    body.refuse("identity", "cannot be changed");
    fields(body)
}

async fn change(request: Request, fields: SecretFields) -> Answer {
    let (id, expected) = (request.id("id")?, request.expected);
    let vault = request.vault();
    let changed = vault
        .update_secret(&request.caller, id, fields, expected)
        .await?;
    shown(vault, &changed).await
}

/// Whether the secret is to be destroyed with its history.
fn purge(query: &mut Query) -> bool {
    query.flag("purge").unwrap_or_default()
}

async fn remove(request: Request, purge: bool) -> Answer {
    let (id, expected) = (request.id("id")?, request.expected);
    let (vault, caller) = (request.vault(), &request.caller);
    if purge {
        vault.purge_secret(caller, id, expected).await?;
    } else {
        vault.disable_secret(caller, id, expected).await?;
    }
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

async fn enable(request: Request) -> Answer {
    let vault = request.vault();
    let changed = vault.enable_secret(&request.caller, request.id("id")?);
    shown(vault, &changed.await?).await
}

async fn disable(request: Request) -> Answer {
    let vault = request.vault();
    let changed = vault.disable_secret(&request.caller, request.id("id")?, None);
    shown(vault, &changed.await?).await
}

async fn expire(request: Request) -> Answer {
    let vault = request.vault();
    let changed = vault.expire_secret(&request.caller, request.id("id")?);
    shown(vault, &changed.await?).await
}

async fn errors(request: Request, page: Page) -> Answer {
    let found = request
        .vault()
        .list_secret_errors(&request.caller, request.id("id")?, page)
        .await?;
    Ok(page_of(found.items, found.next))
}

fn fields(mut body: FieldReader) -> SecretFields {
    let (data, unreadable) = data(&mut body);
    let mut fields = SecretFields {
        name: input::name(&mut body, "name"),
        enabled: input::flag(&mut body, "enabled"),
        engine: input::name(&mut body, "engine"),
        environment: input::optional_text(&mut body, "environment"),
        expires_at: input::optional_instant(&mut body, "expires_at"),
        tags: input::tags(&mut body, "tags"),
        description: input::description(&mut body, "description"),
        renew: body.object("renew", renewal).unwrap_or_default(),
        data,
        wrong: input::wrong(body),
    };
    fields.wrong.extend(unreadable);
    fields
}

/// The values, or what is wrong with them.
fn data(body: &mut FieldReader) -> (DataPatch, Vec<FieldError>) {
    match body.value("data", data::shape::strict) {
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
    fields.optional(name, timer_shape, |value| match value {
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

fn timer_shape() -> Shape {
    let off = Shape::fixed(json!({"enum": [false, 0, []]}));
    Shape::of::<RenewalInterval>().or(off)
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
        needs_operator: vault.needs_operator(stored).await?,
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
            cloud: cloud.into(),
            credential: credential.into(),
            ephemeral: ephemeral.into(),
        },
        items: secret.items,
        managed: secret.managed.clone(),
        destroyed_at: secret.destroyed_at,
    })
}

impl From<Option<RenewalInterval>> for Timer {
    fn from(interval: Option<RenewalInterval>) -> Self {
        interval.map_or(Self::Off(Off), Self::Every)
    }
}

impl Serialize for Off {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(false)
    }
}

impl JsonSchema for Off {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Off".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"const": false})
    }
}

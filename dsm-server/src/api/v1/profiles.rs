//! `/profiles`: how accounts that live for a while are made on targets.

use dsm_core::provision::{Profile, ProfileKind, Ttl};
use dsm_core::store::Page;
use dsm_core::vault::{ProfileFields, ProfileFilter, Stored};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::v1::endpoint::{delete, get, patch, post};
use crate::api::v1::input;
use crate::api::v1::query::{Query, page_of};
use crate::api::v1::request::{Answer, Request};
use crate::api::v1::view::Object;
use crate::app::App;
use crate::http::call::Reply;
use crate::http::fields::{FieldReader, integer};
use crate::http::operation::Shape;
use crate::http::router::Route;

const COLLECTION: &str = "/api/v1/profiles";
const ITEM: &str = "/api/v1/profiles/{id}";

/// How accounts that live for a while are made on a target.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Profile")]
struct View {
    identifier: String,
    kind: ProfileKind,
    /// The target's name.
    target: String,
    creation_template: Option<String>,
    removal_template: Option<String>,
    roles: Vec<String>,
    policies: Vec<String>,
    ttl_seconds: u32,
    enabled: bool,
}

pub(super) fn routes() -> Vec<Route<App>> {
    vec![
        get(COLLECTION, "v1.profiles.list", "Lists profiles")
            .query(filter)
            .lists::<Object<View>>()
            .by(list),
        post(COLLECTION, "v1.profiles.create", "Makes a profile")
            .says(
                "Accounts by it are called by its identifier and 13 digits. A template has one \
                 statement a line, and the tags [#USERNAME#], [#NEW_PASSWORD#], [#ROLES#], \
                 [#EXPIRES_AT#] and [#HOSTNAME#]",
            )
            .body(fields)
            .requires(&["identifier", "kind", "target"])
            .creates::<View>()
            .by(create),
        get(ITEM, "v1.profiles.show", "Shows a profile")
            .shows::<View>()
            .by(show),
        patch(ITEM, "v1.profiles.change", "Changes a profile")
            .says("Identifier, kind and target stay. Accounts that live keep what they were made with")
            .body(fields)
            .conditional()
            .shows::<View>()
            .by(change),
        delete(
            ITEM,
            "v1.profiles.delete",
            "Deletes a profile that no secret refers to and of which no account lives",
        )
        .conditional()
        .gives_nothing()
        .by(remove),
    ]
}

async fn list(request: Request, (filter, page): (ProfileFilter, Page)) -> Answer {
    let vault = request.vault();
    let found = vault.list_profiles(&request.caller, filter, page).await?;
    let items = found.items.iter().map(view).collect();
    Ok(page_of(items, found.next))
}

async fn create(request: Request, fields: ProfileFields) -> Answer {
    let made = request.vault().create_profile(&request.caller, fields);
    Ok(view(&made.await?).created(COLLECTION))
}

async fn show(request: Request) -> Answer {
    let id = request.id("id")?;
    let found = request.vault().find_profile(&request.caller, id).await?;
    Ok(view(&found).shown())
}

async fn change(request: Request, fields: ProfileFields) -> Answer {
    let (id, expected) = (request.id("id")?, request.expected);
    let vault = request.vault();
    let changed = vault
        .update_profile(&request.caller, id, fields, expected)
        .await?;
    Ok(view(&changed).shown())
}

async fn remove(request: Request) -> Answer {
    let (id, expected) = (request.id("id")?, request.expected);
    let vault = request.vault();
    vault.delete_profile(&request.caller, id, expected).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

fn filter(query: &mut Query) -> (ProfileFilter, Page) {
    let filter = ProfileFilter {
        identifier: query.text("identifier"),
        target: query.text("target"),
    };
    (filter, query.page())
}

fn fields(mut body: FieldReader) -> ProfileFields {
    let kinds = [ProfileKind::Credential, ProfileKind::Cloud];
    let kind = |value: Value| {
        let text = value.as_str().unwrap_or_default();
        let kind = kinds.into_iter().find(|kind| kind.as_str() == text);
        kind.ok_or("must be \"credential\" or \"cloud\"")
    };
    let ttl = || {
        Shape::fixed(json!({
            "type": "integer", "minimum": Ttl::MIN, "maximum": Ttl::MAX,
            "default": Ttl::default().seconds(),
        }))
    };
    ProfileFields {
        identifier: input::name(&mut body, "identifier"),
        kind: body.kept("kind", Shape::of::<ProfileKind>, kind),
        target: input::name(&mut body, "target"),
        creation_template: input::optional_text(&mut body, "creation_template"),
        removal_template: input::optional_text(&mut body, "removal_template"),
        roles: input::list(&mut body, "roles"),
        policies: input::list(&mut body, "policies"),
        ttl_seconds: body.kept("ttl_seconds", ttl, integer),
        enabled: input::flag(&mut body, "enabled"),
        wrong: input::wrong(body),
    }
}

fn view(profile: &Stored<Profile>) -> Object<View> {
    let text = |template: &Option<_>| template.as_ref().map(ToString::to_string);
    let content = View {
        identifier: profile.identifier.clone(),
        kind: profile.kind,
        target: profile.target.clone(),
        creation_template: text(&profile.creation_template),
        removal_template: text(&profile.removal_template),
        roles: profile.roles.clone(),
        policies: profile.policies.clone(),
        ttl_seconds: profile.ttl.seconds(),
        enabled: profile.enabled,
    };
    Object::of(profile, content)
}

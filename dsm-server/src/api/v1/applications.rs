//! `/applications`.

use dsm_core::access::{Application, AuthenticationMethod, CredentialProfile};
use dsm_core::id::RegistryId;
use dsm_core::store::Page;
use dsm_core::vault::{ApplicationFields, ApplicationFilter, Registry, Stored, Vault};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize as _, Serialize};
use serde_json::Value;

use crate::api::status::Failure;
use crate::api::v1::endpoint::{delete, get, patch, post};
use crate::api::v1::input;
use crate::api::v1::query::{Query, in_query, page_of};
use crate::api::v1::request::{Answer, Request};
use crate::api::v1::view::Object;
use crate::app::App;
use crate::http::call::Reply;
use crate::http::fields::FieldReader;
use crate::http::operation::Shape;
use crate::http::router::Route;

const COLLECTION: &str = "/api/v1/applications";
const ITEM: &str = "/api/v1/applications/{id}";
const NO_METHOD: &str = "must be oauth2, oauth1 or aws";

/// An application.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Application")]
struct View {
    name: String,
    authentication_method: AuthenticationMethod,
    enabled: bool,
    line_of_business: Option<String>,
    application_type: Option<String>,
    tags: Vec<String>,
    description: Option<String>,
    aws_arns: Vec<String>,
    automatic_provisioning: bool,
    cloud_profiles: Vec<String>,
    credential_profiles: Vec<CredentialProfile>,
}

pub(super) fn routes() -> Vec<Route<App>> {
    vec![
        get(COLLECTION, "v1.applications.list", "Lists applications")
            .query(filter)
            .lists::<Object<View>>()
            .by(list),
        post(COLLECTION, "v1.applications.create", "Makes an application")
            .body(fields)
            .requires(&["name", "authentication_method"])
            .creates::<View>()
            .by(create),
        get(ITEM, "v1.applications.show", "Shows an application")
            .shows::<View>()
            .by(show),
        patch(ITEM, "v1.applications.change", "Changes an application")
            .body(fields)
            .conditional()
            .shows::<View>()
            .by(change),
        delete(
            ITEM,
            "v1.applications.delete",
            "Removes an application that has no authorization",
        )
        .conditional()
        .gives_nothing()
        .by(remove),
    ]
}

fn filter(query: &mut Query) -> (ApplicationFilter, Page) {
    let method_of = |text: &str| method(Value::String(text.to_owned())).ok();
    let filter = ApplicationFilter {
        name: query.text("name"),
        enabled: query.flag("enabled"),
        authentication_method: query.parsed(
            "authentication_method",
            Shape::of::<AuthenticationMethod>,
            NO_METHOD,
            method_of,
        ),
        application_type: query.text("application_type"),
        line_of_business: query.text("line_of_business"),
        tag: query.text("tag"),
    };
    (filter, query.page())
}

async fn list(request: Request, (filter, page): (ApplicationFilter, Page)) -> Answer {
    let vault = request.vault();
    let found = vault
        .list_applications(&request.caller, filter, page)
        .await
        .map_err(in_query)?;
    let mut items = Vec::with_capacity(found.items.len());
    for stored in &found.items {
        items.push(view(vault, stored).await?);
    }
    Ok(page_of(items, found.next))
}

async fn create(request: Request, fields: ApplicationFields) -> Answer {
    let vault = request.vault();
    let made = vault.create_application(&request.caller, fields).await?;
    Ok(view(vault, &made).await?.created(COLLECTION))
}

async fn show(request: Request) -> Answer {
    let vault = request.vault();
    let found = vault
        .find_application(&request.caller, request.id("id")?)
        .await?;
    Ok(view(vault, &found).await?.shown())
}

async fn change(request: Request, fields: ApplicationFields) -> Answer {
    let (id, expected) = (request.id("id")?, request.expected);
    let vault = request.vault();
    let changed = vault
        .update_application(&request.caller, id, fields, expected)
        .await?;
    Ok(view(vault, &changed).await?.shown())
}

async fn remove(request: Request) -> Answer {
    request
        .vault()
        .delete_application(&request.caller, request.id("id")?, request.expected)
        .await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

fn fields(mut body: FieldReader) -> ApplicationFields {
    ApplicationFields {
        name: input::name(&mut body, "name"),
        authentication_method: body.kept(
            "authentication_method",
            Shape::of::<AuthenticationMethod>,
            method,
        ),
        enabled: input::flag(&mut body, "enabled"),
        line_of_business: input::optional_text(&mut body, "line_of_business"),
        application_type: input::optional_text(&mut body, "application_type"),
        tags: input::tags(&mut body, "tags"),
        description: input::optional_text(&mut body, "description"),
        aws_arns: input::list(&mut body, "aws_arns"),
        automatic_provisioning: input::flag(&mut body, "automatic_provisioning"),
        cloud_profiles: input::list(&mut body, "cloud_profiles"),
        credential_profiles: credential_profiles(&mut body),
        wrong: input::wrong(body),
    }
}

fn credential_profiles(body: &mut FieldReader) -> Option<Vec<CredentialProfile>> {
    let mut profiles = input::objects(body, "credential_profiles", |profile| CredentialProfile {
        device: profile.required_string("device"),
        profile: profile.required_string("profile"),
    })?;
    // What is missing is reported already.
    profiles.retain(|profile| !profile.device.is_empty() && !profile.profile.is_empty());
    Some(profiles)
}

fn method(value: Value) -> Result<AuthenticationMethod, &'static str> {
    AuthenticationMethod::deserialize(value).map_err(|_| NO_METHOD)
}

async fn view(vault: &Vault, stored: &Stored<Application>) -> Result<Object<View>, Failure> {
    let name = async |registry, id: Option<RegistryId>| match id {
        Some(id) => vault.registry_name(registry, id).await.map(Some),
        None => Ok(None),
    };
    let application = &*stored.content;
    let content = View {
        name: application.name.clone(),
        authentication_method: application.authentication_method,
        enabled: application.enabled,
        line_of_business: name(Registry::LineOfBusiness, application.line_of_business).await?,
        application_type: name(Registry::ApplicationType, application.application_type).await?,
        tags: application.tags.clone(),
        description: application.description.clone(),
        aws_arns: application.aws_arns.clone(),
        automatic_provisioning: application.automatic_provisioning,
        cloud_profiles: application.cloud_profiles.clone(),
        credential_profiles: application.credential_profiles.clone(),
    };
    Ok(Object::of(stored, content))
}

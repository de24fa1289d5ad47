//! `/applications`.

use dsm_core::access::{Application, AuthenticationMethod, CredentialProfile};
use dsm_core::id::RegistryId;
use dsm_core::vault::{ApplicationFields, ApplicationFilter, Registry, Stored, Vault};
use http::{Method, StatusCode};
use serde::{Deserialize as _, Serialize};
use serde_json::Value;

use crate::api::status::Failure;
use crate::api::v1::input;
use crate::api::v1::query::{in_query, page_of};
use crate::api::v1::request::{Answer, Request, route};
use crate::api::v1::view::Object;
use crate::app::App;
use crate::http::call::Reply;
use crate::http::fields::FieldReader;
use crate::http::router::Route;

const COLLECTION: &str = "/api/v1/applications";
const ITEM: &str = "/api/v1/applications/{id}";
const NO_METHOD: &str = "must be oauth2, oauth1 or aws";

#[derive(Serialize)]
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
    let filters = &[
        "limit",
        "after",
        "name",
        "enabled",
        "authentication_method",
        "application_type",
        "line_of_business",
        "tag",
    ];
    vec![
        route(
            Method::GET,
            COLLECTION,
            "v1.applications.list",
            filters,
            list,
        ),
        route(
            Method::POST,
            COLLECTION,
            "v1.applications.create",
            &[],
            create,
        ),
        route(Method::GET, ITEM, "v1.applications.show", &[], show),
        route(Method::PATCH, ITEM, "v1.applications.change", &[], change),
        route(Method::DELETE, ITEM, "v1.applications.delete", &[], delete),
    ]
}

async fn list(mut request: Request) -> Answer {
    let query = &mut request.query;
    let filter = ApplicationFilter {
        name: query.text("name"),
        enabled: query.flag("enabled"),
        authentication_method: query.parsed("authentication_method", NO_METHOD, |text| {
            method(Value::String(text.to_owned())).ok()
        }),
        application_type: query.text("application_type"),
        line_of_business: query.text("line_of_business"),
        tag: query.text("tag"),
    };
    let page = query.page();
    query.finish()?;
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

async fn create(request: Request) -> Answer {
    request.no_condition()?;
    let fields = read(request.body()?);
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

async fn change(request: Request) -> Answer {
    let (id, expected) = (request.id("id")?, request.expected()?);
    let fields = read(request.body()?);
    let vault = request.vault();
    let changed = vault
        .update_application(&request.caller, id, fields, expected)
        .await?;
    Ok(view(vault, &changed).await?.shown())
}

async fn delete(request: Request) -> Answer {
    request
        .vault()
        .delete_application(&request.caller, request.id("id")?, request.expected()?)
        .await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

fn read(mut body: FieldReader) -> ApplicationFields {
    ApplicationFields {
        name: input::text(&mut body, "name"),
        authentication_method: input::kept(&mut body, "authentication_method", method),
        enabled: input::flag(&mut body, "enabled"),
        line_of_business: input::optional_text(&mut body, "line_of_business"),
        application_type: input::optional_text(&mut body, "application_type"),
        tags: input::list(&mut body, "tags"),
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

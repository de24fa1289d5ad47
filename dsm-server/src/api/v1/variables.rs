//! `/variables` and `/deploys`: what pipelines registered.

use dsm_core::id::{ApplicationId, AuthorizationId, SecretId};
use dsm_core::pipeline::{Deploy, ReviewStatus, Variable};
use dsm_core::store::Page;
use dsm_core::vault::{Registry, Stored, VariableFilter, VariablePatch, Vault};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize as _, Serialize};
use serde_json::Value;

use crate::api::status::Failure;
use crate::api::v1::endpoint::{delete, get, patch, post};
use crate::api::v1::input;
use crate::api::v1::query::{Query, in_query, page_of};
use crate::api::v1::request::{Answer, Request};
use crate::api::v1::view::{Named, Object};
use crate::app::App;
use crate::http::call::Reply;
use crate::http::fields::FieldReader;
use crate::http::operation::Shape;
use crate::http::router::Route;

const VARIABLE: &str = "/api/v1/variables/{id}";

/// A variable without its value, which has a route of its own.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Variable")]
struct View {
    name: String,
    application: Named<ApplicationId>,
    system: String,
    environment: String,
    status: ReviewStatus,
    sensitive: bool,
    enabled: bool,
    secret: Option<SecretId>,
}

/// A variable with its value.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RevealedVariable")]
struct Revealed<'a> {
    name: &'a str,
    value: &'a str,
}

/// A registration of variables.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Deploy")]
struct DeployView<'a> {
    application: Named<ApplicationId>,
    system: String,
    environment: String,
    authorization: AuthorizationId,
    variables: usize,
    secrets: &'a [SecretId],
}

pub(super) fn routes() -> Vec<Route<App>> {
    vec![
        get(
            "/api/v1/variables",
            "v1.variables.list",
            "Lists the variables of pipelines, without their values",
        )
        .query(variables)
        .lists::<Object<View>>()
        .by(list),
        get(
            VARIABLE,
            "v1.variables.show",
            "Shows a variable, without its value",
        )
        .shows::<View>()
        .by(show),
        patch(
            VARIABLE,
            "v1.variables.review",
            "Says what is thought of a variable",
        )
        .body(read)
        .conditional()
        .shows::<View>()
        .by(review),
        delete(
            VARIABLE,
            "v1.variables.delete",
            "Destroys a variable with its value",
        )
        .conditional()
        .gives_nothing()
        .by(delete_variable),
        post(
            "/api/v1/variables/{id}/reveal",
            "v1.variables.reveal",
            "Reveals the value of a variable",
        )
        .gives::<Revealed<'_>>()
        .by(reveal),
        get(
            "/api/v1/deploys",
            "v1.deploys.list",
            "Lists the registrations of pipelines' variables",
        )
        .query(deploys)
        .lists::<Object<DeployView<'_>>>()
        .by(list_deploys),
    ]
}

fn variables(query: &mut Query) -> (VariableFilter, Page) {
    let names = ReviewStatus::ALL.map(ReviewStatus::as_str).join(", ");
    let message = format!("must be one of {names}");
    let filter = VariableFilter {
        status: query.parsed("status", Shape::of::<ReviewStatus>, &message, |text| {
            let mut all = ReviewStatus::ALL.into_iter();
            all.find(|status| status.as_str() == text)
        }),
        sensitive: query.flag("sensitive"),
        ..scope(query)
    };
    (filter, query.page())
}

fn deploys(query: &mut Query) -> (VariableFilter, Page) {
    (scope(query), query.page())
}

async fn list(request: Request, (filter, page): (VariableFilter, Page)) -> Answer {
    let vault = request.vault();
    let found = vault
        .list_variables(&request.caller, filter, page)
        .await
        .map_err(in_query)?;
    let mut items = Vec::with_capacity(found.items.len());
    for variable in &found.items {
        items.push(view(vault, variable).await?);
    }
    Ok(page_of(items, found.next))
}

async fn list_deploys(request: Request, (filter, page): (VariableFilter, Page)) -> Answer {
    let vault = request.vault();
    let found = vault
        .list_deploys(&request.caller, filter, page)
        .await
        .map_err(in_query)?;
    let mut items = Vec::with_capacity(found.items.len());
    for deploy in &found.items {
        items.push(deploy_view(vault, deploy).await?);
    }
    Ok(page_of(items, found.next))
}

async fn show(request: Request) -> Answer {
    let vault = request.vault();
    let found = vault
        .find_variable(&request.caller, request.id("id")?)
        .await?;
    Ok(view(vault, &found).await?.shown())
}

async fn review(request: Request, patch: VariablePatch) -> Answer {
    let (id, expected) = (request.id("id")?, request.expected);
    let vault = request.vault();
    let reviewed = vault
        .review_variable(&request.caller, id, patch, expected)
        .await?;
    Ok(view(vault, &reviewed).await?.shown())
}

async fn delete_variable(request: Request) -> Answer {
    request
        .vault()
        .delete_variable(&request.caller, request.id("id")?, request.expected)
        .await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

async fn reveal(request: Request) -> Answer {
    let (variable, value) = request
        .vault()
        .reveal_variable(&request.caller, request.id("id")?)
        .await?;
    let revealed = Revealed {
        name: &variable.name,
        value: value.expose(),
    };
    Ok(Reply::json(StatusCode::OK, &revealed))
}

fn scope(query: &mut Query) -> VariableFilter {
    VariableFilter {
        application: query.number("application").map(ApplicationId),
        system: query.text("system"),
        environment: query.text("environment"),
        ..VariableFilter::default()
    }
}

fn read(mut body: FieldReader) -> VariablePatch {
    VariablePatch {
        status: body.kept("status", manual, status),
        enabled: input::flag(&mut body, "enabled"),
        wrong: input::wrong(body),
    }
}

fn manual() -> Shape {
    let both = [
        ReviewStatus::ApprovedManually,
        ReviewStatus::RejectedManually,
    ];
    Shape::one_of(&both.map(ReviewStatus::as_str))
}

fn status(value: Value) -> Result<ReviewStatus, &'static str> {
    ReviewStatus::deserialize(value).map_err(|_| "must be approved_manually or rejected_manually")
}

async fn view(vault: &Vault, stored: &Stored<Variable>) -> Result<Object<View>, Failure> {
    let content = View {
        name: stored.name.clone(),
        application: application(vault, stored.application).await?,
        system: vault.registry_name(Registry::System, stored.system).await?,
        environment: vault
            .registry_name(Registry::Environment, stored.environment)
            .await?,
        status: stored.status,
        sensitive: stored.sensitive,
        enabled: stored.enabled,
        secret: stored.secret,
    };
    Ok(Object::of(stored, content))
}

async fn deploy_view<'a>(
    vault: &Vault,
    stored: &'a Stored<Deploy>,
) -> Result<Object<DeployView<'a>>, Failure> {
    let content = DeployView {
        application: application(vault, stored.application).await?,
        system: vault.registry_name(Registry::System, stored.system).await?,
        environment: vault
            .registry_name(Registry::Environment, stored.environment)
            .await?,
        authorization: stored.authorization,
        variables: stored.variables,
        secrets: &stored.secrets,
    };
    Ok(Object::of(stored, content))
}

async fn application(vault: &Vault, id: ApplicationId) -> Result<Named<ApplicationId>, Failure> {
    let name = vault.application_name(id).await?;
    Ok(Named { id, name })
}

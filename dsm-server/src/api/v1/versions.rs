//! `/secrets/{id}/versions` and `/secrets/{id}/compare`: the history of a secret.

use dsm_core::id::{RegistryId, SecretId};
use dsm_core::secret::{Comparison, Difference};
use dsm_core::store::Page;
use dsm_core::vault::{Registry, SecretVersion, Stored, Vault};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::data::Output;
use crate::api::status::{Failure, Kind};
use crate::api::v1::endpoint::{get, json_of, post};
use crate::api::v1::query::{Query, in_query, page_of};
use crate::api::v1::request::{Answer, Request};
use crate::api::v1::secrets::{self, Metadata, metadata, shown};
use crate::api::v1::view::{Stamps, tagged};
use crate::app::App;
use crate::http::call::Reply;
use crate::http::operation::Shape;
use crate::http::router::Route;

const COLLECTION: &str = "/api/v1/secrets/{id}/versions";
const ITEM: &str = "/api/v1/secrets/{id}/versions/{n}";

/// A version: the secret as it was, its values only counted.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SecretVersion")]
struct View {
    version: u64,
    secret: SecretId,
    #[serde(flatten)]
    metadata: Metadata,
    #[serde(flatten)]
    stamps: Stamps,
}

/// A version with its values.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RevealedVersion")]
struct Revealed<'a> {
    version: u64,
    data: Output<'a>,
}

pub(super) fn routes() -> Vec<Route<App>> {
    vec![
        get(
            COLLECTION,
            "v1.secrets.versions.list",
            "Lists the versions of a secret",
        )
        .query(Query::page)
        .lists::<View>()
        .by(list),
        get(
            ITEM,
            "v1.secrets.versions.show",
            "Shows a version, without its values",
        )
        .answers(
            StatusCode::OK,
            json_of("The version", Shape::of::<View>()).with("ETag"),
        )
        .by(show),
        post(
            "/api/v1/secrets/{id}/versions/{n}/reveal",
            "v1.secrets.versions.reveal",
            "Reveals the values of a version",
        )
        .gives::<Revealed<'_>>()
        .fails(Kind::Gone)
        .by(reveal),
        post(
            "/api/v1/secrets/{id}/versions/{n}/restore",
            "v1.secrets.versions.restore",
            "Makes an old version the newest",
        )
        .once()
        .shows::<secrets::View>()
        .fails(Kind::Gone)
        .by(restore),
        get(
            "/api/v1/secrets/{id}/compare",
            "v1.secrets.compare",
            "Compares two versions field by field, values only as equal or changed",
        )
        .query(two_versions)
        .gives::<Comparison>()
        .by(compare),
    ]
}

async fn list(request: Request, page: Page) -> Answer {
    let vault = request.vault();
    let found = vault
        .list_versions(&request.caller, request.id("id")?, page)
        .await?;
    let mut items = Vec::with_capacity(found.items.len());
    for stored in &found.items {
        items.push(view(vault, stored).await?);
    }
    Ok(page_of(items, found.next))
}

async fn show(request: Request) -> Answer {
    let vault = request.vault();
    let found = vault
        .find_version(&request.caller, request.id("id")?, request.id("n")?)
        .await?;
    let view = view(vault, &found).await?;
    Ok(tagged(Reply::json(StatusCode::OK, &view), found.revision))
}

async fn reveal(request: Request) -> Answer {
    let (id, version) = (request.id("id")?, request.id("n")?);
    let data = request
        .vault()
        .reveal_version(&request.caller, id, version)
        .await?;
    let data = Output(&data);
    Ok(Reply::json(StatusCode::OK, &Revealed { version, data }))
}

async fn restore(request: Request) -> Answer {
    let (id, version) = (request.id("id")?, request.id("n")?);
    let vault = request.vault();
    let restored = vault.restore_version(&request.caller, id, version).await?;
    shown(vault, &restored).await
}

/// The later and the earlier version.
fn two_versions(query: &mut Query) -> (u64, u64) {
    (query.required_number("from"), query.required_number("to"))
}

async fn compare(request: Request, (from, to): (u64, u64)) -> Answer {
    let id = request.id("id")?;
    let vault = request.vault();
    let mut comparison = vault
        .compare_versions(&request.caller, id, from, to)
        .await
        .map_err(in_query)?;
    for difference in &mut comparison.differences {
        name_registered(vault, difference).await?;
    }
    Ok(Reply::json(StatusCode::OK, &comparison))
}

async fn view(vault: &Vault, stored: &Stored<SecretVersion>) -> Result<View, Failure> {
    Ok(View {
        version: stored.snapshot.version,
        secret: stored.secret,
        metadata: metadata(vault, &stored.snapshot).await?,
        stamps: stored.into(),
    })
}

/// Puts registered names in place of ids, as everywhere on this surface.
async fn name_registered(vault: &Vault, difference: &mut Difference) -> Result<(), Failure> {
    let registry = match difference.field.as_str() {
        "engine" => Registry::Engine,
        "environment" => Registry::Environment,
        _ => return Ok(()),
    };
    for side in [&mut difference.from, &mut difference.to] {
        if let Some(id) = side.as_deref().and_then(|id| id.parse::<RegistryId>().ok()) {
            *side = Some(vault.registry_name(registry, id).await?);
        }
    }
    Ok(())
}

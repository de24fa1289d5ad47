//! `/environments`, `/systems`, `/engines`, `/application-types`, `/lines-of-business`.

use dsm_core::store::Page;
use dsm_core::vault::{Registry, RegistryEntry, RegistryPatch, Stored};
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::v1::endpoint::{get, patch, post};
use crate::api::v1::input;
use crate::api::v1::query::{Query, page_of};
use crate::api::v1::request::{Answer, Request};
use crate::api::v1::view::Object;
use crate::app::App;
use crate::http::fields::FieldReader;
use crate::http::router::Route;

/// Where a registry is on this surface.
struct Place {
    registry: Registry,
    collection: &'static str,
    item: &'static str,
    list: &'static str,
    create: &'static str,
    show: &'static str,
    change: &'static str,
}

macro_rules! place {
    ($registry:ident, $name:literal) => {
        Place {
            registry: Registry::$registry,
            collection: concat!("/api/v1/", $name),
            item: concat!("/api/v1/", $name, "/{id}"),
            list: concat!("v1.", $name, ".list"),
            create: concat!("v1.", $name, ".create"),
            show: concat!("v1.", $name, ".show"),
            change: concat!("v1.", $name, ".change"),
        }
    };
}

static PLACES: [Place; 5] = [
    place!(Environment, "environments"),
    place!(System, "systems"),
    place!(Engine, "engines"),
    place!(ApplicationType, "application-types"),
    place!(LineOfBusiness, "lines-of-business"),
];

/// An entry of a registry.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RegistryEntry")]
struct View {
    name: String,
    enabled: bool,
    description: String,
}

pub(super) fn routes() -> Vec<Route<App>> {
    let mut routes = Vec::with_capacity(PLACES.len() * 4);
    for place in &PLACES {
        let (collection, item) = (place.collection, place.item);
        routes.extend([
            get(collection, place.list, "Lists the entries of a registry")
                .query(Query::page)
                .lists::<Object<View>>()
                .by(move |request, page| list(request, page, place)),
            post(collection, place.create, "Adds an entry to a registry")
                .body(fields)
                .requires(&["name"])
                .creates::<View>()
                .by(move |request, fields| create(request, fields, place)),
            get(item, place.show, "Shows an entry of a registry")
                .shows::<View>()
                .by(move |request| show(request, place)),
            patch(
                item,
                place.change,
                "Renames, enables or disables an entry of a registry",
            )
            .body(fields)
            .conditional()
            .shows::<View>()
            .by(move |request, fields| change(request, fields, place)),
        ]);
    }
    routes
}

async fn list(request: Request, page: Page, place: &Place) -> Answer {
    let found = request
        .vault()
        .list_registry(&request.caller, place.registry, page)
        .await?;
    let items = found.items.iter().map(view).collect();
    Ok(page_of(items, found.next))
}

async fn create(request: Request, fields: RegistryPatch, place: &Place) -> Answer {
    let entry = request
        .vault()
        .register(&request.caller, place.registry, fields)
        .await?;
    Ok(view(&entry).created(place.collection))
}

async fn show(request: Request, place: &Place) -> Answer {
    let entry = request
        .vault()
        .find_registry_entry(&request.caller, place.registry, request.id("id")?)
        .await?;
    Ok(view(&entry).shown())
}

async fn change(request: Request, fields: RegistryPatch, place: &Place) -> Answer {
    let (id, expected) = (request.id("id")?, request.expected);
    let entry = request
        .vault()
        .update_registry_entry(&request.caller, place.registry, id, fields, expected)
        .await?;
    Ok(view(&entry).shown())
}

fn fields(mut body: FieldReader) -> RegistryPatch {
    RegistryPatch {
        name: input::name(&mut body, "name"),
        enabled: input::flag(&mut body, "enabled"),
        description: input::description(&mut body, "description"),
        wrong: input::wrong(body),
    }
}

fn view(entry: &Stored<RegistryEntry>) -> Object<View> {
    let content = View {
        name: entry.name.clone(),
        enabled: entry.enabled,
        description: entry.description.clone(),
    };
    Object::of(entry, content)
}

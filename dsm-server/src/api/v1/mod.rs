//! `/api/v1`: how operators manage the vault.
//!
//! Every route goes the same way: its `endpoint` finds out who asks, reads query and body and
//! refuses what nobody knows, the handler turns that into a command for the vault, and what the
//! vault gives back becomes an object with its stamps or a problem document.

mod api_logs;
mod applications;
mod audit;
mod authorizations;
mod clients;
mod endpoint;
mod explain;
mod input;
mod keys;
mod leases;
mod me;
mod operators;
mod problem;
mod profiles;
mod query;
mod registries;
mod request;
mod rotations;
mod secrets;
mod targets;
mod variables;
mod versions;
mod view;

pub use self::problem::refuse;
use crate::app::App;
use crate::http::router::Route;

/// Every route of this surface.
pub fn routes() -> Vec<Route<App>> {
    let mut routes = me::routes();
    routes.extend(registries::routes());
    routes.extend(applications::routes());
    routes.extend(authorizations::routes());
    routes.extend(keys::routes());
    routes.extend(clients::routes());
    routes.extend(secrets::routes());
    routes.extend(versions::routes());
    routes.extend(profiles::routes());
    routes.extend(leases::routes());
    routes.extend(rotations::routes());
    routes.extend(targets::routes());
    routes.extend(variables::routes());
    routes.extend(operators::routes());
    routes.extend(audit::routes());
    routes.extend(api_logs::routes());
    routes
}

//! The same reads over HTTP, from the server program with each kind of store.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dsm_tests::client::{Answer, request, send};
use dsm_tests::server::{QUICKSTART, Server, command};

use super::depot::{Backend, Depot, Filled};
use super::{Fault, Plan};
use crate::load::{Turn, turn};

/// A row for one kind of store.
pub(crate) async fn row(
    plan: &Plan,
    depot: &Depot,
    backend: Backend,
    filled: &Filled,
    out: &mut impl io::Write,
) -> Result<(), Fault> {
    let data = tempfile::tempdir()?;
    let server = start(depot, backend, filled.count, data.path())?;
    let clients = plan.clients;
    let (remembered, not_remembered) = if backend == Backend::Memory {
        // It has what the server made in it and no more.
        let token = server.token().await?;
        let one = read(&token, &server.printed.identity);
        let remembered = turn(server.addr(), move || Arc::clone(&one), clients, plan.turn);
        (remembered.await?, None)
    } else {
        let token = token(&server, filled).await?;
        let identities = Arc::clone(&filled.identities);
        let one = read(&token, identities[0].as_str());
        let remembered = turn(server.addr(), move || Arc::clone(&one), clients, plan.turn);
        let remembered = remembered.await?;
        let place = Arc::new(AtomicUsize::new(1));
        let each = move || {
            let place = place.fetch_add(1, Ordering::Relaxed);
            read(&token, identities[place % identities.len()].as_str())
        };
        let not_remembered = turn(server.addr(), each, clients, plan.turn).await?;
        (remembered, Some(not_remembered))
    };
    server.stop()?;
    let told = |turn: &Turn| {
        let (p50, p99) = (turn.p50.as_secs_f64() * 1e3, turn.p99.as_secs_f64() * 1e3);
        format!("{:.0}/s | {p50:.2} ms | {p99:.2} ms", turn.rate)
    };
    let none = || "– | – | –".to_owned();
    writeln!(
        out,
        "| {backend} | {} | {} |",
        told(&remembered),
        not_remembered.as_ref().map_or_else(none, told)
    )?;
    Ok(())
}

fn start(depot: &Depot, backend: Backend, count: usize, data: &Path) -> io::Result<Server> {
    let mut command = command(&QUICKSTART);
    let url = depot.url(backend, count);
    command
        .env("DSM_DATA_DIR", data)
        .env(
            "DSM_ROOT_KEY",
            format!("file:{}", depot.key_file().display()),
        )
        // Not a flag: it has a password.
        .env("DSM_STORE", url.as_deref().unwrap_or("memory:"));
    Server::start(command)
}

fn read(token: &str, identity: &str) -> Arc<[u8]> {
    let path = format!("/iso/sctm/secret/{identity}");
    let bearer = format!("Bearer {token}");
    request("GET", &path, &[("Authorization", &bearer)], b"").into()
}

/// A bearer token of the client that reads.
async fn token(server: &Server, filled: &Filled) -> Result<String, Fault> {
    let Filled {
        client_id,
        client_secret,
        ..
    } = filled;
    let body = format!(
        "grant_type=client_credentials&client_id={client_id}&client_secret={client_secret}"
    );
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let path = "/iso/oauth2/token";
    let answer: Answer = send(server.addr(), "POST", path, &form, body.as_bytes()).await?;
    let token = answer.json()["access_token"].as_str().map(str::to_owned);
    token.ok_or_else(|| format!("no token but {answer:?}").into())
}

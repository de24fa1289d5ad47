//! The other side of the comparison: a warp route that answers from memory, behind the accept loop
//! of the server.

use std::io::Write as _;
use std::path::Path;

use bytes::Bytes;
use dsm_server::http::accept::{ConnectionLimits, start};
use tokio::net::TcpListener;
use warp::Filter as _;

pub(crate) async fn serve(file: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let body = Bytes::from(std::fs::read(file)?);
    let route = warp::get()
        .and(warp::path!("iso" / "sctm" / "secret" / ..))
        .map(move || {
            warp::http::Response::builder()
                .header("content-type", "application/json")
                .body(body.clone())
        });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let running = start(listener, ConnectionLimits::default(), None, route)?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", running.local_addr())?;
    out.flush()?;
    // Until whoever started it goes away.
    tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin())).await??;
    Ok(())
}

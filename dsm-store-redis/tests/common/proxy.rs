//! A TCP proxy that fails on demand.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Pass,
    /// Connections are closed, new ones at once.
    Cut,
    /// Nothing comes through.
    BlackHole,
    /// What is sent arrives; what is answered does not.
    NoAnswers,
}

#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    target: Arc<AtomicU16>,
    mode: watch::Sender<Mode>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (mode, modes) = watch::channel(Mode::Pass);
        let target = Arc::new(AtomicU16::new(target));
        let towards = target.clone();
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("a connection");
                tokio::spawn(serve(
                    client,
                    towards.load(Ordering::Relaxed),
                    modes.clone(),
                ));
            }
        });
        Self {
            port,
            target,
            mode,
            task,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// New connections lead to another port; those that are there stay.
    pub(crate) fn lead_to(&self, port: u16) {
        self.target.store(port, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.mode.send_replace(Mode::Cut);
        self.task.abort();
    }
}

async fn serve(client: TcpStream, target: u16, mut modes: watch::Receiver<Mode>) -> io::Result<()> {
    let open = modes.wait_for(|mode| *mode != Mode::BlackHole).await;
    if open.map_or(Mode::Cut, |mode| *mode) == Mode::Cut {
        return Ok(());
    }
    let server = TcpStream::connect(("127.0.0.1", target)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let holds_questions = |mode: Mode| mode == Mode::BlackHole;
    let holds_answers = |mode: Mode| matches!(mode, Mode::BlackHole | Mode::NoAnswers);
    let mut watched = modes.clone();
    tokio::select! {
        result = pump(from_client, to_server, modes.clone(), holds_questions) => result,
        result = pump(from_server, to_client, modes.clone(), holds_answers) => result,
        _ = watched.wait_for(|mode| *mode == Mode::Cut) => Ok(()),
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut modes: watch::Receiver<Mode>,
    holds: impl Fn(Mode) -> bool,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let passes = modes.wait_for(|mode| !holds(*mode)).await;
        passes.map_err(io::Error::other)?;
        to.write_all(&buffer[..read]).await?;
    }
}

//! A TCP proxy that fails on demand.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;

/// How long a thread sleeps before it looks for a new state.
const TICK: Duration = Duration::from_millis(5);

/// Passes connections on to a server, or fails in one of several ways, until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    listener: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    target: SocketAddr,
    /// Counts what ends all connections.
    era: u64,
    /// How many connections were accepted.
    accepted: u64,
    /// What is answered to the next that sends this is lost.
    forgets: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Pass,
    /// Connections are closed in good order.
    Cut,
    /// Connections are reset.
    Reset,
    /// Connections stay open and nothing comes through; what was sent arrives later, if ever.
    BlackHole,
    /// The proxy is gone.
    End,
}

impl Proxy {
    /// A proxy on a free port of 127.0.0.1 that passes everything on.
    pub fn start(target: SocketAddr) -> io::Result<Self> {
        Self::start_at(Ipv4Addr::LOCALHOST, target)
    }

    /// As [`start`](Self::start), at another address of this machine.
    pub fn start_at(host: Ipv4Addr, target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((host, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State {
            mode: Mode::Pass,
            target,
            era: 0,
            accepted: 0,
            forgets: None,
        }));
        let shared = state.clone();
        let listener = thread::spawn(move || accept(&listener, &shared));
        Ok(Self {
            address,
            state,
            listener: Some(listener),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many connections it has accepted.
    pub fn accepted(&self) -> u64 {
        lock(&self.state).accepted
    }

    /// Passes everything on, what was held up by a black hole included.
    pub fn pass(&self) {
        lock(&self.state).mode = Mode::Pass;
    }

    /// Closes all connections, and new ones at once.
    pub fn cut(&self) {
        self.fail(Mode::Cut);
    }

    /// Resets all connections, and new ones at once.
    pub fn reset(&self) {
        self.fail(Mode::Reset);
    }

    /// Holds up everything: connections are accepted and nothing comes through.
    pub fn black_hole(&self) {
        lock(&self.state).mode = Mode::BlackHole;
    }

    /// Passes on the next message of a client that has `mark` in it, once, and closes the connection
    /// in place of what the server answers: it is done, and nobody hears of it.
    pub fn forget_answer(&self, mark: &[u8]) {
        lock(&self.state).forgets = Some(mark.to_vec());
    }

    /// Whether no such message has come yet.
    pub fn would_forget(&self) -> bool {
        lock(&self.state).forgets.is_some()
    }

    /// Passes new connections to another server.
    pub fn redirect(&self, target: SocketAddr) {
        lock(&self.state).target = target;
    }

    fn fail(&self, mode: Mode) {
        let mut state = lock(&self.state);
        state.mode = mode;
        state.era += 1;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.fail(Mode::End);
        if let Some(listener) = self.listener.take() {
            // It has nothing to say.
            let _ = listener.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, state: &Arc<Mutex<State>>) {
    let mut connections = Vec::new();
    loop {
        if lock(state).mode == Mode::End {
            break;
        }
        let Ok((client, _)) = listener.accept() else {
            thread::sleep(TICK);
            continue;
        };
        let era = {
            let mut state = lock(state);
            state.accepted += 1;
            state.era
        };
        let state = state.clone();
        connections.push(thread::spawn(move || {
            // A connection that fails is closed, which is all there is to tell.
            let _ = serve(client, &state, era);
        }));
        connections.retain(|connection| !connection.is_finished());
    }
    for connection in connections {
        let _ = connection.join();
    }
}

fn serve(client: TcpStream, state: &Arc<Mutex<State>>, era: u64) -> io::Result<()> {
    let client = Arc::new(client);
    client.set_nonblocking(false)?;
    let target = loop {
        let (mode, target) = {
            let state = lock(state);
            (state.mode, state.target)
        };
        match mode {
            Mode::Pass => break target,
            Mode::BlackHole => thread::sleep(TICK),
            Mode::Cut | Mode::Reset | Mode::End => return end(&client, mode),
        }
    };
    let server = Arc::new(TcpStream::connect(target)?);
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TICK))?;
    }
    let forgotten = Arc::new(AtomicBool::new(false));
    let back = {
        let (from, to, state) = (server.clone(), client.clone(), state.clone());
        let forgotten = forgotten.clone();
        thread::spawn(move || pump(&from, &to, &state, era, &Way::Back(forgotten)))
    };
    let there = pump(&client, &server, state, era, &Way::There(forgotten));
    let _ = back.join();
    there
}

/// Which way is passed on; both know whether the answer is to be lost.
enum Way {
    There(Arc<AtomicBool>),
    Back(Arc<AtomicBool>),
}

impl Way {
    /// Whether what was read is an answer that is lost.
    fn loses(&self, read: &[u8], state: &Mutex<State>) -> bool {
        match self {
            Self::There(forgotten) => {
                let forgets = &mut lock(state).forgets;
                let marked = forgets.as_ref().is_some_and(|mark| {
                    let mut places = read.windows(mark.len().max(1));
                    places.any(|place| place == mark.as_slice())
                });
                if marked {
                    *forgets = None;
                    forgotten.store(true, Ordering::SeqCst);
                }
                false
            }
            Self::Back(forgotten) => !read.is_empty() && forgotten.load(Ordering::SeqCst),
        }
    }
}

/// Passes on until one side ends or the proxy fails.
fn pump(
    from: &TcpStream,
    to: &TcpStream,
    state: &Mutex<State>,
    era: u64,
    way: &Way,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = {
            let mut from = from;
            from.read(&mut buffer)
        };
        loop {
            let (mode, now) = {
                let state = lock(state);
                (state.mode, state.era)
            };
            if now != era {
                end(from, mode)?;
                return end(to, mode);
            }
            if mode != Mode::BlackHole {
                break;
            }
            thread::sleep(TICK);
        }
        match read {
            Ok(0) => return to.shutdown(Shutdown::Write),
            Ok(length) => {
                if way.loses(&buffer[..length], state) {
                    end(from, Mode::Cut)?;
                    return end(to, Mode::Cut);
                }
                let mut to = to;
                to.write_all(&buffer[..length])?;
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock
                        | io::ErrorKind::TimedOut
                        | io::ErrorKind::Interrupted
                ) => {}
            Err(_) => {
                let _ = from.shutdown(Shutdown::Both);
                return to.shutdown(Shutdown::Both);
            }
        }
    }
}

fn end(stream: &TcpStream, mode: Mode) -> io::Result<()> {
    if mode == Mode::Reset {
        // Closing without lingering resets the connection once its last handle is gone.
        SockRef::from(stream).set_linger(Some(Duration::ZERO))
    } else {
        stream.shutdown(Shutdown::Both)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that returns what it gets, and a proxy before it.
    fn echo() -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                thread::spawn(move || {
                    let stream = stream.unwrap();
                    let _ = io::copy(&mut &stream, &mut &stream);
                });
            }
        });
        Proxy::start(address).unwrap()
    }

    fn connect(proxy: &Proxy) -> TcpStream {
        let stream = TcpStream::connect(proxy.address()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        stream
    }

    fn ask(mut stream: &TcpStream) -> io::Result<u8> {
        stream.write_all(&[7])?;
        let mut answer = [0];
        stream.read_exact(&mut answer)?;
        Ok(answer[0])
    }

    #[test]
    fn a_proxy_passes_cuts_and_resets() {
        let proxy = echo();
        let first = connect(&proxy);
        assert_eq!(ask(&first).unwrap(), 7);
        proxy.cut();
        assert_eq!((&first).read(&mut [0]).unwrap(), 0);
        proxy.pass();
        let second = connect(&proxy);
        assert_eq!(ask(&second).unwrap(), 7);
        proxy.reset();
        let error = (&second).read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(proxy.accepted(), 2);
    }

    #[test]
    fn an_answer_is_forgotten_once() {
        let proxy = echo();
        proxy.forget_answer(&[9]);
        let stream = connect(&proxy);
        assert_eq!(ask(&stream).unwrap(), 7);
        (&stream).write_all(&[8, 9]).unwrap();
        assert_eq!((&stream).read(&mut [0]).unwrap(), 0);
        assert!(!proxy.would_forget());
        let stream = connect(&proxy);
        (&stream).write_all(&[9]).unwrap();
        assert_eq!((&stream).read(&mut [0]).unwrap(), 1);
    }

    #[test]
    fn a_black_hole_holds_what_was_sent() {
        let proxy = echo();
        let stream = connect(&proxy);
        assert_eq!(ask(&stream).unwrap(), 7);
        proxy.black_hole();
        (&stream).write_all(&[8]).unwrap();
        let wait = Duration::from_millis(200);
        stream.set_read_timeout(Some(wait)).unwrap();
        let error = (&stream).read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        proxy.pass();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let mut answer = [0];
        (&stream).read_exact(&mut answer).unwrap();
        assert_eq!(answer, [8]);
    }
}

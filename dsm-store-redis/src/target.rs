//! Connections to whoever is the master.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dsm_core::store::StoreError;
use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo as _,
    ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, RedisError, TlsCertificates, cmd,
};

use crate::current::{Current, Term};
use crate::fault::{replica, slow, told};
use crate::keys::Keys;
use crate::open;
use crate::options::{Address, Login, Place, RedisOptions, Tls};
use crate::rounds::Rounds;
use crate::server::Server;

/// How long it takes to connect at most, with the handshakes.
const CONNECT: Duration = Duration::from_millis(1_500);
/// The same for a Sentinel, which is asked first.
const CONNECT_SENTINEL: Duration = Duration::from_millis(700);
/// How long an answer takes at most; then the connection is given up.
pub(crate) const ANSWER: Duration = Duration::from_secs(2);
/// How many commands wait to be written to a connection.
const WAITING: usize = 1024;

/// A connection that can be shared.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) connection: MultiplexedConnection,
    /// Of asking its replicas.
    pub(crate) rounds: Arc<Rounds>,
    up: Arc<AtomicBool>,
    /// None until the server was found fit, and for a Sentinel.
    term: Option<Term>,
}

impl Live {
    /// Whether nothing speaks against using it.
    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire) && self.is_current()
    }

    /// Whether no newer connection leads to another server.
    pub(crate) fn is_current(&self) -> bool {
        self.term.as_ref().is_some_and(Term::is_current)
    }

    /// What it has in common with other connections to the same server.
    pub(crate) fn term(&self) -> Option<&Term> {
        self.term.as_ref()
    }

    /// Nobody shall use it from now on.
    pub(crate) fn give_up(&self) {
        self.up.store(false, Ordering::Release);
    }
}

/// Where to connect to.
#[derive(Debug)]
pub(crate) struct Target {
    name: String,
    place: Where,
    current: Current,
    keys: Arc<Keys>,
    accept_data_loss: bool,
    /// Whether the store was found or made.
    is_open: AtomicBool,
}

enum Where {
    Server(Client),
    Sentinels {
        nodes: Vec<Client>,
        master: String,
        connector: Connector,
    },
}

impl std::fmt::Debug for Where {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Server(_) => "Server",
            Self::Sentinels { .. } => "Sentinels",
        })
    }
}

/// Makes clients of any server, with the same login.
struct Connector {
    certificates: Option<TlsCertificates>,
    tls: bool,
    settings: RedisConnectionInfo,
}

impl Target {
    /// Reads the files of TLS; nothing is connected yet.
    pub(crate) fn new(options: &RedisOptions) -> Result<Self, StoreError> {
        let connector = |login: &Login, database: u16| -> Result<Connector, StoreError> {
            let certificates = options.tls.as_ref().map(certificates).transpose()?;
            Ok(Connector {
                certificates: certificates.flatten(),
                tls: options.tls.is_some(),
                settings: settings(login, database),
            })
        };
        if options.tls.is_some() {
            // Another part of the process may have chosen already, which is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let name = options.name();
        let wrong = |error| told(&name, error);
        let data = connector(&options.login, options.database)?;
        let place = match &options.place {
            Place::Server(address) => Where::Server(data.client(address).map_err(wrong)?),
            Place::Sentinels { nodes, master } => {
                let asking = connector(&options.sentinel_login, 0)?;
                let nodes = nodes.iter().map(|node| asking.client(node));
                Where::Sentinels {
                    nodes: nodes.collect::<Result<_, _>>().map_err(wrong)?,
                    master: master.clone(),
                    connector: data,
                }
            }
        };
        Ok(Self {
            name,
            place,
            current: Current::default(),
            keys: Arc::new(Keys::new(&options.prefix)),
            accept_data_loss: options.accept_data_loss,
            is_open: AtomicBool::new(false),
        })
    }

    /// What messages call it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The keys of the store.
    pub(crate) fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// From now on only servers that have the store are connected to.
    pub(crate) fn opened(&self) {
        self.is_open.store(true, Ordering::Release);
    }

    /// A new connection to the master. When it is another server than before, the connections to
    /// that one are not up any more.
    pub(crate) async fn connect(&self) -> Result<Live, StoreError> {
        match &self.place {
            Where::Server(client) => {
                let admitted = self.admit(client, &self.name).await?;
                admitted.ok_or_else(|| replica(&self.name))
            }
            Where::Sentinels {
                nodes,
                master,
                connector,
            } => self.connect_by(nodes, master, connector).await,
        }
    }

    async fn connect_by(
        &self,
        nodes: &[Client],
        master: &str,
        connector: &Connector,
    ) -> Result<Live, StoreError> {
        let answers = join_all(nodes.iter().map(|node| ask(node, master))).await;
        let mut candidates: Vec<(usize, Address)> = Vec::new();
        let mut failure = None;
        for answer in answers {
            match answer {
                Ok(Some(address)) => match candidates.iter_mut().find(|(_, a)| *a == address) {
                    Some((votes, _)) => *votes += 1,
                    None => candidates.push((1, address)),
                },
                Ok(None) => {}
                Err(error) => failure = Some(error),
            }
        }
        // Sentinels that have not heard of a failover yet name the old master.
        candidates.sort_by_key(|(votes, _)| std::cmp::Reverse(*votes));
        let none = match failure {
            Some(error) => StoreError::unavailable("no Sentinel names a master: check them", error),
            None => StoreError::Unavailable {
                reason: format!("no Sentinel knows a master called {master}"),
                source: None,
            },
        };
        let mut failure = none;
        for (_, address) in candidates {
            let name = format!("Redis at {address}");
            let client = connector.client(&address);
            let client = client.map_err(|error| told(&name, error))?;
            match self.admit(&client, &name).await {
                Ok(Some(live)) => return Ok(live),
                Ok(None) => {
                    failure = StoreError::Unavailable {
                        reason: format!("{name} is no longer, or not yet, the master"),
                        source: None,
                    };
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// A connection to a server that says of itself that it is a master.
    async fn admit(&self, client: &Client, name: &str) -> Result<Option<Live>, StoreError> {
        let connected = connect(client, CONNECT).await;
        let mut live = connected.map_err(|error| told(name, error))?;
        let server = Server::ask(&mut live).await;
        let server = server.map_err(|error| told(name, error))?;
        if let Err(error) = self.check(&server, &mut live, name).await {
            self.current.refuse(&server.run);
            return Err(error);
        }
        if server.is_replica {
            self.current.refuse(&server.run);
            return Ok(None);
        }
        live.term = Some(self.current.accept(&server.run));
        Ok(Some(live))
    }

    /// Refuses a server on which the store would not keep its word, or is not.
    async fn check(&self, server: &Server, live: &mut Live, name: &str) -> Result<(), StoreError> {
        server.check(name)?;
        if server.is_replica {
            return Ok(());
        }
        if !self.accept_data_loss {
            open::check_settings(live, name).await?;
        }
        if self.is_open.load(Ordering::Acquire) {
            open::check_presence(live, &self.keys, name).await?;
        }
        Ok(())
    }

    /// What is said of an answer that did not come.
    pub(crate) fn slow(&self, after: Duration) -> StoreError {
        slow(&self.name, after)
    }
}

impl Connector {
    fn client(&self, address: &Address) -> Result<Client, RedisError> {
        let (host, port) = (address.host.clone(), address.port);
        let address = if self.tls {
            ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let info = address
            .into_connection_info()?
            .set_redis_settings(self.settings.clone());
        match &self.certificates {
            Some(certificates) => Client::build_with_tls(info, certificates.clone()),
            None => Client::open(info),
        }
    }
}

fn settings(login: &Login, database: u16) -> RedisConnectionInfo {
    let mut settings = RedisConnectionInfo::default()
        // By its push messages it is known at once that a connection was lost.
        .set_protocol(ProtocolVersion::RESP3)
        .set_db(database.into());
    if let Some(user) = &login.user {
        settings = settings.set_username(user);
    }
    if let Some(password) = &login.password {
        settings = settings.set_password(password);
    }
    settings
}

fn certificates(tls: &Tls) -> Result<Option<TlsCertificates>, StoreError> {
    let read = |path: &std::path::Path| {
        std::fs::read(path).map_err(|error| {
            StoreError::unavailable(format!("{} cannot be read", path.display()), error)
        })
    };
    let client_tls = match &tls.certificate {
        Some((certificate, key)) => Some(ClientTlsConfig {
            client_cert: read(certificate)?,
            client_key: read(key)?,
        }),
        None => None,
    };
    let root_cert = tls.ca.as_deref().map(read).transpose()?;
    Ok(
        (client_tls.is_some() || root_cert.is_some()).then_some(TlsCertificates {
            client_tls,
            root_cert,
        }),
    )
}

async fn connect(client: &Client, within: Duration) -> Result<Live, RedisError> {
    let up = Arc::new(AtomicBool::new(true));
    let seen = up.clone();
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(within))
        .set_response_timeout(Some(ANSWER))
        .set_pipeline_buffer_size(WAITING)
        .set_push_sender(move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                seen.store(false, Ordering::Release);
            }
            Ok::<_, redis::aio::SendError>(())
        });
    let connection = client
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    Ok(Live {
        connection,
        rounds: Arc::default(),
        up,
        term: None,
    })
}

/// Which master a Sentinel names.
async fn ask(node: &Client, master: &str) -> Result<Option<Address>, RedisError> {
    let asking = async {
        let mut live = connect(node, CONNECT_SENTINEL).await?;
        let mut question = cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
        let answer: Option<(String, u16)> = question.query_async(&mut live.connection).await?;
        Ok(answer.map(|(host, port)| Address { host, port }))
    };
    match tokio::time::timeout(CONNECT_SENTINEL, asking).await {
        Ok(answer) => answer,
        Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
    }
}

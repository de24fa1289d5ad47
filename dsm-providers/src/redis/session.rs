//! One connection for one call.

use std::fmt;
use std::time::Duration;

use dsm_core::provider::{Proof, ProviderError, Target};
use dsm_core::secret::SecretText;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, ProtocolVersion, RedisConnectionInfo, RedisError, Value,
    cmd,
};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::PORT;
use crate::place::Place;
use crate::tls::{self, Mode};

/// How long it takes to connect at most, with the log-in.
const CONNECT: Duration = Duration::from_secs(4);
/// How long one answer takes at most.
const ANSWER: Duration = Duration::from_millis(1_500);

/// How the server received somebody.
#[derive(Debug)]
pub(super) enum Entry {
    /// Let in.
    Open(Session),
    /// Refused.
    Rejected(String),
}

/// A session of a user.
pub(super) struct Session {
    connection: MultiplexedConnection,
    _driving: Driving,
}

/// The task of a connection, which ends with its handle.
struct Driving(JoinHandle<()>);

impl Drop for Driving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// Why a command has no result.
#[derive(Debug)]
pub(super) enum Fault {
    /// The server answered that it will not.
    Said(String),
    /// The server answered that it cannot now.
    Busy(String),
    /// Nothing that could be understood came back.
    Lost(String),
}

impl Fault {
    fn of(error: &RedisError) -> Self {
        let said = error.to_string();
        match error.kind() {
            ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::AuthenticationFailed => {
                let passing = ["LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN"];
                if error.code().is_some_and(|code| passing.contains(&code)) {
                    Self::Busy(said)
                } else {
                    Self::Said(said)
                }
            }
            _ => Self::Lost(said),
        }
    }

    /// Of a command that changes nothing.
    pub(super) fn before(self) -> ProviderError {
        match self {
            Self::Said(message) => ProviderError::Refused(message),
            Self::Busy(message) | Self::Lost(message) => ProviderError::Unavailable(message),
        }
    }

    /// Of a command that changes something.
    pub(super) fn sent(self) -> ProviderError {
        match self {
            Self::Lost(message) => ProviderError::OutcomeUnknown(message),
            answered => answered.before(),
        }
    }

    pub(super) fn message(&self) -> &str {
        match self {
            Self::Said(message) | Self::Busy(message) | Self::Lost(message) => message,
        }
    }
}

/// Logs in.
///
/// # Errors
///
/// [`ProviderError::Unavailable`] when the server does not say whether it lets this user in.
pub(super) async fn enter(
    target: &Target,
    user: &str,
    password: &SecretText,
) -> Result<Entry, ProviderError> {
    let entering = entering(target, user, password);
    timeout(CONNECT, entering).await.unwrap_or_else(|_| {
        let message = format!("no log-in within {} seconds", CONNECT.as_secs());
        Err(ProviderError::Unavailable(message))
    })
}

async fn entering(
    target: &Target,
    user: &str,
    password: &SecretText,
) -> Result<Entry, ProviderError> {
    let place: Place = target.address.parse().map_err(ProviderError::Refused)?;
    let mode = tls::mode(&place, &target.options)?;
    let stream = place.connect(PORT).await?;
    let mut session = match mode {
        Mode::Off => Session::over(stream).await?,
        Mode::VerifyFull => {
            let unreachable = |why: String| ProviderError::Unavailable(format!("{place}: {why}"));
            let name = ServerName::try_from(place.host().to_owned())
                .map_err(|error| unreachable(error.to_string()))?;
            let connector = TlsConnector::from(tls::config(&target.options)?);
            let secured = connector.connect(name, stream).await;
            Session::over(secured.map_err(|error| unreachable(error.to_string()))?).await?
        }
    };
    let mut log_in = cmd("AUTH");
    log_in.arg(user).arg(password.expose());
    match session.ask(&log_in).await {
        Ok(_) => Ok(Entry::Open(session)),
        Err(Fault::Said(said)) if said.contains("WRONGPASS") => Ok(Entry::Rejected(said)),
        Err(fault) => Err(ProviderError::Unavailable(fault.message().to_owned())),
    }
}

impl Session {
    async fn over<S>(stream: S) -> Result<Self, ProviderError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // Nothing is sent by itself: whoever is logged in may be allowed nothing.
        let info = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP2)
            .set_skip_set_lib_name();
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(ANSWER));
        let made = MultiplexedConnection::new_with_config(&info, stream, config).await;
        let (connection, driver) =
            made.map_err(|error| ProviderError::Unavailable(error.to_string()))?;
        Ok(Self {
            connection,
            _driving: Driving(tokio::spawn(driver)),
        })
    }

    /// The admin's session.
    ///
    /// # Errors
    ///
    /// [`ProviderError::Refused`] when the server does not let the admin in.
    pub(super) async fn open(target: &Target) -> Result<Self, ProviderError> {
        let Proof::Password(password) = &target.admin.proof else {
            let message = "the admin credential has to be a password";
            return Err(ProviderError::Refused(message.to_owned()));
        };
        match enter(target, &target.admin.user, password).await? {
            Entry::Open(session) => Ok(session),
            Entry::Rejected(said) => Err(ProviderError::Refused(format!(
                "the admin credential is not let in: {said}"
            ))),
        }
    }

    /// One command and its answer.
    pub(super) async fn ask(&mut self, command: &Cmd) -> Result<Value, Fault> {
        let answer: Result<Value, RedisError> = command.query_async(&mut self.connection).await;
        match answer {
            Ok(Value::ServerError(error)) => Err(Fault::of(&error.into())),
            Ok(value) => Ok(value),
            Err(error) => Err(Fault::of(&error)),
        }
    }
}

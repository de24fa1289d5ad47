//! One connection for one call.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use dsm_core::provider::{MAX_ANSWER, Proof, ProviderError, Target};
use dsm_core::secret::SecretText;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, OptsBuilder, Params, Row, SslOpts};
use tokio::time::timeout;

use super::PORT;
use super::fault::{
    ACCESS_DENIED, ACCESS_DENIED_NO_PASSWORD, ACCOUNT_LOCKED, PASSWORD_EXPIRED, code, fault,
};
use crate::outcome::{Stage, lost};
use crate::place::Place;
use crate::tls::{self, Mode};

/// How long it takes to connect at most, with the log-in.
const CONNECT: Duration = Duration::from_secs(4);
/// How long one answer takes at most.
const ANSWER: Duration = Duration::from_secs(5);
/// How long the server is told that the session is over.
const FAREWELL: Duration = Duration::from_millis(500);
/// Backslashes are ordinary characters, and no statement waits longer than the call for a lock.
const SETUP: &str = "SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES', autocommit = 1, \
                     lock_wait_timeout = 4";

/// How the server received somebody.
#[derive(Debug)]
pub(super) enum Entry {
    /// Let in.
    Open(Session),
    /// Refused.
    Rejected(String),
}

/// A session of an account.
pub(super) struct Session {
    connection: Conn,
    kind: Kind,
}

/// What the server is, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// MySQL, which leaves passwords out of its logs.
    Mysql,
    /// MariaDB, in a session that is not written to the general log.
    QuietMariadb,
    /// MariaDB, whose general log has every statement as it was sent.
    Mariadb,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// Logs in.
///
/// # Errors
///
/// [`ProviderError::Unavailable`] when the server does not say whether it lets this account in.
pub(super) async fn enter(
    target: &Target,
    account: &str,
    password: &SecretText,
) -> Result<Entry, ProviderError> {
    let entering = entering(target, account, password);
    timeout(CONNECT, entering).await.unwrap_or_else(|_| {
        let message = format!("no log-in within {} seconds", CONNECT.as_secs());
        Err(ProviderError::Unavailable(message))
    })
}

async fn entering(
    target: &Target,
    account: &str,
    password: &SecretText,
) -> Result<Entry, ProviderError> {
    let place: Place = target.address.parse().map_err(ProviderError::Refused)?;
    let encryption = match tls::mode(&place, &target.options)? {
        Mode::Off => None,
        Mode::VerifyFull => {
            let roots = tls::roots(&target.options)?;
            let roots = roots.iter().map(|root| root.to_vec().into());
            let options = SslOpts::default().with_disable_built_in_roots(true);
            Some(options.with_root_certs(roots.collect()))
        }
    };
    let addresses = place.resolve(PORT).await?;
    let addresses: Vec<IpAddr> = addresses.iter().map(std::net::SocketAddr::ip).collect();
    // All that the driver would ask the server for is given, so that it asks nothing of whoever may
    // be allowed nothing, and it connects to no socket that the server names.
    let options = OptsBuilder::default()
        .ip_or_hostname(place.host())
        .resolved_ips(Some(addresses))
        .tcp_port(place.port_or(PORT))
        .user(Some(account))
        .pass(Some(password.expose()))
        .prefer_socket(false)
        .max_allowed_packet(Some(MAX_ANSWER))
        .wait_timeout(Some(60))
        .stmt_cache_size(0)
        .ssl_opts(encryption);
    match Conn::new(options).await {
        Ok(connection) => Ok(Entry::Open(Session {
            connection,
            kind: Kind::Mysql,
        })),
        Err(error) => match code(&error) {
            Some(ACCESS_DENIED | ACCESS_DENIED_NO_PASSWORD) => {
                Ok(Entry::Rejected(error.to_string()))
            }
            Some(other) if ACCOUNT_LOCKED.contains(&other) || PASSWORD_EXPIRED.contains(&other) => {
                Ok(Entry::Rejected(error.to_string()))
            }
            _ => Err(ProviderError::Unavailable(error.to_string())),
        },
    }
}

impl Session {
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
            Entry::Open(mut session) => {
                session.run(SETUP, Stage::Before).await?;
                session.kind = session.look().await?;
                Ok(session)
            }
            Entry::Rejected(said) => Err(ProviderError::Refused(format!(
                "the admin credential is not let in: {said}"
            ))),
        }
    }

    /// What the server is. Who may, leaves the general log out.
    async fn look(&mut self) -> Result<Kind, ProviderError> {
        if !self.text("SELECT VERSION()").await?.contains("MariaDB") {
            return Ok(Kind::Mysql);
        }
        let quiet = self.run("SET SESSION sql_log_off = 1", Stage::Before).await;
        match quiet {
            Ok(()) => Ok(Kind::QuietMariadb),
            Err(ProviderError::Refused(_)) => Ok(Kind::Mariadb),
            Err(error) => Err(error),
        }
    }

    /// What the server is.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Makes a change.
    pub(super) async fn change(&mut self, statement: &str) -> Result<(), ProviderError> {
        self.run(statement, Stage::Sent).await
    }

    /// Makes a change that may fail with this number.
    pub(super) async fn change_unless(
        &mut self,
        statement: &str,
        number: u16,
    ) -> Result<(), ProviderError> {
        match timeout(ANSWER, self.connection.query_drop(statement)).await {
            Ok(Err(error)) if code(&error) == Some(number) => Ok(()),
            done => Self::outcome(done, Stage::Sent),
        }
    }

    async fn run(&mut self, statement: &str, stage: Stage) -> Result<(), ProviderError> {
        let done = timeout(ANSWER, self.connection.query_drop(statement)).await;
        Self::outcome(done, stage)
    }

    fn outcome<T>(
        done: Result<Result<T, mysql_async::Error>, tokio::time::error::Elapsed>,
        stage: Stage,
    ) -> Result<T, ProviderError> {
        match done {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(fault(&error, stage)),
            Err(_) => {
                let message = format!("no answer within {} seconds", ANSWER.as_secs());
                Err(lost(message, stage))
            }
        }
    }

    /// The first column of all rows of a query, as text.
    pub(super) async fn texts(
        &mut self,
        query: &str,
        values: Vec<&str>,
    ) -> Result<Vec<String>, ProviderError> {
        let values = if values.is_empty() {
            Params::Empty
        } else {
            Params::Positional(values.into_iter().map(Into::into).collect())
        };
        let asked = self.connection.exec::<Row, _, _>(query, values);
        let rows = Self::outcome(timeout(ANSWER, asked).await, Stage::Before)?;
        let texts = rows.into_iter().map(|row| row.get_opt::<String, _>(0));
        let texts: Option<Vec<String>> = texts.map(|text| text?.ok()).collect();
        let nonsense = "the server answers with what is no text".to_owned();
        texts.ok_or(ProviderError::Unavailable(nonsense))
    }

    /// The only value of a query, as text.
    pub(super) async fn text(&mut self, query: &str) -> Result<String, ProviderError> {
        let texts = self.texts(query, Vec::new()).await?;
        let nothing = "the server answers nothing".to_owned();
        texts
            .into_iter()
            .next()
            .ok_or(ProviderError::Unavailable(nothing))
    }

    /// The rights of this account everywhere, and in the database `mysql`.
    pub(super) async fn rights(&mut self) -> Result<BTreeSet<String>, ProviderError> {
        let me = "CONCAT('''', SUBSTRING_INDEX(CURRENT_USER(), '@', 1), '''@''', \
                  SUBSTRING_INDEX(CURRENT_USER(), '@', -1), '''')";
        let query = format!(
            "SELECT privilege_type FROM information_schema.user_privileges WHERE grantee = {me} \
             UNION SELECT privilege_type FROM information_schema.schema_privileges \
             WHERE grantee = {me} AND table_schema = 'mysql'"
        );
        Ok(self.texts(&query, Vec::new()).await?.into_iter().collect())
    }

    /// Ends the session in good order.
    pub(super) async fn close(self) {
        // Whether the server hears of it changes nothing.
        let _ = timeout(FAREWELL, self.connection.disconnect()).await;
    }
}

//! One connection for one call.

use std::fmt;
use std::time::Duration;

use dsm_core::provider::{ProviderError, Target};
use dsm_core::secret::SecretText;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::{FromSql, FromSqlOwned, ToSql};
use tokio_postgres::{Client, Config, Connection, NoTls, Row, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::fault::{described, fault, told};
use super::{PORT, admin_password};
use crate::outcome::{Stage, lost};
use crate::place::{Place, TcpBounded};
use crate::tls::{self, Mode};

/// How long it takes to connect at most, with the log-in.
const CONNECT: Duration = Duration::from_secs(4);
/// How long one answer takes at most.
const ANSWER: Duration = Duration::from_secs(5);
/// How long the server is told that the session is over.
const FAREWELL: Duration = Duration::from_millis(500);
/// Statements do not outlive the call: neither one that waits for a lock, nor one that was
/// delivered late.
const BOUNDS: &str = "SET statement_timeout = '8s'; SET lock_timeout = '5s'; \
                      SELECT (clock_timestamp() + interval '10 s')::text";

/// The database that a target is connected to.
pub(super) fn database(target: &Target) -> &str {
    let given = target.options.get("database");
    given.map_or("postgres", String::as_str)
}

/// How the server received somebody.
#[derive(Debug)]
pub(super) enum Entry {
    /// Let in.
    Open(Session),
    /// The password was right, and something else was not.
    Known(String),
    /// Refused.
    Rejected(String),
}

/// A session of an account.
pub(super) struct Session {
    client: Client,
    connection: Driving,
    /// Until when a change may begin, by the server's clock.
    deadline: String,
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

/// Logs in.
///
/// # Errors
///
/// [`ProviderError::Unavailable`] when the server does not say whether it lets this account in.
pub(super) async fn enter(
    target: &Target,
    database: &str,
    account: &str,
    password: &SecretText,
) -> Result<Entry, ProviderError> {
    let entering = entering(target, database, account, password);
    timeout(CONNECT, entering).await.unwrap_or_else(|_| {
        let seconds = CONNECT.as_secs();
        let message = format!("no log-in within {seconds} seconds");
        Err(ProviderError::Unavailable(message))
    })
}

async fn entering(
    target: &Target,
    database: &str,
    account: &str,
    password: &SecretText,
) -> Result<Entry, ProviderError> {
    let place: Place = target.address.parse().map_err(ProviderError::Refused)?;
    let mode = tls::mode(&place, &target.options)?;
    let mut config = Config::new();
    config
        .user(account)
        .password(password.expose())
        .dbname(database)
        .application_name("dsm");
    let stream = place.connect(PORT).await?;
    let entered = match mode {
        Mode::Off => {
            config.ssl_mode(SslMode::Disable);
            let connected = config.connect_raw(stream, NoTls).await;
            connected.map(|(client, connection)| (client, drive(connection)))
        }
        Mode::VerifyFull => {
            config.ssl_mode(SslMode::Require);
            let settings = tls::config(&target.options)?;
            let mut maker = MakeRustlsConnect::new(settings.as_ref().clone());
            let connector =
                MakeTlsConnect::<TcpBounded>::make_tls_connect(&mut maker, place.host())
                    .map_err(|error| ProviderError::Unavailable(error.to_string()))?;
            let connected = config.connect_raw(stream, connector).await;
            connected.map(|(client, connection)| (client, drive(connection)))
        }
    };
    let (client, connection) = match entered {
        Ok(entered) => entered,
        Err(error) => return received(&error),
    };
    let deadline = match client.simple_query(BOUNDS).await {
        Ok(answer) => first_text(&answer).unwrap_or_default(),
        Err(error) => return Err(fault(&error, Stage::Before)),
    };
    Ok(Entry::Open(Session {
        client,
        connection,
        deadline,
    }))
}

/// What a log-in that failed says about the password.
fn received(error: &tokio_postgres::Error) -> Result<Entry, ProviderError> {
    let Some(said) = error.as_db_error() else {
        return Err(ProviderError::Unavailable(described(error)));
    };
    let code = said.code();
    if *code == SqlState::INVALID_PASSWORD || *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION
    {
        Ok(Entry::Rejected(told(said)))
    } else if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        // Whether an account may enter a database is looked at when its password was right.
        Ok(Entry::Known(told(said)))
    } else {
        Err(ProviderError::Unavailable(told(said)))
    }
}

fn drive<S, T>(connection: Connection<S, T>) -> Driving
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    Driving(tokio::spawn(async move {
        // What ends a connection is told to those who use it.
        let _ = connection.await;
    }))
}

fn first_text(answer: &[SimpleQueryMessage]) -> Option<String> {
    answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    })
}

impl Session {
    /// The admin's session in the target's database.
    pub(super) async fn open(target: &Target) -> Result<Self, ProviderError> {
        Self::open_in(target, database(target)).await
    }

    /// The admin's session in another database.
    ///
    /// # Errors
    ///
    /// [`ProviderError::Refused`] when the server does not let the admin in.
    pub(super) async fn open_in(target: &Target, database: &str) -> Result<Self, ProviderError> {
        let password = admin_password(target)?;
        match enter(target, database, &target.admin.user, password).await? {
            Entry::Open(session) => Ok(session),
            Entry::Known(said) | Entry::Rejected(said) => Err(ProviderError::Refused(format!(
                "the admin credential is not let in: {said}"
            ))),
        }
    }

    /// Makes a change that takes effect by itself, unless the network delivers it too late.
    pub(super) async fn change_in_time(&self, statement: &str) -> Result<(), ProviderError> {
        // One message is one transaction: when the first statement fails there is no second.
        let deadline = super::literal(&self.deadline);
        let guarded =
            format!("SELECT 1 / (clock_timestamp() < {deadline}::timestamptz)::int; {statement}");
        self.run(&guarded, Stage::Sent).await
    }

    /// Runs a statement inside a transaction.
    pub(super) async fn inside(&self, statement: &str) -> Result<(), ProviderError> {
        self.run(statement, Stage::Before).await
    }

    async fn run(&self, statement: &str, stage: Stage) -> Result<(), ProviderError> {
        match timeout(ANSWER, self.client.batch_execute(statement)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(fault(&error, stage)),
            Err(_) => Err(lost(late(), stage)),
        }
    }

    /// All rows of a query.
    pub(super) async fn rows(
        &self,
        query: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, ProviderError> {
        match timeout(ANSWER, self.client.query(query, values)).await {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(error)) => Err(fault(&error, Stage::Before)),
            Err(_) => Err(lost(late(), Stage::Before)),
        }
    }

    /// The only row of a query.
    pub(super) async fn row(&self, query: &str) -> Result<Row, ProviderError> {
        let rows = self.rows(query, &[]).await?;
        let row = rows.into_iter().next();
        row.ok_or_else(|| ProviderError::Unavailable("the server answers nothing".to_owned()))
    }

    /// A column of all rows of a query.
    pub(super) async fn column<T: FromSqlOwned>(
        &self,
        query: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<T>, ProviderError> {
        let rows = self.rows(query, values).await?;
        rows.iter().map(|row| cell(row, 0)).collect()
    }

    /// Begins a transaction; without [`commit`](Self::commit) nothing of it lasts.
    pub(super) async fn begin(&self) -> Result<(), ProviderError> {
        self.inside("BEGIN").await
    }

    /// Makes what was done in a transaction last.
    pub(super) async fn commit(&self) -> Result<(), ProviderError> {
        self.change_in_time("COMMIT").await
    }

    /// Ends the session in good order.
    pub(super) async fn close(self) {
        let Self {
            client,
            mut connection,
            ..
        } = self;
        drop(client);
        // Whether the server hears of it changes nothing.
        let _ = timeout(FAREWELL, &mut connection.0).await;
    }
}

/// A value of a row, of which the server decides what is in it.
pub(super) fn cell<'a, T: FromSql<'a>>(row: &'a Row, index: usize) -> Result<T, ProviderError> {
    row.try_get(index)
        .map_err(|error| ProviderError::Unavailable(described(&error)))
}

fn late() -> String {
    format!("no answer within {} seconds", ANSWER.as_secs())
}

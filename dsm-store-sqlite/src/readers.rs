use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use dsm_core::store::StoreError;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::fault::Fault;
use crate::options::OpenOptions;

/// Connections that only read.
///
/// `sqlx::Pool` asks its connections whether they still live each time they are returned, which for
/// a file costs as much as the read itself.
#[derive(Debug)]
pub(crate) struct Readers {
    options: OpenOptions,
    idle: Mutex<Vec<SqliteConnection>>,
    permits: Semaphore,
}

impl Readers {
    pub(crate) fn new(options: OpenOptions) -> Self {
        Self {
            idle: Mutex::new(Vec::new()),
            permits: Semaphore::new(options.readers as usize),
            options,
        }
    }

    /// Waits for a connection that is free.
    pub(crate) async fn acquire(&self) -> Result<Reader<'_>, StoreError> {
        let permit = self.permits.acquire().await.map_err(|_| closed())?;
        let idle = self.lock().pop();
        let connection = if let Some(connection) = idle {
            connection
        } else {
            let opened = self.options.reading().connect().await;
            opened.map_err(|error| Fault::from(error).at(&self.options.path))?
        };
        Ok(Reader {
            connection: Some(connection),
            readers: self,
            _permit: permit,
        })
    }

    pub(crate) fn options(&self) -> &OpenOptions {
        &self.options
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.permits.is_closed()
    }

    /// Waits for reads under way and closes all connections.
    pub(crate) async fn close(&self) {
        let all = self.permits.acquire_many(self.options.readers).await;
        self.permits.close();
        drop(all);
        let idle = std::mem::take(&mut *self.lock());
        for connection in idle {
            if let Err(error) = connection.close().await {
                tracing::warn!(%error, "a connection that reads did not close");
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<SqliteConnection>> {
        // A list of connections is whole whenever it can be locked.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection on loan.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    connection: Option<SqliteConnection>,
    readers: &'a Readers,
    _permit: SemaphorePermit<'a>,
}

impl Reader<'_> {
    /// Returns the connection, unless what was read with it failed: then it is replaced by a new
    /// one when it is needed.
    pub(crate) fn finish<T>(mut self, result: Result<T, Fault>) -> Result<T, StoreError> {
        result.map_err(|fault| {
            self.connection = None;
            fault.at(&self.readers.options.path)
        })
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.readers.lock().push(connection);
        }
    }
}

const PRESENT: &str = "a reader keeps its connection until it is finished";

impl Deref for Reader<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        self.connection.as_ref().expect(PRESENT)
    }
}

impl DerefMut for Reader<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        self.connection.as_mut().expect(PRESENT)
    }
}

pub(crate) fn closed() -> StoreError {
    StoreError::Unavailable {
        reason: "it is closed".into(),
        source: None,
    }
}

use std::path::{Path, PathBuf};
use std::time::Duration;

use dsm_core::store::SchemaChanges;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};

/// How long a statement waits for another process that is writing.
const BUSY: Duration = Duration::from_secs(5);

/// How to open a [`SqliteStore`](crate::SqliteStore).
#[derive(Debug, Clone)]
pub struct OpenOptions {
    pub(crate) path: PathBuf,
    pub(crate) serve: bool,
    pub(crate) create: bool,
    pub(crate) schema: SchemaChanges,
    pub(crate) readers: u32,
    /// How large the file may grow, by which the tests run out of room.
    pub(crate) max_pages: Option<u32>,
}

impl OpenOptions {
    /// Opens the file at `path`, or creates it.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            serve: false,
            create: true,
            schema: SchemaChanges::default(),
            readers: 4,
            max_pages: None,
        }
    }

    /// Whether this process is the server, of which a file has at most one at a time. Other
    /// commands work beside it. Off by default.
    pub fn serve(mut self, serve: bool) -> Self {
        self.serve = serve;
        self
    }

    /// Whether an absent file is created, with mode 0600, and its folder, with mode 0700. On by
    /// default.
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// What may be done about a schema that is not the one of this program: everything, unless said.
    pub fn schema(mut self, changes: SchemaChanges) -> Self {
        self.schema = changes;
        self
    }

    /// How many reads run at the same time, at least 1. Default: 4.
    pub fn readers(mut self, readers: u32) -> Self {
        self.readers = readers.max(1);
        self
    }

    /// The connection that writes.
    pub(crate) fn writing(&self) -> SqliteConnectOptions {
        let options = self
            .connecting()
            .synchronous(SqliteSynchronous::Full)
            // What was deleted or replaced does not stay legible in the file.
            .pragma("secure_delete", "ON")
            // After a burst the write-ahead log shrinks to this at the next checkpoint.
            .pragma("journal_size_limit", "67108864");
        match self.max_pages {
            Some(pages) => options.pragma("max_page_count", pages.to_string()),
            None => options,
        }
    }

    /// A connection that only reads.
    pub(crate) fn reading(&self) -> SqliteConnectOptions {
        self.connecting().read_only(true)
    }

    fn connecting(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(&self.path)
            .create_if_missing(false)
            .busy_timeout(BUSY)
            // The upper levels of the indexes of a million records, in KiB.
            .pragma("cache_size", "-32768")
            // No temporary files beside the one whose mode is ours.
            .pragma("temp_store", "MEMORY")
            // A page of rows is read without waiting for whoever decodes them.
            .row_buffer_size(256)
            .disable_statement_logging()
    }
}

impl From<&Path> for OpenOptions {
    fn from(path: &Path) -> Self {
        Self::new(path)
    }
}

impl From<PathBuf> for OpenOptions {
    fn from(path: PathBuf) -> Self {
        Self::new(path)
    }
}

impl From<&str> for OpenOptions {
    fn from(path: &str) -> Self {
        Self::new(path)
    }
}

//! The audit trail: no effect without a [`Receipt`], no receipt before the record is durable.
//!
//! A [`Trail`] chains [`Event`]s by hash and hands them in batches to an [`AuditSink`] that it waits
//! for; a second sink follows. [`FileSink`] keeps JSON lines in a folder, which anything can read
//! and [`Verifier`] checks; [`StoreSink`] keeps sealed batches that [`search`] finds again.

mod batch;
mod chain;
mod error;
mod event;
mod fault;
mod file;
#[cfg(test)]
mod fixture;
mod line;
mod receipt;
mod request;
mod search;
mod sink;
mod store;
mod terms;
mod trail;
mod verify;

pub use self::batch::{Batch, Entry};
pub use self::chain::{Head, Link};
pub use self::error::AuditError;
pub use self::event::{Actor, Event, FieldChange, ObjectKind, ObjectRef, Operation, Outcome, Part};
pub use self::fault::{Fault, Wrong};
pub use self::file::{FileSink, FileSinkOptions};
pub use self::receipt::Receipt;
pub use self::request::{FirstEntry, observe};
pub use self::search::{
    AuditPage, AuditQuery, Cursor, Found, NotACursor, ObjectFilter, Only, OutcomeFilter, export,
    search,
};
pub use self::sink::AuditSink;
pub use self::store::StoreSink;
pub use self::terms::ActorFilter;
pub use self::trail::{Trail, TrailOptions};
pub use self::verify::{ChainReport, Report, Verifier, verify_folder, verify_lines, verify_store};

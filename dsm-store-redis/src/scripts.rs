//! The scripts, each run as a whole and alone by Redis.

use std::fmt;
use std::sync::LazyLock;

use crate::keys;

/// What was replaced since a snapshot began outlives the snapshot by so much at least.
const KEPT_MILLIS: u32 = 2 * SNAPSHOT_MILLIS;
/// How long a snapshot lasts unless it is read.
pub(crate) const SNAPSHOT_MILLIS: u32 = 5 * 60 * 1000;

/// A script and its name in Redis's cache.
pub(crate) struct Script {
    text: String,
    hash: String,
}

impl Script {
    fn new((flags, check): (&str, &str), body: &str) -> Self {
        let text = format!(
            "#!lua{flags}\n{}local KEPT = {KEPT_MILLIS}\n{}\n{check}{body}",
            keys::definitions(),
            include_str!("scripts/prelude.lua"),
        );
        let hash = redis::Script::new(&text).get_hash().to_owned();
        Self { text, hash }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Script({})", self.hash)
    }
}

// A script with such a first line is refused before it begins when it may write and Redis has no
// room, cannot persist or is a replica; see https://redis.io/docs/latest/develop/programmability/lua-api/
const OPENS: (&str, &str) = ("", "");
const WRITES: (&str, &str) = ("", PRESENT);
const READS: (&str, &str) = (" flags=no-writes", "");
/// For what makes room: it runs when there is none.
const FREES: (&str, &str) = (" flags=allow-oom", PRESENT);

/// A server that was emptied takes nothing more, lest it begin again from the first number.
const PRESENT: &str = include_str!("scripts/present.lua");

macro_rules! scripts {
    ($($name:ident: $flags:ident $file:literal,)+) => {$(
        pub(crate) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new($flags, include_str!(concat!("scripts/", $file))));
    )+};
}

scripts! {
    OPEN: OPENS "open.lua",
    COMMIT: WRITES "commit.lua",
    COMMIT_REMOVALS: FREES "commit.lua",
    RESOLVE: FREES "resolve.lua",
    FIND_BY: READS "find_by.lua",
    LIST: READS "list.lua",
    RESERVE: WRITES "reserve.lua",
    ADVANCE: WRITES "advance.lua",
    APPEND: WRITES "append.lua",
    READ_LOG: READS "read_log.lua",
    CLAIM: FREES "claim.lua",
    EXTEND: FREES "extend.lua",
    LIST_JOBS: READS "list_jobs.lua",
    SNAPSHOT_BEGIN: WRITES "snapshot_begin.lua",
    SNAPSHOT_PAGE: FREES "snapshot_page.lua",
    SNAPSHOT_END: FREES "snapshot_end.lua",
    POSITION: READS "position.lua",
    WRITABLE: FREES "writable.lua",
}

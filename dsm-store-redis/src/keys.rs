//! Every key that the store uses.
//!
//! All of them share one hash tag, `{prefix}`. A script is given all of them, in this order, and
//! knows them by these names.

use std::fmt::Write as _;

/// Name in scripts, what follows the hash tag, what is there.
const KEYS: [(&str, &str, &str); 22] = [
    ("SCHEMA", "schema", "string: the version of all this"),
    ("RECORDS", "records", "hash: kind, id → record"),
    ("IDS", "ids", "sorted set: kind, id"),
    ("TERMS", "terms", "sorted set: kind, term, id"),
    ("UNIQUE", "unique", "hash: kind, unique term → id"),
    ("CREATED", "created", "sorted set: kind, instant, id"),
    ("EXPIRES", "expires", "sorted set: kind, instant, id"),
    ("NUMBERS", "numbers", "hash: kind → last number reserved"),
    ("JOBS", "jobs", "hash: topic, subject → job"),
    ("JOB_KEYS", "job-keys", "sorted set: topic, subject"),
    ("DUE", "due", "sorted set: topic, instant, subject"),
    ("GENERATION", "generation", "counter of leases"),
    ("LOG", "log", "hash: position → batch"),
    ("LOG_COUNT", "log-count", "counter: the last position"),
    ("LOG_KNOWN", "log-known", "hash: server, sequence → nothing"),
    ("LOG_SERVERS", "log-servers", "sorted set: server, position"),
    ("LOG_TERMS", "log-terms", "sorted set: term, position"),
    ("LOG_UNTIL", "log-until", "sorted set: instant, position"),
    ("LOG_FROM", "log-from", "sorted set: instant, position"),
    ("CHANGES", "changes", "stream: number and keys of a set"),
    ("CHANGE_COUNT", "change-count", "counter of its entries"),
    ("SNAPSHOTS", "snapshots", "set: names of running snapshots"),
];
/// The beginnings of names that go on with what they are about.
const BASES: [(&str, &str, &str); 2] = [
    ("OPERATION", "operation:", "string: what became of it"),
    (
        "SNAPSHOT",
        "snapshot:",
        "string: it is running; what was replaced since is beside it",
    ),
];

/// The keys of one store.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    tag: String,
    all: Vec<String>,
}

impl Keys {
    /// The keys under a prefix of letters, digits and `-_.:`.
    pub(crate) fn new(prefix: &str) -> Self {
        let tag = format!("{{{prefix}}}:");
        let names = KEYS.iter().chain(&BASES);
        let all = names.map(|(_, name, _)| format!("{tag}{name}")).collect();
        Self { tag, all }
    }

    /// What a script is given.
    pub(crate) fn all(&self) -> &[String] {
        &self.all
    }

    /// What every key begins with.
    pub(crate) fn tag(&self) -> &str {
        &self.tag
    }

    pub(crate) fn schema(&self) -> String {
        self.named("schema")
    }

    pub(crate) fn records(&self) -> String {
        self.named("records")
    }

    pub(crate) fn changes(&self) -> String {
        self.named("changes")
    }

    /// What a probe writes.
    pub(crate) fn probe(&self) -> String {
        self.named("probe")
    }

    fn named(&self, name: &str) -> String {
        format!("{}{name}", self.tag)
    }
}

/// The names as a script defines them.
pub(crate) fn definitions() -> String {
    let mut text = String::new();
    for (index, (name, _, what)) in KEYS.iter().chain(&BASES).enumerate() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "local {name} = KEYS[{}] -- {what}", index + 1);
    }
    text
}

-- Marks the file as ours: "dsm1".
PRAGMA application_id = 1685286193;
PRAGMA user_version = 1;

-- Instants are microseconds since the Unix epoch. `terms` holds 17 bytes for each term, in the
-- order given: 1 for unique or 0, and the term.
CREATE TABLE record (
    kind       INTEGER NOT NULL,
    id         INTEGER NOT NULL,
    revision   INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    terms      BLOB    NOT NULL,
    body       BLOB    NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT;

-- They end with the id, so that a range is put in order without a look at the table.
CREATE INDEX record_created ON record (kind, created_at, id);
CREATE INDEX record_expires ON record (kind, expires_at, id) WHERE expires_at IS NOT NULL;

CREATE TABLE term (
    kind INTEGER NOT NULL,
    term BLOB    NOT NULL,
    id   INTEGER NOT NULL,
    uniq INTEGER NOT NULL,
    PRIMARY KEY (kind, term, id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX term_unique ON term (kind, term) WHERE uniq = 1;

-- The last number reserved for a kind. Kind -1 counts the generations of leases.
CREATE TABLE sequence (
    kind INTEGER NOT NULL PRIMARY KEY,
    last INTEGER NOT NULL
) STRICT;

INSERT INTO sequence (kind, last) VALUES (-1, 0);

-- Rows are never deleted, so that positions only grow. `terms` holds 16 bytes for each term.
CREATE TABLE log (
    position      INTEGER NOT NULL PRIMARY KEY,
    server        BLOB    NOT NULL,
    sequence      INTEGER NOT NULL,
    last_sequence INTEGER NOT NULL,
    from_at       INTEGER NOT NULL,
    until_at      INTEGER NOT NULL,
    terms         BLOB    NOT NULL,
    body          BLOB    NOT NULL,
    UNIQUE (server, sequence)
) STRICT;

CREATE INDEX log_server ON log (server, position);
CREATE INDEX log_until ON log (until_at, from_at, server);
CREATE INDEX log_from ON log (from_at, until_at, server);

CREATE TABLE log_term (
    term     BLOB    NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (term, position)
) STRICT, WITHOUT ROWID;

-- `generation` and `leased_until` are those of the latest lease, NULL when it has ended.
CREATE TABLE job (
    topic        INTEGER NOT NULL,
    subject      INTEGER NOT NULL,
    due_at       INTEGER NOT NULL,
    generation   INTEGER,
    leased_until INTEGER,
    body         BLOB    NOT NULL,
    PRIMARY KEY (topic, subject)
) STRICT;

CREATE INDEX job_due ON job (topic, due_at, subject);

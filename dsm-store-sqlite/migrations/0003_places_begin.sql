PRAGMA user_version = 3;

-- A unique term leads to its record's row without a look at (kind, id). The place is declared, since
-- VACUUM gives new ones to tables that do not declare theirs. A term is in `term` whether it is unique
-- or not.
DROP INDEX record_created;
DROP INDEX record_expires;
DROP INDEX term_unique;
ALTER TABLE record RENAME TO record_before;
ALTER TABLE term RENAME TO term_before;

CREATE TABLE record (
    place      INTEGER PRIMARY KEY,
    kind       INTEGER NOT NULL,
    id         INTEGER NOT NULL,
    revision   INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    terms      BLOB    NOT NULL,
    body       BLOB    NOT NULL,
    UNIQUE (kind, id)
) STRICT;

-- They end with the id, so that a range is put in order without a look at the table.
CREATE INDEX record_created ON record (kind, created_at, id);
CREATE INDEX record_expires ON record (kind, expires_at, id) WHERE expires_at IS NOT NULL;

CREATE TABLE term (
    kind INTEGER NOT NULL,
    term BLOB    NOT NULL,
    id   INTEGER NOT NULL,
    PRIMARY KEY (kind, term, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE unique_term (
    kind  INTEGER NOT NULL,
    term  BLOB    NOT NULL,
    place INTEGER NOT NULL,
    PRIMARY KEY (kind, term)
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 2;

-- What became of named commits. `at` is in seconds since the Unix epoch.
CREATE TABLE operation (
    id   BLOB    NOT NULL PRIMARY KEY,
    done INTEGER NOT NULL,
    at   INTEGER NOT NULL DEFAULT (unixepoch())
) STRICT, WITHOUT ROWID;

CREATE INDEX operation_at ON operation (at);

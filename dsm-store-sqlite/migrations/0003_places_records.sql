-- Some at a time: what one statement overwrites is kept in memory until it ends, and the room of
-- what was moved is taken by what comes next.
INSERT INTO record (place, kind, id, revision, created_at, expires_at, terms, body)
    SELECT rowid, kind, id, revision, created_at, expires_at, terms, body
    FROM record_before ORDER BY rowid LIMIT 4096;

DELETE FROM record_before WHERE rowid <= (SELECT max(place) FROM record);

-- Instants are microseconds since the Unix epoch.

CREATE TABLE dsm.schema_version (version bigint NOT NULL);
INSERT INTO dsm.schema_version VALUES (1);

-- `terms` holds 17 bytes for each term, in the order given: 1 for unique or 0, and the term.
CREATE TABLE dsm.record (
    kind       integer NOT NULL,
    id         bigint  NOT NULL,
    revision   bigint  NOT NULL,
    created_at bigint  NOT NULL,
    expires_at bigint,
    terms      bytea   NOT NULL,
    body       bytea   NOT NULL,
    PRIMARY KEY (kind, id)
);

-- Sealed bytes do not shrink.
ALTER TABLE dsm.record ALTER COLUMN body SET STORAGE EXTERNAL;

-- They end with the id, so that a range is put in order without a look at the table.
CREATE INDEX record_created ON dsm.record (kind, created_at, id);
CREATE INDEX record_expires ON dsm.record (kind, expires_at, id) WHERE expires_at IS NOT NULL;

CREATE TABLE dsm.term (
    kind integer NOT NULL,
    term bytea   NOT NULL,
    id   bigint  NOT NULL,
    uniq boolean NOT NULL,
    PRIMARY KEY (kind, term, id)
);

CREATE UNIQUE INDEX term_unique ON dsm.term (kind, term) INCLUDE (id) WHERE uniq;

-- The last number reserved for a kind.
CREATE TABLE dsm.sequence (
    kind integer NOT NULL PRIMARY KEY,
    last bigint  NOT NULL
);

-- Positions are given under a lock that is held until the batch is visible. Rows are never deleted,
-- so that positions only grow. `terms` holds 16 bytes for each term.
CREATE TABLE dsm.log (
    position      bigint NOT NULL PRIMARY KEY,
    server        bytea  NOT NULL,
    sequence      bigint NOT NULL,
    last_sequence bigint NOT NULL,
    from_at       bigint NOT NULL,
    until_at      bigint NOT NULL,
    terms         bytea  NOT NULL,
    body          bytea  NOT NULL,
    UNIQUE (server, sequence)
);

ALTER TABLE dsm.log ALTER COLUMN body SET STORAGE EXTERNAL;

CREATE INDEX log_server ON dsm.log (server, position);
CREATE INDEX log_until ON dsm.log (until_at, from_at);
CREATE INDEX log_from ON dsm.log (from_at, until_at);

CREATE TABLE dsm.log_term (
    term     bytea  NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (term, position)
);

-- `generation` and `leased_until` are those of the latest lease, NULL when it has ended.
CREATE TABLE dsm.job (
    topic        integer NOT NULL,
    subject      bigint  NOT NULL,
    due_at       bigint  NOT NULL,
    generation   bigint,
    leased_until bigint,
    body         bytea   NOT NULL,
    PRIMARY KEY (topic, subject)
);

CREATE INDEX job_due ON dsm.job (topic, due_at, subject);

-- Counts the leases of all jobs, so that a job put again never repeats a generation.
CREATE SEQUENCE dsm.generation;

-- Whether the commit of this name took effect.
CREATE TABLE dsm.operation (
    id   bytea       NOT NULL PRIMARY KEY,
    done boolean     NOT NULL,
    at   timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX operation_at ON dsm.operation (at);

-- The terms of a record without doubles, unique where any of the doubles is. Strict, so that it is
-- not inlined and its estimate of rows is used.
CREATE FUNCTION dsm.terms(_packed bytea) RETURNS TABLE (term bytea, uniq boolean)
LANGUAGE sql IMMUTABLE STRICT ROWS 4 AS $$
    SELECT substring(_packed FROM place + 2 FOR 16), bool_or(get_byte(_packed, place) = 1)
    FROM generate_series(0, length(_packed) - 17, 17) AS place
    GROUP BY 1
$$;

-- Makes the transaction one that writes. What it tells was then replicated as far as a commit waits
-- for, even when it tells only what an earlier transaction has done, whose wait may have been broken
-- off.
CREATE FUNCTION dsm.confirm() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_logical_emit_message(true, 'dsm', '');
END
$$;

-- Applies a change set whole or, by an exception, not at all: one round trip, one transaction.
-- Rows are locked in the order of their keys (the caller sorts), first jobs, then records, then
-- terms, so that two sets rarely deadlock.
--
-- SQLSTATE: DS001 the key in DETAIL, or a unique term of it, is taken; DS002 it is not at the
-- expected revision; DS003 the lease on the job in DETAIL was lost; DS004 the operation was given
-- up. Answers whether the set took effect now, and not before.
--
-- Actions: 0 creates, 1 updates, 2 deletes, 3 checks. `_packed` is empty for the last two. A lease
-- settled with `_retry_at` NULL is done; one with the least number goes on.
CREATE FUNCTION dsm.commit(
    _operation bytea,
    _notice text,
    _actions integer[],
    _kinds integer[],
    _ids bigint[],
    _expected bigint[],
    _revisions bigint[],
    _created bigint[],
    _expires bigint[],
    _packed bytea[],
    _bodies bytea[],
    _settled_topics integer[],
    _settled_subjects bigint[],
    _generations bigint[],
    _retry_at bigint[],
    _put_topics integer[],
    _put_subjects bigint[],
    _put_due bigint[],
    _put_bodies bytea[],
    _removed_topics integer[],
    _removed_subjects bigint[]
) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    _done boolean;
    _found bigint;
    _terms bytea;
    _term bytea;
    _indexed boolean := false;
    _old bytea[] := array_fill(''::bytea, ARRAY[cardinality(_ids)]);
    _topic integer;
    _kind integer;
    _id bigint;
BEGIN
    IF _operation IS NOT NULL THEN
        -- Waits for whoever is about to commit or resolve the same name.
        INSERT INTO dsm.operation (id, done) VALUES (_operation, true)
            ON CONFLICT (id) DO NOTHING;
        IF NOT FOUND THEN
            SELECT done INTO _done FROM dsm.operation WHERE id = _operation;
            IF _done THEN
                PERFORM dsm.confirm();
                RETURN false;
            END IF;
            RAISE EXCEPTION 'the operation was given up' USING ERRCODE = 'DS004';
        END IF;
    END IF;

    IF cardinality(_settled_topics) + cardinality(_put_topics) + cardinality(_removed_topics) > 0
    THEN
        PERFORM 1 FROM dsm.job WHERE (topic, subject) IN (
            SELECT * FROM unnest(
                _settled_topics || _put_topics || _removed_topics,
                _settled_subjects || _put_subjects || _removed_subjects
            )
        ) ORDER BY topic, subject FOR UPDATE;
        SELECT settled.topic, settled.subject INTO _topic, _id
            FROM unnest(_settled_topics, _settled_subjects, _generations)
                AS settled (topic, subject, generation)
            LEFT JOIN dsm.job USING (topic, subject)
            WHERE job.generation IS DISTINCT FROM settled.generation
            LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'the lease was lost'
                USING ERRCODE = 'DS003', DETAIL = _topic || ' ' || _id;
        END IF;
    END IF;

    FOR i IN 1 .. cardinality(_ids) LOOP
        IF _actions[i] = 0 THEN
            INSERT INTO dsm.record (kind, id, revision, created_at, expires_at, terms, body)
                VALUES (_kinds[i], _ids[i], _revisions[i], _created[i], _expires[i], _packed[i],
                    _bodies[i])
                ON CONFLICT (kind, id) DO NOTHING;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'the record exists'
                    USING ERRCODE = 'DS001', DETAIL = _kinds[i] || ' ' || _ids[i];
            END IF;
            _indexed := _indexed OR _packed[i] <> '';
            CONTINUE;
        END IF;

        IF _actions[i] = 3 THEN
            SELECT revision INTO _found FROM dsm.record
                WHERE kind = _kinds[i] AND id = _ids[i] FOR SHARE;
        ELSE
            SELECT revision, terms INTO _found, _terms FROM dsm.record
                WHERE kind = _kinds[i] AND id = _ids[i] FOR UPDATE;
        END IF;
        IF _found IS DISTINCT FROM _expected[i] THEN
            RAISE EXCEPTION 'the record is not at the expected revision'
                USING ERRCODE = 'DS002', DETAIL = _kinds[i] || ' ' || _ids[i];
        END IF;
        CONTINUE WHEN _actions[i] = 3;

        IF _actions[i] = 1 THEN
            UPDATE dsm.record SET revision = _revisions[i], created_at = _created[i],
                    expires_at = _expires[i], terms = _packed[i], body = _bodies[i]
                WHERE kind = _kinds[i] AND id = _ids[i];
        ELSE
            DELETE FROM dsm.record WHERE kind = _kinds[i] AND id = _ids[i];
        END IF;
        _old[i] := _terms;
        IF _terms <> _packed[i] THEN
            -- One by one: by the whole key, which no plan made for a small table can miss.
            FOR _term IN
                SELECT gone.term FROM (
                    SELECT * FROM dsm.terms(_terms) EXCEPT SELECT * FROM dsm.terms(_packed[i])
                ) AS gone ORDER BY gone.term
            LOOP
                DELETE FROM dsm.term WHERE kind = _kinds[i] AND term = _term AND id = _ids[i];
            END LOOP;
            _indexed := _indexed OR _packed[i] <> '';
        END IF;
    END LOOP;

    -- Only now: a unique term may pass from one record of the set to another.
    IF _indexed THEN
        WITH changed AS (
            SELECT * FROM unnest(_kinds, _ids, _old, _packed) AS changed (kind, id, old, new)
            WHERE old <> new
        ), wanted AS (
            SELECT kind, term, id, uniq FROM changed, dsm.terms(new)
            EXCEPT SELECT kind, term, id, uniq FROM changed, dsm.terms(old)
        ), added AS (
            INSERT INTO dsm.term (kind, term, id, uniq)
                SELECT kind, term, id, uniq FROM wanted ORDER BY kind, term, id
                ON CONFLICT DO NOTHING
                RETURNING kind, term, id
        )
        SELECT kind, id INTO _kind, _id FROM (
            SELECT kind, term, id FROM wanted EXCEPT SELECT kind, term, id FROM added
        ) AS taken LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'a unique term is taken'
                USING ERRCODE = 'DS001', DETAIL = _kind || ' ' || _id;
        END IF;
    END IF;

    IF cardinality(_settled_topics) > 0 THEN
        DELETE FROM dsm.job
            USING unnest(_settled_topics, _settled_subjects, _retry_at) AS done (topic, subject, at)
            WHERE at IS NULL AND job.topic = done.topic AND job.subject = done.subject;
        UPDATE dsm.job SET due_at = at, generation = NULL, leased_until = NULL
            FROM unnest(_settled_topics, _settled_subjects, _retry_at) AS again (topic, subject, at)
            WHERE at > '-9223372036854775808'::bigint
                AND job.topic = again.topic AND job.subject = again.subject;
    END IF;
    IF cardinality(_removed_topics) > 0 THEN
        DELETE FROM dsm.job
            USING unnest(_removed_topics, _removed_subjects) AS removed (topic, subject)
            WHERE job.topic = removed.topic AND job.subject = removed.subject;
    END IF;
    IF cardinality(_put_topics) > 0 THEN
        INSERT INTO dsm.job (topic, subject, due_at, body)
            SELECT * FROM unnest(_put_topics, _put_subjects, _put_due, _put_bodies)
            ON CONFLICT (topic, subject) DO UPDATE SET due_at = excluded.due_at,
                body = excluded.body, generation = NULL, leased_until = NULL;
    END IF;

    IF _notice IS NOT NULL THEN
        PERFORM pg_notify('dsm', _notice);
    END IF;
    RETURN true;
END
$$;

-- Tells whether the operation took effect; if not, it never will. Waits for one under way.
CREATE FUNCTION dsm.resolve(_operation bytea) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    _done boolean;
BEGIN
    INSERT INTO dsm.operation (id, done) VALUES (_operation, false) ON CONFLICT (id) DO NOTHING;
    IF NOT FOUND THEN
        PERFORM dsm.confirm();
    END IF;
    SELECT done INTO STRICT _done FROM dsm.operation WHERE id = _operation;
    RETURN _done;
END
$$;

-- Appends to the log, one call after the other: whoever sees a position sees all before it. `_lock`
-- names the advisory lock.
CREATE FUNCTION dsm.append(
    _lock bigint,
    _servers bytea[],
    _sequences bigint[],
    _last_sequences bigint[],
    _from bigint[],
    _until bigint[],
    _terms bytea[],
    _bodies bytea[]
) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    _position bigint;
    _appended boolean := false;
BEGIN
    PERFORM pg_advisory_xact_lock(_lock);
    SELECT coalesce(max(position), 0) INTO _position FROM dsm.log;
    FOR i IN 1 .. cardinality(_servers) LOOP
        INSERT INTO dsm.log
            (position, server, sequence, last_sequence, from_at, until_at, terms, body)
            VALUES (_position + 1, _servers[i], _sequences[i], _last_sequences[i], _from[i],
                _until[i], _terms[i], _bodies[i])
            ON CONFLICT (server, sequence) DO NOTHING;
        IF FOUND THEN
            _position := _position + 1;
            _appended := true;
            INSERT INTO dsm.log_term (term, position)
                SELECT DISTINCT substring(_terms[i] FROM place + 1 FOR 16), _position
                FROM generate_series(0, length(_terms[i]) - 16, 16) AS place;
        END IF;
    END LOOP;
    IF NOT _appended THEN
        PERFORM dsm.confirm();
    END IF;
END
$$;

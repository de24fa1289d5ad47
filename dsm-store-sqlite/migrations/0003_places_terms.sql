INSERT INTO unique_term (kind, term, place)
    SELECT moved.kind, moved.term, record.place
    FROM (SELECT kind, term, id, uniq FROM term_before ORDER BY kind, term, id LIMIT 8192) AS moved
    CROSS JOIN record ON record.kind = moved.kind AND record.id = moved.id
    WHERE moved.uniq = 1;

INSERT INTO term (kind, term, id)
    SELECT kind, term, id FROM term_before ORDER BY kind, term, id LIMIT 8192;

DELETE FROM term_before WHERE (kind, term, id) <=
    (SELECT kind, term, id FROM term ORDER BY kind DESC, term DESC, id DESC LIMIT 1);

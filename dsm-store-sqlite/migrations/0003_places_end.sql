DROP TABLE record_before;
DROP TABLE term_before;

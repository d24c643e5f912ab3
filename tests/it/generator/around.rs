//! What a generated database has beside tables: types of its own, and objects of other kinds.

/// Types of the database's own with two values each.
pub(super) const OWN_TYPES: &[(&str, [&str; 2])] = &[
    ("public.mood", ["'sad'", "'so-so'"]),
    ("public.mood[]", ["'{sad,NULL,so-so}'", "'[3:4]={sad,sad}'"]),
    ("public.small", ["7", "-1"]),
    ("public.labels", ["ARRAY['a','b \"c\"',NULL]", "'{}'"]),
    ("public.pair", ["ROW(1, 'a,\"b\\')", "ROW(NULL, NULL)"]),
    ("public.pair[]", ["ARRAY[ROW(1,'x')::public.pair, NULL]", "'{}'"]),
    (
        "public.nested",
        ["ROW(ROW(2, ''), '{1,2}', 'sad')", "ROW(NULL, NULL, NULL)"],
    ),
    ("public.textrange", ["'[a,\"b,c\"]'", "'empty'"]),
    ("public.textmultirange", ["'{[a,b),[c,d)}'", "'{}'"]),
    ("pg_catalog.numeric(20,5)", ["-0.00001", "999999999999999.99999"]),
    ("pg_catalog.bpchar(7)", ["'ab'", "''"]),
    ("pg_catalog.\"varchar\"(3)", ["'abc'", "'a'"]),
    (
        "pg_catalog.\"timestamptz\"(0)",
        ["'2026-01-01 00:00:00.6+00'", "'infinity'"],
    ),
    ("interval year to month", ["'1 year 2 months'", "'0'"]),
    ("pg_catalog.\"bit\"(9)", ["B'101010101'", "B'000000000'"]),
    (
        "pg_catalog.int4[][]",
        ["'{{1,2},{3,NULL}}'", "'[0:1][-1:0]={{1,2},{3,4}}'"],
    ),
];

pub(super) const DEFINITIONS: &str = "
SET client_min_messages = warning;
CREATE TYPE public.mood AS ENUM ('sad', 'so-so', 'it''s \\ fine');
ALTER TYPE public.mood ADD VALUE 'before sad' BEFORE 'sad';
CREATE DOMAIN public.small AS integer CHECK (VALUE < 100);
CREATE DOMAIN public.labels AS text[];
CREATE TYPE public.pair AS (a integer, b text);
CREATE TYPE public.nested AS (p public.pair, n integer[], m public.mood);
CREATE TYPE public.textrange AS RANGE (subtype = text, multirange_type_name = public.textmultirange);
CREATE SCHEMA \"Schema.\"\" two\";
";

/// What a database has beside tables; it must come back too, though this generator is about rows.
pub(super) const AROUND_TABLES: &str = "
CREATE VIEW public.a_view AS SELECT 1 AS one;
CREATE MATERIALIZED VIEW public.a_matview AS SELECT i, i * i AS square FROM generate_series(1, 9) i;
CREATE MATERIALIZED VIEW public.another_matview AS SELECT sum(square) AS sum FROM public.a_matview;
CREATE MATERIALIZED VIEW public.empty_matview AS SELECT 1 AS one WITH NO DATA;
CREATE FUNCTION public.a_function() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TABLE public.left_table (id integer PRIMARY KEY, other integer);
CREATE TABLE public.right_table (id integer PRIMARY KEY, other integer REFERENCES public.left_table);
INSERT INTO public.left_table VALUES (1, 2);
INSERT INTO public.right_table VALUES (2, 1);
ALTER TABLE public.left_table ADD FOREIGN KEY (other) REFERENCES public.right_table DEFERRABLE;
CREATE TRIGGER a_trigger BEFORE UPDATE ON public.left_table FOR EACH ROW EXECUTE FUNCTION public.a_function();
CREATE TABLE public.with_bounds (bounds integer[]);
INSERT INTO public.with_bounds VALUES ('[0:1][-1:0]={{1,2},{3,4}}'), ('[-5:-5]={NULL}');
CREATE SEQUENCE public.fresh;
CREATE SEQUENCE public.used INCREMENT -2 START 100 MAXVALUE 1000;
SELECT nextval('public.used'), nextval('public.used');
SELECT lo_from_bytea(70001, '\\x00ff5c0a'), lo_from_bytea(70002, ''), lo_from_bytea(70003, sha512('sparse'));
SELECT lo_put(70003, 100000, '\\x01');
COMMENT ON VIEW public.a_view IS 'with a ''comment''';
";

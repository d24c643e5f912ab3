-- "narrow": short rows, and one table that is nearly all of the database. At :scale 1 about 1.8 GB of COPY text in 18 million
-- rows. Nothing is random: every value is a hash of its row's number.
\set ON_ERROR_STOP on
SET synchronize_seqscans = off;

CREATE TABLE accounts (
    id integer PRIMARY KEY,
    name text NOT NULL,
    opened date NOT NULL
);
INSERT INTO accounts
SELECT n, 'account ' || md5(n::text), date '2015-01-01' + n % 3650
FROM generate_series(1, greatest(20000 * :scale, 100)::integer) n;

CREATE TABLE movements (
    id bigint NOT NULL,
    account_id integer NOT NULL,
    kind smallint NOT NULL,
    amount bigint NOT NULL,
    booked_at timestamptz NOT NULL,
    channel text NOT NULL,
    reference text NOT NULL
);
INSERT INTO movements
SELECT n,
       h % 20000 + 1,
       h % 7,
       h % 100000000,
       timestamptz '2020-01-01 00:00:00+00' + n * interval '7.654321 seconds',
       'branch ' || h % 9000,
       md5(n::text)
FROM (SELECT n, hashint8extended(n, 0) & 9223372036854775807 AS h
      FROM generate_series(1, (18000000 * :scale)::bigint) n) AS numbered;
ALTER TABLE movements ADD PRIMARY KEY (id);

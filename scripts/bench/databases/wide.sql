-- "wide": what an application's database looks like. Mixed rows, text and jsonb with TOAST, timestamps, numerics, uuid,
-- bytea, several indexes, foreign keys, partitions and 200 small tables; at :scale 1 about 1.9 GB of COPY text. Nothing is
-- random: every value is a hash of its row's number.
\set ON_ERROR_STOP on
SET synchronize_seqscans = off;

CREATE FUNCTION pg_temp.h(n bigint, seed bigint) RETURNS bigint LANGUAGE sql IMMUTABLE
    RETURN hashint8extended(n, seed) & 9223372036854775807;

-- Paragraphs of words, from which longer texts are made. There are more of them than zstd level 1 looks back at.
CREATE TEMPORARY TABLE words AS
SELECT n AS number, substr(translate(md5(n::text), '0123456789', 'aeioustrnl'), 1, 3 + n % 8) AS word
FROM generate_series(0, 1999) n;
CREATE TEMPORARY TABLE paragraphs AS
SELECT p AS number, (
    SELECT string_agg(word, ' ' ORDER BY w) FROM generate_series(1, 60) w
    JOIN words ON number = least(pg_temp.h(p * 64 + w, 1) % 2000, pg_temp.h(p * 64 + w, 2) % 2000)
) AS paragraph
FROM generate_series(0, 9999) p;
CREATE UNIQUE INDEX ON paragraphs (number);
ANALYZE paragraphs;

CREATE TABLE customers (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL UNIQUE,
    profile jsonb NOT NULL,
    balance numeric(12, 2) NOT NULL,
    created_at timestamptz NOT NULL
);
INSERT INTO customers
SELECT md5(n::text)::uuid,
       'Customer ' || pg_temp.h(n, 1) % 100000,
       'customer.' || n || '@example.org',
       jsonb_build_object('language', (ARRAY['de', 'en', 'fr', 'it'])[1 + n % 4], 'newsletter', n % 3 = 0,
                          'tags', jsonb_build_array(pg_temp.h(n, 2) % 50, pg_temp.h(n, 3) % 50),
                          'address', jsonb_build_object('city', 'city ' || pg_temp.h(n, 4) % 3000, 'zip', 10000 + n % 80000)),
       (pg_temp.h(n, 5) % 1000000)::numeric / 100,
       timestamptz '2018-01-01 00:00:00+00' + n * interval '9 minutes'
FROM generate_series(1, greatest(300000 * :scale, 500)::bigint) n;

CREATE TABLE orders (
    id bigint PRIMARY KEY,
    customer_id uuid NOT NULL,
    status text NOT NULL,
    total numeric(10, 2) NOT NULL,
    placed_at timestamptz NOT NULL,
    shipped_at timestamptz,
    details jsonb NOT NULL
);
INSERT INTO orders
SELECT n,
       md5((1 + pg_temp.h(n, 1) % greatest(300000 * :scale, 500)::bigint)::text)::uuid,
       (ARRAY['new', 'paid', 'shipped', 'returned'])[1 + pg_temp.h(n, 2) % 4],
       (pg_temp.h(n, 3) % 100000)::numeric / 100,
       timestamptz '2020-01-01 00:00:00+00' + n * interval '95 seconds',
       CASE WHEN n % 5 > 0 THEN timestamptz '2020-01-02 00:00:00+00' + n * interval '95.5 seconds' END,
       jsonb_build_object('channel', (ARRAY['web', 'app', 'phone'])[1 + n % 3], 'coupon', 'C' || pg_temp.h(n, 4) % 5000,
                          'note', 'delivery between ' || n % 12 || ' and ' || n % 12 + 3)
FROM generate_series(1, greatest(1200000 * :scale, 1000)::bigint) n;

CREATE TABLE order_lines (
    order_id bigint NOT NULL,
    line smallint NOT NULL,
    product_id integer NOT NULL,
    quantity integer NOT NULL,
    price numeric(10, 2) NOT NULL,
    PRIMARY KEY (order_id, line)
);
INSERT INTO order_lines
SELECT o, l, pg_temp.h(o * 4 + l, 1) % 50000, 1 + pg_temp.h(o * 4 + l, 2) % 9,
       (pg_temp.h(o * 4 + l, 3) % 50000)::numeric / 100
FROM generate_series(1, greatest(1200000 * :scale, 1000)::bigint) o, generate_series(1, 3) l;

CREATE TABLE documents (
    id uuid PRIMARY KEY,
    customer_id uuid NOT NULL,
    title text NOT NULL,
    body text NOT NULL,
    scan bytea NOT NULL,
    stored_at timestamptz NOT NULL
);
INSERT INTO documents
SELECT md5('document ' || n)::uuid,
       md5((1 + pg_temp.h(n, 1) % greatest(300000 * :scale, 500)::bigint)::text)::uuid,
       'Document ' || n,
       (SELECT string_agg(paragraph, E'\n' ORDER BY p) FROM generate_series(1, 4 + (n % 24)::integer) p
        JOIN paragraphs ON number = pg_temp.h(n * 32 + p, 7) % 10000),
       (SELECT decode(string_agg(md5((n * 200 + b)::text), ''), 'hex') FROM generate_series(1, 40 + (n % 80)::integer) b),
       timestamptz '2021-01-01 00:00:00+00' + n * interval '11 minutes'
FROM generate_series(1, greatest(115000 * :scale, 100)::bigint) n;

CREATE TABLE events (
    id bigint NOT NULL,
    customer_id uuid NOT NULL,
    happened_at timestamptz NOT NULL,
    kind text NOT NULL,
    payload jsonb NOT NULL,
    PRIMARY KEY (id, happened_at)
) PARTITION BY RANGE (happened_at);
SELECT format('CREATE TABLE events_%s PARTITION OF events FOR VALUES FROM (%L) TO (%L)',
              to_char(month, 'YYYY_MM'), month, month + interval '1 month')
FROM generate_series(timestamp '2024-01-01', timestamp '2024-12-01', interval '1 month') month \gexec
INSERT INTO events
SELECT n,
       md5((1 + pg_temp.h(n, 1) % greatest(300000 * :scale, 500)::bigint)::text)::uuid,
       timestamptz '2024-01-01 00:00:00+00' + (n / (1400000 * :scale)) * interval '364 days',
       (ARRAY['view', 'click', 'search', 'login'])[1 + n % 4],
       jsonb_build_object('path', '/catalogue/' || pg_temp.h(n, 2) % 20000, 'session', md5((n / 7)::text), 'milliseconds',
                          pg_temp.h(n, 3) % 4000, 'agent', 'Browser/' || n % 30 || '.0 (system ' || n % 9 || ')')
FROM generate_series(1, (1400000 * :scale)::bigint) n;

SELECT format('CREATE TABLE setting_%s (key text PRIMARY KEY, value text NOT NULL, changed_at timestamptz NOT NULL);
               INSERT INTO setting_%1$s SELECT ''key '' || n, md5((n * %1$s)::text), timestamptz ''2024-01-01 00:00:00+00''
               FROM generate_series(1, 200) n', t)
FROM generate_series(1, 200) t \gexec

ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customers;
ALTER TABLE order_lines ADD FOREIGN KEY (order_id) REFERENCES orders;
ALTER TABLE documents ADD FOREIGN KEY (customer_id) REFERENCES customers;
ALTER TABLE events ADD FOREIGN KEY (customer_id) REFERENCES customers;
CREATE INDEX ON orders (customer_id);
CREATE INDEX ON orders (status, placed_at);
CREATE INDEX ON order_lines (product_id);
CREATE INDEX ON documents (customer_id);
CREATE INDEX ON events (customer_id);
CREATE INDEX ON events (happened_at);
CREATE INDEX ON customers USING gin (profile jsonb_path_ops);

-- The shop's rows, the same ones every time: no random numbers, no clock. About 200,000.
-- Rows are right by construction, so that triggers and foreign keys need not look at each; a restore checks them all.

SET session_replication_role = replica;
SET ROLE shop_owner;
SET TimeZone = 'UTC';

-- A number from 0 to n-1 that looks random and never changes.
CREATE FUNCTION pg_temp.pick(seed bigint, n integer) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
    $$ SELECT ((((seed * 2654435761) % 4294967296) * 40503 / 65536) % n)::integer $$;
CREATE FUNCTION pg_temp.noise(seed bigint, bytes integer) RETURNS bytea LANGUAGE sql IMMUTABLE AS
    $$ SELECT string_agg(sha512((seed || ':' || i)::bytea), '') FROM generate_series(1, bytes / 64) i $$;
CREATE FUNCTION pg_temp.word(seed bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT (ARRAY['lamp', 'chair', 'oak', 'blue', 'Tür', 'kettle', 'сумка', 'garden', 'wool', 'steel', 'lantern', 'piñata',
        'desk', '机', 'bottle', 'paper', 'red', 'cable', 'soft', 'größer', 'naïve', 'box', 'lid', '☕', 'mirror', 'rope',
        'ivory', 'tent', 'bike', 'socks', 'cup', 'field'])[1 + pg_temp.pick(seed, 32)] $$;

INSERT INTO customers (email, given_name, family_name, level, born, preferences, default_address_id, credit, registered)
SELECT format('customer.%s@example.%s', i, (ARRAY['com', 'org', 'net'])[1 + i % 3]),
    (ARRAY['Ada', 'Bjørn', 'Chloé', 'Dmitri', 'Emre', 'Fatima', 'Grace', 'Håkon', 'Iñaki', '花子'])[1 + pg_temp.pick(i, 10)],
    (ARRAY['Müller', 'O''Neil', 'Nguyễn', 'Smith', 'Åberg', 'Kowalski', 'Иванова', 'de la Cruz'])[1 + pg_temp.pick(i * 31, 8)],
    (enum_range(NULL::loyalty))[1 + pg_temp.pick(i * 7, 100) / 40],
    CASE WHEN i % 11 > 0 THEN date '1950-01-01' + pg_temp.pick(i * 13, 20000) END,
    jsonb_build_object('newsletter', i % 3 = 0, 'theme', pg_temp.word(i)),
    CASE WHEN i % 5 > 0 THEN i END, pg_temp.pick(i, 5000) / 100.0,
    timestamptz '2024-01-01' + i * interval '97 minutes'
FROM generate_series(1, 8000) i;

INSERT INTO addresses (id, customer_id, address, location)
SELECT i, 1 + (i - 1) % 8000,
    ROW(format('%s street %s', pg_temp.word(i), i % 200), lpad((i % 99999)::text, 5, '0'), 'Sampletown', 'DE')::postal_address,
    CASE WHEN i % 4 = 0 THEN point(i % 360 - 180, i % 180 - 90 + 0.25) END
FROM generate_series(1, 12000) i;
SELECT setval(pg_get_serial_sequence('addresses', 'id'), 12000);

INSERT INTO departments SELECT i, 'Department ' || i, i * 3 FROM generate_series(1, 8) i;
INSERT INTO employees (department_id, manager_id, name, salary, skills, shift, badge)
SELECT 1 + i % 8, NULLIF(i / 5, 0), 'Employee ' || i, (2500 + pg_temp.pick(i, 4000))::numeric::money,
    ARRAY[pg_temp.word(i), 'say "hi"', NULL, pg_temp.word(i + 1)], timetz '08:00+01' + i * interval '1 minute',
    (lpad(to_hex(i), 12, '0'))::macaddr
FROM generate_series(1, 120) i;

INSERT INTO categories SELECT i, NULLIF(i / 4, 0), pg_temp.word(i) || ' ' || i FROM generate_series(1, 60) i;
INSERT INTO products (sku, name, description, net, weight, tags, attributes, band, search, condition)
SELECT 'SKU' || lpad(i::text, 9, '0'), initcap(pg_temp.word(i)) || ' ' || pg_temp.word(i * 3),
    CASE WHEN i % 9 > 0 THEN (SELECT string_agg(pg_temp.word(i * 100 + j), ' ') FROM generate_series(1, 5 + i % 40) j) END,
    1 + pg_temp.pick(i, 30000) / 100.0, pg_temp.pick(i * 5, 9000) / 7.0::real,
    ARRAY[pg_temp.word(i), pg_temp.word(i * 7)],
    jsonb_build_object('color', pg_temp.word(i * 11), 'sizes', jsonb_build_array(i % 7, 'XL', NULL), 'eco', i % 2 = 0),
    price_range(i % 10, i % 10 + 50), to_tsvector('shop_search', pg_temp.word(i) || ' ' || pg_temp.word(i * 3)),
    (ARRAY['new', 'new', 'used', 'refurbished'])[1 + i % 4]
FROM generate_series(1, 2000) i;
INSERT INTO product_categories SELECT 999 + p, 1 + (p * 7 + c * 13) % 60 FROM generate_series(1, 2000) p, generate_series(0, 1) c;
INSERT INTO product_images SELECT 1000 + i / 2, i % 2, 'image/jpeg', pg_temp.noise(i, 8192 + i * 640) FROM generate_series(0, 119) i;
INSERT INTO price_history
SELECT 999 + p, daterange(date '2025-01-01' + 120 * n, CASE WHEN n < 2 THEN date '2025-01-01' + 120 * (n + 1) END), 1 + pg_temp.pick(p * 3 + n, 30000) / 100.0
FROM generate_series(1, 2000) p, generate_series(0, 2) n;
INSERT INTO reviews (product_id, customer_id, stars, body, details, written)
SELECT 1000 + pg_temp.pick(i, 2000), 1 + pg_temp.pick(i * 3, 8000), 1 + i % 5,
    (SELECT string_agg(pg_temp.word(i * 50 + j), ' ') FROM generate_series(1, 8 + i % 20) j)
        || CASE i % 50 WHEN 0 THEN E'\nSecond line\twith a tab and a \\ backslash' WHEN 1 THEN ' 👍🏽 е́ \N' ELSE '' END,
    CASE WHEN i % 4 > 0 THEN jsonb_build_object('helpful', i % 17, 'verified', i % 3 = 0, 'photos', to_jsonb(ARRAY[i, i + 1])) END,
    timestamp '2026-01-01' + i * interval '53 minutes'
FROM generate_series(1, 8000) i;
INSERT INTO "Größen & Maße" SELECT 'Größe ' || i, numrange(i * 1.5, i * 1.5 + 1.5), NULLIF(i % 3, 2)::integer::boolean FROM generate_series(30, 60) i;

INSERT INTO orders (id, placed_on, customer_id, status, ship_to, coupon, placed_at)
SELECT i, day, 1 + pg_temp.pick(i * 17, 8000), (enum_range(NULL::order_status))[1 + pg_temp.pick(i, 6)],
    CASE WHEN i % 6 = 0 THEN ROW('Elsewhere ' || i, NULL, 'Town', 'FR')::postal_address END,
    CASE WHEN i % 40 = 0 THEN 'SAVE' || i / 40 % 200 END, day + i % 86400 * interval '1 second'
FROM (SELECT i, date '2025-12-20' + i / 85 AS day FROM generate_series(1, 30000) i) numbered;
INSERT INTO order_items
SELECT o.id, o.placed_on, line, 1000 + pg_temp.pick(o.id * 5 + line, 2000), 1 + (o.id + line) % 4, 1 + pg_temp.pick(o.id + line, 30000) / 100.0
FROM orders o, generate_series(1, 1 + o.id % 4) line;
INSERT INTO payments
SELECT md5('payment ' || i)::uuid, (enum_range(NULL::payment_method))[1 + pg_temp.pick(i, 5)], i, date '2025-12-20' + i / 85,
    pg_temp.pick(i, 60000) / 100.0, CASE WHEN i % 30 > 0 THEN timestamptz '2025-12-21' + i * interval '17 minutes' END
FROM generate_series(1, 24000) i;
INSERT INTO coupons
SELECT 'SAVE' || i, tstzmultirange(tstzrange('2026-01-01', '2026-03-01'), tstzrange(timestamptz '2026-06-01' + i * interval '1 day', NULL)),
    i / 10.0, make_interval(months => i % 5, hours => i), (i % 256)::bit(8)
FROM generate_series(0, 199) i;
INSERT INTO sessions SELECT md5('session ' || i)::uuid, 1 + i % 8000, inet '10.0.0.0' + i, timestamptz '2026-11-20' + i * interval '1 second' FROM generate_series(1, 2000) i;
INSERT INTO heartbeat SELECT FROM generate_series(1, 3);
INSERT INTO exchange_rates
SELECT currency, day::date, CASE WHEN currency = 'XXX' THEN 'NaN' ELSE 1 + pg_temp.pick(extract(epoch FROM day)::bigint / 86400, 900) / 1000.0 END,
    CASE currency WHEN 'USD' THEN '-0' WHEN 'XXX' THEN 'Infinity' ELSE 5e-324 END::double precision
FROM unnest(ARRAY['USD', 'CHF', 'JPY', 'XXX']) currency, generate_series(date '2026-01-01', date '2026-11-20', interval '1 day') day;
INSERT INTO support_tickets (customer_id, assigned_to, subject, messages)
SELECT 1 + pg_temp.pick(i, 8000), CASE WHEN i % 3 = 0 THEN 'app_user' ELSE 'someone' END, 'Where is my ' || pg_temp.word(i) || '?',
    ARRAY(SELECT jsonb_build_object('n', j, 'text', pg_temp.word(i + j)) FROM generate_series(1, i % 5) j)
FROM generate_series(1, 1500) i;

INSERT INTO documents (title, created) SELECT 'Loose paper ' || i, timestamptz '2026-02-01' + i * interval '1 hour' FROM generate_series(1, 50) i;
INSERT INTO invoices (title, created, order_id, total) SELECT 'Invoice for ' || i, timestamptz '2026-02-01' + i * interval '20 minutes', i, i / 10.0 FROM generate_series(1, 2500) i;
INSERT INTO delivery_notes (title, created, carrier, parcels) SELECT 'Note ' || i, timestamptz '2026-02-01' + i * interval '30 minutes', pg_temp.word(i), i % 4 FROM generate_series(1, 1000) i;

INSERT INTO warehouse.suppliers SELECT i, 'Supplier ' || i, set_masklen((inet '10.0.0.0' + i * 256)::cidr, 24) FROM generate_series(1, 80) i;
INSERT INTO contracts SELECT i, date '2026-01-01' + i, lo_from_bytea((900000 + i)::oid, pg_temp.noise(i, i * 4096)) FROM generate_series(1, 20) i;
COMMENT ON LARGE OBJECT 900001 IS 'the oldest contract';
GRANT SELECT ON LARGE OBJECT 900002 TO reporting;
INSERT INTO warehouse.places SELECT i, 'Hall ' || i, polygon(box(point(i, i), point(i + 2, i + 1.5))), circle(point(i, 0), i) FROM generate_series(1, 5) i;
INSERT INTO warehouse.stock SELECT place, 999 + p, pg_temp.pick(p * place, 500), date '2026-10-01' + p % 50 FROM generate_series(1, 3) place, generate_series(1, 2000) p;
INSERT INTO warehouse.movements (place_id, moved_on, product_id, pieces, reason)
SELECT 1 + i % 5, date '2026-01-01' + i / 80, 1000 + pg_temp.pick(i, 2000), pg_temp.pick(i * 3, 60) - 20, CASE WHEN i % 7 = 0 THEN pg_temp.word(i) END
FROM generate_series(1, 25000) i;
INSERT INTO audit.log (at, who, what, before, after)
SELECT timestamptz '2026-01-01' + i * interval '29 minutes', 'app_user', 'UPDATE products', jsonb_build_object('id', 1000 + i % 2000, 'net', i % 100),
    jsonb_build_object('id', 1000 + i % 2000, 'net', i % 100 + 1)
FROM generate_series(1, 12000) i;

SELECT nextval('warehouse.label') FROM generate_series(1, 42);
REFRESH MATERIALIZED VIEW analytics.daily_revenue;
REFRESH MATERIALIZED VIEW analytics.monthly_revenue;
RESET ROLE;
RESET session_replication_role;
ANALYZE;

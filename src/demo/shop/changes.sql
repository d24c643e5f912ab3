-- A day's business between two backups: a few per cent of the rows, at both ends and in the middle.

SET TimeZone = 'UTC';
INSERT INTO customers (email, given_name, family_name, registered)
SELECT format('newcomer.%s@example.com', i), 'Nova', 'Newcomer', timestamptz '2026-11-20 10:00' + i * interval '1 minute'
FROM generate_series(1, 120) i;
INSERT INTO orders (id, placed_on, customer_id, status, placed_at)
SELECT 30000 + i, '2026-11-20', 1 + i * 7 % 8000, 'new', timestamptz '2026-11-20' + i * interval '1 minute'
FROM generate_series(1, 900) i;
INSERT INTO order_items SELECT 30000 + i, '2026-11-20', 1, 1000 + i % 2000, 1, 9.99 FROM generate_series(1, 900) i;
UPDATE orders SET status = 'delivered' WHERE placed_on BETWEEN '2026-11-01' AND '2026-11-05';
UPDATE products SET net = net + 1 WHERE id % 40 = 0;
UPDATE warehouse.stock SET pieces = pieces + 5, counted = '2026-11-20' WHERE product_id % 50 = 0;
DELETE FROM sessions WHERE seen < '2026-11-20 00:10+00';
DELETE FROM reviews WHERE id BETWEEN 4000 AND 4040;
INSERT INTO gift_cards SELECT md5('card ' || i)::uuid, 25 FROM generate_series(1, 10) i;
SELECT lo_put(900003, 100, '\xdeadbeef');
SELECT nextval('invoice_number');

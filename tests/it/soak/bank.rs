//! A load whose contents check themselves: money moves between accounts, each move is written down, and nothing is made or
//! lost. Whatever single moment a backup holds, its sums are right; two moments mixed, or a row less, and they are not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use kubebackup::demo::Cluster;

const ACCOUNTS: u32 = 2000;
const BEGIN: u32 = 1000;

/// Who moves money at the same time.
const CLERKS: u32 = 2;

/// Moves that are kept one by one, at least.
const KEPT_MOVES: u32 = 20_000;

/// Moves by one call; each is a transaction.
const MOVES: u32 = 50;

/// Makes the bank.
pub(super) fn open(source: &Cluster, database: &str) {
    let make = format!(
        "CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL, note text);
         INSERT INTO accounts SELECT i, {BEGIN}, repeat(md5(i::text), 8) FROM generate_series(1, {ACCOUNTS}) i;
         CREATE TABLE moves (id bigserial PRIMARY KEY, giver int NOT NULL, taker int NOT NULL, amount bigint NOT NULL,
             at timestamptz NOT NULL DEFAULT clock_timestamp());
         CREATE TABLE totals (giver int PRIMARY KEY, moved bigint NOT NULL);
         INSERT INTO totals SELECT i, 0 FROM generate_series(1, {CLERKS}) i;
         CREATE TABLE folded (account int PRIMARY KEY, change bigint NOT NULL, amount bigint NOT NULL);
         CREATE PROCEDURE work(clerk int, many int) LANGUAGE plpgsql AS $$
         DECLARE one int; other int; money bigint;
         BEGIN
             FOR i IN 1..many LOOP
                 one := 1 + floor(random() * {ACCOUNTS}); other := 1 + floor(random() * {ACCOUNTS});
                 money := floor(random() * 20);
                 CONTINUE WHEN one = other;
                 -- In one order, so that clerks do not wait for each other in a circle.
                 UPDATE accounts SET balance = balance + CASE WHEN id = one THEN -money ELSE money END,
                     note = md5(note || i) WHERE id = least(one, other);
                 UPDATE accounts SET balance = balance + CASE WHEN id = one THEN -money ELSE money END
                     WHERE id = greatest(one, other);
                 INSERT INTO moves (giver, taker, amount) VALUES (one, other, money);
                 UPDATE totals SET moved = moved + money WHERE giver = clerk;
                 COMMIT;
             END LOOP;
             -- What lies long back is kept as sums.
             IF clerk = 1 AND random() < 0.1 THEN
                 WITH gone AS (
                     DELETE FROM moves WHERE id < (SELECT max(id) - {KEPT_MOVES} FROM moves) RETURNING giver, taker, amount
                 ), both_sides AS (
                     SELECT taker AS account, amount AS change, amount FROM gone
                     UNION ALL SELECT giver, -amount, 0 FROM gone
                 )
                 INSERT INTO folded SELECT account, sum(change), sum(amount) FROM both_sides GROUP BY account
                 ON CONFLICT (account) DO UPDATE SET change = folded.change + excluded.change,
                     amount = folded.amount + excluded.amount;
                 COMMIT;
             END IF;
         END $$;"
    );
    source.sql(database, &make).unwrap();
}

/// What is wrong with the sums; empty when nothing is.
pub(super) fn errors(cluster: &Cluster, database: &str) -> String {
    let ask = format!(
        "SELECT 'accounts hold ' || sum(balance) FROM accounts HAVING sum(balance) <> {};
         SELECT 'accounts: ' || count(*) FROM accounts HAVING count(*) <> {ACCOUNTS};
         SELECT 'moves and totals differ' FROM 
             (SELECT coalesce((SELECT sum(amount) FROM moves), 0) + coalesce((SELECT sum(amount) FROM folded), 0) AS written) m,
             (SELECT sum(moved) AS told FROM totals) t WHERE written <> told;
         SELECT 'account ' || a.id FROM accounts a
             LEFT JOIN (SELECT taker, sum(amount) AS gained FROM moves GROUP BY taker) t ON t.taker = a.id
             LEFT JOIN (SELECT giver, sum(amount) AS given FROM moves GROUP BY giver) g ON g.giver = a.id
             LEFT JOIN folded f ON f.account = a.id
             WHERE a.balance <> {BEGIN} + coalesce(f.change, 0) + coalesce(gained, 0) - coalesce(given, 0) LIMIT 5;",
        ACCOUNTS * BEGIN
    );
    cluster.sql(database, &ask).unwrap()
}

/// Clerks at work; dropped, they go home.
pub(super) struct Clerks {
    go_home: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Clerks {
    pub(super) fn start(source: &Cluster, database: &str) -> Self {
        let (go_home, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let work = |clerk: u32| {
            let (go_home, calls) = (Arc::clone(&go_home), Arc::clone(&calls));
            let mut psql = std::process::Command::new(source.bin_directory().join("psql"));
            let call = format!("CALL work({clerk}, {MOVES})");
            let dsn = source.dsn(source.superuser(), database);
            psql.args(["-X", "-q", "-d", &dsn, "-c", &call])
                .env("PGPASSWORD", source.password());
            psql.stdin(std::process::Stdio::null())
                .stdout(std::process::Stdio::null());
            psql.stderr(std::process::Stdio::null());
            std::thread::spawn(move || {
                while !go_home.load(Ordering::Relaxed) {
                    // A server that is killed ends the call; the next one finds it again.
                    if psql.status().unwrap().success() {
                        calls.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        };
        let threads = (1..=CLERKS).map(work).collect();
        Self {
            go_home,
            calls,
            threads,
        }
    }

    /// They do get something done.
    #[track_caller]
    pub(super) fn assert_busy(&self) {
        assert!(self.transactions() > 0, "nobody moved any money");
    }

    /// Transactions so far, those of interrupted calls not counted.
    pub(super) fn transactions(&self) -> u64 {
        self.calls.load(Ordering::Relaxed) * u64::from(MOVES)
    }
}

impl Drop for Clerks {
    fn drop(&mut self) {
        self.go_home.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

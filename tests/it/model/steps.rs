//! Each step carried out, and what may come of it. Where nothing was done to it, a run must do what it is for; where
//! something was, it may fail by one clear error, and what it left is looked at by `invariants`.

use super::bucket::{first, pass_hours};
use super::faults::Fault;
use super::ground::{Ground, Storm};
use super::step::{Blow, Kind, Pick, Side, Step, Strike, When, Whose};
use super::truth::State;
use crate::support::{Ended, wait};

/// Restores that a step makes go there.
const ASIDE: &str = "aside";

/// Whether backups may be gone after it.
fn lets_go(step: &Step) -> bool {
    match step {
        Step::Expire(_) => true,
        Step::Backup(Some(strike)) => matches!(strike.what, Blow::LetGo),
        _ => false,
    }
}

impl Ground {
    /// Carries a step out and looks at what came of it.
    #[track_caller]
    pub(super) fn carry_out(&mut self, step: &Step) {
        if self.agents.contains_key(&Kind::Backup) {
            self.open_window();
        }
        let lets_go = lets_go(step);
        match step {
            Step::Write(statements) | Step::Define(statements) => self.write(statements),
            Step::Backup(strike) => self.back_up(strike.as_ref()),
            Step::Drill(pick, strike) => self.drill(*pick, strike.as_ref()),
            Step::Restore { pick, wipe, strike } => self.restore(*pick, *wipe, strike.as_ref()),
            Step::Verify(strike) => self.verify(strike.as_ref()),
            Step::Expire(strike) => self.expire(strike.as_ref()),
            Step::Prune(strike) => self.prune(strike.as_ref()),
            Step::Copy(strike) => self.copy(strike.as_ref()),
            Step::LetGoThere => self.let_go_there(),
            Step::Hold(pick) => self.hold(*pick),
            Step::Unhold(pick) => self.unhold(*pick),
            Step::AcceptDrift => {
                let (ended, _) = self.run(&["accept-drift", "--reason", "the plan wants it"], None);
                self.expect(&ended, &[0, 1, 6], None);
            }
            Step::PassHours(hours) => self.pass_hours(*hours),
            Step::Clock(Whose::Program, seconds) => self.set_clock(*seconds),
            Step::Clock(Whose::Source, seconds) => self.set_clock_of_source(*seconds),
            Step::Faults(faults) => self.inject(faults),
            Step::Wire(wire) => {
                self.wire = Some(*wire);
                self.way.on(wire.purpose, None, wire.fault);
            }
            Step::Calm => {
                self.storm = Storm::Calm;
                self.world.s3.controls.calm();
                self.proxy.clear();
                self.wire = None;
                self.way.clear();
            }
            Step::KillServer(side) => self.kill_server(*side),
            Step::StartAgent(kind) => {
                self.stop_agent(*kind);
                let agent = self.launch(*kind, &[]);
                self.agents.insert(*kind, agent);
                if *kind == Kind::Backup {
                    self.open_window();
                }
            }
            Step::Trigger(kind) => self.ask(*kind),
            Step::KillAgent(kind) => self.kill_agent(*kind),
            Step::AgentKilledAt(kind, point) => self.agent_killed_at(*kind, point),
            Step::Damage { pick, harm, by_drill } => self.damage(*pick, *harm, *by_drill),
            Step::DamageRoot(pick) => self.damage_root(*pick),
            Step::Falsify => self.falsify(),
            Step::CheckAll => self.check_all(),
        }
        self.look(lets_go);
    }

    /// Fails unless the run ended with one of these codes, or is the one that was killed.
    #[track_caller]
    pub(super) fn expect(&self, ended: &Ended, codes: &[i32], hit: Option<&Strike>) {
        let is_killed = hit.is_some_and(|strike| matches!(strike.what, Blow::Kill)) && ended.signal() == Some(9);
        let is_expected = ended.code().is_some_and(|code| codes.contains(&code)) || is_killed;
        // Faults of the store are an error of it.
        let is_stormy = self.is_stormy() && [Some(0), Some(1)].contains(&ended.code());
        assert!(
            is_expected || is_stormy,
            "not one of {codes:?}: {}\n{}",
            ended.status,
            ended.printed()
        );
        if ended.code() == Some(1) {
            let errors = ended.stderr.lines().filter(|line| line.starts_with("error: "));
            assert_eq!(errors.count(), 1, "{}", ended.printed());
        }
    }

    fn back_up(&mut self, strike: Option<&Strike>) {
        let lets_go = strike.is_some_and(|strike| matches!(strike.what, Blow::LetGo));
        if lets_go {
            self.check_unchecked();
        }
        self.open_window();
        let before = self.window.len() - 1;
        let cuts = self.way.struck();
        let (ended, is_hit) = self.run(&["backup"], strike);
        let is_cut = self.way.struck() > cuts;
        if is_cut {
            self.count("backups whose way to the source was cut");
        }
        let hit = strike.filter(|_| is_hit);
        match strike.map(|strike| (&strike.what, strike.when)) {
            Some((Blow::Write(_), When::At("after-locks"))) if is_hit => {
                self.window.drain(..=before);
                self.open_window();
            }
            Some((Blow::Write(statements), _)) if !is_hit => self.write(statements),
            _ => {}
        }
        let source = [&[0, 1, 7][..], &[0]];
        let codes = match hit.map(|hit| &hit.what) {
            Some(Blow::KillServer(Side::Source) | Blow::CutSessions(Side::Source)) => source[0],
            _ if is_cut => source[0],
            Some(Blow::StoreAway) if matches!(hit.map(|hit| hit.when), Some(When::Requests(_))) => &[0, 1],
            _ => source[1],
        };
        self.expect(&ended, codes, hit);
        if ended.code() == Some(0) {
            let backup_id = ended.json()["backup_id"].as_str().unwrap().to_owned();
            self.look(lets_go);
            assert!(
                self.truth.backups.contains_key(&backup_id),
                "{backup_id} was promised and is not there"
            );
            self.world.mark_targets();
            // Whether what came beside its snapshot stayed outside of it.
            if matches!(hit.map(|hit| &hit.what), Some(Blow::Write(_))) && !self.truth.is_damaged(&backup_id) {
                self.check(&backup_id);
            }
        }
    }

    /// What a drill of this backup must say.
    fn verdict_of(&self, backup_id: &str) -> i32 {
        if self.truth.is_damaged(backup_id) { 3 } else { 0 }
    }

    fn drill(&mut self, pick: Pick, strike: Option<&Strike>) {
        let picked = match pick {
            Pick::Latest => self.truth.newest(),
            Pick::Any(number) => self.truth.pick(number),
        };
        let Some(backup_id) = picked else { return };
        let (ended, is_hit) = self.run(&["drill", "--backup", &backup_id], strike);
        let hit = strike.filter(|_| is_hit);
        let mut codes = vec![self.verdict_of(&backup_id)];
        // It ended without an answer.
        let is_held = self.agents.contains_key(&Kind::Restore);
        let is_struck = hit.is_some_and(|hit| !matches!(hit.what, Blow::KillServer(Side::Source)));
        if is_held || is_struck || self.is_stormy() {
            codes.push(4);
        }
        if matches!(hit.map(|hit| &hit.what), Some(Blow::StoreAway)) {
            codes.push(1);
        }
        self.expect(&ended, &codes, hit);
    }

    fn restore(&mut self, pick: u64, wipe: bool, strike: Option<&Strike>) {
        let Some(backup_id) = self.truth.pick(pick) else { return };
        let database = if wipe { self.world.restored() } else { ASIDE.to_owned() };
        let into = self.target_database(&database);
        let how = if wipe { "--wipe" } else { "--create-database" };
        let (ended, is_hit) = self.run(&["restore", "--backup", &backup_id, "--into", &into, how], strike);
        let hit = strike.filter(|_| is_hit);
        let is_held = wipe && self.agents.contains_key(&Kind::Restore);
        let codes: &[i32] = match hit.map(|hit| &hit.what) {
            _ if self.truth.is_damaged(&backup_id) => &[1, 5, 6],
            // The agent's drill has the target.
            Some(_) if is_held => &[0, 1, 6],
            Some(_) => &[0, 1],
            None if is_held => &[0, 6],
            None => &[0],
        };
        self.expect(&ended, codes, hit);
        if ended.code() == Some(0) && !is_held {
            self.assert_holds(&backup_id, &State::of(&self.world.target, &database));
        }
        if !wipe {
            self.drop_database(ASIDE);
        }
    }

    pub(super) fn drop_database(&self, database: &str) {
        let drop = format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)");
        self.world.target.sql("postgres", &drop).unwrap();
    }

    fn verify(&mut self, strike: Option<&Strike>) {
        let (ended, is_hit) = self.run(&["verify", "--all"], strike);
        let hit = strike.filter(|_| is_hit);
        let is_damaged = self
            .truth
            .backups
            .keys()
            .any(|backup_id| self.truth.is_damaged(backup_id));
        let mut codes = vec![if is_damaged { 5 } else { 0 }];
        if hit.is_some() || self.truth.backups.is_empty() {
            codes.push(1);
        }
        if self.is_stormy() && is_damaged {
            codes.push(0);
        }
        self.expect(&ended, &codes, hit);
    }

    pub(super) fn expire(&mut self, strike: Option<&Strike>) {
        // What goes was right while it was there.
        self.check_unchecked();
        self.expire_now(strike);
    }

    fn expire_now(&mut self, strike: Option<&Strike>) {
        let (ended, is_hit) = self.run(&["expire"], strike);
        let hit = strike.filter(|_| is_hit);
        self.expect(&ended, if hit.is_some() { &[0, 1] } else { &[0] }, hit);
    }

    /// While a backup stands still.
    pub(super) fn let_go_beside(&mut self) {
        self.expire_now(None);
        self.prune(None);
    }

    /// Something that nobody accepted may freeze it, a damaged index stops it.
    fn prune(&mut self, strike: Option<&Strike>) {
        let (ended, is_hit) = self.run(&["prune"], strike);
        let hit = strike.filter(|_| is_hit);
        let mut codes = vec![0, 6];
        if !self.truth.damaged.is_empty() {
            codes.push(5);
        }
        if hit.is_some() {
            codes.push(1);
        }
        self.expect(&ended, &codes, hit);
    }

    pub(super) fn copy(&mut self, strike: Option<&Strike>) {
        let (ended, is_hit) = self.run(&["copy"], strike);
        let hit = strike.filter(|_| is_hit);
        let is_whole = self.truth.damaged.is_empty() && hit.is_none();
        let is_incomplete = ended.code() == Some(1) && !ended.stderr.contains("error: ");
        if is_incomplete && (!is_whole || self.is_stormy()) {
            return;
        }
        if is_incomplete {
            self.expect_to_wait(&ended);
            return;
        }
        self.expect(&ended, if is_whole { &[0] } else { &[0, 1] }, hit);
    }

    /// What a killed copy brought long ago for a backup that is gone keeps another one waiting, and no longer than a grace period.
    fn expect_to_wait(&mut self, ended: &Ended) {
        let report = ended.json();
        let left: Vec<&serde_json::Value> = report
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|place| place["left"].as_array().unwrap())
            .collect();
        let waits = |left: &&serde_json::Value| {
            left["reason"]
                .as_str()
                .unwrap()
                .contains("so a prune may be about to delete it")
        };
        assert!(!left.is_empty() && left.iter().all(waits), "{}", ended.printed());
        self.count("copies that waited");
        if !self.agents.contains_key(&Kind::Backup) {
            pass_hours(&self.second(), 25);
            let (ended, _) = self.run(&["copy"], None);
            self.expect(&ended, &[0], None);
        }
    }

    fn hold(&mut self, pick: u64) {
        let Some(backup_id) = self.truth.pick(pick) else { return };
        let (ended, _) = self.run(&["hold", &backup_id, "--reason", "the plan wants it"], None);
        self.expect(&ended, &[0], None);
        if ended.code() == Some(0) {
            self.truth.held.insert(backup_id);
        }
    }

    fn unhold(&mut self, pick: u64) {
        let Some(backup_id) = self.truth.pick(pick) else { return };
        let (ended, _) = self.run(&["unhold", &backup_id], None);
        self.truth.held.remove(&backup_id);
        self.expect(&ended, &[0], None);
    }

    /// Not during a backup: no grace period covers a clock that jumps beyond it.
    fn pass_hours(&mut self, hours: i64) {
        wait::until("no backup to be under way", || !self.is_backing_up());
        pass_hours(&first(&self.world), hours);
        // The agent may be filling the other one, and no announcement covers such a jump either.
        if !self.agents.contains_key(&Kind::Backup) {
            pass_hours(&self.second(), hours);
        }
    }

    /// Its clock is a function that can be replaced.
    pub(super) fn set_clock_of_source(&mut self, seconds: i64) {
        let body = match seconds {
            0 => "LANGUAGE internal VOLATILE STRICT PARALLEL SAFE AS 'clock_timestamp'".to_owned(),
            _ => format!(
                "LANGUAGE sql VOLATILE STRICT PARALLEL SAFE
                 AS 'SELECT pg_catalog.statement_timestamp() + interval ''{seconds} seconds'''"
            ),
        };
        let replace = format!("CREATE OR REPLACE FUNCTION pg_catalog.clock_timestamp() RETURNS timestamptz {body}");
        for database in ["postgres", self.world.database()] {
            self.world.source.sql(database, &replace).unwrap();
        }
    }

    fn inject(&mut self, faults: &[Fault]) {
        let storm = if faults.iter().all(Fault::passes) {
            Storm::Passing
        } else {
            Storm::Lasting
        };
        self.storm = self.storm.max(storm);
        for fault in faults {
            fault.inject(&self.world, &self.proxy);
        }
    }
}

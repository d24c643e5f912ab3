//! Steps that are several runs: an agent that is asked or killed, and the damage that must be noticed, never certified, and
//! healed by the next backup.

use kubebackup::http::status::Outcome;

use super::ground::Ground;
use super::step::{Harm, Kind};
use crate::support::{World, wait};

/// Changes one row of whatever has one.
const FALSIFY: &str = "
DO $$ DECLARE t regclass; BEGIN
    FOR t IN SELECT c.oid FROM pg_class c WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname LOOP
        EXECUTE format('DELETE FROM %s WHERE ctid = (SELECT min(ctid) FROM %s)', t, t);
        IF FOUND THEN RETURN; END IF;
    END LOOP;
    CREATE TABLE falsified ();
END $$";

impl Ground {
    pub(super) fn ask(&mut self, kind: Kind) {
        if kind == Kind::Backup {
            self.open_window();
        } else if self.truth.backups.is_empty() {
            return;
        }
        let (faults, cuts) = (self.proxy.struck().len(), self.way.struck());
        let status = self.trigger(kind);
        let run = &status.runs[0];
        if self.proxy.struck().len() > faults {
            self.count(&format!(
                "the agent {kind:?} through {:?} faults: {:?}",
                self.storm, run.outcome
            ));
        }
        let is_cut = self.way.struck() > cuts;
        if is_cut {
            self.count("agents whose way to the source was cut");
        }
        let may_fail = self.is_stormy() || is_cut;
        let is_as_it_must = match kind {
            Kind::Backup => {
                run.outcome == Outcome::Succeeded
                    || (run.outcome == Outcome::Skipped && self.is_lease_left)
                    || (may_fail && [Outcome::Failed, Outcome::Yielded, Outcome::Skipped].contains(&run.outcome))
            }
            // Whether a failed one was right is looked at with its certificate.
            Kind::Restore if may_fail => {
                [Outcome::Certified, Outcome::Failed, Outcome::Unverified].contains(&run.outcome)
            }
            Kind::Restore => {
                let backup_id = run.backup_id.clone().unwrap_or_default();
                let verdict = if self.truth.is_damaged(&backup_id) {
                    Outcome::Failed
                } else {
                    Outcome::Certified
                };
                run.outcome == verdict
            }
        };
        assert!(
            is_as_it_must,
            "{kind:?}: {run:?}\n{}",
            self.agents[&kind].running.printed()
        );
        self.is_lease_left &= run.outcome != Outcome::Succeeded;
    }

    pub(super) fn agent_killed_at(&mut self, kind: Kind, point: &str) {
        self.kill_agent(kind);
        if kind == Kind::Backup {
            self.open_window();
        }
        let agent = self.launch(kind, &[("KUBEBACKUP_FAILPOINT", point)]);
        agent.trigger();
        let sign = format!("failpoint {point}");
        wait::until("the point, or the end of a run", || {
            let is_over = |agent: &crate::backup_agent::Agent| {
                agent
                    .status()
                    .is_some_and(|status| status.current.is_none() && !status.runs.is_empty())
            };
            agent.running.printed().contains(&sign) || is_over(&agent)
        });
        self.agents.insert(kind, agent);
        self.kill_agent(kind);
    }

    /// Nobody else is at work.
    pub(super) fn dismiss_agents(&mut self) {
        self.kill_agent(Kind::Restore);
        self.stop_agent(Kind::Backup);
        self.look(false);
    }

    pub(super) fn damage(&mut self, pick: u64, harm: Harm, by_drill: bool) {
        self.dismiss_agents();
        let sound = self
            .truth
            .backups
            .keys()
            .rev()
            .find(|backup_id| !self.truth.is_damaged(backup_id));
        let Some(backup_id) = sound.cloned() else { return };
        let keys: Vec<String> = self.truth.backups[&backup_id].keys.iter().cloned().collect();
        let key = keys[usize::try_from(pick % keys.len() as u64).unwrap()].clone();
        // What it held was right until now.
        self.check_unchecked();
        let object = World::object(&key);
        let was = self.world.s3.read(&object);
        match harm {
            Harm::Flip => self.world.s3.flip_a_bit(&object),
            Harm::Lose => {
                self.world.s3.remove(&object);
                self.truth.lost.insert(key.clone());
            }
        }
        self.truth.damaged.insert(key.clone(), was);
        self.count(&format!("damaged objects: {harm:?}"));
        let (ended, code) = if by_drill {
            (self.run(&["drill", "--backup", &backup_id], None).0, 3)
        } else {
            (self.run(&["verify", "--backup", &backup_id], None).0, 5)
        };
        self.expect(&ended, &[code], None);
        self.look(false);
        assert!(ended.stdout.contains(&key), "{key} is not named:\n{}", ended.stdout);
        if by_drill {
            let listed = self.run(&["list"], None).0.json();
            let line = listed
                .as_array()
                .unwrap()
                .iter()
                .find(|line| line["backup_id"] == backup_id.as_str());
            assert_eq!(line.unwrap()["verdict"], "failed", "{backup_id}");
        }
        // The next one does without that object, and is proven.
        self.open_window();
        let backup = self.run(&["backup"], None).0;
        self.expect(&backup, &[0], None);
        self.look(false);
        let healed = backup.json()["backup_id"].as_str().unwrap().to_owned();
        self.count("backups that healed");
        assert!(
            !self.truth.is_damaged(&healed),
            "{healed} refers to {key}, which is known to be damaged"
        );
        let ended = self.run(&["drill", "--backup", &healed], None).0;
        self.expect(&ended, &[0], None);
    }

    pub(super) fn damage_root(&mut self, pick: u64) {
        self.dismiss_agents();
        let Some(backup_id) = self.truth.pick(pick) else { return };
        let key = format!("manifests/{backup_id}.json");
        let object = World::object(&key);
        let was = self.world.s3.read(&object);
        self.world.s3.flip_a_bit(&object);
        let verified = self.run(&["verify", "--all"], None).0;
        self.expect(&verified, &[5], None);
        assert!(
            verified.stdout.contains(&key),
            "{key} is not named:\n{}",
            verified.stdout
        );
        let pruned = self.run(&["prune"], None).0;
        self.expect(&pruned, &[5], None);
        self.open_window();
        let backup = self.run(&["backup"], None).0;
        self.expect(&backup, &[0], None);
        self.world.s3.overwrite(&object, &was);
        self.count("damaged roots");
    }

    pub(super) fn falsify(&mut self) {
        self.dismiss_agents();
        let sound = self
            .truth
            .backups
            .keys()
            .rev()
            .find(|backup_id| !self.truth.is_damaged(backup_id));
        let Some(backup_id) = sound.cloned() else { return };
        let go = self.world.directory().join("falsified");
        let point = format!("after-restore=go:{}", go.display());
        let program = self.program(&["--output", "json", "drill", "--backup", &backup_id]);
        let mut drill = program.env("KUBEBACKUP_FAILPOINT", &point).spawn();
        drill.wait_for("failpoint after-restore");
        self.world.target.sql(&self.world.restored(), FALSIFY).unwrap();
        std::fs::write(&go, "").unwrap();
        let ended = drill.wait();
        std::fs::remove_file(&go).unwrap();
        self.truth.slandered.insert(backup_id);
        self.expect(&ended, &[3], None);
        self.count("falsified drills");
    }
}

//! What every plan begins with, so that no run is without it: what chance seldom brings together, and one of each kind of
//! mishap, where it surely strikes.

use super::faults::Fault;
use super::plan::Planner;
use super::step::{Blow, Harm, Kind, Pick, Side, Step, Strike, When};
use super::wire::{ROWS_HANG, SILENCE, Wire, corrupt};
use crate::support::s3_proxy::{Fault as OnTheWay, refusals};
use crate::support::tcp_proxy::{Fault as OnTheWire, Way};

/// At a point that the run surely reaches.
fn at(point: &'static str, what: Blow) -> Strike {
    let when = When::At(point);
    Strike { when, what }
}

fn get(beginning: &'static str, fault: OnTheWay) -> Fault {
    Fault::once(Some("GetObject"), beginning, fault)
}

fn put(beginning: &'static str, fault: OnTheWay) -> Fault {
    Fault::once(Some("PutObject"), beginning, fault)
}

fn list(beginning: &'static str, fault: OnTheWay) -> Fault {
    Fault::once(Some("ListObjectsV2"), beginning, fault)
}

/// Whatever it asks first.
fn first(fault: OnTheWay) -> Fault {
    Fault::once(None, "", fault)
}

fn always(fault: Fault) -> Fault {
    Fault {
        times: usize::MAX,
        ..fault
    }
}

impl Planner {
    pub(super) fn open(&mut self) {
        for _ in 0..4 {
            let statement = self.schema.define(&mut self.dice);
            self.steps.push(Step::Define(statement));
        }
        let short_lived = "CREATE TABLE short_lived AS SELECT generate_series(1, 10) AS i;";
        self.steps.push(Step::Define(short_lived.to_owned()));
        self.open_with_retention();
        self.open_with_blows();
        self.open_with_passing_storms();
        self.open_with_lasting_storms();
        self.open_with_agents();
        self.open_on_the_wire();
        self.open_with_damage();
        self.check_all();
    }

    /// A backup that only its hold keeps, one that is kept as the last proof, and chunks of theirs that are older than the
    /// grace period when prune comes. And copy and prune are killed once.
    fn open_with_retention(&mut self) {
        self.steps.extend([Step::Backup(None), Step::Hold(0)]);
        for number in 0..4 {
            self.write();
            self.steps.push(Step::Backup(None));
            if number == 0 {
                self.steps.push(Step::Drill(Pick::Latest, None));
            }
        }
        self.steps.extend([
            Step::AcceptDrift,
            Step::Copy(Some(at("copy-after-chunks", Blow::Kill))),
            Step::Expire(None),
            Step::PassHours(30),
            Step::Prune(Some(at("prune-after-mark", Blow::Kill))),
            Step::Prune(None),
        ]);
    }

    fn open_with_blows(&mut self) {
        let rows = self.schema.rows(&mut self.dice);
        self.steps.extend([
            Step::Backup(Some(at("before-manifest", Blow::Kill))),
            Step::Backup(Some(at("after-snapshot", Blow::KillServer(Side::Source)))),
            Step::Backup(Some(at("after-snapshot", Blow::CutSessions(Side::Source)))),
            Step::Backup(Some(at("before-manifest", Blow::StoreAway))),
            Step::Backup(Some(at("after-snapshot", Blow::Write(rows)))),
            Step::Drill(Pick::Latest, Some(at("after-wipe", Blow::Kill))),
            Step::Drill(Pick::Latest, Some(at("after-restore", Blow::KillServer(Side::Target)))),
            Step::Restore {
                pick: 0,
                wipe: false,
                strike: Some(Strike {
                    when: When::Requests(2),
                    what: Blow::Kill,
                }),
            },
            Step::Drill(Pick::Latest, None),
            Step::AcceptDrift,
            Step::Backup(Some(at("before-manifest", Blow::LetGo))),
            Step::AcceptDrift,
            Step::Expire(Some(at("expire-after-manifests", Blow::Kill))),
            // What the killed one has left is out of the way of the next.
            Step::Copy(None),
        ]);
    }

    /// Every kind that another attempt gets past, dealt out so that each kind of run meets some.
    fn open_with_passing_storms(&mut self) {
        self.write();
        // So that there is a drift to accept.
        self.steps.push(Step::Define("DROP TABLE short_lived;".to_owned()));
        let pick = self.dice.roll();
        let storms = [
            (
                vec![
                    put("chunks/", OnTheWay::CutRequest(7)),
                    put("manifests/", OnTheWay::LoseAnswer),
                    get("chunks/", OnTheWay::CorruptAnswer),
                    list("manifests/", refusals::SLOW_DOWN),
                ],
                Step::Backup(None),
            ),
            (
                vec![
                    get("chunks/", OnTheWay::StallAnswer(7)),
                    get("manifests/", refusals::INTERNAL_ERROR),
                    put("certificates/", OnTheWay::CorruptRequest),
                ],
                Step::Drill(Pick::Latest, None),
            ),
            (
                vec![
                    get("chunks/", OnTheWay::CutAnswer(7)),
                    get("manifests/", refusals::REQUEST_TIMEOUT),
                ],
                Step::Verify(None),
            ),
            (
                vec![
                    get("chunks/", OnTheWay::Slow(200_000)),
                    get("manifests/", OnTheWay::Hang),
                ],
                Step::Restore {
                    pick,
                    wipe: false,
                    strike: None,
                },
            ),
            (
                vec![
                    get("chunks/", refusals::UNAVAILABLE),
                    get("manifests/", OnTheWay::Refuse),
                ],
                Step::Copy(None),
            ),
            (vec![first(OnTheWay::Refuse)], Step::AcceptDrift),
            (
                vec![
                    list("holds/", refusals::SLOW_DOWN),
                    list("tombstones/", refusals::INTERNAL_ERROR),
                ],
                Step::Expire(None),
            ),
            (
                vec![first(refusals::INTERNAL_ERROR), list("chunks/", OnTheWay::CutAnswer(7))],
                Step::Prune(None),
            ),
            (vec![first(OnTheWay::LoseAnswer)], Step::Hold(pick)),
            (vec![first(OnTheWay::Refuse)], Step::Unhold(pick)),
        ];
        for (faults, step) in storms {
            self.steps.extend([Step::Faults(faults), step, Step::Calm]);
        }
    }

    fn open_with_lasting_storms(&mut self) {
        self.write();
        let denied = always(put("manifests/", refusals::DENIED));
        let expired = always(put("chunks/", refusals::EXPIRED_TOKEN));
        let away = always(get("chunks/", refusals::UNAVAILABLE));
        self.steps.extend([
            Step::Faults(vec![denied]),
            Step::Backup(None),
            Step::Calm,
            Step::Faults(vec![expired]),
            Step::Backup(None),
            Step::Calm,
            Step::Faults(vec![away]),
            Step::Drill(Pick::Latest, None),
            Step::Calm,
            Step::Faults(vec![list("manifests/", OnTheWay::Stale)]),
            Step::Backup(None),
            Step::Calm,
        ]);
    }

    fn open_with_agents(&mut self) {
        self.steps.extend([
            Step::StartAgent(Kind::Backup),
            Step::Faults(vec![put("manifests/", refusals::SLOW_DOWN)]),
            Step::Trigger(Kind::Backup),
            Step::Calm,
            // What is due when it starts is done before.
            Step::Trigger(Kind::Restore),
            Step::Faults(vec![get("chunks/", OnTheWay::CutAnswer(7))]),
            Step::Trigger(Kind::Restore),
            Step::Calm,
            Step::Wire(Wire {
                purpose: "copy",
                fault: OnTheWire::Cut(Way::ToClient, 50),
            }),
            Step::Trigger(Kind::Backup),
            Step::Calm,
            Step::AgentKilledAt(Kind::Restore, "after-wipe"),
            Step::AgentKilledAt(Kind::Backup, "before-manifest"),
        ]);
    }

    fn open_on_the_wire(&mut self) {
        let on = |purpose, fault| Wire { purpose, fault };
        for wire in [
            on("snapshot", OnTheWire::Refuse),
            on("client program", OnTheWire::Cut(Way::ToClient, 50)),
            on("copy", corrupt(Way::ToClient)),
            on("backup", corrupt(Way::ToServer)),
            on("copy", OnTheWire::Slow(Way::ToClient, 16 * 1024)),
            ROWS_HANG,
            SILENCE,
        ] {
            self.steps.extend([Step::Wire(wire), Step::Backup(None), Step::Calm]);
        }
    }

    fn open_with_damage(&mut self) {
        for (harm, by_drill) in [(Harm::Flip, true), (Harm::Lose, false)] {
            let pick = self.dice.roll();
            self.steps.push(Step::Damage { pick, harm, by_drill });
        }
        let pick = self.dice.roll();
        self.steps.extend([
            Step::DamageRoot(pick),
            Step::Falsify,
            Step::Copy(None),
            Step::LetGoThere,
        ]);
    }
}

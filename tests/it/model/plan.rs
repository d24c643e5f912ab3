//! The sequence of steps, made from a seed before anything runs: pure data, so that the same seed is the same sequence
//! whatever the machine does meanwhile.

use super::faults::{fault, passing_fault, stale_listing};
use super::schema::Schema;
use super::step::{Blow, Harm, Kind, Pick, Side, Step, Strike, When, Whose};
use super::wire::{ROWS_HANG, SILENCE, wire};
use crate::generator::Dice;

/// What is to be carried out.
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// How many of them every plan begins with.
    pub(super) opening: usize,
}

/// Makes a plan of `steps` steps or a few more.
pub(super) fn plan(seed: u64, steps: usize) -> Plan {
    let mut planner = Planner {
        dice: Dice::new(seed),
        schema: Schema::default(),
        steps: Vec::new(),
        fair: None,
        since_check: 0,
    };
    planner.open();
    let opening = planner.steps.len();
    while planner.steps.len() < steps {
        planner.step();
    }
    Plan {
        steps: planner.steps,
        opening,
    }
}

pub(super) struct Planner {
    pub(super) dice: Dice,
    pub(super) schema: Schema,
    pub(super) steps: Vec<Step>,
    /// Faults are on for so many steps more.
    fair: Option<usize>,
    since_check: usize,
}

const BACKUP_POINTS: &[&str] = &[
    "after-locks",
    "after-snapshot",
    "after-schema",
    "after-first-chunk",
    "before-manifest",
];
/// Rows may be written at these.
const DRILL_POINTS: &[&str] = &["after-drill-start", "after-wipe", "after-restore"];
const EXPIRE_POINTS: &[&str] = &[
    "expire-after-tombstones",
    "expire-before-deletion",
    "expire-after-manifests",
];
const PRUNE_POINTS: &[&str] = &["prune-after-mark", "prune-after-batch"];
const COPY_POINTS: &[&str] = &[
    "copy-after-announcement",
    "copy-after-chunks",
    "copy-before-manifest",
    "copy-after-manifest",
];

impl Planner {
    pub(super) fn write(&mut self) {
        let statement = self.schema.write(&mut self.dice);
        self.steps.push(Step::Write(statement));
    }

    fn step(&mut self) {
        match self.fair {
            Some(0) => self.calm(),
            Some(left) => self.fair = Some(left - 1),
            None => {}
        }
        self.since_check += 1;
        if self.since_check > 40 {
            self.check_all();
        }
        match self.dice.below(100) {
            0..=25 => self.write(),
            26..=37 => {
                let statement = self.schema.define(&mut self.dice);
                self.steps.push(Step::Define(statement));
            }
            38..=51 => {
                let strike = self.backup_strike();
                self.steps.push(Step::Backup(strike));
            }
            52..=58 => self.drill(),
            59..=61 => self.restore(),
            62..=63 => {
                let strike = self.store_strike(&[]);
                self.steps.push(Step::Verify(strike));
            }
            64..=67 => self.let_go(),
            68 => self.steps.extend([Step::Copy(None), Step::LetGoThere]),
            69 => {
                let strike = self.store_strike(COPY_POINTS);
                self.steps.push(Step::Copy(strike));
            }
            70..=71 => {
                let pick = self.dice.roll();
                self.steps.push(if self.dice.one_in(2) {
                    Step::Hold(pick)
                } else {
                    Step::Unhold(pick)
                });
            }
            72 => self.steps.push(Step::AcceptDrift),
            73..=75 => self
                .steps
                .push(Step::PassHours(*self.dice.choose(&[3, 20, 30, 80, 200, -2]))),
            76..=78 => self.clock(),
            79..=81 => self.faults(),
            82 => self.wire(),
            83..=84 => {
                let side = self.side();
                self.steps.push(Step::KillServer(side));
            }
            85..=93 => self.agent(),
            94..=95 => self.damage(),
            96 => {
                self.calm();
                let pick = self.dice.roll();
                self.steps.push(Step::DamageRoot(pick));
            }
            _ => {
                self.calm();
                self.steps.push(Step::Falsify);
            }
        }
    }

    fn side(&mut self) -> Side {
        *self.dice.choose(&[Side::Source, Side::Target])
    }

    fn kind(&mut self) -> Kind {
        *self.dice.choose(&[Kind::Backup, Kind::Restore])
    }

    fn calm(&mut self) {
        if self.fair.take().is_some() {
            self.steps.push(Step::Calm);
        }
    }

    pub(super) fn check_all(&mut self) {
        self.calm();
        self.since_check = 0;
        self.steps.push(Step::CheckAll);
    }

    fn at(&mut self, points: &'static [&'static str], most: u64) -> When {
        if points.is_empty() || self.dice.one_in(3) {
            When::Requests(1 + self.dice.roll() % most)
        } else {
            When::At(self.dice.choose::<&str>(points))
        }
    }

    fn backup_strike(&mut self) -> Option<Strike> {
        let what = match self.dice.below(13) {
            0 | 1 => Blow::Kill,
            2..=4 => {
                let what = Blow::Write(self.schema.rows(&mut self.dice));
                let when = When::At(self.dice.choose::<&str>(BACKUP_POINTS));
                return Some(Strike { when, what });
            }
            5 => Blow::KillServer(self.side()),
            6 => Blow::CutSessions(Side::Source),
            7 => Blow::StoreAway,
            8 => {
                let when = When::At(self.dice.choose::<&str>(BACKUP_POINTS));
                return Some(Strike {
                    when,
                    what: Blow::LetGo,
                });
            }
            _ => return None,
        };
        let when = self.at(BACKUP_POINTS, 30);
        Some(Strike { when, what })
    }

    fn drill(&mut self) {
        let pick = if self.dice.one_in(3) {
            Pick::Any(self.dice.roll())
        } else {
            Pick::Latest
        };
        let what = match self.dice.below(8) {
            0 | 1 => Blow::Kill,
            2 => Blow::KillServer(self.side()),
            3 => Blow::CutSessions(Side::Target),
            4 => Blow::StoreAway,
            _ => return self.steps.push(Step::Drill(pick, None)),
        };
        let when = self.at(DRILL_POINTS, 25);
        self.steps.push(Step::Drill(pick, Some(Strike { when, what })));
    }

    fn restore(&mut self) {
        let what = match self.dice.below(6) {
            0 => Some(Blow::Kill),
            1 => Some(Blow::KillServer(Side::Target)),
            2 => Some(Blow::StoreAway),
            _ => None,
        };
        let when = When::Requests(1 + self.dice.roll() % 15);
        let pick = self.dice.roll();
        let wipe = self.dice.one_in(3);
        let strike = what.map(|what| Strike { when, what });
        self.steps.push(Step::Restore { pick, wipe, strike });
    }

    fn store_strike(&mut self, points: &'static [&'static str]) -> Option<Strike> {
        let what = match self.dice.below(6) {
            0 | 1 => Blow::Kill,
            2 => Blow::StoreAway,
            _ => return None,
        };
        let when = self.at(points, 25);
        Some(Strike { when, what })
    }

    /// Mostly in an order in which something does go.
    fn let_go(&mut self) {
        if !self.dice.one_in(3) {
            self.steps.push(Step::AcceptDrift);
        }
        let strike = self.store_strike(EXPIRE_POINTS);
        self.steps.push(Step::Expire(strike));
        if self.dice.one_in(2) {
            self.steps.push(Step::PassHours(30));
        }
        let strike = self.store_strike(PRUNE_POINTS);
        self.steps.push(Step::Prune(strike));
    }

    fn clock(&mut self) {
        let (whose, seconds) = *self.dice.choose(&[
            (Whose::Program, 0),
            (Whose::Program, 90_000),
            (Whose::Program, -90_000),
            (Whose::Program, 40),
            (Whose::Source, 0),
            (Whose::Source, 600),
            (Whose::Source, -600),
            (Whose::Source, 7200),
            (Whose::Source, -90_000),
        ]);
        self.steps.push(Step::Clock(whose, seconds));
    }

    /// Faults, what they may hit, and calm again.
    fn faults(&mut self) {
        self.calm();
        if self.dice.one_in(6) {
            return self.stale_listing();
        }
        let deal = if self.dice.one_in(2) { passing_fault } else { fault };
        let faults = (0..=self.dice.below(4)).map(|_| deal(&mut self.dice)).collect();
        self.steps.push(Step::Faults(faults));
        self.fair = Some(1);
        for _ in 0..2 + self.dice.below(3) {
            let pick = self.dice.roll();
            let kind = self.kind();
            let step = match self.dice.below(9) {
                0..=2 => Step::Backup(self.backup_strike()),
                3 => Step::Drill(Pick::Latest, None),
                4 => Step::Trigger(kind),
                5 => Step::Verify(None),
                6 => Step::Prune(None),
                7 => Step::Copy(None),
                _ => Step::Restore {
                    pick,
                    wipe: false,
                    strike: None,
                },
            };
            self.steps.push(step);
        }
    }

    /// Not for expiry and prune: what they do with one is told by `repository::retention::tests::stale`, and some of it is not
    /// promised (docs/reliability/store.md).
    fn stale_listing(&mut self) {
        let faults = vec![stale_listing(&mut self.dice)];
        let step = match self.dice.below(4) {
            0 | 1 => Step::Backup(None),
            2 => Step::Drill(Pick::Latest, None),
            _ => Step::Copy(None),
        };
        self.steps.extend([Step::Faults(faults), step, Step::Calm]);
    }

    /// Something on the way to the source, for one backup.
    fn wire(&mut self) {
        self.calm();
        let (wire, step) = match self.dice.below(8) {
            0 => (ROWS_HANG, Step::Backup(None)),
            1 => (SILENCE, Step::Backup(None)),
            2 | 3 => (wire(&mut self.dice), Step::Trigger(Kind::Backup)),
            _ => (wire(&mut self.dice), Step::Backup(None)),
        };
        self.steps.extend([Step::Wire(wire), step, Step::Calm]);
    }

    fn agent(&mut self) {
        let kind = self.kind();
        let step = match self.dice.below(9) {
            0..=2 => Step::StartAgent(kind),
            3..=5 => Step::Trigger(kind),
            6 => Step::KillAgent(kind),
            _ => {
                let points = if kind == Kind::Backup {
                    BACKUP_POINTS
                } else {
                    DRILL_POINTS
                };
                Step::AgentKilledAt(kind, self.dice.choose::<&str>(points))
            }
        };
        self.steps.push(step);
    }

    fn damage(&mut self) {
        self.calm();
        let (pick, by_drill) = (self.dice.roll(), self.dice.one_in(2));
        let harm = *self.dice.choose(&[Harm::Flip, Harm::Lose]);
        self.steps.push(Step::Damage { pick, harm, by_drill });
    }
}

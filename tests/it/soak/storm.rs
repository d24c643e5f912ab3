//! What goes wrong, one mishap after the other, dealt from a seed before anything runs.

use crate::generator::Dice;
use crate::model::faults::{Fault, fault};
use crate::model::step::{Kind, Side};
use crate::support::s3_proxy::{Fault as OnTheWay, refusals};

/// One mishap.
#[derive(Clone, Debug)]
pub(super) enum Mishap {
    Faults(Vec<Fault>),
    Calm,
    /// The store's server stops and comes back.
    StoreAway,
    /// kill -9 of all its processes, and recovery.
    KillServer(Side),
    CutSessions(Side),
    /// kill -9, and a new one.
    KillAgent(Kind),
    /// SIGUSR1.
    Trigger(Kind),
    /// A bit of an object flips that the newest backup refers to.
    Flip(u64),
    /// Neither agent is there for more than a day.
    DayPasses,
    /// By how many seconds the agents' clocks are wrong from now on.
    Clock(i64),
    /// A backup is restored aside, and its sums are looked at.
    Sample(u64),
}

/// One of each kind that leaves the figures of a short storm comparable; every storm begins with them.
pub(super) fn opening() -> Vec<Mishap> {
    let slow_down = Fault {
        times: 3,
        ..Fault::once(None, "", refusals::SLOW_DOWN)
    };
    let lost = Fault::once(Some("PutObject"), "chunks/", OnTheWay::LoseAnswer);
    let cut = Fault::once(Some("GetObject"), "chunks/", OnTheWay::CutAnswer(7));
    vec![
        Mishap::Faults(vec![slow_down, lost, cut]),
        Mishap::KillAgent(Kind::Backup),
        Mishap::CutSessions(Side::Source),
        Mishap::KillServer(Side::Target),
        Mishap::StoreAway,
        Mishap::KillAgent(Kind::Restore),
        Mishap::KillServer(Side::Source),
    ]
}

/// An endless storm.
pub(super) fn storm(seed: u64) -> impl Iterator<Item = Mishap> {
    let mut dice = Dice::new(seed);
    let dealt = std::iter::from_fn(move || Some(deal(&mut dice)));
    opening().into_iter().chain(dealt)
}

fn deal(dice: &mut Dice) -> Mishap {
    let side = *dice.choose(&[Side::Source, Side::Target]);
    let kind = *dice.choose(&[Kind::Backup, Kind::Restore]);
    match dice.below(40) {
        0..=11 => Mishap::Faults((0..=dice.below(3)).map(|_| fault(dice)).collect()),
        12..=15 => Mishap::Calm,
        16..=18 => Mishap::StoreAway,
        19..=21 => Mishap::KillServer(side),
        22..=24 => Mishap::CutSessions(side),
        25..=28 => Mishap::KillAgent(kind),
        29..=31 => Mishap::Trigger(kind),
        32 => Mishap::Flip(dice.roll()),
        33 | 34 => Mishap::DayPasses,
        35 => Mishap::Clock(*dice.choose(&[0, 0, 3700, -3700])),
        _ => Mishap::Sample(dice.roll()),
    }
}

//! What a plan is made of: steps, and the blows that may fall on a run. Plain data.
//!
//! Which backup a step is about is a number that is taken modulo the backups that there are then.

use super::faults::Fault;
use super::wire::Wire;

/// One step.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Rows, in one transaction.
    Write(String),
    /// Definitions, in one transaction.
    Define(String),
    Backup(Option<Strike>),
    Drill(Pick, Option<Strike>),
    Restore {
        pick: u64,
        /// Into the drill's target, emptied first, instead of a new database.
        wipe: bool,
        strike: Option<Strike>,
    },
    Verify(Option<Strike>),
    Expire(Option<Strike>),
    Prune(Option<Strike>),
    Copy(Option<Strike>),
    /// Expiry and prune in the second repository.
    LetGoThere,
    Hold(u64),
    Unhold(u64),
    AcceptDrift,
    /// What lies in the store grows older by so many hours, or, where its clock was set back, younger.
    PassHours(i64),
    /// A clock is wrong by so many seconds from now on.
    Clock(Whose, i64),
    /// Of the store.
    Faults(Vec<Fault>),
    /// On the way to the source.
    Wire(Wire),
    /// Neither.
    Calm,
    KillServer(Side),
    StartAgent(Kind),
    /// SIGUSR1, and the end of what follows.
    Trigger(Kind),
    KillAgent(Kind),
    /// One that is started, asked for a run, and killed when it comes to this point.
    AgentKilledAt(Kind, &'static str),
    /// Something happens to some object of the newest sound backup. A drill (or a verification) finds it, the next backup heals it.
    Damage {
        pick: u64,
        harm: Harm,
        by_drill: bool,
    },
    /// A bit of a root flips, for a while.
    DamageRoot(u64),
    /// A row of the rebuilt database is changed before it is compared.
    Falsify,
    /// Everything that is expensive to look at.
    CheckAll,
}

/// What happens to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    /// A bit flips.
    Flip,
    /// It is gone.
    Lose,
}

/// Which backup.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pick {
    Latest,
    Any(u64),
}

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Source,
    Target,
}

/// Which agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Backup,
    Restore,
}

/// Whose clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The program's, agents that run already included.
    Program,
    /// The source server's, which dates snapshots.
    Source,
}

/// Something that is done to a run.
#[derive(Clone, Debug)]
pub(crate) struct Strike {
    pub(crate) when: When,
    pub(crate) what: Blow,
}

/// When.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    /// It is at this point, and waits there until the blow is over.
    At(&'static str),
    /// The store has been asked so often since it began.
    Requests(u64),
}

/// What.
#[derive(Clone, Debug)]
pub(crate) enum Blow {
    /// kill -9 of the run itself.
    Kill,
    Write(String),
    KillServer(Side),
    CutSessions(Side),
    /// Expiry and prune beside it.
    LetGo,
    /// The store's server stops and comes back.
    StoreAway,
}

//! Faults of the store and of the way to it, dealt at random: one of the requests that runs make, and what becomes of it.

use std::time::Duration;

use kubebackup::demo::{S3Effect, S3Fault};

use crate::generator::Dice;
use crate::support::World;
use crate::support::s3_proxy::{Fault as OnTheWay, Rule, S3Proxy, refusals};

/// A fault of the store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) operation: Option<&'static str>,
    /// Of the key (of a listing's prefix), below the repository's prefix.
    pub(crate) beginning: &'static str,
    pub(crate) times: usize,
    pub(crate) effect: Effect,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Effect {
    /// The store itself answers so many milliseconds later.
    Late(u64),
    /// Something happens between the program and the store.
    Way(OnTheWay),
}

/// A request, as operation and beginning of its key. Of no operation: any.
type Request = (Option<&'static str>, &'static str);

const REQUESTS: &[Request] = &[
    (None, ""),
    (None, "chunks/"),
    (None, "manifests/"),
    (None, "certificates/"),
    (Some("PutObject"), "chunks/"),
    (Some("PutObject"), "manifests/"),
    (Some("PutObject"), "certificates/"),
    (Some("GetObject"), "chunks/"),
    (Some("GetObject"), "manifests/"),
    (Some("HeadObject"), "chunks/"),
    (Some("ListObjectsV2"), ""),
];

const UPLOADS: &[Request] = &[
    (Some("PutObject"), "chunks/"),
    (Some("PutObject"), "manifests/"),
    (Some("PutObject"), "certificates/"),
];

const DOWNLOADS: &[Request] = &[
    (Some("GetObject"), "chunks/"),
    (Some("GetObject"), "manifests/"),
    (Some("ListObjectsV2"), ""),
];

/// Who wrote these can tell that they have changed.
const OBJECTS: &[Request] = &[(Some("GetObject"), "chunks/"), (Some("GetObject"), "manifests/")];

/// What another attempt gets past, with the requests that it may befall.
pub(super) const PASSING: &[(OnTheWay, &[Request])] = &[
    (OnTheWay::Refuse, REQUESTS),
    (OnTheWay::Hang, REQUESTS),
    (OnTheWay::LoseAnswer, REQUESTS),
    (OnTheWay::Slow(200_000), DOWNLOADS),
    (OnTheWay::CutRequest(7), UPLOADS),
    (OnTheWay::CorruptRequest, UPLOADS),
    (OnTheWay::CutAnswer(7), DOWNLOADS),
    (OnTheWay::StallAnswer(7), DOWNLOADS),
    (refusals::INTERNAL_ERROR, REQUESTS),
    (refusals::SLOW_DOWN, REQUESTS),
    (refusals::UNAVAILABLE, REQUESTS),
    (refusals::REQUEST_TIMEOUT, REQUESTS),
];

/// What nobody gets past who asks again at once.
pub(super) const LASTING: &[OnTheWay] = &[refusals::DENIED, refusals::EXPIRED_TOKEN];

/// Some fault of the store, as often as may be more than a run has attempts.
pub(crate) fn fault(dice: &mut Dice) -> Fault {
    if dice.one_in(10) {
        let (operation, beginning) = *dice.choose(REQUESTS);
        return Fault {
            operation,
            beginning,
            times: 1 + dice.below(8),
            effect: Effect::Late(300),
        };
    }
    let (effect, requests) = if dice.one_in(5) {
        (*dice.choose(LASTING), REQUESTS)
    } else {
        *dice.choose(PASSING)
    };
    let takes_seconds = matches!(
        effect,
        OnTheWay::Hang | OnTheWay::Slow(_) | OnTheWay::StallAnswer(_) | OnTheWay::CorruptRequest
    );
    let (operation, beginning) = match dice.below(12) {
        0 => (None, "leases/"),
        _ => *dice.choose(requests),
    };
    Fault {
        operation,
        beginning,
        times: 1 + dice.below(if takes_seconds { 2 } else { 8 }),
        effect: Effect::Way(effect),
    }
}

/// One that every run survives: it strikes once. A rule counts the calls that another one strikes, so that however many of these
/// there are, no call meets a second one. A lease is too short here for an attempt that hangs.
pub(super) fn passing_fault(dice: &mut Dice) -> Fault {
    let (effect, requests) = match dice.below(8) {
        // Twice in a row would be damage.
        0 => (OnTheWay::CorruptAnswer, OBJECTS),
        _ => *dice.choose(PASSING),
    };
    let kept = |request: &&Request| !request.1.is_empty();
    let requests: Vec<Request> = requests.iter().filter(kept).copied().collect();
    let (operation, beginning) = *dice.choose(&requests);
    Fault::once(operation, beginning, effect)
}

/// What was there before, for one listing of whatever comes first.
pub(super) fn stale_listing(dice: &mut Dice) -> Fault {
    let beginning = *dice.choose(&["manifests/", "certificates/", "damage/", "drift/"]);
    Fault::once(Some("ListObjectsV2"), beginning, OnTheWay::Stale)
}

impl Fault {
    /// That strikes the first of these requests.
    pub(crate) fn once(operation: Option<&'static str>, beginning: &'static str, effect: OnTheWay) -> Self {
        Self {
            operation,
            beginning,
            times: 1,
            effect: Effect::Way(effect),
        }
    }

    /// Whether a run must get past it.
    pub(super) fn passes(&self) -> bool {
        match self.effect {
            Effect::Late(_) => true,
            Effect::Way(OnTheWay::Stale) => false,
            Effect::Way(effect) => self.times == 1 && !LASTING.contains(&effect),
        }
    }

    /// From now on.
    pub(crate) fn inject(&self, world: &World, proxy: &S3Proxy) {
        let key_prefix = match self.beginning {
            "" => String::new(),
            beginning => World::object(beginning),
        };
        let (operation, times) = (self.operation, self.times);
        match self.effect {
            Effect::Late(milliseconds) => world.s3.controls.inject(S3Fault {
                operation,
                key_prefix,
                times,
                effect: S3Effect::Delay(Duration::from_millis(milliseconds)),
            }),
            Effect::Way(fault) => proxy.script(Rule {
                operation,
                key_prefix,
                after: 0,
                times,
                fault,
            }),
        }
    }
}

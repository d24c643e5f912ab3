//! Faults of the store, dealt at random: one of the requests that runs make, and what becomes of it.

use std::time::Duration;

use kubebackup::demo::{S3Effect, S3Fault};

use crate::generator::Dice;
use crate::support::World;

/// A fault of the store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) operation: Option<&'static str>,
    /// Of the key, below the repository's prefix.
    pub(crate) beginning: &'static str,
    pub(crate) times: usize,
    pub(crate) effect: Effect,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Effect {
    Refuse(&'static str),
    Hang,
    Delay(u64),
    LoseAnswer,
}

/// Requests that runs make, as beginnings of keys below the repository's prefix. Listings have no key.
const REQUESTS: &[(Option<&str>, &str)] = &[
    (None, ""),
    (None, "chunks/"),
    (None, "manifests/"),
    (None, "certificates/"),
    (None, "leases/"),
    (Some("PutObject"), "chunks/"),
    (Some("PutObject"), "manifests/"),
    (Some("PutObject"), "certificates/"),
    (Some("GetObject"), "chunks/"),
    (Some("GetObject"), "manifests/"),
    (Some("HeadObject"), "chunks/"),
    (Some("ListObjectsV2"), ""),
];

/// Some fault of the store.
pub(crate) fn fault(dice: &mut Dice) -> Fault {
    let (operation, beginning) = *dice.choose(REQUESTS);
    let effect = *dice.choose(&[
        Effect::Refuse("SlowDown"),
        Effect::Refuse("InternalError"),
        Effect::Refuse("ServiceUnavailable"),
        Effect::Refuse("AccessDenied"),
        Effect::Refuse("RequestTimeout"),
        Effect::Hang,
        Effect::Delay(300),
        Effect::LoseAnswer,
        Effect::LoseAnswer,
    ]);
    let most = if matches!(effect, Effect::Hang) { 2 } else { 8 };
    let times = 1 + dice.below(most);
    Fault {
        operation,
        beginning,
        times,
        effect,
    }
}

impl Fault {
    /// As the store's controls take it.
    pub(crate) fn of_store(&self) -> S3Fault {
        let is_any = self.beginning.is_empty();
        S3Fault {
            operation: self.operation,
            key_prefix: if is_any {
                String::new()
            } else {
                World::object(self.beginning)
            },
            times: self.times,
            effect: match self.effect {
                Effect::Refuse(code) => S3Effect::Refuse(code),
                Effect::Hang => S3Effect::Hang,
                Effect::Delay(milliseconds) => S3Effect::Delay(Duration::from_millis(milliseconds)),
                Effect::LoseAnswer => S3Effect::LoseAnswer,
            },
        }
    }
}

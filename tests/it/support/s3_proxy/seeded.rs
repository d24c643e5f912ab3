//! Faults drawn from a seed.
//!
//! What strikes a call follows from the seed, the operation, the kind of its key and how many of these there were before,
//! and not from the order in which workers come by or from the random parts of keys: the same work under the same seed
//! meets the same faults.

use super::{Call, Fault, refusals};
use crate::generator::Dice;

/// What may strike any call.
const ALL: [Fault; 7] = [
    Fault::Refuse,
    Fault::Hang,
    Fault::Slow(100_000),
    Fault::LoseAnswer,
    refusals::INTERNAL_ERROR,
    refusals::SLOW_DOWN,
    refusals::UNAVAILABLE,
];

/// What may strike one with a body on its way up.
const UPLOADS: [Fault; 2] = [Fault::CutRequest(7), Fault::CorruptRequest];

/// What may strike one with a body on its way down.
const DOWNLOADS: [Fault; 3] = [Fault::CutAnswer(7), Fault::StallAnswer(7), Fault::CorruptAnswer];

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seeded {
    pub(super) seed: u64,
    /// Of calls that are struck.
    pub(super) rate: f64,
}

impl Seeded {
    /// What strikes the call of this number among those of its operation and kind.
    pub(super) fn draw(self, call: &Call, number: usize) -> Option<Fault> {
        let words = [call.operation, call.class()];
        let told = words.iter().flat_map(|word| word.bytes().chain([0]));
        let told = told.chain((number as u64).to_le_bytes());
        // FNV-1a; the dice mix it well.
        let hash = told.fold(self.seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut dice = Dice::new(hash);
        let chance = u32::try_from(dice.below(1_000_000)).unwrap();
        if f64::from(chance) >= self.rate * 1_000_000.0 {
            return None;
        }
        let mut faults = ALL.to_vec();
        if call.uploads() {
            faults.extend(UPLOADS);
        }
        if call.downloads() {
            faults.extend(DOWNLOADS);
        }
        if call.operation == "ListObjectsV2" {
            faults.push(Fault::Stale);
        }
        Some(*dice.choose(&faults))
    }
}

#[test]
fn the_same_seed_draws_the_same_faults_and_another_one_others() {
    let call = |operation, key: &str| Call {
        operation,
        key: key.to_owned(),
    };
    let draws = |seed| {
        let seeded = Seeded { seed, rate: 0.3 };
        let numbers = 0..200;
        let drawn = numbers.map(|number| seeded.draw(&call("PutObject", "it/chunks/aa/1"), number));
        drawn.collect::<Vec<_>>()
    };
    assert_eq!(draws(1), draws(1));
    assert_ne!(draws(1), draws(2));
    let struck = draws(1).iter().flatten().count();
    assert!((30..90).contains(&struck), "{struck} of 200");
    let seeded = Seeded { seed: 1, rate: 0.3 };
    let other_key = (0..200).map(|number| seeded.draw(&call("PutObject", "it/chunks/bb/2"), number));
    assert_eq!(
        other_key.collect::<Vec<_>>(),
        draws(1),
        "a key's random part changes nothing"
    );
}

//! The way to the source, between the program and PostgreSQL: what befalls its connections, dealt at random.
//!
//! Without TLS nobody can know of a byte that changes within a row (`source_faults::connections`), so only what the protocol
//! shows is changed here.

use crate::generator::Dice;
use crate::support::tcp_proxy::{Fault, Way};

/// What befalls every connection of a purpose, all of them when it is empty.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire {
    pub(crate) purpose: &'static str,
    pub(crate) fault: Fault,
}

/// What a backup's connections are for.
const PURPOSES: &[&str] = &["backup", "snapshot", "client program", "stability", "copy"];

/// Where a message says of which kind it is: the first byte that comes back, or goes there.
pub(super) const fn corrupt(way: Way) -> Fault {
    Fault::Corrupt(way, 0, 0x20)
}

/// Rows that stop coming, while the server answers.
pub(super) const ROWS_HANG: Wire = Wire {
    purpose: "copy",
    fault: Fault::Hang(Way::ToClient, 700),
};

/// A server that takes connections and says nothing.
pub(super) const SILENCE: Wire = Wire {
    purpose: "",
    fault: Fault::Hang(Way::ToClient, 0),
};

/// Something that ends a backup, or does not.
pub(super) fn wire(dice: &mut Dice) -> Wire {
    let purpose = *dice.choose(PURPOSES);
    let way = *dice.choose(&[Way::ToServer, Way::ToClient]);
    let fault = match dice.below(8) {
        0 | 1 => Fault::Refuse,
        2..=4 => Fault::Cut(way, *dice.choose(&[0, 50, 700, 4000, 60_000])),
        5 | 6 => corrupt(way),
        _ => Fault::Slow(Way::ToClient, 16 * 1024),
    };
    Wire { purpose, fault }
}

impl Wire {
    /// Whether nothing but the limit on the whole run ends it.
    pub(super) fn hangs(&self) -> bool {
        matches!(self.fault, Fault::Hang(_, bytes) if bytes > 0)
    }
}

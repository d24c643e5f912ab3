//! What a store was asked for, and how it went: by operation and outcome.

use super::{ErrorKind, Put, Result};

/// What is asked of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Put,
    /// Whole objects and ranges.
    Get,
    Head,
    List,
    Delete,
    /// What only a probe of the store asks.
    Probe,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    /// A create-only put met an object of its key: an answer, not a failure.
    Exists,
    Failed(ErrorKind),
}

/// Requests made so far, retries included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestStats {
    /// Sent, by operation.
    pub puts: u64,
    pub gets: u64,
    pub heads: u64,
    pub lists: u64,
    pub deletes: u64,
    /// Attempts beyond the first of any request.
    pub retries: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    /// Ended, by operation and outcome. One that was cancelled under way is not among them.
    pub ended: Ended,
}

/// Numbers by operation and outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended([[u64; Outcome::ALL.len()]; Operation::ALL.len()]);

impl Operation {
    pub const ALL: [Self; 6] = [Self::Put, Self::Get, Self::Head, Self::List, Self::Delete, Self::Probe];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Probe => "probe",
        }
    }

    pub(super) fn position(self) -> usize {
        Self::ALL.iter().position(|known| *known == self).unwrap_or_default()
    }
}

impl Outcome {
    pub const ALL: [Self; 14] = [
        Self::Ok,
        Self::Exists,
        Self::Failed(ErrorKind::NotFound),
        Self::Failed(ErrorKind::NoBucket),
        Self::Failed(ErrorKind::Full),
        Self::Failed(ErrorKind::Credentials),
        Self::Failed(ErrorKind::Denied),
        Self::Failed(ErrorKind::InvalidRange),
        Self::Failed(ErrorKind::TooLarge),
        Self::Failed(ErrorKind::Checksum),
        Self::Failed(ErrorKind::Unavailable),
        Self::Failed(ErrorKind::Unsupported),
        Self::Failed(ErrorKind::Settings),
        Self::Failed(ErrorKind::Other),
    ];

    /// As it stands in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Exists => "exists",
            Self::Failed(ErrorKind::NotFound) => "not_found",
            Self::Failed(ErrorKind::NoBucket) => "no_bucket",
            Self::Failed(ErrorKind::Full) => "full",
            Self::Failed(ErrorKind::Credentials) => "credentials",
            Self::Failed(ErrorKind::Denied) => "denied",
            Self::Failed(ErrorKind::InvalidRange) => "invalid_range",
            Self::Failed(ErrorKind::TooLarge) => "too_large",
            Self::Failed(ErrorKind::Checksum) => "checksum",
            Self::Failed(ErrorKind::Unavailable) => "unavailable",
            Self::Failed(ErrorKind::Unsupported) => "unsupported",
            Self::Failed(ErrorKind::Settings) => "settings",
            Self::Failed(ErrorKind::Other) => "other",
        }
    }

    pub(super) fn of<T>(result: &Result<T>) -> Self {
        match result {
            Ok(_) => Self::Ok,
            Err(error) => Self::Failed(error.kind),
        }
    }

    pub(super) fn of_put(put: Put) -> Self {
        match put {
            Put::Created => Self::Ok,
            Put::Exists => Self::Exists,
        }
    }

    pub(super) fn position(self) -> usize {
        Self::ALL.iter().position(|known| *known == self).unwrap_or_default()
    }
}

impl Ended {
    pub(super) fn from_fn(number: impl Fn(usize, usize) -> u64) -> Self {
        Self(std::array::from_fn(|operation| {
            std::array::from_fn(|outcome| number(operation, outcome))
        }))
    }

    pub(super) fn add(&mut self, operation: Operation, outcome: Outcome) {
        self.0[operation.position()][outcome.position()] += 1;
    }

    #[must_use]
    pub fn get(&self, operation: Operation, outcome: Outcome) -> u64 {
        self.0[operation.position()][outcome.position()]
    }

    /// Those that are not zero.
    pub fn iter(&self) -> impl Iterator<Item = (Operation, Outcome, u64)> {
        let pairs = Operation::ALL
            .into_iter()
            .flat_map(|operation| Outcome::ALL.map(|outcome| (operation, outcome)));
        pairs
            .map(|(operation, outcome)| (operation, outcome, self.get(operation, outcome)))
            .filter(|(_, _, number)| *number > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_operation_and_outcome_has_a_place_and_a_name_of_its_own() {
        let names: BTreeSet<_> = Operation::ALL.map(Operation::as_str).into();
        assert_eq!(names.len(), Operation::ALL.len());
        let names: BTreeSet<_> = Outcome::ALL.map(Outcome::as_str).into();
        assert_eq!(names.len(), Outcome::ALL.len());
        let mut ended = Ended::default();
        ended.add(Operation::Get, Outcome::Failed(ErrorKind::NotFound));
        ended.add(Operation::Probe, Outcome::Failed(ErrorKind::Other));
        let found: Vec<_> = ended.iter().collect();
        assert_eq!(
            found,
            [
                (Operation::Get, Outcome::Failed(ErrorKind::NotFound), 1),
                (Operation::Probe, Outcome::Failed(ErrorKind::Other), 1)
            ]
        );
    }
}

//! The lines of the index that describe databases, in the order that the format wants.

use crate::content::{Membership, Role};
use crate::repository::manifest::{Database, Record};

/// Roles and memberships, then each database's head followed by what belongs to it.
pub(super) fn records(roles: Vec<Role>, memberships: Vec<Membership>, databases: Vec<Database>) -> Vec<Record> {
    let roles = roles.into_iter().map(Record::Role);
    let memberships = memberships.into_iter().map(Record::Membership);
    roles
        .chain(memberships)
        .chain(databases.into_iter().flat_map(of_database))
        .collect()
}

fn of_database(database: Database) -> impl Iterator<Item = Record> {
    std::iter::once(Record::Database(Box::new(database.head)))
        .chain(database.tables.into_iter().map(Record::Table))
        .chain(database.sequences.into_iter().map(Record::Sequence))
        .chain(database.large_objects.into_iter().map(Record::LargeObject))
        .chain(database.materialized_views.into_iter().map(Record::MaterializedView))
        .chain(database.ledger.into_iter().map(Record::Ledger))
        .chain(database.inventory.into_iter().map(Record::Object))
}

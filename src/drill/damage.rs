//! What a damaged object takes with it: the tables whose rows lie in it.

use crate::repository::manifest::{Backup, Segment};

/// Tables named before the rest is only counted.
const NAMED: usize = 10;

/// `chunks/.. is damaged: it holds rows of shop.orders, ...`
pub(super) fn name_damage(backup: &Backup, key: &str) -> String {
    let touched = touched_by(backup, key);
    if touched.is_empty() {
        return format!("{key} is damaged; no table is known to lie in it");
    }
    let mut named = touched[..touched.len().min(NAMED)].join(", ");
    if touched.len() > NAMED {
        named = format!("{named} and {} more", touched.len() - NAMED);
    }
    format!("{key} is damaged; in it lie: {named}")
}

fn touched_by(backup: &Backup, key: &str) -> Vec<String> {
    let numbers: Vec<usize> = (0..backup.chunks.len())
        .filter(|number| backup.chunks[*number].key == key)
        .collect();
    let lies_in = |segments: &[Segment]| {
        segments
            .iter()
            .any(|segment| numbers.contains(&(segment.chunk as usize)))
    };
    let mut touched = Vec::new();
    for database in &backup.databases {
        let name = &database.head.properties.name;
        if lies_in(&database.head.schema_archive) {
            touched.push(format!("the definitions of database {name}"));
        }
        if lies_in(&database.head.large_object_segments) {
            touched.push(format!("large objects of database {name}"));
        }
        let tables = database.tables.iter().filter(|table| lies_in(&table.segments));
        touched.extend(tables.map(|table| format!("table {} of database {name}", table.name())));
    }
    touched
}

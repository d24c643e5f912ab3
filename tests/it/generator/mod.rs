//! Random databases as SQL: every built-in type and every kind of table in each, otherwise dealt at random.
//!
//! The cards (types, shapes of tables) are all dealt in every case, so that coverage is no matter of luck; what is
//! random is which meet, their names, order, values, numbers of rows. `coverage` asks the server what there really is.

mod around;
pub(crate) mod coverage;
mod tables;
mod values;

use proptest::prelude::*;

pub(crate) use tables::{SHAPES, Shape};
pub(crate) use values::{BUILT_INS, NOT_FOR_COLUMNS};

/// Server encoding of a generated database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Utf8,
    Latin1,
    SqlAscii,
}

/// One generated database.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) encoding: Encoding,
    /// Every shape once, in some order; a shape that is not kept (only when shrinking) is left out.
    shapes: Vec<Shape>,
    kept: Vec<bool>,
    /// Every type once as itself, once as array where it has one, and the user's own types.
    columns: Vec<ColumnType>,
    /// One number for each row of each table: what the row holds follows from it.
    rows: Vec<Vec<u64>>,
    /// Names follow from it.
    names: u64,
}

/// What type a column has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColumnType {
    BuiltIn(values::BuiltIn),
    Array(values::BuiltIn),
    /// One of `around::OWN_TYPES`.
    Own(usize),
}

/// Any database of that encoding.
pub(crate) fn case(encoding: Encoding) -> impl Strategy<Value = Case> {
    let columns: Vec<ColumnType> = BUILT_INS
        .iter()
        .map(|built_in| ColumnType::BuiltIn(*built_in))
        .chain(
            BUILT_INS
                .iter()
                .filter(|one| one.has_array())
                .map(|one| ColumnType::Array(*one)),
        )
        .chain((0..around::OWN_TYPES.len()).map(ColumnType::Own))
        .collect();
    (
        Just(SHAPES.to_vec()).prop_shuffle(),
        prop::collection::vec(prop::bool::weighted(1.0), SHAPES.len()),
        Just(columns).prop_shuffle(),
        prop::collection::vec(prop::collection::vec(any::<u64>(), 1..14), SHAPES.len()),
        any::<u64>(),
    )
        .prop_map(move |(shapes, kept, columns, rows, names)| Case {
            encoding,
            shapes,
            kept,
            columns,
            rows,
            names,
        })
}

impl Case {
    /// Nothing was left out for shrinking.
    pub(crate) fn is_whole(&self) -> bool {
        self.kept.iter().all(|kept| *kept)
    }
}

impl Encoding {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF8",
            Self::Latin1 => "LATIN1",
            Self::SqlAscii => "SQL_ASCII",
        }
    }

    /// `CREATE DATABASE` of this encoding.
    pub(crate) fn create_database(self, name: &str) -> String {
        let locale = match self {
            Self::Utf8 => "C.UTF-8",
            Self::Latin1 | Self::SqlAscii => "C",
        };
        format!(
            "CREATE DATABASE \"{name}\" TEMPLATE template0 ENCODING '{}' LOCALE '{locale}'",
            self.name()
        )
    }

    /// What texts are made of. `SQL_ASCII` takes any bytes; some that are no UTF-8 come by `tables`.
    fn characters(self) -> &'static [char] {
        match self {
            Self::Utf8 => &[
                'a',
                'Z',
                '0',
                ' ',
                '\t',
                '\n',
                '\r',
                '\\',
                '\'',
                '"',
                '$',
                'é',
                'ß',
                'Ж',
                '\u{301}',
                '\u{7f}',
                '\u{85}',
                '\u{2028}',
                '机',
                '\u{feff}',
                '👍',
                '\u{10ffff}',
            ],
            Self::Latin1 => &[
                'a', 'Z', '0', ' ', '\t', '\n', '\r', '\\', '\'', '"', 'é', 'ß', 'ÿ', '\u{a0}', '\u{80}',
            ],
            Self::SqlAscii => &['a', 'Z', '0', ' ', '\t', '\n', '\r', '\\', '\'', '"', 'é', '\u{1}'],
        }
    }
}

/// Reproducible choices (SplitMix64): the same seed gives the same row after shrinking something else.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % end as u64).unwrap()
    }

    pub(crate) fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    pub(crate) fn choose<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

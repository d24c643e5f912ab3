//! A case as SQL: types of its own, tables of every shape, rows, and what hangs on tables.

use std::fmt::Write as _;

use kubebackup::content::{QualifiedName, quote_identifier};

use super::around::{AROUND_TABLES, DEFINITIONS, OWN_TYPES};
use super::{Case, ColumnType, Dice, Encoding};

/// What kind of table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Plain,
    PrimaryKey,
    IdentityAlways,
    IdentityByDefault,
    Generated,
    DroppedColumns,
    /// Two leaves, one of them attached with its columns in another order.
    RangePartitioned,
    /// List, then range, with a default partition.
    NestedPartitioned,
    HashByEnum,
    Inherited,
    OfType,
    RowSecurity,
    Toasted,
    Unlogged,
    Empty,
    NoColumns,
}

pub(crate) const SHAPES: &[Shape] = &[
    Shape::Plain,
    Shape::PrimaryKey,
    Shape::IdentityAlways,
    Shape::IdentityByDefault,
    Shape::Generated,
    Shape::DroppedColumns,
    Shape::RangePartitioned,
    Shape::NestedPartitioned,
    Shape::HashByEnum,
    Shape::Inherited,
    Shape::OfType,
    Shape::RowSecurity,
    Shape::Toasted,
    Shape::Unlogged,
    Shape::Empty,
    Shape::NoColumns,
];

/// A table under construction: its name, its columns with types, and where the rows' numbers come from.
struct Table<'a> {
    case: &'a Case,
    name: QualifiedName,
    columns: Vec<(String, ColumnType)>,
    rows: &'a [u64],
    position: usize,
}

impl Case {
    /// Statements that make the database's contents, to be run by a superuser.
    pub(crate) fn sql(&self) -> String {
        let mut sql = DEFINITIONS.to_owned();
        let tables = self.tables();
        for (shape, table) in &tables {
            writeln!(sql, "-- {shape:?}").unwrap();
            table.create(*shape, &mut sql);
        }
        if self.encoding == Encoding::SqlAscii {
            sql.push_str("CREATE TABLE public.any_bytes AS SELECT E'\\xff\\xfe caf\\xe9 \\xc3'::text AS t;\n");
        }
        sql.push_str(AROUND_TABLES);
        sql
    }

    fn tables(&self) -> Vec<(Shape, Table<'_>)> {
        let mut dice = Dice::new(self.names);
        let takers = self.shapes.iter().filter(|shape| **shape != Shape::NoColumns).count();
        let share = self.columns.len().div_ceil(takers);
        let mut dealt = self.columns.chunks(share);
        let mut tables = Vec::new();
        for (position, shape) in self.shapes.iter().enumerate() {
            let types = if *shape == Shape::NoColumns {
                &[]
            } else {
                dealt.next().unwrap_or(&[])
            };
            let columns = types
                .iter()
                .enumerate()
                .map(|(number, column_type)| (self.name(&mut dice, number), *column_type))
                .collect();
            let schema = if dice.one_in(3) { "Schema.\" two" } else { "public" };
            let name = QualifiedName::new(schema, self.name(&mut dice, 1000 + position));
            if self.kept[position] {
                let rows = &self.rows[position];
                tables.push((
                    *shape,
                    Table {
                        case: self,
                        name,
                        columns,
                        rows,
                        position,
                    },
                ));
            }
        }
        tables
    }

    /// A name that no other column or table has, thanks to its number.
    fn name(&self, dice: &mut Dice, number: usize) -> String {
        let styles: &[&str] = match self.encoding {
            Encoding::Utf8 => &[
                "plain_",
                "Größe ",
                "select ",
                "with \"quotes\" ",
                "dot.ted.",
                "列",
                "back\\slash\t",
                "$1 ",
            ],
            Encoding::Latin1 | Encoding::SqlAscii => {
                &["plain_", "Größe ", "select ", "it's \"", "dot.ted.", "back\\slash "]
            }
        };
        let style = *dice.choose(styles);
        if dice.one_in(12) {
            // As long as a name can be, counted in bytes.
            format!("{}{number:04}", "n".repeat(59))
        } else {
            format!("{style}{number}")
        }
    }
}

impl Table<'_> {
    fn create(&self, shape: Shape, sql: &mut String) {
        let (name, columns) = (&self.name, definitions(&self.columns));
        match shape {
            Shape::Plain | Shape::Empty => writeln!(sql, "CREATE TABLE {name} ({});", columns.join(", ")),
            Shape::NoColumns => writeln!(
                sql,
                "CREATE TABLE {name} (); INSERT INTO {name} SELECT FROM generate_series(1, {});",
                self.rows.len()
            ),
            Shape::PrimaryKey => writeln!(
                sql,
                "CREATE TABLE {name} (k integer PRIMARY KEY, up integer REFERENCES {name}, {});",
                columns.join(", ")
            ),
            Shape::IdentityAlways => writeln!(
                sql,
                "CREATE TABLE {name} (i bigint GENERATED ALWAYS AS IDENTITY (MINVALUE -5 START -5 INCREMENT 3) PRIMARY KEY, {});",
                columns.join(", ")
            ),
            Shape::IdentityByDefault => writeln!(
                sql,
                "CREATE TABLE {name} (i smallint GENERATED BY DEFAULT AS IDENTITY UNIQUE, s serial, {});",
                columns.join(", ")
            ),
            Shape::Generated => writeln!(
                sql,
                "CREATE TABLE {name} (double integer GENERATED ALWAYS AS (k * 2) STORED, {}, k integer,
                    label text GENERATED ALWAYS AS ('no. ' || k::text) STORED);",
                columns.join(", ")
            ),
            Shape::DroppedColumns => writeln!(
                sql,
                "CREATE TABLE {name} (gone integer, {}, gone_too text);
                 ALTER TABLE {name} DROP gone, DROP gone_too, ADD late integer DEFAULT 5;",
                columns.join(", ")
            ),
            Shape::RowSecurity => writeln!(
                sql,
                "CREATE TABLE {name} ({}); ALTER TABLE {name} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
                 CREATE POLICY nobody ON {name} USING (false);",
                columns.join(", ")
            ),
            Shape::Toasted => writeln!(
                sql,
                "CREATE TABLE {name} (big text, bytes bytea, {});",
                columns.join(", ")
            ),
            Shape::Unlogged => writeln!(sql, "CREATE UNLOGGED TABLE {name} ({});", columns.join(", ")),
            Shape::OfType => writeln!(
                sql,
                "CREATE TYPE public.of_type AS ({}); CREATE TABLE {name} OF public.of_type;",
                columns.join(", ")
            ),
            Shape::RangePartitioned | Shape::NestedPartitioned | Shape::HashByEnum => {
                sql.push_str(&self.partitioned(shape, &columns));
                Ok(())
            }
            Shape::Inherited => {
                sql.push_str(&self.inherited());
                Ok(())
            }
        }
        .unwrap();
        self.insert(shape, sql);
    }

    fn partitioned(&self, shape: Shape, columns: &[String]) -> String {
        let name = &self.name;
        let columns = columns.join(", ");
        let leaf = |suffix: &str| QualifiedName::new("public", format!("leaf {} {suffix}", self.position));
        match shape {
            Shape::HashByEnum => format!(
                "CREATE TABLE {name} (m public.mood, {columns}) PARTITION BY HASH (m);
                 CREATE TABLE {} PARTITION OF {name} FOR VALUES WITH (MODULUS 2, REMAINDER 0);
                 CREATE TABLE {} PARTITION OF {name} FOR VALUES WITH (MODULUS 2, REMAINDER 1);\n",
                leaf("even"),
                leaf("odd")
            ),
            Shape::NestedPartitioned => format!(
                "CREATE TABLE {name} (k integer, {columns}) PARTITION BY LIST (k);
                 CREATE TABLE {0} PARTITION OF {name} FOR VALUES IN (0, 1) PARTITION BY RANGE (k);
                 CREATE TABLE {1} PARTITION OF {0} FOR VALUES FROM (MINVALUE) TO (1);
                 CREATE TABLE {2} PARTITION OF {0} FOR VALUES FROM (1) TO (MAXVALUE);
                 CREATE TABLE {3} PARTITION OF {name} DEFAULT;\n",
                leaf("branch"),
                leaf("low"),
                leaf("high"),
                leaf("rest")
            ),
            _ => {
                let mut turned = definitions(&self.columns);
                turned.reverse();
                turned.push("k integer".to_owned());
                format!(
                    "CREATE TABLE {name} (k integer, {columns}) PARTITION BY RANGE (k);
                     CREATE TABLE {0} PARTITION OF {name} FOR VALUES FROM (MINVALUE) TO (2);
                     CREATE TABLE {1} ({2}); ALTER TABLE {1} DROP dropped;
                     ALTER TABLE {name} ATTACH PARTITION {1} DEFAULT;\n",
                    leaf("low"),
                    leaf("attached"),
                    ["dropped text".to_owned()]
                        .into_iter()
                        .chain(turned)
                        .collect::<Vec<_>>()
                        .join(", ")
                )
            }
        }
    }

    /// A child whose columns stand in another order than a reload gives them, and a grandchild.
    fn inherited(&self) -> String {
        let (name, half) = (&self.name, self.columns.len() / 2);
        let early = definitions(&self.columns[..half]);
        let late = definitions(&self.columns[half..]);
        let child = QualifiedName::new("public", format!("child {}", self.position));
        let grandchild = QualifiedName::new("public", format!("grandchild {}", self.position));
        let added: Vec<String> = late.iter().map(|column| format!("ADD {column}")).collect();
        format!(
            "CREATE TABLE {name} (k integer, {});
             CREATE TABLE {child} (own text) INHERITS ({name});
             CREATE TABLE {grandchild} (more integer) INHERITS ({child});
             ALTER TABLE {name} {};
             INSERT INTO {child} (k, own) VALUES (1, 'child'), (2, NULL);
             INSERT INTO {grandchild} (k, own, more) VALUES (3, 'grandchild', 3);\n",
            early.join(", "),
            added.join(", ")
        )
    }

    fn insert(&self, shape: Shape, sql: &mut String) {
        if matches!(shape, Shape::Empty | Shape::NoColumns) {
            return;
        }
        let names: Vec<String> = self.columns.iter().map(|(name, _)| quote_identifier(name)).collect();
        for (number, seed) in self.rows.iter().enumerate() {
            let mut dice = Dice::new(*seed);
            let values: Vec<String> = self
                .columns
                .iter()
                .map(|(_, column_type)| self.value(*column_type, &mut dice))
                .collect();
            let (more_names, more_values) = shape_columns(shape, number, &mut dice);
            writeln!(
                sql,
                "INSERT INTO {} ({}) VALUES ({});",
                self.name,
                join(&more_names, &names),
                join(&more_values, &values)
            )
            .unwrap();
        }
    }

    fn value(&self, column_type: ColumnType, dice: &mut Dice) -> String {
        let characters = self.case.encoding.characters();
        if dice.one_in(6) {
            return "NULL".to_owned();
        }
        match column_type {
            ColumnType::BuiltIn(built_in) => built_in.value(dice, characters),
            ColumnType::Array(element) => {
                let (one, two) = (element.value(dice, characters), element.value(dice, characters));
                let array = match dice.below(4) {
                    0 => "ARRAY[]".to_owned(),
                    1 => format!("ARRAY[[{one}, NULL], [{two}, {one}]]"),
                    _ => format!("ARRAY[{one}, {two}, NULL]"),
                };
                format!("{array}::{}[]", element.sql_name())
            }
            ColumnType::Own(position) => dice.choose(&OWN_TYPES[position].1).to_string(),
        }
    }
}

impl ColumnType {
    fn sql_name(self) -> String {
        match self {
            Self::BuiltIn(built_in) => built_in.sql_name(),
            Self::Array(element) => format!("{}[]", element.sql_name()),
            Self::Own(position) => OWN_TYPES[position].0.to_owned(),
        }
    }
}

fn definitions(columns: &[(String, ColumnType)]) -> Vec<String> {
    columns
        .iter()
        .map(|(name, column_type)| format!("{} {}", quote_identifier(name), column_type.sql_name()))
        .collect()
}

/// The columns that only this shape has, with their values in row `number`.
fn shape_columns(shape: Shape, number: usize, dice: &mut Dice) -> (Vec<String>, Vec<String>) {
    let columns: Vec<(&str, String)> = match shape {
        Shape::PrimaryKey if number == 0 => vec![("k", "0".to_owned())],
        Shape::PrimaryKey => vec![("k", number.to_string()), ("up", (number - 1).to_string())],
        Shape::Generated => vec![(
            "k",
            if dice.one_in(3) {
                "NULL".to_owned()
            } else {
                number.to_string()
            },
        )],
        Shape::RangePartitioned | Shape::NestedPartitioned | Shape::Inherited => {
            vec![("k", dice.below(4).to_string())]
        }
        Shape::HashByEnum => vec![(
            "m",
            dice.choose(&["'sad'", "'so-so'", "'before sad'", "NULL"]).to_string(),
        )],
        // Neither of these compresses to nothing, so both leave their row.
        Shape::Toasted => vec![
            (
                "big",
                format!("(SELECT string_agg(md5(i::text), '') FROM generate_series({number}, {number} + 400) i)"),
            ),
            (
                "bytes",
                format!(
                    "(SELECT string_agg(sha512(i::text::bytea), '') FROM generate_series({number}, {number} + 200) i)"
                ),
            ),
        ],
        _ => Vec::new(),
    };
    columns
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .unzip()
}

fn join(first: &[String], second: &[String]) -> String {
    [first, second].concat().join(", ")
}

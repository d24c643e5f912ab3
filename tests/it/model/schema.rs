//! What the source holds, as far as the plan must know it to write statements that work, and those statements: each one
//! transaction, and nothing in it left to chance or to the clock.

use crate::generator::Dice;

/// Tables that there are at most.
const MOST_TABLES: usize = 7;

/// The plan's own picture of the source.
#[derive(Debug, Default)]
pub(super) struct Schema {
    tables: Vec<Table>,
    /// Views and materialized views, and the table that each reads.
    views: Vec<(String, String)>,
    materialized: Vec<(String, String)>,
    functions: Vec<String>,
    sequences: Vec<String>,
    enums: Vec<String>,
    large_objects: Vec<u32>,
    /// Names and numbers that were given so far.
    given: u32,
}

#[derive(Debug)]
struct Table {
    name: String,
    columns: Vec<(String, Type)>,
    /// The next row's.
    id: u64,
}

#[derive(Clone, Copy, Debug)]
enum Type {
    Text,
    Numeric,
    Time,
    Json,
    Bytes,
    Flag,
}

const TYPES: [Type; 6] = [
    Type::Text,
    Type::Numeric,
    Type::Time,
    Type::Json,
    Type::Bytes,
    Type::Flag,
];

impl Type {
    fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Numeric => "numeric",
            Self::Time => "timestamptz",
            Self::Json => "jsonb",
            Self::Bytes => "bytea",
            Self::Flag => "boolean",
        }
    }

    /// A value that follows from `i` and `seed`.
    fn value(self, seed: u64) -> String {
        match self {
            Self::Text => format!("repeat(md5((i # {seed})::text), 1 + (i % 3)::int)"),
            Self::Numeric => format!("i * 1.37 + {seed}"),
            Self::Time => format!("timestamptz '2020-01-01 UTC' + (i + {seed}) * interval '1 minute'"),
            Self::Json => format!("jsonb_build_object('i', i, 'seed', {seed})"),
            Self::Bytes => format!("decode(md5((i + {seed})::text), 'hex')"),
            Self::Flag => format!("(i + {seed}) % 3 = 0"),
        }
    }
}

impl Schema {
    /// Rows that come, change and go.
    pub(super) fn write(&mut self, dice: &mut Dice) -> String {
        let seed = dice.roll() % 100_000;
        if self.tables.is_empty() {
            return self.create_table(dice);
        }
        let place = dice.below(self.tables.len());
        let name = self.tables[place].name.clone();
        match dice.below(14) {
            0 if self.tables.len() > 1 && dice.one_in(2) => format!("TRUNCATE {name};"),
            1 | 2 => format!("DELETE FROM {name} WHERE id % 5 = {};", seed % 5),
            3..=5 => self.update(place, seed),
            6 => match self.sequences.as_slice() {
                [] => self.insert(dice, place),
                sequences => format!(
                    "SELECT nextval('{}') FROM generate_series(1, 7);",
                    dice.choose(sequences)
                ),
            },
            7 => match self.materialized.as_slice() {
                [] => self.insert(dice, place),
                views => format!("REFRESH MATERIALIZED VIEW {};", dice.choose(views).0),
            },
            8 => self.large_object(dice),
            _ => self.insert(dice, place),
        }
    }

    /// Rows alone, by statements that no reader's lock keeps waiting.
    pub(super) fn rows(&mut self, dice: &mut Dice) -> String {
        let (seed, place) = (dice.roll() % 100_000, dice.below(self.tables.len()));
        match dice.below(4) {
            0 => format!("DELETE FROM {} WHERE id % 5 = {};", self.tables[place].name, seed % 5),
            1 => self.update(place, seed),
            _ => self.insert(dice, place),
        }
    }

    /// Definitions that come, change and go.
    pub(super) fn define(&mut self, dice: &mut Dice) -> String {
        if self.tables.len() < 3 {
            return self.create_table(dice);
        }
        let place = dice.below(self.tables.len());
        let name = self.tables[place].name.clone();
        let seed = dice.roll() % 1000;
        match dice.below(20) {
            0..=2 if self.tables.len() < MOST_TABLES => self.create_table(dice),
            3 => self.drop_table(place),
            6 => self.drop_column(dice, place),
            7 => self.retype_column(dice, place),
            8 => format!("CREATE INDEX {} ON {name} (id, (id % {}));", self.name("i"), seed + 2),
            9 => format!(
                "ALTER TABLE {name} ADD CONSTRAINT {} CHECK (id > -{seed}) NOT VALID;",
                self.name("c")
            ),
            10 => format!("COMMENT ON TABLE {name} IS 'number {seed}'; GRANT SELECT ON {name} TO app;"),
            11 => format!("REVOKE ALL ON {name} FROM app;"),
            12 => self.create_view(&name, seed),
            13 => self.create_materialized_view(&name),
            14 => self.drop_view(dice),
            15 | 16 => self.function(dice, seed),
            17 => self.sequence(dice, seed),
            18 => self.enumeration(dice, seed),
            _ => self.add_column(dice, place),
        }
    }

    fn name(&mut self, beginning: &str) -> String {
        self.given += 1;
        format!("{beginning}{}", self.given)
    }

    fn create_table(&mut self, dice: &mut Dice) -> String {
        let name = self.name("t");
        let columns: Vec<(String, Type)> = (0..=dice.below(4))
            .map(|_| (self.name("c"), *dice.choose(&TYPES)))
            .collect();
        let list: Vec<String> = columns
            .iter()
            .map(|(name, kind)| format!("{name} {}", kind.name()))
            .collect();
        let list = list.join(", ");
        let create = if dice.one_in(4) {
            format!(
                "CREATE TABLE {name} (id bigint PRIMARY KEY, {list}) PARTITION BY HASH (id);
                 CREATE TABLE {name}_0 PARTITION OF {name} FOR VALUES WITH (MODULUS 2, REMAINDER 0);
                 CREATE TABLE {name}_1 PARTITION OF {name} FOR VALUES WITH (MODULUS 2, REMAINDER 1);"
            )
        } else {
            format!("CREATE TABLE {name} (id bigint PRIMARY KEY, {list});")
        };
        self.tables.push(Table { name, columns, id: 1 });
        let fill = self.insert(dice, self.tables.len() - 1);
        format!("{create} {fill}")
    }

    fn drop_table(&mut self, place: usize) -> String {
        let table = self.tables.swap_remove(place);
        self.views.retain(|(_, of)| *of != table.name);
        self.materialized.retain(|(_, of)| *of != table.name);
        format!("DROP TABLE {} CASCADE;", table.name)
    }

    fn insert(&mut self, dice: &mut Dice, place: usize) -> String {
        let seed = dice.roll() % 100_000;
        // Now and then enough for several chunks.
        let rows = if dice.one_in(6) { 4000 } else { 1 + dice.roll() % 300 };
        let table = &mut self.tables[place];
        let names: Vec<&str> = table.columns.iter().map(|(name, _)| name.as_str()).collect();
        let values: Vec<String> = table.columns.iter().map(|(_, kind)| kind.value(seed)).collect();
        let (first, last) = (table.id, table.id + rows - 1);
        table.id = last + 1;
        format!(
            "INSERT INTO {} (id, {}) SELECT i, {} FROM generate_series({first}::bigint, {last}) i;",
            table.name,
            names.join(", "),
            values.join(", ")
        )
    }

    fn update(&self, place: usize, seed: u64) -> String {
        let table = &self.tables[place];
        let Some((name, kind)) = table.columns.first() else {
            return format!("UPDATE {} SET id = -id WHERE id % 50 = {};", table.name, seed % 50);
        };
        let value = kind.value(seed);
        format!(
            "UPDATE {0} SET {name} = s.value FROM (SELECT id AS i, {value} AS value FROM (SELECT id, id AS i FROM {0}) x) s
             WHERE s.i = {0}.id AND {0}.id % 7 = {1};",
            table.name,
            seed % 7
        )
    }

    fn add_column(&mut self, dice: &mut Dice, place: usize) -> String {
        let (name, kind) = (self.name("c"), *dice.choose(&TYPES));
        let table = &mut self.tables[place];
        table.columns.push((name.clone(), kind));
        format!("ALTER TABLE {} ADD COLUMN {name} {};", table.name, kind.name())
    }

    fn drop_column(&mut self, dice: &mut Dice, place: usize) -> String {
        if self.tables[place].columns.len() < 2 {
            return self.add_column(dice, place);
        }
        let table = &mut self.tables[place];
        let (name, _) = table.columns.remove(dice.below(table.columns.len()));
        format!("ALTER TABLE {} DROP COLUMN {name};", table.name)
    }

    /// Which rewrites the table.
    fn retype_column(&mut self, dice: &mut Dice, place: usize) -> String {
        let table = &mut self.tables[place];
        let Some((name, kind)) = table.columns.first_mut() else {
            return self.add_column(dice, place);
        };
        *kind = Type::Text;
        format!(
            "ALTER TABLE {} ALTER COLUMN {name} TYPE text USING {name}::text;",
            table.name
        )
    }

    fn create_view(&mut self, of: &str, seed: u64) -> String {
        let name = self.name("v");
        self.views.push((name.clone(), of.to_owned()));
        format!("CREATE VIEW {name} AS SELECT id FROM {of} WHERE id > {seed};")
    }

    fn create_materialized_view(&mut self, of: &str) -> String {
        let name = self.name("m");
        self.materialized.push((name.clone(), of.to_owned()));
        format!("CREATE MATERIALIZED VIEW {name} AS SELECT count(*) AS rows, max(id) AS last FROM {of};")
    }

    fn drop_view(&mut self, dice: &mut Dice) -> String {
        if !self.views.is_empty() {
            let place = dice.below(self.views.len());
            return format!("DROP VIEW {};", self.views.swap_remove(place).0);
        }
        match self.materialized.pop() {
            Some((name, _)) => format!("DROP MATERIALIZED VIEW {name};"),
            None => self.sequence(dice, 3),
        }
    }

    fn function(&mut self, dice: &mut Dice, seed: u64) -> String {
        let body = format!("(n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT n + {seed}';");
        if self.functions.len() > 3 {
            return format!("DROP FUNCTION {};", self.functions.swap_remove(0));
        }
        if !self.functions.is_empty() && dice.one_in(2) {
            return format!("CREATE OR REPLACE FUNCTION {}{body}", dice.choose(&self.functions));
        }
        let name = self.name("f");
        self.functions.push(name.clone());
        format!("CREATE FUNCTION {name}{body}")
    }

    fn sequence(&mut self, dice: &mut Dice, seed: u64) -> String {
        if self.sequences.len() > 3 {
            return format!("DROP SEQUENCE {};", self.sequences.swap_remove(0));
        }
        if !self.sequences.is_empty() && dice.one_in(2) {
            return format!(
                "ALTER SEQUENCE {} RESTART WITH {};",
                dice.choose(&self.sequences),
                seed + 1
            );
        }
        let name = self.name("s");
        self.sequences.push(name.clone());
        format!("CREATE SEQUENCE {name} START {}; SELECT nextval('{name}');", seed + 1)
    }

    fn enumeration(&mut self, dice: &mut Dice, seed: u64) -> String {
        if !self.enums.is_empty() && dice.one_in(2) {
            let label = self.name("label");
            return format!("ALTER TYPE {} ADD VALUE '{label}';", dice.choose(&self.enums));
        }
        let name = self.name("e");
        self.enums.push(name.clone());
        format!("CREATE TYPE {name} AS ENUM ('one', 'two {seed}');")
    }

    fn large_object(&mut self, dice: &mut Dice) -> String {
        if self.large_objects.len() > 2 {
            return format!("SELECT lo_unlink({});", self.large_objects.swap_remove(0));
        }
        self.given += 1;
        let number = 4_000_000 + self.given;
        self.large_objects.push(number);
        let bytes = 1 + dice.roll() % 9000;
        format!("SELECT lo_from_bytea({number}, convert_to(repeat('x{bytes}', {bytes}), 'UTF8'));")
    }
}

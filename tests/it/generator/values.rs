//! Every built-in type that a column can have, with the values at its edges.

use kubebackup::content::quote_literal;

use super::Dice;

/// A type and its edges in the type's own input syntax.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BuiltIn {
    pub(crate) name: &'static str,
    pub(crate) edges: &'static [&'static str],
}

const fn built_in(name: &'static str, edges: &'static [&'static str]) -> BuiltIn {
    BuiltIn { name, edges }
}

/// Types whose input function refuses everything, or that only the catalogue uses: no column of a user's has them.
pub(crate) const NOT_FOR_COLUMNS: &[&str] = &[
    "gtsvector",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_ndistinct",
    "pg_node_tree",
];

/// Types without an array of their own that `ARRAY[...]` could make.
const WITHOUT_ARRAY: &[&str] = &["int2vector", "oidvector"];

pub(crate) const BUILT_INS: &[BuiltIn] = &[
    built_in("bool", &["true", "false"]),
    built_in("int2", &["-32768", "32767", "0"]),
    built_in("int4", &["-2147483648", "2147483647", "0"]),
    built_in("int8", &["-9223372036854775808", "9223372036854775807", "1"]),
    built_in(
        "float4",
        &[
            "-0",
            "NaN",
            "Infinity",
            "-Infinity",
            "1e-45",
            "3.4028235e38",
            "1.1754942e-38",
            "0.1",
        ],
    ),
    built_in(
        "float8",
        &[
            "-0",
            "NaN",
            "Infinity",
            "-Infinity",
            "5e-324",
            "-5e-324",
            "1.7976931348623157e308",
            "2.2250738585072011e-308",
            "0.1",
            "1e22",
        ],
    ),
    built_in(
        "numeric",
        &[
            "NaN",
            "Infinity",
            "-Infinity",
            "-0.00",
            "0.10",
            "1e131071",
            "1e-16383",
            "123456789012345678901234567890.123456789",
            "-1000000000000000000000",
        ],
    ),
    built_in("money", &["-92233720368547758.08", "92233720368547758.07", "0.01"]),
    built_in(
        "text",
        &[
            "",
            "\\N",
            "\\.",
            "a\tb\nc\rd\u{b}\u{c}\u{8}e\\f",
            " ' \" $$ ",
            "NULL",
            "\\\\x41",
        ],
    ),
    built_in("varchar", &["", "trailing  ", "\\t"]),
    built_in("bpchar", &["", "padded   ", "\\"]),
    built_in("char", &["x", "", "\\"]),
    built_in("name", &["", "pg_catalog", "x\\y"]),
    built_in("bytea", &["\\x", "\\x00", "\\xdeadbeef5c0a09", "\\x5c2e0a"]),
    built_in(
        "date",
        &[
            "4713-11-24 BC",
            "5874897-12-31",
            "infinity",
            "-infinity",
            "0001-01-01",
            "2024-02-29",
        ],
    ),
    built_in("time", &["00:00:00", "24:00:00", "23:59:59.999999"]),
    built_in(
        "timetz",
        &["00:00:00+15:59:59", "24:00:00-15:59:59", "12:30:00.000001+05:30"],
    ),
    built_in(
        "timestamp",
        &[
            "4713-11-24 00:00:00 BC",
            "294276-12-31 23:59:59.999999",
            "infinity",
            "-infinity",
            "2000-01-01",
        ],
    ),
    built_in(
        "timestamptz",
        &[
            "4713-11-24 00:00:00+00 BC",
            "294276-12-31 23:59:59.999999+00",
            "infinity",
            "-infinity",
            "2026-10-25 02:30:00+02",
        ],
    ),
    built_in(
        "interval",
        &[
            "-178000000 years",
            "178000000 years",
            "1 mon -1 day 00:00:00.000001",
            "-00:00:01.5",
            "0",
        ],
    ),
    built_in(
        "uuid",
        &[
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
        ],
    ),
    built_in(
        "inet",
        &["0.0.0.0/0", "10.1.2.3/8", "::1", "2001:db8::ff/64", "255.255.255.255"],
    ),
    built_in("cidr", &["10.0.0.0/8", "::/0", "2001:db8::/32"]),
    built_in("macaddr", &["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"]),
    built_in("macaddr8", &["08:00:2b:01:02:03:04:05", "ff:ff:ff:ff:ff:ff:ff:ff"]),
    built_in("bit", &["0", "1"]),
    built_in(
        "varbit",
        &[
            "",
            "101010101",
            "1111111111111111111111111111111111111111111111111111111111111111111",
        ],
    ),
    built_in(
        "json",
        &[
            "null",
            "{\"a\":1, \"a\" : 2}",
            "[]",
            "  \"tab\\tescaped \\u0041\"  ",
            "-0.0e-10",
            "{\"\":{}}",
        ],
    ),
    built_in(
        "jsonb",
        &[
            "null",
            "{\"b\": [1, null, {\"c\": \"d\\\\e\\n\"}], \"a\": 1e400}",
            "[]",
            "\"\"",
            "12345678901234567890.10",
        ],
    ),
    built_in(
        "jsonpath",
        &["$", "$.\"a b\"[*] ? (@.x > 1 && @ like_regex \"^a\")", "strict $[last]"],
    ),
    built_in(
        "xml",
        &[
            "<a/>",
            "<a b=\"c\">d &amp; e<!-- f --></a>",
            "content only",
            "<t>\\\t\n</t>",
        ],
    ),
    built_in("tsvector", &["", "'a':1A,16383 'fat':2B 'it''s' '\\\\' ' '", "'only'"]),
    built_in("tsquery", &["", "'fat' & !('rat' | 'a':*AB) <2> 'b'", "'it''s'"]),
    built_in("point", &["(-0,1e308)", "(NaN,Infinity)", "(0.1,0.2)"]),
    built_in("line", &["{1,-1,0}", "{0,1,-5e-324}"]),
    built_in("lseg", &["[(0,0),(1,1)]", "[(-1e300,2),(3,-0)]"]),
    built_in("box", &["(1,1),(0,0)", "(Infinity,2),(-Infinity,1)"]),
    built_in("path", &["[(0,0),(1,1)]", "((0,0),(1,1),(2,0))"]),
    built_in("polygon", &["((0,0),(1,1),(2,0))", "((0,0))"]),
    built_in("circle", &["<(0,0),0>", "<(1.5,-2),Infinity>"]),
    built_in("int4range", &["empty", "(,)", "[1,5)", "[2147483646,)"]),
    built_in("int8range", &["empty", "(,)", "[-9223372036854775808,0)"]),
    built_in("numrange", &["empty", "(0.10,0.100]", "[-Infinity,NaN)", "(,1e100)"]),
    built_in(
        "tsrange",
        &["empty", "[-infinity,infinity]", "(,\"2000-01-01 00:00:00.000001\")"],
    ),
    built_in(
        "tstzrange",
        &["empty", "[2000-01-01+00,)", "(-infinity,2026-01-01 00:00+14]"],
    ),
    built_in("daterange", &["empty", "[2000-01-01,2000-02-01)", "(,infinity)"]),
    built_in("int4multirange", &["{}", "{[1,3),[5,7)}", "{(,)}"]),
    built_in("int8multirange", &["{}", "{[1,3),[5,)}"]),
    built_in("nummultirange", &["{}", "{[0.10,0.2],(1,NaN]}"]),
    built_in(
        "tsmultirange",
        &["{}", "{[2000-01-01,2001-01-01),[2002-01-01,infinity)}"],
    ),
    built_in("tstzmultirange", &["{}", "{(,2000-01-01+00),[2002-01-01+00,)}"]),
    built_in("datemultirange", &["{}", "{[2000-01-01,2000-02-01),[2001-01-01,)}"]),
    built_in("oid", &["0", "4294967295"]),
    built_in("xid", &["0", "4294967295"]),
    built_in("xid8", &["0", "18446744073709551615"]),
    built_in("cid", &["0", "4294967295"]),
    built_in("tid", &["(0,1)", "(4294967295,65535)"]),
    built_in("pg_lsn", &["0/0", "FFFFFFFF/FFFFFFFF"]),
    built_in("pg_snapshot", &["10:20:10,14,15", "1:1:"]),
    built_in("txid_snapshot", &["10:20:10,14,15", "1:1:"]),
    built_in("int2vector", &["", "1 -2 3"]),
    built_in("oidvector", &["", "1 4294967295"]),
    built_in("refcursor", &["", "a cursor"]),
    built_in("aclitem", &["postgres=arwdDxt/postgres", "=r*/postgres"]),
    built_in("regclass", &["pg_catalog.pg_class", "-"]),
    built_in("regtype", &["integer", "timestamp with time zone[]"]),
    built_in("regproc", &["pg_catalog.now"]),
    built_in("regprocedure", &["pg_catalog.abs(integer)"]),
    built_in("regoper", &["pg_catalog.||/"]),
    built_in(
        "regoperator",
        &["pg_catalog.+(integer,integer)", "pg_catalog.-(NONE,integer)"],
    ),
    built_in("regconfig", &["pg_catalog.english"]),
    built_in("regdictionary", &["pg_catalog.simple"]),
    built_in("regnamespace", &["pg_catalog"]),
    built_in("regrole", &["postgres", "pg_read_all_data"]),
    built_in("regcollation", &["pg_catalog.\"C\""]),
];

impl BuiltIn {
    /// As `CREATE TABLE` wants it: `"char"` is not `char`.
    pub(crate) fn sql_name(self) -> String {
        format!("pg_catalog.\"{}\"", self.name)
    }

    pub(crate) fn has_array(self) -> bool {
        !WITHOUT_ARRAY.contains(&self.name)
    }

    /// One value as an SQL expression: an edge, or for the common types often something in between.
    pub(crate) fn value(self, dice: &mut Dice, characters: &[char]) -> String {
        let text = match self.name {
            "text" | "varchar" | "bpchar" if dice.one_in(2) => text(dice, characters),
            "json" | "jsonb" if dice.one_in(3) => json(&text(dice, characters)),
            "bytea" if dice.one_in(2) => bytes(dice),
            "int8" if dice.one_in(2) => dice.roll().cast_signed().to_string(),
            "int4" if dice.one_in(2) => i32::from_le_bytes(first_bytes(dice.roll())).to_string(),
            "float8" if dice.one_in(2) => f64::from_bits(dice.roll()).to_string(),
            "float4" if dice.one_in(2) => f32::from_bits(u32::from_le_bytes(first_bytes(dice.roll()))).to_string(),
            "numeric" if dice.one_in(2) => format!("{}.{:019}", dice.roll().cast_signed(), dice.roll() >> 3),
            "uuid" if dice.one_in(2) => format!("{:016x}{:016x}", dice.roll(), dice.roll()),
            _ => (*dice.choose(self.edges)).to_owned(),
        };
        format!("{}::{}", quote_literal(&text), self.sql_name())
    }
}

fn first_bytes(number: u64) -> [u8; 4] {
    let [a, b, c, d, ..] = number.to_le_bytes();
    [a, b, c, d]
}

fn text(dice: &mut Dice, characters: &[char]) -> String {
    (0..dice.below(24)).map(|_| *dice.choose(characters)).collect()
}

fn json(text: &str) -> String {
    serde_json::json!({ "text": text, "n": [text.len(), null_or(text)] }).to_string()
}

fn null_or(text: &str) -> Option<&str> {
    text.get(..1)
}

fn bytes(dice: &mut Dice) -> String {
    let bytes: Vec<u8> = (0..dice.below(64)).map(|_| first_bytes(dice.roll())[0]).collect();
    format!("\\x{}", hex::encode(bytes))
}

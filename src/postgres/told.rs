//! What of PostgreSQL's words may be told: those that name objects and no values of rows.
//!
//! A message may quote anything: an input function its input, `RAISE` whatever somebody wrote. So nothing is cut out of a
//! message that is not known; only one of a known shape (`messages`) is told, its names as they are and its values as dots.

mod messages;

use messages::{HINTS, KINDS, MESSAGES};

/// In the place of words of no known shape.
pub(super) const KEPT_BACK: &str = "(words that may quote a row; the server's log has them)";

/// In the place of a value.
const DOTS: &str = "...";

/// Names and signatures are not longer; a value that is looked through for the end of one may be a gigabyte.
const NAME_MAX_BYTES: usize = 1000;

/// The rest of a shape holds what ends its value no more often than this.
const VALUE_ENDS: usize = 2;

/// A message of the server's, of libpq's or of a client program's, where its shape is known.
pub(super) fn message(text: &str) -> Option<String> {
    first_fit(MESSAGES, text)
}

/// A hint of the server's, likewise.
pub(super) fn hint(text: &str) -> Option<String> {
    first_fit(HINTS, text)
}

/// Without what stands in quotation marks or behind a colon: a message of the server's own about a value.
pub(super) fn without_quotations(text: &str) -> String {
    let head = text.split_once(": ").map_or(text, |(head, _)| head);
    let mut told = String::new();
    for (place, part) in head.split('"').enumerate() {
        match place % 2 {
            0 => told.push_str(part),
            _ => told.push_str("\"...\""),
        }
    }
    told
}

fn first_fit(shapes: &[&str], text: &str) -> Option<String> {
    shapes.iter().find_map(|shape| {
        let mut told = String::new();
        fit(shape, text, &mut told).then_some(told)
    })
}

/// Whether all of `text` is of the shape; `told` then holds it as far as it may be told.
fn fit(shape: &str, text: &str, told: &mut String) -> bool {
    let Some((literal, rest)) = shape.split_once('%') else {
        told.push_str(shape);
        return shape == text;
    };
    let Some(text) = text.strip_prefix(literal) else {
        return false;
    };
    told.push_str(literal);
    let Some(slot) = rest.chars().next().and_then(Slot::of) else {
        return false;
    };
    let rest = &rest[1..];
    let begun = told.len();
    slot.ends(text, rest).into_iter().any(|end| {
        let part = &text[..end];
        if !slot.takes(part) {
            return false;
        }
        told.truncate(begun);
        told.push_str(if slot == Slot::Value { DOTS } else { part });
        fit(rest, &text[end..], told)
    })
}

/// What may stand where a shape has `%` and a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    /// `%n`: a name, a type, a signature.
    Name,
    /// `%k`: the kind of an object.
    Kind,
    /// `%d`: a number.
    Number,
    /// `%w`: small words of PostgreSQL's own.
    Words,
    /// `%e`: how the system says what is wrong.
    System,
    /// `%v`: never told.
    Value,
}

impl Slot {
    fn of(letter: char) -> Option<Self> {
        Some(match letter {
            'n' => Self::Name,
            'k' => Self::Kind,
            'd' => Self::Number,
            'w' => Self::Words,
            'e' => Self::System,
            'v' => Self::Value,
            _ => return None,
        })
    }

    /// Where it may end: before each place at which the shape could go on. A value ends as late as it can, so that nothing
    /// within it passes for the rest of the message.
    fn ends(self, text: &str, rest: &str) -> Vec<usize> {
        let (literal, is_last) = rest
            .split_once('%')
            .map_or((rest, true), |(literal, _)| (literal, false));
        if is_last {
            return text.strip_suffix(literal).map(str::len).into_iter().collect();
        }
        if self == Self::Value {
            let ends = text.rmatch_indices(literal).map(|(end, _)| end);
            return ends.take(VALUE_ENDS).collect();
        }
        let ends = text.match_indices(literal).map(|(end, _)| end);
        ends.take_while(|end| *end <= NAME_MAX_BYTES).collect()
    }

    fn takes(self, part: &str) -> bool {
        let small = |byte: u8| byte.is_ascii_lowercase() || byte == b' ' || byte == b'-';
        match self {
            Self::Value => true,
            _ if part.is_empty() || part.len() > NAME_MAX_BYTES => false,
            Self::Name => true,
            Self::Kind => KINDS.contains(&part),
            Self::Number => part.bytes().all(|byte| byte.is_ascii_digit()),
            Self::Words => part.bytes().all(small),
            Self::System => part
                .bytes()
                .all(|byte| byte.is_ascii_alphabetic() || b" /-,.()'".contains(&byte)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "marker-61f0";

    #[track_caller]
    fn assert_told(text: &str, expected: &str) {
        assert_eq!(message(text).as_deref(), Some(expected));
    }

    #[test]
    fn messages_that_name_objects_are_told_as_they_are() {
        for text in [
            r#"relation "shop.orders" does not exist"#,
            r#"role "y" does not exist"#,
            r#"column "a" of relation "t" does not exist"#,
            r#"constraint "c" for relation "t" already exists"#,
            "function public.parse(text, integer) does not exist",
            "permission denied for schema private",
            "permission denied to create extension \"postgis\"",
            "must be owner of foreign-data wrapper w",
            r#"extension "z" is not available"#,
            r#"could not open extension control file "/usr/share/postgresql/15/extension/z.control": No such file or directory"#,
            r#"could not access file "$libdir/x": No such file or directory"#,
            r#"could not extend file "base/5/16397": No space left on device"#,
            r#"could not create unique index "shop_idx""#,
            r#"insert or update on table "a" violates foreign key constraint "a_b_fkey""#,
            r#"new row for relation "t" violates check constraint "t_n_check""#,
            r#"collation "de_x" for encoding "UTF8" does not exist"#,
            r#"unrecognized configuration parameter "shop.flavour""#,
            "functions in index expression must be marked IMMUTABLE",
            "data type point has no default operator class for access method \"btree\"",
            "temporary file size exceeds temp_file_limit (64kB)",
            "canceling statement due to statement timeout",
            "out of shared memory",
            "no pg_hba.conf entry for host \"10.0.0.7\", user \"u\", database \"d\", no encryption",
            "connection to server at \"10.0.0.7\", port 5432 failed: No route to host",
        ] {
            assert_told(text, text);
        }
    }

    #[test]
    fn a_value_is_never_told_wherever_the_message_has_it() {
        for (text, told) in [
            (
                "invalid input syntax for type integer: \"marker-61f0\"",
                "invalid input syntax for type integer: ...",
            ),
            (
                "date/time field value out of range: \"31/12/2020 marker-61f0\"",
                "date/time field value out of range: ...",
            ),
            (
                "invalid input value for enum mood: \"marker-61f0\"",
                "invalid input value for enum mood: ...",
            ),
            (
                "value \"marker-61f0\" is out of range for type integer",
                "value \"...\" is out of range for type integer",
            ),
            (
                // A value that reads like the message around it.
                "value \"9\" is out of range for type marker-61f0\" is out of range for type integer",
                "value \"...\" is out of range for type integer",
            ),
            (
                "syntax error at or near \"'marker-61f0'\"",
                "syntax error at or near \"...\"",
            ),
            (
                // Its first line, where a value holds line breaks.
                "malformed array literal: \"marker-61f0",
                "malformed array literal: ...",
            ),
            (
                "character with byte sequence 0xe2 0x82 in encoding \"UTF8\" has no equivalent in encoding \"LATIN1\"",
                "character with byte sequence ... in encoding \"UTF8\" has no equivalent in encoding \"LATIN1\"",
            ),
        ] {
            assert_told(text, told);
            assert!(!told.contains(SECRET), "{told}");
        }
    }

    #[test]
    fn a_message_of_no_known_shape_is_not_told_at_all() {
        for text in [
            "bad marker-61f0",
            "patient \"marker-61f0\" does not exist",
            "could not open file \"f\": 61f0",
            "relation \"t\" does not exist for marker-61f0",
            "ungültige Eingabesyntax für Typ integer: »marker-61f0«",
            "",
        ] {
            assert_eq!(message(text), None, "{text}");
        }
        assert_eq!(hint("Look at marker-61f0."), None);
        let known = "Perhaps you need a different \"datestyle\" setting.";
        assert_eq!(hint(known).as_deref(), Some(known));
    }

    #[test]
    fn shapes_are_well_formed_and_each_is_of_use() {
        for shape in MESSAGES.iter().chain(HINTS) {
            for slot in shape.split('%').skip(1) {
                assert!(slot.chars().next().and_then(Slot::of).is_some(), "{shape}");
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        assert!(MESSAGES.iter().chain(HINTS).all(|shape| seen.insert(shape)));
    }

    #[test]
    fn a_value_of_any_length_is_looked_through_once() {
        let long = "\" is out of range for type ".repeat(100_000);
        let text = format!("value \"{long}\" is out of range for type integer");
        assert_told(&text, "value \"...\" is out of range for type integer");
        assert_eq!(message(&"relation \"".repeat(100_000)), None);
    }

    #[test]
    fn quotations_go_where_the_state_alone_is_known() {
        assert_eq!(without_quotations("a b: \"marker\" c"), "a b");
        assert_eq!(
            without_quotations("unit \"marker\" for \"x\" is odd"),
            "unit \"...\" for \"...\" is odd"
        );
        assert_eq!(without_quotations("cut off \"mark"), "cut off \"...\"");
        assert_eq!(without_quotations("division by zero"), "division by zero");
    }
}

//! Ways to bend a JSON document that stay close to what a reader expects: those are where it may trust too much.

use proptest::prelude::*;
use serde_json::Value;

/// One change somewhere in the document.
#[derive(Clone, Debug)]
pub(crate) struct Mutation {
    place: prop::sample::Index,
    change: Change,
}

#[derive(Clone, Debug)]
enum Change {
    Drop,
    /// The same field or element once more.
    Duplicate,
    Replace(Value),
    /// Raw text in its place, which need be no JSON.
    Raw(Vec<u8>),
    /// The end of the whole document is lost.
    Cut(prop::sample::Index),
}

/// Texts that lead elsewhere where they are taken for a key, a name or a number.
fn texts() -> Vec<String> {
    serde_json::from_str(include_str!("../../../tests/corpus/texts.json")).unwrap()
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop::sample::select(vec![0, 1, 2, 255, 1 << 31, 1 << 32, 1 << 53, 1 << 63, u64::MAX]).prop_map(Value::from),
        prop::sample::select(vec![-1, i64::MIN]).prop_map(Value::from),
        prop::sample::select(vec![0.5, -0.0, 1e308, 1e-300]).prop_map(Value::from),
        prop::sample::select(texts()).prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        (1..5000usize).prop_map(|length| Value::from("x".repeat(length))),
        (1..200usize).prop_map(|depth| (0..depth).fold(Value::Null, |inner, _| Value::from(vec![inner]))),
        (0..50usize).prop_map(|length| Value::from(vec![Value::Null; length])),
        Just(Value::Object(serde_json::Map::new())),
    ]
}

pub(crate) fn mutation() -> impl Strategy<Value = Mutation> {
    let raw: Vec<&[u8]> = vec![
        &b"\xff"[..],
        b"NaN",
        b"1e999",
        b"-",
        b"99999999999999999999999999999999999999",
        b"0x10",
        b"\"\\ud800\"",
        b"\"\xc0\xaf\"",
        b"",
        b"}",
        b"[",
    ];
    let change = prop_oneof![
        2 => Just(Change::Drop),
        2 => Just(Change::Duplicate),
        6 => value().prop_map(Change::Replace),
        2 => prop::sample::select(raw).prop_map(|raw| Change::Raw(raw.to_vec())),
        1 => any::<prop::sample::Index>().prop_map(Change::Cut),
    ];
    (any::<prop::sample::Index>(), change).prop_map(|(place, change)| Mutation { place, change })
}

/// The document's text as the mutations leave it.
pub(crate) fn apply<'a>(document: &Value, mutations: impl Iterator<Item = &'a Mutation>) -> Vec<u8> {
    let places = count(document);
    let (mut at, mut cut) = (Vec::new(), None);
    for mutation in mutations {
        match &mutation.change {
            Change::Cut(index) => cut = Some(*index),
            change => at.push((mutation.place.index(places), change)),
        }
    }
    let mut text = Vec::new();
    write(document, &mut 0, &at, &mut text);
    if let Some(index) = cut {
        text.truncate(index.index(text.len() + 1));
    }
    text
}

/// Every field and element counts as a place; the document itself does not.
fn count(value: &Value) -> usize {
    inner_places(value).max(1)
}

/// `serde_json` writes no field twice and no text that is no JSON; so this does.
fn write(value: &Value, number: &mut usize, changes: &[(usize, &Change)], text: &mut Vec<u8>) {
    match value {
        Value::Array(elements) => {
            let elements = elements.iter().map(|element| (None, element));
            write_all((b'[', b']'), elements, number, changes, text);
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, field)| (Some(name.as_str()), field));
            write_all((b'{', b'}'), fields, number, changes, text);
        }
        scalar => text.extend(serde_json::to_vec(scalar).unwrap()),
    }
}

fn write_all<'a>(
    (open, close): (u8, u8),
    entries: impl Iterator<Item = (Option<&'a str>, &'a Value)>,
    number: &mut usize,
    changes: &[(usize, &Change)],
    text: &mut Vec<u8>,
) {
    text.push(open);
    let mut is_first = true;
    for (name, value) in entries {
        let here = *number;
        *number += 1;
        let change = changes
            .iter()
            .find(|(place, _)| *place == here)
            .map(|(_, change)| *change);
        let mut entry = Vec::new();
        if let Some(name) = name {
            entry.extend(serde_json::to_vec(name).unwrap());
            entry.push(b':');
        }
        match change {
            Some(Change::Replace(other)) => entry.extend(serde_json::to_vec(other).unwrap()),
            Some(Change::Raw(raw)) => entry.extend_from_slice(raw),
            _ => write(value, number, changes, &mut entry),
        }
        // Places within what was replaced are passed over all the same.
        *number = here + 1 + inner_places(value);
        let times = match change {
            Some(Change::Drop) => 0,
            Some(Change::Duplicate) => 2,
            _ => 1,
        };
        for _ in 0..times {
            if !std::mem::take(&mut is_first) {
                text.push(b',');
            }
            text.extend_from_slice(&entry);
        }
    }
    text.push(close);
}

fn inner_places(value: &Value) -> usize {
    match value {
        Value::Array(elements) => elements.iter().map(|element| 1 + inner_places(element)).sum(),
        Value::Object(fields) => fields.values().map(|field| 1 + inner_places(field)).sum(),
        _ => 0,
    }
}

//! The documents of `tests/corpus`, and what is said of each.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{KINDS, Kind, Scene, check_refusal, join, key};

/// One bent document.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// Of the documents that lie here.
    #[serde(default)]
    kind: String,
    pub(crate) what: String,
    #[serde(default)]
    set: Map<String, Value>,
    #[serde(default)]
    remove: Vec<String>,
    pub(crate) text: Option<String>,
}

impl Entry {
    fn kind(&self) -> Kind {
        let found = KINDS.iter().find(|(_, name)| *name == self.kind);
        found.unwrap_or_else(|| panic!("no kind '{}'", self.kind)).0
    }

    pub(crate) fn bend(&self, mut document: Value) -> Value {
        for (pointer, value) in &self.set {
            let place = document.pointer_mut(pointer);
            *place.unwrap_or_else(|| panic!("{}: nothing at {pointer}", self.what)) = value.clone();
        }
        for pointer in &self.remove {
            let (above, name) = pointer.rsplit_once('/').unwrap();
            let above = document.pointer_mut(above).unwrap().as_object_mut().unwrap();
            above
                .remove(name)
                .unwrap_or_else(|| panic!("{}: nothing at {pointer}", self.what));
        }
        document
    }

    fn of(&self, kind: Kind, documents: Vec<Value>) -> Vec<u8> {
        if let Some(text) = &self.text {
            return text.clone().into_bytes();
        }
        let lines = |documents: &[Value]| documents.iter().map(|line| serde_json::to_vec(line).unwrap()).collect();
        if kind == Kind::Index {
            let bent = self.bend(Value::Array(documents));
            let lines: Vec<Vec<u8>> = lines(bent.as_array().unwrap());
            return join(&lines);
        }
        let bent: Vec<Value> = documents.into_iter().map(|document| self.bend(document)).collect();
        let lines: Vec<Vec<u8>> = lines(&bent);
        lines.concat()
    }
}

/// What zstd makes of the same rows may change with its version.
fn without_digests(text: &str) -> String {
    const DIGITS: usize = 64;
    let mut text = text.to_owned();
    let is_digest = |text: &str, at: usize| {
        let digits = text.get(at..at + DIGITS);
        digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    while let Some(at) = (0..text.len()).find(|at| is_digest(&text, *at)) {
        // The number behind it goes with the time of day.
        let number = text[at + DIGITS..].strip_prefix('.').map_or(0, |rest| {
            1 + rest.len() - rest.trim_start_matches(|digit: char| digit.is_ascii_digit()).len()
        });
        let end = at + DIGITS + if number > 1 { number } else { 0 };
        text.replace_range(at.saturating_sub(3)..end, "<digest>");
    }
    text
}

#[test]
fn every_document_of_the_corpus_is_answered_as_it_was() {
    let entries: Vec<Entry> = serde_json::from_str(include_str!("../../../tests/corpus/documents.json")).unwrap();
    let scene = Scene::new();
    let mut answers = String::new();
    for entry in entries {
        let kind = entry.kind();
        let object = scene.runtime.block_on(scene.ground.object(&key(kind)));
        scene.put_sealed(kind, &entry.of(kind, scene.document(kind)));
        let answer = match scene.read(kind) {
            Ok(()) => "taken".to_owned(),
            Err(refused) => {
                check_refusal(&refused);
                without_digests(&refused.to_string())
            }
        };
        scene.ground.store.replace(&key(kind), object);
        let (kind, what) = (&entry.kind, &entry.what);
        writeln!(answers, "{kind} {what}\n    {answer}").unwrap();
    }
    insta::assert_snapshot!(answers);
}

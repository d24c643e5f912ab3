//! Whoever can write to the bucket writes certificates: bent in every way they are read without a panic, and either shown as
//! lines that move no terminal or refused in one line.

use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::Value;

use super::super::{render, samples};
use super::*;
use crate::repository::adversary::check_refusal;
use crate::repository::adversary::corpus::Entry;
use crate::repository::adversary::mutation::{self, mutation};
use crate::telemetry::plain;

const KEY: &str = "certificates/20261121T055117Z-8f3a2c1d/20261121T060000Z-00000001.certified.json";

fn sample() -> Value {
    serde_json::to_value(samples::certified()).unwrap()
}

/// As `show` reads and prints it; the refusal, where it is one.
fn read(body: &[u8]) -> Option<String> {
    match read_certificate(KEY, body) {
        Ok(certificate) => {
            let text = render(&certificate, 2);
            let moves = text
                .chars()
                .find(|character| *character != '\n' && plain::moves(*character));
            assert_eq!(moves, None, "{text:?}");
            None
        }
        Err(refused) => {
            check_refusal(&refused);
            Some(refused.to_string())
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_certificate_bent_in_any_way_is_shown_or_refused_in_one_line(
        mutations in prop::collection::vec(mutation(), 1..4),
    ) {
        for sample in [samples::certified(), samples::failed()] {
            read(&mutation::apply(&serde_json::to_value(sample).unwrap(), mutations.iter()));
        }
    }
}

#[test]
fn a_certificate_cut_at_any_byte_is_refused() {
    let text = serde_json::to_vec(&sample()).unwrap();
    assert_eq!(read(&text), None);
    for length in (0..text.len()).step_by(7) {
        assert!(read(&text[..length]).is_some(), "{length} bytes");
    }
}

#[test]
fn every_certificate_of_the_corpus_is_answered_as_it_was() {
    let entries: Vec<Entry> = serde_json::from_str(include_str!("../../../tests/corpus/certificates.json")).unwrap();
    let mut answers = String::new();
    for entry in entries {
        let body = match &entry.text {
            Some(text) => text.clone().into_bytes(),
            None => serde_json::to_vec(&entry.bend(sample())).unwrap(),
        };
        let answer = read(&body).unwrap_or_else(|| "taken".to_owned());
        writeln!(answers, "{}\n    {answer}", entry.what).unwrap();
    }
    insta::assert_snapshot!(answers);
}

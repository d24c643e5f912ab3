//! Every setting of the table wrong in every way that its kind can be, in the file and as a variable.

use std::io::Write as _;

use super::*;

/// Values that a setting of this kind refuses, as YAML; those that a variable can hold as well come first.
fn wrong(kind: Kind) -> (Vec<String>, Vec<&'static str>) {
    let texts: Vec<String> = match kind {
        Kind::Number(least, most) => {
            let beyond = [i128::from(least) - 1, i128::from(most) + 1, i128::MAX].map(|number| number.to_string());
            let others = ["1.5", "many", "''"].map(str::to_owned);
            beyond.into_iter().chain(others).collect()
        }
        Kind::Flag => ["maybe", "2", "yes", "''"].map(str::to_owned).into(),
        Kind::Duration => ["0s", "soon", "30", "-5s", "1mo", "11y", "99999999999999999h", "''"]
            .map(str::to_owned)
            .into(),
        Kind::Size => ["8MB", "-1", "1.5MiB", "99999999999GiB", "MiB", "''"]
            .map(str::to_owned)
            .into(),
        Kind::Choice(_) => ["sideways", "0", "''"].map(str::to_owned).into(),
        Kind::Address => ["localhost", "1.2.3.4", "1.2.3.4:70000", "''"]
            .map(str::to_owned)
            .into(),
        Kind::SecretUrl => ["'ftp://secret'", "secret", "''"].map(str::to_owned).into(),
        Kind::Schedule => ["every now and then", "'* * *'", "99 * * * *", "''"]
            .map(str::to_owned)
            .into(),
        Kind::Template => ["'{nonsense}'", "'{'"].map(str::to_owned).into(),
        Kind::TimeZone => ["Europe/Atlantis", "../etc/passwd", "''"].map(str::to_owned).into(),
        Kind::Text
        | Kind::Secret
        | Kind::Path
        | Kind::TextList
        | Kind::TextMap
        | Kind::Assertions
        | Kind::Repositories => Vec::new(),
    };
    let shapes = match kind {
        Kind::TextList => vec!["7", "a", "{a: b}", "[[a]]", "[{a: b}]", "[null]", "null"],
        Kind::TextMap => vec!["7", "a", "[a]", "{a: [b]}", "{a: {b: c}}", "{a: null}", "null"],
        Kind::Assertions => vec![
            "7",
            "a",
            "{a: b}",
            "[a]",
            "[{name: a}]",
            "[{name: a, database: d, query: [q]}]",
            "[{name: a, database: d, query: q, more: x}]",
            "[{name: '', database: d, query: q}]",
            "[{name: a, database: d, query: ' '}]",
            "null",
        ],
        Kind::Repositories => vec!["7", "a", "{a: b}", "[a]", "[{name: a}]", "[{bucket: b}]", "null"],
        _ => vec!["[a]", "{a: b}", "[]", "null"],
    };
    (texts, shapes)
}

fn refusal(text: &str, variables: Vec<(String, String)>) -> String {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    match load(Some(file.path()), variables) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("taken: {text}"),
    }
}

/// One line that begins with the setting, then says what it must be, and never repeats a secret.
#[track_caller]
fn is_clear(refusal: &str, name: &str) {
    assert!(refusal.starts_with(name), "{name}: {refusal}");
    assert!(refusal.len() > name.len() + 10 && refusal.len() < 300, "{refusal}");
    assert!(!refusal.contains('\n') && !refusal.contains("secret"), "{refusal}");
}

#[test]
fn every_setting_refuses_what_its_kind_cannot_be_and_says_what_it_can() {
    let mut refused = 0;
    for setting in SETTINGS {
        let (texts, shapes) = wrong(setting.kind);
        for value in texts.iter().map(String::as_str).chain(shapes) {
            let text = match setting.key.split_once('.') {
                Some((section, name)) => format!("{section}: {{{name}: {value}}}\n"),
                None => format!("{}: {value}\n", setting.key),
            };
            is_clear(&refusal(&text, Vec::new()), setting.key);
            refused += 1;
        }
        if let Some(variable) = setting.variable() {
            for value in &texts {
                let value = value.trim_matches('\'').to_owned();
                is_clear(&refusal("", vec![(variable.clone(), value)]), &variable);
                refused += 1;
            }
        }
    }
    assert!(refused > 500, "{refused}");
}

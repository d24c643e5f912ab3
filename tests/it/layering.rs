//! The rooms of the crate and the arrows between them, read from the sources themselves.
//!
//! A room may be used only by those whose row names it. It reads `crate::room` paths in code (not in comments, strings
//! or unit tests, which may stand on anything), so a macro that builds a path would escape it; there is none.

use std::fs;
use std::path::{Path, PathBuf};

/// Who may use whom. A room that is missing here fails the test: a new room is a decision.
const ARROWS: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    (
        "cli",
        &[
            "agent",
            "config",
            "demo",
            "http",
            "backup",
            "restore",
            "drill",
            "repository",
            "postgres",
            "storage",
        ],
    ),
    (
        "demo",
        &[
            "agent",
            "config",
            "backup",
            "restore",
            "drill",
            "repository",
            "postgres",
            "storage",
        ],
    ),
    (
        "agent",
        &[
            "config",
            "backup",
            "restore",
            "drill",
            "repository",
            "postgres",
            "storage",
            "http",
        ],
    ),
    ("backup", &["repository", "postgres"]),
    ("restore", &["repository", "postgres"]),
    ("drill", &["restore", "repository", "postgres"]),
    ("repository", &["storage"]),
    ("postgres", &[]),
    ("storage", &[]),
    ("config", &[]),
    ("content", &[]),
    ("http", &[]),
    ("telemetry", &[]),
    ("signals", &[]),
];

/// Rooms that anyone may use.
const LEAVES: &[&str] = &["content", "telemetry", "signals"];

/// What only `repository/layout.rs` may write in a string.
const KEY_BEGINNINGS: &[&str] = &[
    "chunks/",
    "manifests/",
    "certificates/",
    "damage/",
    "leases/",
    "drift/",
    "holds/",
    "tombstones/",
    "repository.json",
];

/// One source file: its path below the crate's root and its text.
struct Source {
    path: PathBuf,
    text: String,
}

#[test]
fn the_sources_keep_to_the_rooms_and_their_arrows() {
    let sources = read_sources("src");
    assert!(sources.len() > 20, "the sources were not found");
    let found: Vec<String> = sources.iter().flat_map(violations).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn every_test_file_says_what_it_is() {
    let found: Vec<String> = read_sources("tests").iter().filter_map(without_module_doc).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn a_forbidden_arrow_is_found_however_it_is_written() {
    for text in [
        "//! Doc.\nuse crate::repository::Repository;\n",
        "//! Doc.\nuse crate::{content::Role, repository::{Chunk, id}};\n",
        "//! Doc.\nuse crate::{\n    content,\n    repository,\n};\n",
        "//! Doc.\nfn f(r: &crate::repository::Repository) {}\n",
        "//! Doc.\nuse super::super::repository::Chunk;\n",
        "//! Doc.\nuse crate::nowhere::Thing;\n",
    ] {
        let found = violations(&bad("src/postgres/copy.rs", text));
        assert_eq!(found.len(), 1, "{text}: {found:?}");
    }
    assert_eq!(
        violations(&bad("src/main.rs", "//! D.\nuse kubebackup::postgres::connect;\n")).len(),
        1
    );
    assert_eq!(
        violations(&bad("src/lobby/mod.rs", "//! D.\n")).len(),
        1,
        "an unknown room"
    );
}

#[test]
fn a_missing_doc_a_cloud_crate_and_a_key_in_the_wrong_place_are_found() {
    assert_eq!(violations(&bad("src/backup/plan.rs", "use std::fmt;\n")).len(), 1);
    assert_eq!(
        violations(&bad("src/agent/run.rs", "//! D.\nuse aws_sdk_s3::Client;\n")).len(),
        1
    );
    let key = "//! D.\nfn key() -> String { format!(\"chunks/{}\", 1) }\n";
    assert_eq!(violations(&bad("src/repository/writer.rs", key)).len(), 1);
}

#[test]
fn allowed_arrows_comments_and_unit_tests_are_let_through() {
    for (path, text) in [
        (
            "src/drill/mod.rs",
            "//! D.\nuse crate::{restore::Report, content};\nuse crate::telemetry;\n",
        ),
        (
            "src/repository/layout.rs",
            "//! D.\nconst CHUNKS: &str = \"chunks/\";\n",
        ),
        ("src/storage/s3.rs", "//! D.\nuse aws_sdk_s3::Client;\n"),
        (
            "src/postgres/copy.rs",
            "//! D.\n// crate::repository and \"chunks/\" are elsewhere\nfn f() {} // crate::drill\n",
        ),
        (
            "src/postgres/copy.rs",
            "//! D.\nfn f() {}\n#[cfg(test)]\nmod tests {\n    use crate::repository::Chunk;\n}\n",
        ),
        ("src/main.rs", "//! D.\nuse kubebackup::{cli, signals};\n"),
    ] {
        let found = violations(&bad(path, text));
        assert!(found.is_empty(), "{path}: {found:?}");
    }
}

fn bad(path: &str, text: &str) -> Source {
    Source {
        path: path.into(),
        text: text.to_owned(),
    }
}

fn read_sources(directory: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    let mut directories = vec![root.join(directory)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root).unwrap().to_owned();
                sources.push(Source { path, text });
            }
        }
    }
    sources
}

/// Everything that is wrong with one file, each as `path: what`.
fn violations(source: &Source) -> Vec<String> {
    let room = room_of(&source.path);
    let code = code_of(source);
    let mut found: Vec<String> = without_module_doc(source).into_iter().collect();
    let mut say = |what: String| found.push(format!("{}: {what}", source.path.display()));
    if room != "lib" {
        match ARROWS.iter().find(|(name, _)| *name == room) {
            None => say(format!("the room '{room}' has no arrows in tests/it/layering.rs")),
            Some((_, allowed)) => {
                for used in used_rooms(&code, &source.path) {
                    if used != room && !allowed.contains(&used.as_str()) && !LEAVES.contains(&used.as_str()) {
                        say(format!("{room} must not use {used}"));
                    }
                }
            }
        }
    }
    // `aws_lc_rs` are the primitives of rustls and have nothing to do with S3.
    if room != "storage" && code.replace("aws_lc_rs", "").contains("aws_") {
        say("only storage names aws crates".to_owned());
    }
    if source.path != Path::new("src/repository/layout.rs") {
        for beginning in KEY_BEGINNINGS {
            if code.contains(&format!("\"{beginning}")) {
                say(format!("only repository/layout.rs builds keys (\"{beginning}...)"));
            }
        }
    }
    found
}

fn without_module_doc(source: &Source) -> Option<String> {
    (!source.text.starts_with("//! ")).then(|| format!("{}: does not open with a `//!` doc", source.path.display()))
}

/// `src/room.rs`, `src/room/file.rs`, `src/room/below/file.rs`: the room.
fn room_of(path: &Path) -> String {
    let below = path.strip_prefix("src").unwrap();
    let first = below.components().next().unwrap().as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The file without comments and without what only its unit tests see.
fn code_of(source: &Source) -> String {
    let is_below_tests = source.path.components().any(|part| part.as_os_str() == "tests");
    if source.path.ends_with("tests.rs") || is_below_tests {
        return String::new();
    }
    let code = match source.text.find("#[cfg(test)]\nmod ") {
        Some(tests) => &source.text[..tests],
        None => &source.text,
    };
    let without_comment = |line: &str| match line.find("//") {
        // A URL in a string is no comment.
        Some(start) if !line[..start].ends_with(':') => line[..start].to_owned(),
        _ => line.to_owned(),
    };
    code.lines().map(without_comment).collect::<Vec<_>>().join("\n")
}

/// The rooms whose paths the code writes.
fn used_rooms(code: &str, path: &Path) -> Vec<String> {
    let mut rooms = Vec::new();
    for start in ["crate::", "kubebackup::"] {
        for (position, _) in code.match_indices(start) {
            let is_word = code[..position].ends_with(|before: char| before.is_alphanumeric() || before == '_');
            if !is_word {
                rooms.extend(first_names(&code[position + start.len()..]));
            }
        }
    }
    // In `src/room/file.rs` two steps up are the crate's root.
    if path.components().count() == 3 && !path.ends_with("mod.rs") {
        for (position, start) in code.match_indices("super::super::") {
            rooms.extend(first_names(&code[position + start.len()..]));
        }
    }
    rooms.sort();
    rooms.dedup();
    rooms
}

/// The first name of a path, or of each path of a `{...}` group.
fn first_names(rest: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start()
            .chars()
            .take_while(|character| character.is_alphanumeric() || *character == '_')
            .collect()
    };
    let Some(group) = rest.strip_prefix('{') else {
        return vec![name(rest)];
    };
    let mut names = vec![name(group)];
    let mut depth = 0;
    for (position, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(name(&group[position + 1..])),
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

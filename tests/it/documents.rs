//! Pages whose tables come from the code. `UPDATE_DOCS=1` writes them; otherwise a difference fails.

use std::fs;
use std::path::Path;

#[test]
fn the_page_of_settings_says_what_the_code_says() {
    keep_equal("docs/configuration.md", "settings", &kubebackup::config::markdown());
}

#[test]
fn the_page_of_exit_codes_says_what_the_code_says() {
    keep_equal("docs/exit-codes.md", "exit codes", &kubebackup::cli::exit::markdown());
}

/// Compares what stands between `<!-- name: begin ... -->` and `<!-- name: end -->` with `expected`.
fn keep_equal(page: &str, name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let text = fs::read_to_string(&path).unwrap();
    let begin = text.find(&format!("<!-- {name}: begin")).expect("the begin marker");
    let start = begin + text[begin..].find("-->\n").expect("the end of the begin marker") + "-->\n".len();
    let end = text.find(&format!("<!-- {name}: end -->")).expect("the end marker");
    if text[start..end] == *expected {
        return;
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{}{expected}{}", &text[..start], &text[end..])).unwrap();
    } else {
        panic!("{page} differs from the code; UPDATE_DOCS=1 writes it anew. It should say:\n{expected}");
    }
}

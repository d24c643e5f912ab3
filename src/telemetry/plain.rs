//! Text from elsewhere, fit for a terminal: names of a source and words of a bucket may hold what moves the cursor, changes
//! the direction of writing, or begins a line that looks like one of ours.

/// One line: every such character as its escape, line breaks too.
#[must_use]
pub fn line(text: &str) -> String {
    escape(text, |_| false)
}

/// The same of a text whose line breaks are its own.
#[must_use]
pub fn lines(text: &str) -> String {
    escape(text, |character| character == '\n')
}

fn escape(text: &str, is_kept: impl Fn(char) -> bool) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if is_kept(character) {
            plain.push(character);
        } else {
            push(&mut plain, character);
        }
    }
    plain
}

/// One character of a line.
pub fn push(plain: &mut String, character: char) {
    if moves(character) {
        plain.extend(character.escape_default());
    } else {
        plain.push(character);
    }
}

/// Controls, line breaks beyond ASCII, and marks that turn or embed the direction of writing.
#[must_use]
pub fn moves(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_a_terminal_is_escaped_and_letters_of_every_script_are_not() {
        assert_eq!(
            line("a\u{1b}[2J\r\nb\t\u{202e}c\u{2028}\u{9b}"),
            "a\\u{1b}[2J\\r\\nb\\t\\u{202e}c\\u{2028}\\u{9b}"
        );
        assert_eq!(lines("a\nb\u{7}\n"), "a\nb\\u{7}\n");
        assert_eq!(line("tägliche שלום 表 \\n"), "tägliche שלום 表 \\n");
    }
}

//! What a client program said on stderr: looked at as it is, told as far as it quotes neither rows nor statements.
//!
//! What the server answered comes through it in lines: the message by `told`, and neither DETAIL, CONTEXT, QUERY nor the
//! line of the statement. Of the statement that failed, its head is told: which object it is about, and nothing that it says
//! of it. `pg_restore` names its entry only where it is verbose.

use std::fmt;

use super::told::{KEPT_BACK, hint, message};

/// Shown, it is what may be told.
#[derive(Clone, PartialEq, Eq)]
pub struct Said {
    told: String,
    /// Without what follows DETAIL and the like: a circumstance is known by its words.
    words: String,
}

impl Said {
    /// Words of this program's own.
    #[must_use]
    pub fn ours(words: impl Into<String>) -> Self {
        let words = words.into();
        Self {
            told: words.clone(),
            words,
        }
    }

    /// The lines of a program of which something else (`how` it ended) is to be said first.
    pub(super) fn of(how: &str, stderr: &[String]) -> Self {
        Self {
            told: format!("{how}: {}", remarks(stderr).join("; ")),
            words: format!("{how}: {}", complaints(stderr).join("; ")),
        }
    }

    /// All words, to know something by; they are not to be shown.
    pub(super) fn words(&self) -> &str {
        &self.words
    }
}

impl fmt::Display for Said {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.told)
    }
}

impl fmt::Debug for Said {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Said({self})")
    }
}

/// What may be told of a program's lines, the same only once in a row.
pub(super) fn remarks(stderr: &[String]) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    // A value that the server quotes may hold line breaks, and look like a line of the program from then on.
    let mut has_server_spoken = false;
    for line in stderr {
        if let Some((program, words)) = of_program(line) {
            let said = match passed_on(words) {
                Some(said) => {
                    has_server_spoken = true;
                    Some(said)
                }
                None => own(words, &mut has_server_spoken),
            };
            told.extend(said.map(|said| format!("{program}: {said}")));
        } else if let Some((severity, words)) = severity_of(line) {
            has_server_spoken = true;
            told.push(format!("{severity}{}", told_or_kept_back(words)));
        } else if let Some(words) = line.strip_prefix("HINT:  ") {
            told.extend(hint(words).map(|words| format!("HINT:  {words}")));
        } else if let Some(statement) = line.strip_prefix("Command was: ") {
            told.extend(head_of(statement).map(|head| format!("Command was: {head} ...")));
        } else if is_raised(line) {
            take_back(&mut told);
        }
    }
    told.dedup();
    if told.is_empty() && stderr.iter().any(|line| !line.trim().is_empty()) {
        told.push(KEPT_BACK.to_owned());
    }
    told
}

/// `pg_restore: error: ...`, also under the path by which it was called.
fn of_program(line: &str) -> Option<(&str, &str)> {
    let (program, words) = line.split_once(": ")?;
    let name = program.rsplit('/').next()?;
    matches!(name, "pg_dump" | "pg_restore").then_some((name, words))
}

/// What a statement of the program's came to: all but the lead is somebody else's.
fn passed_on(words: &str) -> Option<String> {
    const LEADS: [&str; 3] = [
        "could not execute query: ",
        "query failed: ",
        "Error message from server: ",
    ];
    let (level, words) = level_of(words);
    let lead = LEADS.into_iter().find(|lead| words.starts_with(lead)).unwrap_or("");
    let answer = &words[lead.len()..];
    let (severity, answer) = match severity_of(answer) {
        // Without a lead: a notice.
        Some(severe) => severe,
        None if lead.is_empty() => return None,
        None => ("", answer),
    };
    Some(format!("{level}{lead}{severity}{}", told_or_kept_back(answer)))
}

/// The program's own words: all of them before the server has spoken, and then those of a known shape.
fn own(words: &str, has_server_spoken: &mut bool) -> Option<String> {
    let (level, words) = level_of(words);
    // The statement, of the catalogue for the most part.
    if words.starts_with("Query was: ") {
        return None;
    }
    if *has_server_spoken {
        return message(words).map(|words| format!("{level}{words}"));
    }
    let answer = SEVERITIES.into_iter().filter_map(|severity| words.find(severity)).min();
    let Some((severity, said)) = answer.and_then(|begin| severity_of(&words[begin..])) else {
        return Some(format!("{level}{words}"));
    };
    *has_server_spoken = true;
    let lead = &words[..words.len() - severity.len() - said.len()];
    Some(format!("{level}{lead}{severity}{}", told_or_kept_back(said)))
}

fn level_of(words: &str) -> (&str, &str) {
    const LEVELS: [&str; 4] = ["error: ", "warning: ", "detail: ", "hint: "];
    let level = LEVELS.into_iter().find(|level| words.starts_with(level)).unwrap_or("");
    words.split_at(level.len())
}

const SEVERITIES: [&str; 8] = [
    "ERROR:  ",
    "FATAL:  ",
    "PANIC:  ",
    "WARNING:  ",
    "NOTICE:  ",
    "INFO:  ",
    "LOG:  ",
    "DEBUG:  ",
];

fn severity_of(line: &str) -> Option<(&'static str, &str)> {
    SEVERITIES
        .into_iter()
        .find_map(|severity| Some((severity, line.strip_prefix(severity)?)))
}

fn told_or_kept_back(words: &str) -> String {
    message(words).unwrap_or_else(|| KEPT_BACK.to_owned())
}

/// What a statement is about: its words up to the first that could be a value or code.
fn head_of(statement: &str) -> Option<&str> {
    const DEFINING: [&str; 7] = [
        "ALTER ",
        "COMMENT ON ",
        "CREATE ",
        "DROP ",
        "GRANT ",
        "REVOKE ",
        "SECURITY LABEL ",
    ];
    const ENDS: [&str; 9] = ["(", "'", "$", ";", "=", " AS", " DEFAULT ", " IS ", " OPTIONS "];
    DEFINING.iter().find(|verb| statement.starts_with(**verb))?;
    let end = ENDS.iter().filter_map(|end| statement.find(end)).min();
    let head = statement[..end.unwrap_or(statement.len())].trim_end();
    (head.len() <= HEAD_MAX_BYTES).then_some(head)
}

/// Two names with their schemas, quoted, and what is between them.
const HEAD_MAX_BYTES: usize = 1000;

/// The context of a message that somebody's function wrote: it reads as it likes, also like one of the server's.
fn is_raised(line: &str) -> bool {
    line.starts_with("CONTEXT:  ") && line.ends_with(" at RAISE")
}

/// The last message of the server's, and what followed it.
fn take_back(told: &mut Vec<String>) {
    let last = told
        .iter()
        .rposition(|line| SEVERITIES.iter().any(|severity| line.contains(severity)));
    let Some(last) = last else { return };
    told.truncate(last + 1);
    let line = &mut told[last];
    let begin = SEVERITIES
        .iter()
        .filter_map(|severity| Some(line.find(severity)? + severity.len()))
        .min();
    line.truncate(begin.unwrap_or(0));
    line.push_str(KEPT_BACK);
}

/// What a program complained of, without what can quote rows (DETAIL, CONTEXT) or the statement that failed: a function of
/// somebody's may hold the very words by which a circumstance is known.
fn complaints(stderr: &[String]) -> Vec<&str> {
    let mut is_quoting = false;
    let mut kept = Vec::new();
    for line in stderr {
        let begins_anew = ["pg_restore:", "pg_dump:", "ERROR:", "FATAL:", "HINT:"]
            .iter()
            .any(|word| line.starts_with(word));
        let quotes = ["DETAIL:", "CONTEXT:", "Command was:", "STATEMENT:"]
            .iter()
            .any(|word| line.starts_with(word));
        is_quoting = quotes || (is_quoting && !begins_anew);
        if !is_quoting {
            kept.push(line.as_str());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn assert_told(stderr: &str, expected: &[&str]) {
        let told = remarks(&lines(stderr));
        assert_eq!(told, expected);
        assert!(!told.concat().contains("marker"), "{told:?}");
    }

    #[test]
    fn a_failed_entry_is_named_with_the_kind_of_error_and_without_its_value() {
        assert_told(
            "pg_restore: while PROCESSING TOC:\n\
             pg_restore: from TOC entry 3318; 1259 16400 INDEX shop_idx postgres\n\
             pg_restore: error: could not execute query: ERROR:  date/time field value out of range: \"31/12/2020 marker\"\n\
             HINT:  Perhaps you need a different \"datestyle\" setting.\n\
             CONTEXT:  SQL function \"as_date\" statement 1\n\
             Command was: CREATE INDEX shop_idx ON public.t USING btree (public.as_date('marker'));\n\n\n",
            &[
                "pg_restore: while PROCESSING TOC:",
                "pg_restore: from TOC entry 3318; 1259 16400 INDEX shop_idx postgres",
                "pg_restore: error: could not execute query: ERROR:  date/time field value out of range: ...",
                "HINT:  Perhaps you need a different \"datestyle\" setting.",
                "Command was: CREATE INDEX shop_idx ON public.t USING btree ...",
            ],
        );
    }

    #[test]
    fn of_a_statement_what_it_is_about_is_told_and_not_what_it_says() {
        for (statement, head) in [
            ("CREATE VIEW public.v AS", Some("CREATE VIEW public.v")),
            (
                "COMMENT ON TABLE public.t IS E'marker",
                Some("COMMENT ON TABLE public.t"),
            ),
            (
                "CREATE SERVER far FOREIGN DATA WRAPPER w OPTIONS (",
                Some("CREATE SERVER far FOREIGN DATA WRAPPER w"),
            ),
            (
                "ALTER TABLE ONLY t ALTER COLUMN c SET DEFAULT 61;",
                Some("ALTER TABLE ONLY t ALTER COLUMN c SET"),
            ),
            (
                "ALTER TABLE ONLY public.\"Odd one\" ADD CONSTRAINT c CHECK ((a = 'marker'::text));",
                Some("ALTER TABLE ONLY public.\"Odd one\" ADD CONSTRAINT c CHECK"),
            ),
            ("SELECT pg_catalog.setval('public.s', 61, true);", None),
            ("marker", None),
        ] {
            assert_eq!(head_of(statement), head, "{statement}");
        }
    }

    #[test]
    fn neither_rows_nor_statements_are_part_of_what_went_wrong() {
        assert_told(
            "pg_restore: from TOC entry 9; 1417 16401 SERVER far postgres\n\
             pg_restore: error: could not execute query: ERROR:  invalid option \"pasword\"\n\
             LINE 1: ...VER far FOREIGN DATA WRAPPER w OPTIONS (pasword 'marker');\n\
             \u{20}                                              ^\n\
             QUERY:  SELECT 'marker'\n\
             DETAIL:  Key (a)=(marker) is duplicated.\n\
             HINT:  Did you mean marker?\n\
             Command was: CREATE SERVER far FOREIGN DATA WRAPPER w OPTIONS (\n    pasword 'marker'\n);\n\
             pg_restore: warning: errors ignored on restore: 1\n",
            &[
                "pg_restore: from TOC entry 9; 1417 16401 SERVER far postgres",
                "pg_restore: error: could not execute query: ERROR:  invalid option \"pasword\"",
                "Command was: CREATE SERVER far FOREIGN DATA WRAPPER w ...",
                "pg_restore: warning: errors ignored on restore: 1",
            ],
        );
    }

    #[test]
    fn what_a_function_raises_is_kept_back_whatever_it_reads_like() {
        let kept_back = format!("pg_restore: error: could not execute query: ERROR:  {KEPT_BACK}");
        for raised in ["bad marker", "role \"marker\" does not exist"] {
            assert_told(
                &format!(
                    "pg_restore: from TOC entry 9; 1259 16401 INDEX i postgres\n\
                     pg_restore: error: could not execute query: ERROR:  {raised}\n\
                     HINT:  You might need to increase marker.\n\
                     CONTEXT:  PL/pgSQL function public.f(text) line 1 at RAISE\n\
                     Command was: CREATE INDEX i ON public.t USING btree (public.f(word));"
                ),
                &[
                    "pg_restore: from TOC entry 9; 1259 16401 INDEX i postgres",
                    &kept_back,
                    "Command was: CREATE INDEX i ON public.t USING btree ...",
                ],
            );
        }
        let warning = "WARNING:  row marker\nCONTEXT:  PL/pgSQL function f(text) line 1 at RAISE\n".repeat(3);
        assert_told(&warning, &[&format!("WARNING:  {KEPT_BACK}")]);
        // As `pg_restore` passes it on where it is verbose.
        let verbose = format!(
            "pg_restore: creating INDEX \"public.i\"\n{}",
            warning.replace("WARN", "pg_restore: WARN")
        );
        let told = format!("pg_restore: WARNING:  {KEPT_BACK}");
        assert_told(&verbose, &["pg_restore: creating INDEX \"public.i\"", &told]);
    }

    #[test]
    fn a_line_within_a_value_passes_for_none_of_the_programs() {
        assert_told(
            "pg_restore: error: could not execute query: ERROR:  invalid input syntax for type integer: \"marker\n\
             pg_restore: error: marker\nERROR:  marker\npg_restore: marker ERROR:  out of memory\nmarker: \"",
            &[
                "pg_restore: error: could not execute query: ERROR:  invalid input syntax for type integer: ...",
                &format!("ERROR:  {KEPT_BACK}"),
            ],
        );
    }

    #[test]
    fn another_language_is_not_understood_and_so_kept_back() {
        assert_told(
            "pg_restore: from TOC entry 9; 1259 16401 INDEX i postgres\n\
             pg_restore: error: could not execute query: FEHLER:  ungültige Eingabesyntax für Typ integer: »marker«\n\
             TIP:  marker\nKONTEXT:  marker\nANWEISUNG:  marker\nZEILE 1: marker",
            &[
                "pg_restore: from TOC entry 9; 1259 16401 INDEX i postgres",
                &format!("pg_restore: error: could not execute query: {KEPT_BACK}"),
            ],
        );
        assert_told("WARNUNG:  marker", &[KEPT_BACK]);
    }

    #[test]
    fn the_programs_own_words_are_told() {
        for text in [
            "pg_restore: error: input file does not appear to be a valid archive",
            "pg_dump: error: aborting because of server version mismatch",
            "pg_dump: error: connection to server at \"db\", port 5432 failed: FATAL:  role \"x\" does not exist",
            "pg_dump: error: connection to server on socket \"/s/.s.PGSQL.5432\" failed: No such file or directory",
            "pg_dump: warning: could not resolve dependency loop among these items:",
        ] {
            assert_told(text, &[text]);
        }
        assert_told(
            "/usr/lib/postgresql/15/bin/pg_restore: error while loading shared libraries: libpq.so.5",
            &["pg_restore: error while loading shared libraries: libpq.so.5"],
        );
        assert_told(
            "pg_dump: error: query failed: ERROR:  canceling statement due to statement timeout\n\
             pg_dump: detail: Query was: LOCK TABLE public.marker IN ACCESS SHARE MODE\n",
            &["pg_dump: error: query failed: ERROR:  canceling statement due to statement timeout"],
        );
        assert_told("", &[]);
    }

    #[test]
    fn words_are_kept_to_know_a_circumstance_by_and_shown_to_nobody() {
        let stderr = "pg_restore: error: could not execute query: ERROR:  odd marker: No space left on device\n\
                      DETAIL:  Connection refused\nCommand was: SELECT 'Connection refused'";
        let said = Said::of("exit status: 1", &lines(stderr));
        assert!(said.words().contains("odd marker: No space left on device"));
        assert!(!said.words().contains("Connection refused"));
        let shown = format!("{said} {said:?}");
        assert!(!shown.contains("marker"), "{shown}");
        assert!(
            shown.starts_with("exit status: 1: pg_restore: error: could not execute query: ERROR:  ("),
            "{shown}"
        );
    }
}

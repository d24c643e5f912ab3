//! Text with names in braces that are replaced, `{event}: {summary}`. Names are checked when the settings are read: a
//! slip of the pen is refused then, not told to somebody at night.

use std::str::FromStr;

/// What may stand in braces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    Event,
    Cluster,
    BackupId,
    DrillId,
    Verdict,
    Summary,
    Reasons,
}

/// A template that was found right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Placeholder(Placeholder),
}

const PLACEHOLDERS: &[(&str, Placeholder)] = &[
    ("event", Placeholder::Event),
    ("cluster", Placeholder::Cluster),
    ("backup_id", Placeholder::BackupId),
    ("drill_id", Placeholder::DrillId),
    ("verdict", Placeholder::Verdict),
    ("summary", Placeholder::Summary),
    ("reasons", Placeholder::Reasons),
];

impl Template {
    /// The text with what `value` gives for each name. What is put in is not looked at again.
    #[must_use]
    pub fn render<'a>(&'a self, value: impl Fn(Placeholder) -> &'a str) -> String {
        let piece = |piece: &'a Piece| match piece {
            Piece::Text(text) => text.as_str(),
            Piece::Placeholder(placeholder) => value(*placeholder),
        };
        self.0.iter().map(piece).collect()
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after
                .split_once('}')
                .ok_or("has a brace that is not closed; names stand in braces, such as {summary}")?;
            let (_, placeholder) = PLACEHOLDERS
                .iter()
                .find(|(known, _)| *known == name)
                .ok_or_else(|| unknown(name))?;
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Placeholder(*placeholder));
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }
}

fn unknown(name: &str) -> String {
    let known: Vec<String> = PLACEHOLDERS.iter().map(|(name, _)| format!("{{{name}}}")).collect();
    format!("has the unknown name {{{name}}}; known are {}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(template: &str) -> String {
        let value = |placeholder| match placeholder {
            Placeholder::Event => "failed",
            Placeholder::Summary => "FAILED: {event}",
            _ => "?",
        };
        template.parse::<Template>().unwrap().render(value)
    }

    #[test]
    fn names_are_replaced_and_what_they_stand_for_is_not_looked_at() {
        assert_eq!(render("{event}: {summary}."), "failed: FAILED: {event}.");
        assert_eq!(render("{cluster}{drill_id}"), "??");
        assert_eq!(render("nothing to replace"), "nothing to replace");
    }

    #[test]
    fn what_stands_for_nothing_is_refused() {
        for wrong in ["{evnt}", "{event", "{}", "{ event }", "{{event}}"] {
            assert!(wrong.parse::<Template>().is_err(), "{wrong}");
        }
        let refusal = "{evnt}".parse::<Template>().unwrap_err();
        assert!(refusal.contains("{evnt}") && refusal.contains("{event}"), "{refusal}");
    }
}

//! The known name that a misspelt one was meant to be.

/// Names less alike than this are no help.
const ALIKE: f64 = 0.75;

pub(super) fn nearest(name: &str, known: impl Iterator<Item = String>) -> Option<String> {
    known
        .map(|known| (strsim::normalized_damerau_levenshtein(name, &known), known))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, known)| known)
}

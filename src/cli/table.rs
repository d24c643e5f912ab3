//! Columns that stand under each other. Whatever a cell holds stays within its line.

use crate::telemetry::plain;

/// Rows of cells under a header; numbers to the right.
#[derive(Debug)]
pub(super) struct Table {
    /// Each with whether its cells go to the right.
    columns: Vec<(&'static str, bool)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A name that begins with `>` makes a column of figures.
    pub(super) fn new(columns: &[&'static str]) -> Self {
        let column = |name: &&'static str| match name.strip_prefix('>') {
            Some(name) => (name, true),
            None => (*name, false),
        };
        Self {
            columns: columns.iter().map(column).collect(),
            rows: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows
            .push(cells.into_iter().map(|cell| plain::line(&cell)).collect());
    }

    pub(super) fn render(&self) -> String {
        let header: Vec<String> = self.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let lines: Vec<&Vec<String>> = std::iter::once(&header).chain(&self.rows).collect();
        let width = |column: usize| {
            let cells = lines.iter().filter_map(|cells| cells.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut text = String::new();
        for cells in lines {
            let mut line = String::new();
            for ((cell, (_, is_right)), width) in cells.iter().zip(&self.columns).zip(&widths) {
                let cell = if *is_right {
                    format!("{cell:>width$}")
                } else {
                    format!("{cell:<width$}")
                };
                line.push_str(&cell);
                line.push_str("  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_can_begin_no_line_and_move_no_terminal() {
        let mut table = Table::new(&["name", ">rows"]);
        table.row(["a\n\u{1b}[2J\u{202e}", "1"].map(str::to_owned));
        assert_eq!(table.render().lines().last().unwrap(), "a\\n\\u{1b}[2J\\u{202e}     1");
    }

    #[test]
    fn columns_stand_under_each_other_without_blanks_at_the_end() {
        let mut table = Table::new(&["name", ">rows", "verdict"]);
        table.row(["ümlaut", "1,000", ""].map(str::to_owned));
        table.row(["b", "2", "certified"].map(str::to_owned));
        assert_eq!(
            table.render(),
            "name     rows  verdict\nümlaut  1,000\nb           2  certified\n"
        );
    }
}

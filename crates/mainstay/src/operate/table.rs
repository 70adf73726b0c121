//! Rows under headings, for eyes.

use crate::logging::escape;

/// A table with columns of equal width; the last may be as long as it likes.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(headings: &[&str]) -> Table {
        Table { rows: vec![headings.iter().map(|&heading| heading.to_owned()).collect()] }
    }

    /// Adds a row. What clients call themselves may hold anything, and is made safe to look at.
    pub(super) fn push(&mut self, cells: &[String]) {
        let shown = |cell: &String| match cell.as_str() {
            "" => "-".to_owned(),
            text => escape::visible(text),
        };
        self.rows.push(cells.iter().map(shown).collect());
    }

    pub(super) fn text(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.rows[0].len()).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let line: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            text.push_str(line.join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

/// A field as it is shown in a cell: texts without quotes, nothing for what is absent.
pub(super) fn cell(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["A", "LONG", "Z"]);
        table.push(&["wide".to_owned(), String::new(), "a\u{1b}[31m".to_owned()]);
        assert_eq!(table.text(), "A     LONG  Z\nwide  -     a\\u{1b}[31m\n");
    }
}

//! The settings as a part of the README, which a test holds against the table.

use std::fmt::Write;

use super::SETTINGS;
use super::relation::RELATIONS;

/// The line before and the line after the generated part of the README.
pub(crate) const MARKERS: (&str, &str) = ("<!-- settings -->", "<!-- /settings -->");

/// A table for each group of settings and a list of the relations between them, with the markers
/// around them.
pub(crate) fn page() -> String {
    let mut page = format!("{}\n", MARKERS.0);
    let mut group = "";
    for setting in SETTINGS {
        if setting.group != group {
            group = setting.group;
            let _ = write!(
                page,
                "\n**{group}**\n\n| Flag | Default | Range | What, and why |\n|---|---|---|---|\n"
            );
        }
        let default = if setting.default.is_empty() { "none" } else { setting.default };
        let range = setting.range.map_or_else(
            || setting.shape.choices.join(", "),
            |(least, most)| format!("{least} to {most}"),
        );
        let _ = writeln!(
            page,
            "| `{}` | `{default}` | {range} | {}. {} |",
            setting.flag(),
            cell(setting.doc),
            cell(setting.reason),
        );
    }
    page.push_str("\nSettings that depend on each other:\n\n");
    for relation in RELATIONS {
        let _ = writeln!(page, "- {}: {}.", relation.rule, relation.reason);
    }
    let _ = writeln!(page, "\n{}", MARKERS.1);
    page
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `mainstay check-config --markdown` prints what belongs there.
    #[test]
    fn the_readme_shows_the_settings_as_they_are() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
        let Ok(readme) = std::fs::read_to_string(path) else { return };
        let (start, end) = (readme.find(MARKERS.0), readme.find(MARKERS.1));
        let (Some(start), Some(end)) = (start, end) else {
            assert_eq!((start, end), (None, None), "README.md has one marker of two");
            return;
        };
        let shown = &readme[start..end + MARKERS.1.len()];
        assert!(
            shown == page().trim_end(),
            "README.md is behind the table of settings: paste `mainstay check-config --markdown`"
        );
    }

    #[test]
    fn every_setting_has_its_row() {
        for setting in SETTINGS {
            let row = format!("| `{}` |", setting.flag());
            assert_eq!(page().matches(&row).count(), 1, "{}", setting.key);
        }
    }
}

//! The configuration file: TOML, one key for each setting, no tables.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::kind::Notation;
use super::problem::Problem;
use super::resolve::Origin;
use super::{SETTINGS, Setting, nearest};

/// What a file says, and what is wrong with it.
#[derive(Default)]
pub(super) struct Contents {
    /// Key, value as text, and line, from 1.
    pub(super) values: Vec<(&'static str, String, usize)>,
    /// Unknown keys, values of a wrong type, bad syntax.
    pub(super) problems: Vec<Problem>,
}

/// Reads a file.
///
/// # Errors
/// What the system says, or that the file is too large or no text.
pub(super) fn read(path: &Path) -> io::Result<Contents> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("is larger than {} KiB", FILE_BYTES_MAX / 1024)));
    }
    Ok(parse(path, &text))
}

fn parse(path: &Path, text: &str) -> Contents {
    let line_of = |at: usize| text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
    let mut contents = Contents::default();
    let table = match DeTable::parse(text) {
        Ok(table) => table.into_inner(),
        Err(error) => {
            let line = line_of(error.span().map_or(0, |span| span.start));
            contents.problems.push(Problem::Syntax {
                path: path.to_owned(),
                line,
                source_line: text.lines().nth(line - 1).unwrap_or_default().to_owned(),
                complaint: error.message().to_owned(),
            });
            return contents;
        }
    };
    for (key, value) in table.iter() {
        let line = line_of(key.span().start);
        let key = key.get_ref().as_ref();
        let Some(setting) = Setting::find(key) else {
            let keys = SETTINGS.iter().map(|setting| setting.key);
            contents.problems.push(Problem::UnknownKey {
                path: path.to_owned(),
                line,
                key: key.to_owned(),
                nearest: nearest(key, keys).and_then(Setting::find).map(|setting| setting.key),
            });
            continue;
        };
        match text_of(setting, value.get_ref()) {
            Ok(value) => contents.values.push((setting.key, value, line)),
            Err(complaint) => contents.problems.push(Problem::Value {
                key: setting.key,
                text: text.get(value.span()).unwrap_or_default().to_owned(),
                origin: Origin::File { path: path.to_owned(), line },
                complaint,
            }),
        }
    }
    // The parser sorts keys; an operator reads a file from the top.
    contents.values.sort_by_key(|(_, _, line)| *line);
    contents.problems.sort_by_key(|problem| match problem {
        Problem::UnknownKey { line, .. }
        | Problem::Value { origin: Origin::File { line, .. }, .. } => *line,
        _ => 0,
    });
    contents
}

/// The value as a flag would give it.
fn text_of(setting: &Setting, value: &DeValue<'_>) -> Result<String, String> {
    let text = match (setting.shape.notation, value) {
        (Notation::Text | Notation::IntegerOrText, DeValue::String(text)) => Some(text.to_string()),
        (Notation::Integer | Notation::IntegerOrText, DeValue::Integer(integer)) => {
            i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(|n| n.to_string())
        }
        (Notation::Boolean, DeValue::Boolean(on)) => Some(on.to_string()),
        (Notation::Array, DeValue::Array(items)) => {
            let items: Option<Vec<&str>> =
                items.iter().map(|item| item.get_ref().as_str()).collect();
            // A comma separates items in flags, so it cannot be inside one.
            items
                .filter(|items| !items.iter().any(|item| item.contains(',')))
                .map(|items| items.join(","))
        }
        _ => None,
    };
    text.ok_or_else(|| match setting.shape.notation {
        Notation::Text => format!("must be text in quotes, such as \"{}\"", setting.default),
        Notation::Integer => {
            format!("must be a number without quotes, such as {}", setting.default)
        }
        Notation::IntegerOrText => {
            format!("must be a number, or text in quotes such as \"{}\"", setting.default)
        }
        Notation::Boolean => "must be true or false, without quotes".to_owned(),
        Notation::Array => "must be an array, such as [\"https://app.example\"]".to_owned(),
    })
}

/// A file with every setting takes about 1 KiB; `--config /dev/zero` should still end.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

//! Lists, a page at a time.

use std::fmt::Display;

use crate::problem::Problem;

/// What a parameter means, if it is given. What is wrong with it is told by its name.
pub(crate) fn parameter<T, E: Display>(
    name: &str,
    given: Option<&str>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, Problem> {
    let wrong = |error| Problem::malformed(format!("{name}: {error}"));
    given.map(|text| parse(text).map_err(wrong)).transpose()
}

/// How many a page may hold.
pub(crate) fn limit(given: Option<usize>, most: usize) -> Result<usize, Problem> {
    let limit = given.unwrap_or(COUNT_DEFAULT);
    match (1..=most).contains(&limit) {
        true => Ok(limit),
        false => Err(Problem::malformed(format!("limit is 1 to {most}"))),
    }
}

const COUNT_DEFAULT: usize = 100;
/// Some hundred bytes each.
pub(crate) const LIST_COUNT_MAX: usize = 1000;

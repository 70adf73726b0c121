//! Lists, a page at a time.

use serde::Deserialize;
use utoipa::IntoParams;

use crate::problem::Problem;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// From behind this one on.
    pub(crate) after: Option<String>,
    /// At most so many, up to 1000; 100 if not given.
    pub(crate) limit: Option<usize>,
}

/// How many a page may hold.
pub(crate) fn limit(given: Option<usize>, most: usize) -> Result<usize, Problem> {
    let limit = given.unwrap_or(COUNT_DEFAULT);
    match (1..=most).contains(&limit) {
        true => Ok(limit),
        false => Err(Problem::malformed(format!("limit is 1 to {most}"))),
    }
}

/// The `after` of the next page: the last one of a full page, which others may follow.
pub(crate) fn next<T, K: ToString>(
    page: &[T],
    count_max: usize,
    key: impl FnOnce(&T) -> &K,
) -> Option<String> {
    let last = page.last().filter(|_| page.len() >= count_max)?;
    Some(key(last).to_string())
}

const COUNT_DEFAULT: usize = 100;
/// Some hundred bytes each.
pub(crate) const LIST_COUNT_MAX: usize = 1000;

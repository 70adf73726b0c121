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

const COUNT_DEFAULT: usize = 100;
/// Some hundred bytes each.
pub(crate) const LIST_COUNT_MAX: usize = 1000;

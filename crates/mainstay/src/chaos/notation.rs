//! How faults are written: ranges, probabilities, and which way.

use std::ops::RangeInclusive;
use std::time;

use mainstay_chaos::{Direction, EachWay, Probability};

use crate::settings::kind::{self, Kind};

/// Something that holds for one direction, or for either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directed<T> {
    direction: Option<Direction>,
    value: T,
}

impl<T: Clone> Directed<T> {
    /// Each way what was said last of it.
    pub(super) fn each_way(all: &[Directed<T>]) -> EachWay<Option<T>> {
        let mut each = EachWay { up: None, down: None };
        for Directed { direction, value } in all {
            if *direction != Some(Direction::Down) {
                each.up = Some(value.clone());
            }
            if *direction != Some(Direction::Up) {
                each.down = Some(value.clone());
            }
        }
        each
    }
}

/// `20ms` or `5ms..50ms`.
pub(super) fn read_durations(text: &str) -> Result<RangeInclusive<time::Duration>, String> {
    match text.contains(RANGE) {
        true => read_range(text, kind::Duration::read),
        false => kind::Duration::read(text).map(|duration| duration..=duration),
    }
}

/// A time that is more than nothing.
pub(super) fn read_duration(text: &str) -> Result<time::Duration, String> {
    match kind::Duration::read(text)? {
        time::Duration::ZERO => Err("must be longer than nothing".to_owned()),
        duration => Ok(duration),
    }
}

/// `up:1234`, `down:64KiB`, or `1234` for whichever comes first.
pub(super) fn read_offset(text: &str) -> Result<Directed<u64>, String> {
    read_directed(text, read_bytes)
}

/// `1000..50000`, with `up:` or `down:` before it if it holds one way only.
pub(super) fn read_offsets(text: &str) -> Result<Directed<RangeInclusive<u64>>, String> {
    read_directed(text, |text| match text.contains(RANGE) {
        true => read_range(text, read_bytes),
        false => Err("must be a range of bytes, such as 1000..50000".to_owned()),
    })
}

pub(super) fn read_bytes(text: &str) -> Result<u64, String> {
    kind::Bytes::read(text).map(|bytes| bytes as u64)
}

/// Bytes a second, more than none.
pub(super) fn read_rate(text: &str) -> Result<u64, String> {
    match read_bytes(text)? {
        0 => Err("must be more than nothing; to pass nothing at all, stall or cut".to_owned()),
        rate => Ok(rate),
    }
}

pub(super) fn read_probability(text: &str) -> Result<Probability, String> {
    let value = text.parse().ok().and_then(Probability::new);
    value.ok_or_else(|| "must be a probability from 0 to 1, such as 0.01".to_owned())
}

fn read_directed<T>(
    text: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Directed<T>, String> {
    let (direction, text) = match text.split_once(':') {
        None => (None, text),
        Some(("up", text)) => (Some(Direction::Up), text),
        Some(("down", text)) => (Some(Direction::Down), text),
        Some((other, _)) => return Err(format!("{other:?} is no direction; it is up or down")),
    };
    Ok(Directed { direction, value: read(text)? })
}

fn read_range<T: PartialOrd>(
    text: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<RangeInclusive<T>, String> {
    let (least, most) = text.split_once(RANGE).unwrap_or((text, text));
    let part = |part: &str| read(part).map_err(|error| format!("{part:?} {error}"));
    let (least, most) = (part(least)?, part(most)?);
    match least <= most {
        true => Ok(least..=most),
        false => Err("ends before it begins; write the smaller one first".to_owned()),
    }
}

const RANGE: &str = "..";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn durations_are_one_or_a_range() {
        let ms = Duration::from_millis;
        assert_eq!(read_durations("20ms"), Ok(ms(20)..=ms(20)));
        assert_eq!(read_durations("5ms..1s"), Ok(ms(5)..=ms(1000)));
        for (text, part) in [
            ("20", "unit"),
            ("5..50ms", "unit"),
            ("..5ms", "whole number"),
            ("50ms..5ms", "smaller one first"),
            ("1ms..2ms..3ms", "unit"),
        ] {
            let error = read_durations(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(read_duration("0s").is_err());
    }

    #[test]
    fn offsets_say_which_way() {
        let offsets = |texts: &[&str]| {
            let all: Vec<_> = texts.iter().map(|text| read_offset(text).unwrap()).collect();
            let EachWay { up, down } = Directed::each_way(&all);
            (up, down)
        };
        assert_eq!(offsets(&[]), (None, None));
        assert_eq!(offsets(&["1234"]), (Some(1234), Some(1234)));
        assert_eq!(offsets(&["up:1KiB"]), (Some(1024), None));
        assert_eq!(offsets(&["up:1", "down:2"]), (Some(1), Some(2)));
        assert!(read_offset("left:1").unwrap_err().contains("up or down"));
        assert!(read_offset("up:").unwrap_err().contains("number of bytes"));
    }

    #[test]
    fn ranges_of_offsets_are_ranges() {
        let range = read_offsets("down:100..1KiB").unwrap();
        assert_eq!(Directed::each_way(&[range]), EachWay { up: None, down: Some(100..=1024) });
        for (text, part) in [("100", "range"), ("9..1", "smaller"), ("up:a..b", "number of bytes")]
        {
            let error = read_offsets(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn probabilities_are_from_0_to_1() {
        assert_eq!(read_probability("0.25").map(Probability::value), Ok(0.25));
        for text in ["1.5", "-1", "often", "NaN", ""] {
            assert!(read_probability(text).unwrap_err().contains("from 0 to 1"), "{text}");
        }
        assert!(read_rate("0").is_err());
    }
}

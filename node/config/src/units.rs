//! Durations with their unit: `500ms`, `1s`, `1.5s`, `2m`, `1h`, `7d`, `2w`; sizes with theirs: `4 GiB`, `500 MB`.

use std::time::Duration;

/// Milliseconds in each unit.
const UNITS: [(&str, u64); 6] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000)];
/// Nothing is written in a longer unit than hours.
const WRITTEN: usize = 4;

/// Longer is a slip of the pen, and would overflow sums.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DurationError {
    NoUnit,
    UnknownUnit(String),
    NoNumber,
    /// Finer than a millisecond.
    TooFine,
    TooLong,
}

impl DurationError {
    pub(crate) fn remedy(&self, text: &str) -> String {
        match self {
            Self::NoUnit => format!("add the unit: \"{text}s\" or \"{text}ms\""),
            Self::UnknownUnit(unit) => format!("`{unit}` is no unit here; use ms, s, m, h, d or w"),
            Self::NoNumber => "write a number and its unit, such as \"500ms\"".to_owned(),
            Self::TooFine => "use whole milliseconds".to_owned(),
            Self::TooLong => "use 30 days (720h) at most".to_owned(),
        }
    }
}

/// Reads a duration.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let text = text.trim();
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = (&text[..split], text[split..].trim());
    if number.is_empty() {
        return Err(DurationError::NoNumber);
    }
    if unit.is_empty() {
        return Err(DurationError::NoUnit);
    }
    let factor = UNITS.iter().find(|(name, _)| *name == unit);
    let factor = factor.ok_or_else(|| DurationError::UnknownUnit(unit.to_owned()))?.1;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || (number.contains('.') && fraction.is_empty()) || fraction.contains('.') {
        return Err(DurationError::NoNumber);
    }
    let whole: u64 = whole.parse().map_err(|_| DurationError::TooLong)?;
    let mut millis = whole.checked_mul(factor).ok_or(DurationError::TooLong)?;
    if !fraction.is_empty() {
        let digits = u32::try_from(fraction.len()).ok().filter(|digits| *digits <= 9);
        let scale = 10u64.pow(digits.ok_or(DurationError::TooFine)?);
        let parts = fraction.parse::<u64>().map_err(|_| DurationError::TooFine)? * factor;
        if parts % scale != 0 {
            return Err(DurationError::TooFine);
        }
        millis = millis.checked_add(parts / scale).ok_or(DurationError::TooLong)?;
    }
    Some(Duration::from_millis(millis)).filter(|span| *span <= LONGEST).ok_or(DurationError::TooLong)
}

/// Writes a duration in the largest unit that divides it: what [`parse_duration`] reads back.
/// Anything below a millisecond is dropped.
pub(crate) fn format_duration(span: Duration) -> String {
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let (unit, factor) = UNITS[..WRITTEN]
        .iter()
        .rev()
        .find(|(_, factor)| millis != 0 && millis % factor == 0)
        .copied()
        .unwrap_or(("s", 1));
    format!("{}{unit}", millis / factor)
}

/// Bytes in each unit: powers of two, then powers of ten.
const SIZES: [(&str, u64); 10] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1000),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];
/// Sizes are written in the first of these only.
const WRITTEN_SIZES: usize = 5;
/// No disk is larger.
const LARGEST: u64 = 1 << 50;

/// Why a text is not a size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SizeError {
    NoUnit,
    UnknownUnit(String),
    NoNumber,
    TooLarge,
}

impl SizeError {
    pub(crate) fn remedy(&self, text: &str) -> String {
        match self {
            Self::NoUnit => format!("add the unit: \"{text} GiB\" or \"{text} MiB\""),
            Self::UnknownUnit(unit) => {
                format!("`{unit}` is no unit here; use B, KiB, MiB, GiB, TiB, or MB, GB, TB")
            }
            Self::NoNumber => "write a whole number and its unit, such as \"500 MiB\"".to_owned(),
            Self::TooLarge => "use 1024 TiB at most".to_owned(),
        }
    }
}

/// Reads a size; `/s` after it, for rates, is left out of account.
pub(crate) fn parse_size(text: &str) -> Result<u64, SizeError> {
    let text = text.trim();
    let text = text.strip_suffix("/s").unwrap_or(text).trim_end();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = (&text[..split], text[split..].trim());
    if number.is_empty() || unit.starts_with('.') {
        return Err(SizeError::NoNumber);
    }
    let number: u64 = number.parse().map_err(|_| SizeError::TooLarge)?;
    if unit.is_empty() {
        return if number == 0 { Ok(0) } else { Err(SizeError::NoUnit) };
    }
    let factor = SIZES.iter().find(|(name, _)| *name == unit);
    let factor = factor.ok_or_else(|| SizeError::UnknownUnit(unit.to_owned()))?.1;
    number.checked_mul(factor).filter(|bytes| *bytes <= LARGEST).ok_or(SizeError::TooLarge)
}

/// Writes a size in the largest unit that divides it: what [`parse_size`] reads back.
pub(crate) fn format_size(bytes: u64) -> String {
    let unit = SIZES[..WRITTEN_SIZES].iter().rev();
    let (unit, factor) =
        unit.copied().find(|(_, factor)| bytes != 0 && bytes.is_multiple_of(*factor)).unwrap_or(("B", 1));
    format!("{} {unit}", bytes / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_need_a_number_and_a_unit() {
        for (text, want) in [
            ("4 GiB", Ok(4 << 30)),
            ("4GiB", Ok(4 << 30)),
            ("10 MiB/s", Ok(10 << 20)),
            ("500 MB", Ok(500_000_000)),
            ("0", Ok(0)),
            ("4096 B", Ok(4096)),
            ("5", Err(SizeError::NoUnit)),
            ("", Err(SizeError::NoNumber)),
            ("1.5 GiB", Err(SizeError::NoNumber)),
            ("4 gigs", Err(SizeError::UnknownUnit("gigs".to_owned()))),
            ("4 PiB", Err(SizeError::UnknownUnit("PiB".to_owned()))),
            ("2000 TiB", Err(SizeError::TooLarge)),
            ("99999999999999999999 B", Err(SizeError::TooLarge)),
        ] {
            assert_eq!(parse_size(text), want, "{text:?}");
        }
        for bytes in [0, 1, 4096, 1 << 20, 3 << 30, 500_000_000] {
            assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }
    }

    #[test]
    fn durations_need_a_number_and_a_unit() {
        let ms = Duration::from_millis;
        for (text, want) in [
            ("1s", Ok(ms(1000))),
            ("500ms", Ok(ms(500))),
            ("2m", Ok(ms(120_000))),
            ("1h", Ok(ms(3_600_000))),
            ("7d", Ok(ms(604_800_000))),
            ("1w", Ok(ms(604_800_000))),
            ("1.5s", Ok(ms(1500))),
            ("0.001s", Ok(ms(1))),
            (" 2 s ", Ok(ms(2000))),
            ("0s", Ok(ms(0))),
            ("5", Err(DurationError::NoUnit)),
            ("", Err(DurationError::NoNumber)),
            ("s", Err(DurationError::NoNumber)),
            ("-1s", Err(DurationError::NoNumber)),
            ("1.s", Err(DurationError::NoNumber)),
            ("1.2.3s", Err(DurationError::NoNumber)),
            ("5us", Err(DurationError::UnknownUnit("us".to_owned()))),
            ("0.5ms", Err(DurationError::TooFine)),
            ("721h", Err(DurationError::TooLong)),
            ("99999999999999999999s", Err(DurationError::TooLong)),
        ] {
            assert_eq!(parse_duration(text), want, "{text:?}");
        }
    }

    #[test]
    fn durations_read_back_as_written() {
        for (millis, text) in
            [(0, "0s"), (1, "1ms"), (1500, "1500ms"), (1000, "1s"), (120_000, "2m"), (3_600_000, "1h")]
        {
            let span = Duration::from_millis(millis);
            assert_eq!(format_duration(span), text);
            assert_eq!(parse_duration(text), Ok(span));
        }
    }
}

//! Measured times as a report shows them.

use std::{fmt, time::Duration};

/// Some measurements of one thing.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// In any order.
    #[must_use]
    pub fn new(mut times: Vec<Duration>) -> Self {
        times.sort();
        Self(times)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The one that `share` of all (0 to 1) do not exceed.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let last = self.0.len().checked_sub(1)?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let at = (last as f64 * share).round() as usize;
        self.0.get(at.min(last)).copied()
    }

    /// The middle one.
    #[must_use]
    pub fn median(&self) -> Option<Duration> {
        self.quantile(0.5)
    }
}

impl fmt::Display for Times {
    /// Minimum, median and maximum as three cells of a table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cell = |share| self.quantile(share).map_or_else(|| "-".to_owned(), ms);
        write!(f, "{} | {} | {}", cell(0.0), cell(0.5), cell(1.0))
    }
}

/// Milliseconds, with as many digits as mean something.
#[must_use]
pub fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    match ms {
        ms if ms < 10.0 => format!("{ms:.2}"),
        ms if ms < 100.0 => format!("{ms:.1}"),
        ms => format!("{ms:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_measurements_themselves() {
        let times = Times::new([5, 1, 3, 2, 4].map(Duration::from_millis).to_vec());
        assert_eq!(times.to_string(), "1.00 | 3.00 | 5.00");
        assert_eq!(times.quantile(0.99), Some(Duration::from_millis(5)));
        assert_eq!(Times::default().median(), None);
        assert_eq!(Times::default().to_string(), "- | - | -");
    }
}

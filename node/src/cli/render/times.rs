//! The cluster's times as a table.

use super::super::output::{Cell, Style, table};
use crate::app::times::ClusterTimes;

/// A line each.
#[must_use]
pub fn times(times: &ClusterTimes, color: bool) -> String {
    let rows: Vec<Vec<Cell>> = times
        .times
        .iter()
        .map(|time| {
            let derived = time.derived_ms.map_or_else(String::new, |ms| format!("{ms} ms"));
            vec![
                time.name.as_str().into(),
                format!("{} ms", time.ms).into(),
                Cell::new(derived, Style::Dim),
                time.meaning.as_str().into(),
            ]
        })
        .collect();
    table(&["TIME", "VALUE", "FROM DETECT", "MEANING"], &rows, color)
}

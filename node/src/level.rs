//! What this program says it reads of the registry (see `tasuki_core::registry::level`).

use std::env;

use tasuki_core::registry::{Level, level::Spoken};

/// Holds this member, and with it the registry, at an older level: so long, the older version can be
/// started again.
pub const HOLD_VARIABLE: &str = "TASUKI_HOLD_LEVEL";

/// This program, as far as it is not held back.
///
/// # Errors
/// When it is held at something that is no level.
pub fn spoken() -> Result<Spoken, String> {
    held(&env::var_os(HOLD_VARIABLE).map(|text| text.to_string_lossy().into_owned()).unwrap_or_default())
}

fn held(text: &str) -> Result<Spoken, String> {
    let known = Spoken::here(env!("CARGO_PKG_VERSION"));
    if text.trim().is_empty() {
        return Ok(known);
    }
    match text.trim().parse() {
        Ok(level) if Level(level) >= Level::BASE => {
            Ok(Spoken { level: known.level.min(Level(level)), ..known })
        }
        _ => Err(format!("TSK-1842: {HOLD_VARIABLE} is {text:?}, which is no level: write a number from 1")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tasuki_core::registry::level::KNOWN;

    use super::*;

    #[test]
    fn a_program_reads_what_it_knows_unless_it_is_held_lower() {
        assert_eq!(held("").unwrap().level, KNOWN);
        assert_eq!(held(" 1 ").unwrap().level, Level::BASE);
        assert_eq!(held("1000").unwrap().level, KNOWN, "it cannot say more than it knows");
    }

    #[test]
    fn what_is_no_level_is_not_taken_for_none() {
        for text in ["0", "-1", "one", "1.0"] {
            assert!(held(text).unwrap_err().starts_with("TSK-1842"), "{text}");
        }
    }
}

//! Whether a flush will follow on a write, so that it can begin with the write.

/// So many writes, each with a flush behind it and none between, make a habit. So few flushes are made
/// that nobody asks for: one at the end of each such row.
const ROW: u32 = 8;

/// What a client has done until now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Habit {
    /// Writes since the last flush.
    writes: u32,
    /// How many flushes in a row had one write before them.
    row: u32,
}

impl Habit {
    /// It writes. Whether a flush will follow before anything else is written, to judge by the past: as a
    /// database's log is written by one client.
    #[must_use]
    pub fn wrote(self) -> (Self, bool) {
        let writes = self.writes.saturating_add(1);
        let row = if writes == 1 { self.row } else { 0 };
        (Self { writes, row }, row >= ROW)
    }

    /// Neither the flush nor anything else has come since a write that one was to follow.
    #[must_use]
    pub fn waits(self) -> bool {
        self.writes == 1 && self.row >= ROW
    }

    /// It flushes.
    #[must_use]
    pub fn flushed(self) -> Self {
        let row = if self.writes == 1 { self.row.saturating_add(1).min(ROW) } else { 0 };
        Self { writes: 0, row }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of these were expected to be followed by a flush: `w` a write, `f` a flush.
    fn expected(told: &str) -> String {
        let mut habit = Habit::default();
        told.chars()
            .map(|what| match what {
                'f' => {
                    habit = habit.flushed();
                    'f'
                }
                _ => {
                    let (next, follows) = habit.wrote();
                    habit = next;
                    if follows { 'W' } else { 'w' }
                }
            })
            .collect()
    }

    #[test]
    fn one_write_and_one_flush_after_the_other_become_a_habit() {
        assert_eq!(expected("wfwfwfwfwfwfwfwfwfwf"), "wfwfwfwfwfwfwfwfWfWf");
    }

    #[test]
    fn a_second_write_or_a_flush_of_nothing_ends_it() {
        let row = "wfwfwfwfwfwfwfwf";
        assert_eq!(expected(&format!("{row}wwfwf")), format!("{row}Wwfwf"));
        assert_eq!(expected(&format!("{row}ffwf")), format!("{row}ffwf"));
    }

    #[test]
    fn who_never_flushes_and_many_at_once_have_none() {
        assert_eq!(expected("wwwwwwwwwwwwwwwwwwww"), "wwwwwwwwwwwwwwwwwwww");
        assert_eq!(expected(&"wwffwwff".repeat(8)), "wwffwwff".repeat(8));
    }
}

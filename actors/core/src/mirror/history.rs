//! The lineage of a copy's data: each generation, and who went on alone with it.

use serde::{Deserialize, Serialize};

use crate::ids::{Generation, ServerName};

/// The steps that a copy remembers; older ones are forgotten together.
pub const STEPS_LIMIT: usize = 16;

/// One step: from here on, this server's writes are not on every copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryStep {
    /// The generation that began.
    pub generation: Generation,
    /// On whose copy.
    pub by: ServerName,
}

/// The lineage of one copy's data, oldest step first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History(pub Vec<HistoryStep>);

/// How one copy's data stands to another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// The same steps.
    Same,
    /// This one went further.
    Ahead,
    /// The other went further.
    Behind,
    /// Each went a way that the other did not.
    Diverged,
}

impl History {
    /// The generation of the data.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.0.last().map(|step| step.generation).unwrap_or_default()
    }

    /// The copy goes on without another one.
    pub fn step(&mut self, generation: Generation, by: &ServerName) {
        self.0.push(HistoryStep { generation, by: by.clone() });
        let surplus = self.0.len().saturating_sub(STEPS_LIMIT);
        self.0.drain(..surplus);
    }

    /// How this one stands to `other`. One that has no steps is a copy that was never used. Generations
    /// come from one registry, so that a number says all; two copies in step may have heard of the last
    /// one from different servers.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Compared {
        let has = |history: &Self, generation: Generation| {
            history.0.iter().any(|step| step.generation == generation)
        };
        let last = |history: &Self| history.0.last().map(|step| step.generation);
        match (last(self), last(other)) {
            (None, None) => Compared::Same,
            (Some(_), None) => Compared::Ahead,
            (None, Some(_)) => Compared::Behind,
            (Some(own), Some(theirs)) if own == theirs => Compared::Same,
            (Some(_), Some(theirs)) if has(self, theirs) => Compared::Ahead,
            (Some(own), Some(_)) if has(other, own) => Compared::Behind,
            _ => Compared::Diverged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(steps: &[(u64, &str)]) -> History {
        let mut history = History::default();
        for (generation, by) in steps {
            history.step(Generation(*generation), &ServerName::from(*by));
        }
        history
    }

    #[test]
    fn the_one_with_the_steps_of_the_other_is_ahead() {
        let (old, new) = (history(&[(1, "kiki")]), history(&[(1, "kiki"), (2, "lala")]));
        assert_eq!(old.compare(&new), Compared::Behind);
        assert_eq!(new.compare(&old), Compared::Ahead);
        assert_eq!(new.compare(&new.clone()), Compared::Same);
        assert_eq!(history(&[]).compare(&old), Compared::Behind);
    }

    #[test]
    fn two_that_each_went_alone_are_diverged() {
        let (one, other) = (history(&[(1, "kiki"), (2, "kiki")]), history(&[(1, "kiki"), (3, "lala")]));
        assert_eq!(one.compare(&other), Compared::Diverged);
        assert_eq!(other.compare(&one), Compared::Diverged);
    }
}

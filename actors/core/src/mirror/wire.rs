//! Which versions of the mirror's frames a program speaks, so that two programs find one that both
//! understand.
//!
//! A primary says in its [`Hello`](super::handshake::Hello) which versions it speaks; the secondary takes
//! the newest that both do, and names it in its [`Welcome`](super::handshake::Welcome). Frames of that
//! stream, and of the one beside it, are of that version. The greetings themselves are of the form of
//! version 1 for ever, with what is new at their end: an older program reads what it knows and leaves the
//! rest, a newer one knows what it means that the rest is missing.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// Versions of the frames, from one to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Said")]
pub struct Wires {
    /// The oldest. A program that knows of one version only reads just this, and answers if it is its
    /// own.
    pub oldest: u32,
    /// The newest; not less.
    pub newest: u32,
}

impl Wires {
    /// What this program speaks.
    pub const OURS: Self = Self::only(FIRST);

    /// One version.
    #[must_use]
    pub const fn only(version: u32) -> Self {
        Self { oldest: version, newest: version }
    }

    /// Whether this version is among them.
    #[must_use]
    pub fn has(self, version: u32) -> bool {
        (self.oldest..=self.newest).contains(&version)
    }

    /// The newest version that both have.
    #[must_use]
    pub fn common(self, other: Self) -> Option<u32> {
        let newest = self.newest.min(other.newest);
        (self.has(newest) && other.has(newest)).then_some(newest)
    }
}

impl fmt::Display for Wires {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.oldest, self.newest) {
            (oldest, newest) if oldest == newest => write!(out, "version {oldest}"),
            (oldest, newest) => write!(out, "versions {oldest} to {newest}"),
        }
    }
}

/// The version before there were two. It is also the form of greetings.
pub const FIRST: u32 = 1;

/// As it is read: a program of the first version says one number.
#[derive(Deserialize)]
struct Said {
    oldest: u32,
    #[serde(deserialize_with = "if_said")]
    newest: Option<u32>,
}

impl From<Said> for Wires {
    fn from(said: Said) -> Self {
        Self { oldest: said.oldest, newest: said.newest.unwrap_or(said.oldest).max(said.oldest) }
    }
}

/// What a greeting ends with, if the program that said it knew of it.
fn if_said<'de, D: Deserializer<'de>>(end: D) -> Result<Option<u32>, D::Error> {
    Ok(u32::deserialize(end).ok())
}

/// The version that a welcome names; a program that names none speaks the first.
pub(super) fn chosen<'de, D: Deserializer<'de>>(end: D) -> Result<u32, D::Error> {
    Ok(if_said(end)?.unwrap_or(FIRST))
}

/// What two programs speak that have no version in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "SaidApart", into = "SaidApart")]
pub struct Apart {
    /// The secondary, which says so.
    pub own: Wires,
    /// The primary.
    pub theirs: Wires,
}

impl Apart {
    /// The secondary's program is the older one.
    #[must_use]
    pub fn is_secondary_older(&self) -> bool {
        self.own.newest < self.theirs.oldest
    }
}

impl fmt::Display for Apart {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { own, theirs } = self;
        write!(out, "the primary speaks {theirs} of the mirror's frames, this server {own}")
    }
}

/// As it is said: first what a program of the first version reads, and what it says itself.
#[derive(Serialize, Deserialize)]
struct SaidApart {
    own: u32,
    theirs: u32,
    #[serde(deserialize_with = "if_said", serialize_with = "plain")]
    own_newest: Option<u32>,
    #[serde(deserialize_with = "if_said", serialize_with = "plain")]
    their_newest: Option<u32>,
}

#[allow(clippy::ref_option)] // serde's form
fn plain<S: serde::Serializer>(newest: &Option<u32>, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_u32(newest.unwrap_or_default())
}

impl From<SaidApart> for Apart {
    fn from(said: SaidApart) -> Self {
        let SaidApart { own, theirs, own_newest, their_newest } = said;
        Self {
            own: Said { oldest: own, newest: own_newest }.into(),
            theirs: Said { oldest: theirs, newest: their_newest }.into(),
        }
    }
}

impl From<Apart> for SaidApart {
    fn from(of: Apart) -> Self {
        Self {
            own: of.own.oldest,
            theirs: of.theirs.oldest,
            own_newest: Some(of.own.newest),
            their_newest: Some(of.theirs.newest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_programs_speak_the_newest_version_that_both_understand() {
        let speaks = |oldest, newest| Wires { oldest, newest };
        for (one, other, common) in [
            (speaks(1, 1), speaks(1, 1), Some(1)),
            (speaks(1, 1), speaks(1, 2), Some(1)),
            (speaks(1, 3), speaks(2, 5), Some(3)),
            (speaks(2, 3), speaks(1, 2), Some(2)),
            (speaks(1, 1), speaks(2, 2), None),
            (speaks(1, 2), speaks(3, 4), None),
        ] {
            assert_eq!(one.common(other), common, "{one} with {other}");
            assert_eq!(other.common(one), common, "{other} with {one}");
        }
    }

    #[test]
    fn what_no_program_can_mean_is_nobodys_version() {
        let none = Wires { oldest: 3, newest: 2 };
        assert_eq!(none.common(Wires { oldest: 1, newest: 9 }), None);
        let read: Wires = Said { oldest: 3, newest: Some(2) }.into();
        assert_eq!(read, Wires::only(3));
    }

    #[test]
    fn both_are_named_and_which_is_older_is_known() {
        let apart = Apart { own: Wires::only(1), theirs: Wires { oldest: 2, newest: 3 } };
        assert!(apart.is_secondary_older());
        let text = apart.to_string();
        assert_eq!(text, "the primary speaks versions 2 to 3 of the mirror's frames, this server version 1");
        assert!(!Apart { own: apart.theirs, theirs: apart.own }.is_secondary_older());
    }
}

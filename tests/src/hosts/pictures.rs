//! Every way in which a cluster can fall apart, up to symmetry, as data. Positions are relative: the
//! first server of a picture (L) leads when it begins.

use std::fmt;

use crate::network::Unheard;

/// One way to fall apart.
#[derive(Clone, Debug)]
pub struct Picture {
    /// As a drawing: `L B | C` (parts), `L -/-> B` (one way), `L -/- B` (both ways).
    pub name: String,
    /// How many servers it is for.
    pub servers: usize,
    /// Which frames are lost, by position.
    pub unheard: Vec<Unheard>,
    /// What must come of it.
    pub outcome: Outcome,
}

/// What must come of a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// These positions go on and notice nothing; what ran on the others is started on them.
    Wins(Vec<usize>),
    /// Two that do not reach each other: one of them goes on with everything, the other stops.
    One,
    /// No part has a quorum: everything stops, and comes back when the cables do.
    Nobody,
    /// Not cut into parts: at most so many servers are put aside, the others are never shaken.
    Aside(usize),
}

/// The letters of positions.
const LETTERS: [char; 5] = ['L', 'B', 'C', 'D', 'E'];

impl Picture {
    /// Every picture of two servers with something that breaks their tie.
    #[must_use]
    pub fn of_two() -> Vec<Self> {
        let apart = Self { outcome: Outcome::One, ..Self::split("L | B") };
        vec![apart, Self::one_way(2, 0, 1), Self::one_way(2, 1, 0)]
    }

    /// Every picture of three servers, up to symmetry.
    #[must_use]
    pub fn of_three() -> Vec<Self> {
        vec![
            Self::split("L B | C"),
            Self::split("L | B C"),
            Self::split("L | B | C"),
            Self::chain(3, 0, 1),
            Self::chain(3, 1, 2),
            Self::one_way(3, 0, 1),
            Self::one_way(3, 1, 0),
            Self::one_way(3, 1, 2),
            Self::mute(3, 0),
            Self::mute(3, 1),
            Self::deaf(3, 0),
            Self::deaf(3, 1),
        ]
    }

    /// Every split of five servers, up to symmetry and the leader's place, one-way cuts, and what is
    /// not transitive.
    #[must_use]
    pub fn of_five() -> Vec<Self> {
        let mut ring = Self::of(5, "ring L B C D E", Outcome::Aside(2));
        for (one, other) in [(0, 2), (0, 3), (1, 3), (1, 4), (2, 4)] {
            ring.cut(one, other);
        }
        let only = |name: &str, one: usize, hears: usize| {
            let mut picture = Self::of(5, name, Outcome::Aside(1));
            (0..5).filter(|it| ![one, hears].contains(it)).for_each(|other| picture.cut(one, other));
            picture
        };
        vec![
            Self::split("L B C D | E"),
            Self::split("L | B C D E"),
            Self::split("L B C | D E"),
            Self::split("L B | C D E"),
            Self::split("L B C | D | E"),
            Self::split("L | B C D | E"),
            Self::split("L B | C D | E"),
            Self::split("L | B C | D E"),
            Self::split("L | B | C | D | E"),
            Self::chain(5, 0, 1),
            Self::chain(5, 1, 2),
            only("B reaches only L", 1, 0),
            only("L reaches only B", 0, 1),
            only("B reaches only C", 1, 2),
            ring,
            Self::mute(5, 0),
            Self::mute(5, 1),
            Self::deaf(5, 0),
            Self::deaf(5, 1),
        ]
    }

    /// Those of `all` whose drawing is `TASUKI_PICTURES`, where that is set.
    #[must_use]
    pub fn wanted(all: Vec<Self>) -> Vec<Self> {
        match std::env::var("TASUKI_PICTURES") {
            Ok(wanted) => {
                all.into_iter().filter(|it| wanted.split(',').any(|name| name == it.name)).collect()
            }
            Err(_) => all,
        }
    }

    /// Parts between which nothing passes.
    #[must_use]
    pub fn split(drawing: &str) -> Self {
        let parts: Vec<Vec<usize>> = drawing
            .split('|')
            .map(|part| {
                part.chars().filter_map(|letter| LETTERS.iter().position(|it| *it == letter)).collect()
            })
            .collect();
        let servers = parts.iter().map(Vec::len).sum();
        let winner = parts.iter().find(|part| part.len() * 2 > servers);
        let outcome = winner.map_or(Outcome::Nobody, |part| Outcome::Wins(part.clone()));
        let mut picture = Self::of(servers, drawing, outcome);
        for (n, part) in parts.iter().enumerate() {
            for other in &parts[n + 1..] {
                part.iter().for_each(|one| other.iter().for_each(|it| picture.cut(*one, *it)));
            }
        }
        picture
    }

    /// Two servers that do not reach each other, and all others reach both.
    fn chain(servers: usize, one: usize, other: usize) -> Self {
        let name = format!("{} -/- {}", LETTERS[one], LETTERS[other]);
        let mut picture = Self::of(servers, &name, Outcome::Aside(1));
        picture.cut(one, other);
        picture
    }

    fn one_way(servers: usize, from: usize, to: usize) -> Self {
        let name = format!("{} -/-> {}", LETTERS[from], LETTERS[to]);
        let mut picture = Self::of(servers, &name, Outcome::Aside(1));
        picture.unheard.push(Unheard { from, to });
        picture
    }

    /// One server whom nobody hears.
    fn mute(servers: usize, from: usize) -> Self {
        let mut picture = Self::of(servers, &format!("{} mute", LETTERS[from]), Outcome::Aside(1));
        picture.unheard.extend((0..servers).filter(|to| *to != from).map(|to| Unheard { from, to }));
        picture
    }

    /// One server that hears nobody.
    fn deaf(servers: usize, to: usize) -> Self {
        let mut picture = Self::of(servers, &format!("{} deaf", LETTERS[to]), Outcome::Aside(1));
        picture.unheard.extend((0..servers).filter(|from| *from != to).map(|from| Unheard { from, to }));
        picture
    }

    fn of(servers: usize, name: &str, outcome: Outcome) -> Self {
        Self { name: name.to_owned(), servers, unheard: Vec::new(), outcome }
    }

    fn cut(&mut self, one: usize, other: usize) {
        self.unheard.extend([Unheard { from: one, to: other }, Unheard { from: other, to: one }]);
    }

    /// The same with servers instead of positions.
    #[must_use]
    pub fn placed(&self, order: &[usize]) -> Vec<Unheard> {
        let at = |position: usize| order[position];
        self.unheard.iter().map(|cut| Unheard { from: at(cut.from), to: at(cut.to) }).collect()
    }
}

impl fmt::Display for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_cuts_every_pair_across_its_parts_in_both_directions() {
        let picture = Picture::split("L B | C D E");
        assert_eq!(picture.unheard.len(), 2 * 2 * 3);
        assert_eq!(picture.outcome, Outcome::Wins(vec![2, 3, 4]));
        assert_eq!(Picture::split("L B | C D | E").outcome, Outcome::Nobody);
        assert_eq!(Picture::split("L | B | C").servers, 3);
    }

    #[test]
    fn no_picture_is_there_twice() {
        for all in [Picture::of_two(), Picture::of_three(), Picture::of_five()] {
            let servers = all[0].servers;
            let mut cuts: Vec<Vec<Unheard>> = all.iter().map(|it| it.unheard.clone()).collect();
            cuts.iter_mut().for_each(|it| it.sort());
            let before = cuts.len();
            cuts.sort();
            cuts.dedup();
            assert_eq!(cuts.len(), before, "{servers} servers");
            assert!(all.iter().all(|it| it.servers == servers));
        }
    }
}

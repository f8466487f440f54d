//! What a run is about: the mix of everything, or scripts that make one rule matter.

use tasuki_core::config::TieBreak;

use super::{dice::Dice, scripts};

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Single faults of all kinds.
    Mixed,
    /// Leaders that are cut off before they hold a lease (R3).
    Deposed,
    /// Leaders whom nobody answers (R1, R11).
    Unanswered,
    /// Clocks that run as far apart as they may, and some that stand still (R9, R38).
    Clocks,
    /// Servers that are heard again just when they are judged (R4).
    Judged,
    /// Machines that boot again before anybody misses them (R5).
    Restarts,
    /// Servers that leave while something does not stop (R7).
    Farewells,
    /// Disks, group actors or long packets that hang while the rest goes on (R8).
    Behind,
    /// Words that arrive long after they were said (R13).
    Late,
    /// Operators who move groups all the time (R12, R13).
    Moves,
    /// Two servers: claims while the other one comes back (R16).
    Claims,
    /// Two servers: the record is lost, or another cluster's (R17, R24).
    Record,
    /// Servers leave and return, come and go for good, and stores are lost (R15, R22, R23).
    Members,
    /// Power goes right after something was acknowledged (R23).
    Forgets,
    /// Two servers: one is put back to an older copy (R17, R23).
    Restored,
    /// Two servers with fences: one boots alone (R19).
    Fences,
    /// Two servers with the unsafe echo: cables are pulled at one end.
    Pulls,
}

/// All of them, with their names on the command line.
pub const PROFILES: [(&str, Profile); 17] = [
    ("mixed", Profile::Mixed),
    ("deposed", Profile::Deposed),
    ("unanswered", Profile::Unanswered),
    ("clocks", Profile::Clocks),
    ("judged", Profile::Judged),
    ("restarts", Profile::Restarts),
    ("farewells", Profile::Farewells),
    ("behind", Profile::Behind),
    ("late", Profile::Late),
    ("moves", Profile::Moves),
    ("claims", Profile::Claims),
    ("record", Profile::Record),
    ("members", Profile::Members),
    ("forgets", Profile::Forgets),
    ("restored", Profile::Restored),
    ("fences", Profile::Fences),
    ("pulls", Profile::Pulls),
];

impl Profile {
    /// The profile of this name; `any` is one that the seed chooses among those that fit.
    #[must_use]
    pub fn named(name: &str, seed: u64, servers: usize, tie_break: &TieBreak) -> Option<Self> {
        if name == "any" {
            let fitting: Vec<Self> = (PROFILES.iter().map(|(_, profile)| *profile))
                .filter(|profile| scripts::fits(*profile, servers, tie_break))
                .collect();
            return Dice::new(seed ^ 0x0f17).pick(&fitting).copied();
        }
        PROFILES.iter().find(|(known, _)| *known == name).map(|(_, profile)| *profile)
    }

    /// Whether single faults of all kinds come between the scripts. They would spoil what only works
    /// undisturbed, and what the unsafe echo does not promise.
    #[must_use]
    pub fn has_others(self) -> bool {
        !matches!(self, Self::Unanswered | Self::Clocks | Self::Late | Self::Pulls | Self::Restored)
    }
}

//! Which rule is taken out, and where that is looked for: with which servers, tie-break and faults.

/// One rule, or several at once, as `tasuki_core::planted` and [`super::run::OUTSIDE`] name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bite {
    /// What is taken out.
    pub rule: &'static str,
    /// Servers.
    pub servers: usize,
    /// The tie-break of two.
    pub tie_break: &'static str,
    /// What goes wrong.
    pub profile: &'static str,
    /// The first seed.
    pub from: u64,
    /// Found within so many runs from there; none where it harms nothing by itself, as the note on the
    /// simulator says.
    pub within: Option<u64>,
}

/// What needs more runs than this is searched by `just bite`, and not in the gate.
pub const IN_THE_GATE: u64 = 12;

impl Bite {
    /// Whether the gate looks whether it is found.
    #[must_use]
    pub fn is_quick(&self) -> bool {
        self.within.is_some_and(|within| within <= IN_THE_GATE)
    }
}

const fn of(
    rule: &'static str,
    servers: usize,
    tie_break: &'static str,
    profile: &'static str,
    from: u64,
    within: Option<u64>,
) -> Bite {
    Bite { rule, servers, tie_break, profile, from, within }
}

/// All of them. What is stated is about four times what was seen: any change of what nodes say to each
/// other makes other runs of the same seeds.
pub const BITES: [Bite; 30] = [
    of("R1", 3, "none", "unanswered", 1, Some(8)),
    of("R2", 3, "none", "mixed", 1, Some(10)),
    of("R3", 3, "none", "deposed", 1, Some(12)),
    of("R4", 3, "none", "judged", 1, Some(6)),
    of("R4-withheld", 3, "none", "judged", 1, None),
    of("R4-barrier", 3, "none", "judged", 1, None),
    of("R5", 3, "none", "restarts", 1, Some(8)),
    of("R6", 3, "none", "mixed", 1, Some(4)),
    of("R7", 3, "none", "farewells", 1, Some(4)),
    of("R8", 3, "none", "behind", 1, Some(6)),
    of("R8-behind", 3, "none", "behind", 1, None),
    of("R8-behind+R4-barrier", 3, "none", "behind", 1, Some(12)),
    of("R9", 3, "none", "clocks", 1, Some(4)),
    of("R9-budget", 3, "none", "clocks", 1, Some(8)),
    of("R9-margin", 3, "none", "clocks", 1, Some(8)),
    of("R10", 3, "none", "mixed", 1, Some(4)),
    of("R11", 3, "none", "unanswered", 1, Some(8)),
    of("R12", 3, "none", "moves", 1, Some(4)),
    of("R13", 3, "none", "moves", 1, Some(12)),
    of("R13-epoch", 3, "none", "late", 1, Some(12)),
    of("R14", 2, "files", "mixed", 1, Some(4)),
    of("R15", 2, "files", "members", 1, None),
    of("R15+R17", 2, "files", "members", 1, None),
    of("R16", 2, "witness", "claims", 1, Some(4)),
    of("R17", 2, "files", "record", 1, Some(4)),
    of("R17-number", 2, "files", "restored", 1, Some(6)),
    of("R19", 2, "fence", "fences", 1, Some(4)),
    of("R23", 3, "none", "forgets", 1, Some(6)),
    of("R24", 2, "files", "record", 1, Some(4)),
    of("R38", 3, "none", "clocks", 1, Some(8)),
];

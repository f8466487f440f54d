//! Rules that a test takes out, to see whether anybody notices. Without the feature `planted`, which
//! only the simulator is built with, every question here is answered "no" by the compiler.

/// A rule that is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Planted {
    /// R1: a lease is counted from the grant, not from the round that a quorum answered.
    LeaseFromGrant = 1,
    /// R2: a grant table that is born empty takes nobody to hold a lease.
    EmptyTable,
    /// R3: what a leader decided is handed to the next one.
    OldDecisions,
    /// R4: a server that is judged is granted leases all the same.
    NotWithheld,
    /// R4: a grant counts before the holder has applied what the leader had.
    NoBarrier,
    /// R5: any incarnation is granted a lease.
    AnyIncarnation,
    /// R6: a group is started without a lease.
    NoLease,
    /// R7: a server says that it has stopped before its guard has.
    EarlyFarewell,
    /// R8: a server whose group actors do not move is granted leases.
    Unhealthy,
    /// R8: a server that is behind is granted leases.
    Behind,
    /// R9: takeover does not wait for what two clocks may drift apart.
    NoMargin,
    /// R9: takeover does not wait for the guard's budget.
    NoBudget,
    /// R11: a leader believes itself.
    SelfMadeLeader,
    /// R12: what a decision read may have changed.
    StaleReads,
    /// R13: the wish to move is taken for the release.
    WishIsRelease,
    /// R14: the tie-break record does not bind the other server.
    ExpiringRecord,
    /// R15: a server claims while the voters change, and the record is not narrowed before they do.
    ClaimInChange,
    /// R13: an old owner's word counts.
    NoEpoch,
    /// R16: the end of the log is read first, and nothing is frozen before something is put behind it.
    NoFreeze,
    /// R17: a record that is not there is taken for "nobody has claimed".
    BlankIsFree,
    /// R17: the record and the log may have different numbers.
    AnyNumber,
    /// R19: a server that has exchanged nothing with the other one breaks a tie by a fence.
    ColdTie,
    /// R24: a record of another lineage counts.
    AnyLineage,
}

/// What is taken out at once, under its name on the command line. Where two rules stand in for each
/// other, taking out one of them harms nothing; both together do.
pub const ALL: [(&str, &[Planted]); 26] = [
    ("R1", &[Planted::LeaseFromGrant]),
    ("R2", &[Planted::EmptyTable]),
    ("R3", &[Planted::OldDecisions]),
    ("R4", &[Planted::NotWithheld, Planted::NoBarrier]),
    ("R4-withheld", &[Planted::NotWithheld]),
    ("R4-barrier", &[Planted::NoBarrier]),
    ("R5", &[Planted::AnyIncarnation]),
    ("R6", &[Planted::NoLease]),
    ("R7", &[Planted::EarlyFarewell]),
    ("R8", &[Planted::Unhealthy, Planted::Behind]),
    ("R8-behind", &[Planted::Behind]),
    ("R9", &[Planted::NoBudget, Planted::NoMargin]),
    ("R9-budget", &[Planted::NoBudget]),
    ("R9-margin", &[Planted::NoMargin]),
    ("R11", &[Planted::SelfMadeLeader]),
    ("R12", &[Planted::StaleReads]),
    ("R13", &[Planted::WishIsRelease]),
    ("R13-epoch", &[Planted::NoEpoch]),
    ("R14", &[Planted::ExpiringRecord]),
    ("R15+R17", &[Planted::ClaimInChange, Planted::AnyNumber]),
    ("R15", &[Planted::ClaimInChange]),
    ("R16", &[Planted::NoFreeze]),
    ("R17", &[Planted::BlankIsFree]),
    ("R17-number", &[Planted::AnyNumber]),
    ("R19", &[Planted::ColdTie]),
    ("R24", &[Planted::AnyLineage]),
];

#[cfg(feature = "planted")]
static SWITCHES: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

/// Takes these out of this process.
#[cfg(feature = "planted")]
pub fn plant(what: &[Planted]) {
    let bits = what.iter().fold(0, |bits, one| bits | 1 << *one as u8);
    SWITCHES.store(bits, std::sync::atomic::Ordering::Relaxed);
}

/// Whether this rule is taken out.
#[cfg(feature = "planted")]
#[must_use]
pub fn is(what: Planted) -> bool {
    SWITCHES.load(std::sync::atomic::Ordering::Relaxed) & 1 << what as u8 != 0
}

/// Whether this rule is taken out.
#[cfg(not(feature = "planted"))]
#[must_use]
pub const fn is(_: Planted) -> bool {
    false
}

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
    /// R8: a server that is behind or unhealthy is granted leases.
    Unhealthy,
    /// R9: takeover waits for the lease only, without budget and margin.
    NoMargin,
    /// R11: a leader believes itself.
    SelfMadeLeader,
    /// R12: what a decision read may have changed.
    StaleReads,
    /// R13: the wish to move is taken for the release.
    WishIsRelease,
    /// R14: the tie-break record does not bind the other server.
    ExpiringRecord,
    /// R15: a server claims while the voters change.
    ClaimInChange,
    /// R13: an old owner's word counts.
    NoEpoch,
}

/// All of them, with their names on the command line.
pub const ALL: [(&str, Planted); 16] = [
    ("R1", Planted::LeaseFromGrant),
    ("R2", Planted::EmptyTable),
    ("R3", Planted::OldDecisions),
    ("R4", Planted::NotWithheld),
    ("R4-barrier", Planted::NoBarrier),
    ("R5", Planted::AnyIncarnation),
    ("R6", Planted::NoLease),
    ("R7", Planted::EarlyFarewell),
    ("R8", Planted::Unhealthy),
    ("R9", Planted::NoMargin),
    ("R11", Planted::SelfMadeLeader),
    ("R12", Planted::StaleReads),
    ("R13", Planted::WishIsRelease),
    ("R13-epoch", Planted::NoEpoch),
    ("R14", Planted::ExpiringRecord),
    ("R15", Planted::ClaimInChange),
];

#[cfg(feature = "planted")]
static SWITCH: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

/// Takes one rule out of this process.
#[cfg(feature = "planted")]
pub fn plant(what: Planted) {
    SWITCH.store(what as u8, std::sync::atomic::Ordering::Relaxed);
}

/// Whether this rule is taken out.
#[cfg(feature = "planted")]
#[must_use]
pub fn is(what: Planted) -> bool {
    SWITCH.load(std::sync::atomic::Ordering::Relaxed) == what as u8
}

/// Whether this rule is taken out.
#[cfg(not(feature = "planted"))]
#[must_use]
pub const fn is(_: Planted) -> bool {
    false
}

//! Rules of the mirror that its property test takes out, to see whether anybody notices. Outside the
//! tests of this crate every question here is answered "no" by the compiler.

/// A rule that is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lapse {
    /// R25: a command may have been decided on older facts.
    OlderFacts,
    /// R25: "Outdated" may take the last good copy.
    NoneGood,
    /// R25: anybody may speak for a volume, under any epoch, and whatever the facts are. (One of the two
    /// stands in for the other.)
    AnyEpoch,
    /// T2, R40: a copy that is not good may be opened, and its server is given the group.
    AnyCopy,
    /// R26: "UpToDate" counts only when it is known to be committed.
    NotAsIfCommitted,
    /// R26: "UpToDate" is proposed before every write waits for the peer.
    NotYetRequired,
    /// R26: going on alone does not wait for the commit.
    AloneAtOnce,
    /// R27: losing the own disk is not committed.
    OwnDiskKeptGood,
    /// R28: a peer that was not met stays good when the volume is opened.
    PeerStaysGood,
    /// R30: the target of a resync stays good.
    TargetStaysGood,
    /// Nobody compares what nobody recorded, with three copies.
    NotCompared,
}

#[cfg(test)]
impl Lapse {
    /// All of them.
    pub(crate) const ALL: [Self; 11] = [
        Self::OlderFacts,
        Self::NoneGood,
        Self::AnyEpoch,
        Self::AnyCopy,
        Self::NotAsIfCommitted,
        Self::NotYetRequired,
        Self::AloneAtOnce,
        Self::OwnDiskKeptGood,
        Self::PeerStaysGood,
        Self::TargetStaysGood,
        Self::NotCompared,
    ];
}

#[cfg(test)]
std::thread_local! {
    static TAKEN_OUT: std::cell::Cell<Option<Lapse>> = const { std::cell::Cell::new(None) };
}

/// Takes one rule out of this thread.
#[cfg(test)]
pub(crate) fn take_out(lapse: Option<Lapse>) {
    TAKEN_OUT.set(lapse);
}

/// Whether this rule is taken out.
#[cfg(test)]
pub(crate) fn is(lapse: Lapse) -> bool {
    TAKEN_OUT.get() == Some(lapse)
}

/// Whether this rule is taken out.
#[cfg(not(test))]
pub(crate) const fn is(_: Lapse) -> bool {
    false
}

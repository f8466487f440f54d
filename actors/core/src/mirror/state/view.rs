//! What people are shown of the machine.

use std::collections::BTreeSet;

use super::{Mirror, peers::Stream};
use crate::ids::ServerName;

impl Mirror {
    /// The peers that are not called, because each side has data that the other lacks.
    #[must_use]
    pub fn apart(&self) -> BTreeSet<ServerName> {
        let apart = self.peers.iter().filter(|(_, peer)| matches!(peer.stream, Stream::Apart));
        apart.map(|(name, _)| name.clone()).collect()
    }
}

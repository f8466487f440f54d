//! A volume of another size, while it is used.
//!
//! ```text
//!  ask everybody how much room there is ──► nobody writes ──► flush ──► the own copy ──► the peers'
//!     ──► requests beyond the old end are let in
//! ```
//!
//! A peer that is lost in between, or comes later, has the size of the primary that it greets: it takes
//! it over before it is let in.

use std::rc::Rc;

use bytes::Bytes;
use tasuki_core::mirror::{geometry::Geometry, state::PeerMode};

use super::{Engine, Session, Through};
use crate::path::{frame::Body, volume::PathError};

impl Engine {
    /// Makes the volume as large as the smallest of the data areas that take part; its size then, in
    /// bytes. It never gets smaller.
    pub async fn resize(self: &Rc<Self>) -> Result<u64, PathError> {
        let refused = |why: &str| Err(PathError::Peer(why.to_owned()));
        if self.primary.get().is_none() || self.through.get() != Through::Own || !self.is_open() {
            return refused("a volume grows where it is open, its disk works and it waits for nobody");
        }
        if self.works() {
            return refused("a resync or a check runs: the volume grows when it has ended");
        }
        let mut room = self.copy.measure().await?;
        for session in self.in_use() {
            let gone = || PathError::Peer("its stream has ended".to_owned());
            let answer = session.ask(Body::Measure, Bytes::new()).await.ok_or_else(gone)?;
            let bytes = answer.data.first_chunk::<8>().copied().ok_or_else(gone)?;
            room = room.min(u64::from_le_bytes(bytes));
        }
        let (before, geometry) = (self.geometry.get(), Geometry::of(room));
        if geometry.size <= before.size {
            return Ok(before.size);
        }
        let _nobody_writes = self.ranges.hold(0, u64::MAX).await;
        // What is not flushed is remembered in extents of the size before.
        self.flush().await.map_err(|why| PathError::Disk(why.to_string()))?;
        if self.works() || self.through.get() != Through::Own || self.primary.get().is_none() {
            return refused("something else has begun: try again");
        }
        self.copy.resize(geometry).await?;
        self.geometry.set(geometry);
        for session in self.in_use() {
            // One whose stream ends takes the size over when it is met again.
            let _it_is_lost = session.ask(Body::Resize(geometry), Bytes::new()).await;
        }
        self.changed();
        Ok(geometry.size)
    }

    /// A resync or a check runs.
    fn works(&self) -> bool {
        let peers = self.peers.borrow();
        peers.iter().any(|peer| peer.work.as_ref().is_some_and(|work| !work.is_finished()))
    }

    /// The sessions that writes go to.
    fn in_use(&self) -> Vec<Rc<Session>> {
        let peers = self.peers.borrow();
        let used = peers.iter().filter(|peer| peer.mode != PeerMode::Absent && peer.in_use());
        used.filter_map(|peer| peer.session.clone()).collect()
    }
}

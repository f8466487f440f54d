//! Going on without the own disk (R27).

use std::rc::Rc;

use bytes::Bytes;
use tasuki_core::{
    ids::{Generation, ServerName},
    mirror::history::History,
};

use super::{Engine, Through};
use crate::path::{copy::DiskError, frame::Body};

/// Spans in one frame.
const SPANS: usize = 8192;

impl Engine {
    /// Reads and writes go through this peer from here on. What the own disk may have lost is recorded
    /// there first, also what is under way.
    pub async fn go_diskless(self: &Rc<Self>, slot: usize) -> Result<(), String> {
        if self.through.get() == Through::Own {
            self.through.set(Through::Nowhere);
            self.changed();
        }
        // No write begins from here until the end.
        let mut spans = self.copy.journal().local_unflushed();
        let gone = || "its stream has ended".to_owned();
        let session = self.session(slot).filter(|session| session.is_used()).ok_or_else(gone)?;
        loop {
            let part = spans.split_off(spans.len().saturating_sub(SPANS));
            session.ask(Body::Record(part), Bytes::new()).await.ok_or_else(gone)?;
            if spans.is_empty() {
                break;
            }
        }
        self.through.set(Through::Peer(slot));
        self.land_all();
        self.changed();
        Ok(())
    }

    /// The copy is of a new generation. Without the own disk it is only noted here: peers in step adopt
    /// it.
    pub async fn store_step(&self, generation: Generation, by: ServerName) -> Result<(), DiskError> {
        if self.through.get() == Through::Own {
            return self.copy.store_step(generation, by).await;
        }
        let mut history = self.history();
        if history.generation() < generation {
            history.step(generation, &by);
        }
        *self.noted.borrow_mut() = Some(history);
        Ok(())
    }

    /// The lineage of the data that this primary goes on with.
    pub fn history(&self) -> History {
        let noted = self.noted.borrow().clone();
        noted.unwrap_or_else(|| self.copy.local().history)
    }
}

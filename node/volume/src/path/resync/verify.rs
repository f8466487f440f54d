//! Comparing the copies beside running writes.

use std::{cell::Cell, rc::Rc, time::Instant};

use bytes::Bytes;
use tasuki_core::mirror::{LinkState, resync::RUN};

use super::{Course, sums};
use crate::path::{
    events::{VerifyReport, VolumeEvent},
    frame::Body,
    primary::{Engine, Session},
    work::work,
};

/// One sum for so many bytes.
const CHUNK: u32 = 4096;
/// A report names so many spans; then it ends.
const SPANS: usize = 10_000;

impl Engine {
    /// Compares a peer's copy with the own one; ends with `Verified`. With `repair`, what differs is
    /// marked for the next resync.
    pub fn verify(self: &Rc<Self>, slot: usize, repair: bool) {
        let engine = self.clone();
        let stopped = Rc::new(Cell::new(false));
        let stop = stopped.clone();
        let work = work(async move {
            let peer = engine.name_of(slot);
            let mut report = VerifyReport { peer: Some(peer), ..VerifyReport::default() };
            match engine.session(slot).filter(|session| session.is_used()) {
                Some(session) => engine.compare(slot, &session, &stopped, &mut report).await,
                None => {
                    report.problem = Some("writes do not go there: there is nothing to compare".to_owned())
                }
            }
            if repair && !report.different.is_empty() {
                let geometry = engine.copy.geometry();
                let spans =
                    report.different.iter().map(|(offset, length)| geometry.extents_of(*offset, *length));
                if let Some(peer) = engine.peers.borrow_mut().get_mut(slot) {
                    peer.marked.extend(spans);
                    report.repaired = true;
                }
            }
            engine.set_progress(slot, None, None);
            engine.shared.tell(VolumeEvent::Verified(report));
        });
        if let Some(peer) = self.peers.borrow_mut().get_mut(slot) {
            peer.stop_work();
            peer.work = Some(work.abort_handle());
            peer.check = Some(stop);
        }
    }

    /// Ends the checks that are under way; what they have compared is reported.
    pub fn stop_verify(&self) {
        for peer in self.peers.borrow().iter() {
            if let Some(stop) = &peer.check {
                stop.set(true);
            }
        }
    }

    async fn compare(
        self: &Rc<Self>,
        slot: usize,
        session: &Rc<Session>,
        stopped: &Cell<bool>,
        report: &mut VerifyReport,
    ) {
        let size = self.copy.geometry().size;
        let course = Course::new(self, slot, LinkState::Connected, size);
        let mut offset = 0;
        while offset < size {
            if stopped.get() {
                report.problem = Some("it was stopped".to_owned());
                return;
            }
            let began = Instant::now();
            let length = (size - offset).min(RUN);
            let length32 = u32::try_from(length).unwrap_or(u32::MAX);
            // Nobody writes there: both have the same by now, or never will.
            let _nobody_writes = self.ranges.hold(offset, offset + length).await;
            let asked = Body::Sums { offset, length: length32, chunk: CHUNK };
            let own = async { Ok(sums::of(self.copy.read(offset, length32).await?, CHUNK).await?) };
            let (own, theirs): (Result<Bytes, crate::path::copy::DiskError>, _) =
                tokio::join!(own, session.ask(asked, Bytes::new()));
            let (Ok(own), Some(theirs)) = (own, theirs) else {
                report.problem = Some("the stream or a disk failed".to_owned());
                return;
            };
            note(report, offset, length, &own, &theirs.data);
            report.compared += length;
            if report.different.len() > SPANS {
                report.problem = Some("more differs than a report can name".to_owned());
                return;
            }
            offset += length;
            drop(_nobody_writes);
            course.went(self, length, 0);
            course.keep_pace(length, began).await;
        }
    }
}

fn note(report: &mut VerifyReport, offset: u64, length: u64, own: &[u8], theirs: &[u8]) {
    for (at, sum) in own.chunks(sums::SUM).enumerate() {
        if theirs.get(at * sums::SUM..(at + 1) * sums::SUM) == Some(sum) {
            continue;
        }
        let from = at as u64 * u64::from(CHUNK);
        let part = (length - from).min(u64::from(CHUNK));
        match report.different.last_mut().filter(|last| last.0 + last.1 == offset + from) {
            Some(last) => last.1 += part,
            None => report.different.push((offset + from, part)),
        }
    }
}

//! What the data path says.

use tasuki_core::{
    ids::ServerName,
    mirror::state::{Event, Wish},
};

use super::{Phase, State};
use crate::ports::volumes::{VolumeError, VolumeEvent};

impl State {
    pub(super) fn path_says(&mut self, event: VolumeEvent) {
        match event {
            VolumeEvent::PeerMet { welcome, differing } => self.on(Event::PeerMet { welcome, differing }),
            VolumeEvent::PeerRefused { peer, why } => self.on(Event::PeerRefused { peer, why }),
            VolumeEvent::PeerLost { peer, why } => self.on(Event::PeerLost { peer, why }),
            VolumeEvent::PeerSlow { peer } => self.on(Event::PeerSlow { peer }),
            VolumeEvent::PeerAwaited { peer, over } => self.awaited(&peer, over),
            VolumeEvent::Synced { peer } => self.on(Event::Synced { peer }),
            VolumeEvent::DiskFailed { why } => self.on(Event::DiskFailed { why }),
            VolumeEvent::PeerDiskFailed { peer, why } => self.on(Event::PeerDiskFailed { peer, why }),
            VolumeEvent::Primary { server, epoch } => match server {
                Some(server) => {
                    tracing::info!(volume = %self.volume, %server, %epoch, "a primary was let in")
                }
                None => {
                    tracing::info!(volume = %self.volume, %epoch, "the primary is gone");
                    self.remember_failure();
                }
            },
            VolumeEvent::Verified(report) => {
                let text = match (&report.problem, report.different.len()) {
                    (Some(why), _) => format!("the check of the copies ended early: {why}"),
                    (None, 0) => format!("the copies are equal: {} bytes compared", report.compared),
                    (None, spans) => format!("TSK-1809: the copies differ in {spans} places"),
                };
                self.tell("mirror-verified", text);
                // A copy that is known to differ is no good one: it is out until what differs is copied.
                let mend = report.peer.clone().filter(|_| report.repaired && !report.different.is_empty());
                self.desk.inner().verified = Some(report);
                if let Some(peer) = mend {
                    self.on(Event::Wish(Wish::Rebuild { peer, full: true, discard: false }));
                }
            }
            VolumeEvent::Saved(Ok(path)) => {
                let text = format!("what only the copy here has was saved as {}", path.display());
                self.tell("mirror-saved", text);
            }
            VolumeEvent::Saved(Err(why)) => {
                let text = format!(
                    "TSK-1860: what only the copy here has cannot be saved, and so is not overwritten: {why}"
                );
                self.tell("mirror-not-saved", text);
            }
            VolumeEvent::DeviceLost(why) => {
                self.tell("mirror-device-lost", format!("the device went away: {why}"));
                self.desk.inner().end_use(&why);
            }
            VolumeEvent::Ended { why } => self.ended(&why),
        }
    }

    /// The data path has ended by a fault of its own: whoever uses the volume is told, and the copy is
    /// opened again, as after the end of a process.
    pub(super) fn ended(&mut self, why: &str) {
        if self.machine.is_none() {
            return; // it is being opened again
        }
        self.tell("mirror-ended", format!("TSK-1870: the data path has ended, and is opened again: {why}"));
        let tasks = self.listening.take().into_iter().chain(self.watching.take());
        tasks.chain(std::mem::take(&mut self.wakes).into_values()).for_each(|task| task.abort());
        self.called.clear();
        (self.machine, self.orders, self.device) = (None, None, None);
        let open = {
            let mut inner = self.desk.inner();
            inner.wanted = None;
            inner.end_use("the volume's data path has ended");
            inner.answer_promoting(|| Err(VolumeError::Ended.into()));
            inner.open.take()
        };
        self.set_phase(Phase::Closed);
        self.close_and_open(open.map(|(path, _)| path));
        self.reconcile();
    }

    /// The settings say to wait for a peer that does not answer: not without a word.
    pub(super) fn awaited(&mut self, peer: &ServerName, over: bool) {
        let waits = format!(
            "TSK-1862: writes wait for the copy on {peer}, which does not answer: `peer_timeout` says to wait"
        );
        self.desk.inner().problem = (!over).then(|| waits.clone());
        let text = if over { format!("writes no longer wait for the copy on {peer}") } else { waits };
        self.tell("mirror-waits", text);
    }

    pub(super) fn answers(&mut self, answers: bool) {
        let silent = "TSK-1871: the data path does not answer";
        let mut inner = self.desk.inner();
        inner.problem = (!answers).then(|| silent.to_owned());
        drop(inner);
        let text = if answers { "the data path answers again" } else { silent };
        self.tell("mirror-silent", text.to_owned());
    }
}

//! Fencing, and what is committed of the tie-break record.

use super::Change;
use crate::{
    ids::{FenceName, Incarnation, ServerName},
    membership::tie_break::Record,
    reason::Reason,
    registry::{
        Key, Refusal,
        fencing::{FenceTry, Fencing, FencingState, TRIES_LIMIT, TieBreakNote},
    },
};

impl Change<'_> {
    /// R15: numbers only grow; a record that has been made stays made where it is.
    pub(super) fn note_tie_break(&mut self, record: &Record, made: bool, place: &str) -> Result<(), Refusal> {
        if self.state.lineage.as_ref() != Some(&record.lineage) {
            return Err(Refusal::OtherLineage(Some(record.lineage.clone())));
        }
        if let Some(known) = &self.state.tie_break
            && known.value.record.number > record.number
        {
            let (known, named) = (known.value.record.number, record.number);
            return Err(Refusal::OlderRecord { known, named });
        }
        let known = self.state.tie_break.as_ref().map(|known| &known.value);
        let made = made || known.is_some_and(|known| known.made && known.place == place);
        let note = TieBreakNote { record: record.clone(), made, place: place.to_owned() };
        if self.state.tie_break.as_ref().is_none_or(|known| known.value != note) {
            self.state.tie_break = Some(self.renewed(note, Key::TieBreak, |s| s.tie_break.as_ref()));
        }
        Ok(())
    }

    pub(super) fn request_fence(
        &mut self,
        server: &ServerName,
        incarnation: Incarnation,
        because: &str,
    ) -> Result<(), Refusal> {
        let presence = self.presence(server)?;
        if presence.incarnation != incarnation {
            let (named, current) = (incarnation, presence.incarnation);
            return Err(Refusal::OtherIncarnation { server: server.clone(), named, current });
        }
        let before = self.state.servers.get(server).and_then(|entry| entry.fencing.as_ref());
        let mut tries = Vec::new();
        if let Some(before) = before.filter(|before| before.value.incarnation == incarnation) {
            match before.value.state {
                FencingState::Requested => return Err(Refusal::FencingUnderWay(server.clone())),
                FencingState::Confirmed { .. } => return Err(Refusal::AlreadyFenced(server.clone())),
                FencingState::Failed | FencingState::Lifted => tries.clone_from(&before.value.tries),
            }
        }
        let state = FencingState::Requested;
        self.set_fencing(server, Fencing { incarnation, because: because.to_owned(), state, tries });
        Ok(())
    }

    pub(super) fn fence_tried(
        &mut self,
        server: &ServerName,
        incarnation: Incarnation,
        tried: &[(FenceName, Option<String>)],
        failed: bool,
    ) -> Result<(), Refusal> {
        let mut fencing = self.fencing_of(server, incarnation)?;
        for (device, error) in tried {
            let (device, error) = (device.clone(), error.clone());
            fencing.tries.push(FenceTry { device, at: self.at, error });
        }
        let surplus = fencing.tries.len().saturating_sub(TRIES_LIMIT);
        fencing.tries.drain(..surplus);
        if failed && fencing.state == FencingState::Requested {
            fencing.state = FencingState::Failed;
        }
        self.set_fencing(server, fencing);
        Ok(())
    }

    /// R5, R13: confirmed for this incarnation, its end is proven and nobody waits for its lease.
    pub(super) fn server_fenced(
        &mut self,
        server: &ServerName,
        incarnation: Incarnation,
        by: &[FenceName],
    ) -> Result<(), Refusal> {
        let presence = self.presence(server)?;
        if presence.incarnation != incarnation {
            let (named, current) = (incarnation, presence.incarnation);
            return Err(Refusal::OtherIncarnation { server: server.clone(), named, current });
        }
        let up = presence.up;
        let known = self.fencing_of(server, incarnation).ok();
        let (because, tries) = known.map_or_else(Default::default, |known| (known.because, known.tries));
        let state = FencingState::Confirmed { by: by.to_vec() };
        self.set_fencing(server, Fencing { incarnation, because, state, tries });
        if up {
            let devices = by.iter().map(FenceName::as_str).collect::<Vec<_>>().join(" and ");
            let why = Reason::Fenced { server: server.clone(), by: devices };
            self.take_down(server, why, &Reason::ServerGone { server: server.clone() });
        }
        Ok(())
    }

    pub(super) fn fence_lifted(&mut self, server: &ServerName) -> Result<(), Refusal> {
        let entry = self.state.servers.get(server).and_then(|entry| entry.fencing.as_ref());
        let mut fencing = entry.ok_or_else(|| Refusal::NotFenced(server.clone()))?.value.clone();
        if !matches!(fencing.state, FencingState::Confirmed { .. } | FencingState::Failed) {
            return Err(Refusal::NotFenced(server.clone()));
        }
        fencing.state = FencingState::Lifted;
        self.set_fencing(server, fencing);
        Ok(())
    }

    /// The server has started: a fencing of its life before that was not confirmed is moot. One that
    /// was confirmed lasts until it is let in again; a machine that came back without having booted
    /// was not switched off, and people should know.
    pub(super) fn fencing_of_returned(&mut self, server: &ServerName, rebooted: bool) {
        self.fencing_is_moot(server);
        let entry = self.state.servers.get(server).and_then(|entry| entry.fencing.as_ref());
        let Some(mut fencing) = entry.map(|entry| entry.value.clone()) else { return };
        let FencingState::Confirmed { by } = &fencing.state else { return };
        let fences = self.state.settings.as_ref().map(|settings| &settings.value.fences);
        let proves = |device: &&FenceName| {
            fences.and_then(|fences| fences.get(*device)).is_some_and(|config| config.kind.proves_off())
        };
        let Some(device) = by.iter().find(proves).filter(|_| !rebooted).cloned() else { return };
        let error = format!("{server} came back without having booted: this device did not switch it off");
        fencing.tries.push(FenceTry { device, at: self.at, error: Some(error) });
        let surplus = fencing.tries.len().saturating_sub(TRIES_LIMIT);
        fencing.tries.drain(..surplus);
        self.set_fencing(server, fencing);
    }

    /// It ended, or started anew, before its fencing was confirmed.
    pub(super) fn fencing_is_moot(&mut self, server: &ServerName) {
        let entry = self.state.servers.get(server).and_then(|entry| entry.fencing.as_ref());
        let Some(mut fencing) = entry.map(|entry| entry.value.clone()) else { return };
        if matches!(fencing.state, FencingState::Requested | FencingState::Failed) {
            fencing.state = FencingState::Lifted;
            self.set_fencing(server, fencing);
        }
    }

    fn fencing_of(&self, server: &ServerName, incarnation: Incarnation) -> Result<Fencing, Refusal> {
        let entry = self.state.servers.get(server).and_then(|entry| entry.fencing.as_ref());
        let fencing = entry.map(|entry| entry.value.clone());
        fencing
            .filter(|fencing| fencing.incarnation == incarnation)
            .ok_or_else(|| Refusal::NotFenced(server.clone()))
    }

    fn set_fencing(&mut self, server: &ServerName, fencing: Fencing) {
        let key = Key::Fencing(server.clone());
        let item = self.renewed(fencing, key, |s| s.servers.get(server)?.fencing.as_ref());
        if let Some(entry) = self.state.servers.get_mut(server) {
            entry.fencing = Some(item);
        }
    }
}

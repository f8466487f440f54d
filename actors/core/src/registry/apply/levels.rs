//! Which words the registry may have (see [`crate::registry::level`]).

use super::Change;
use crate::{
    ids::{Incarnation, ServerName},
    registry::{Key, Level, Refusal, level::Spoken},
};

impl Change<'_> {
    pub(super) fn announce(
        &mut self,
        server: &ServerName,
        incarnation: Incarnation,
        speaks: &Spoken,
    ) -> Result<(), Refusal> {
        let presence = self.presence(server)?;
        if presence.incarnation != incarnation {
            let current = presence.incarnation;
            return Err(Refusal::OtherIncarnation { server: server.clone(), named: incarnation, current });
        }
        let level = self.state.level();
        if speaks.level < level {
            return Err(Refusal::TooOld { server: server.clone(), speaks: speaks.level, level });
        }
        self.change_presence(server, |p| p.speaks = Some(speaks.clone()));
        Ok(())
    }

    pub(super) fn raise_level(&mut self, level: Level) -> Result<(), Refusal> {
        if level <= self.state.level() || !self.state.below(level).is_empty() {
            return Err(self.state.not_yet(level));
        }
        self.state.level = Some(self.renewed(level, Key::Level, |s| s.level.as_ref()));
        Ok(())
    }
}

//! AUTO_START: what is wanted again when the cluster starts, or, of what is bound to one server,
//! when that server does.
//!
//! `always` is wanted whatever it was before, `never` is not, and `restore` stays as it was. What
//! somebody owns and what is disabled is left alone.

use super::Change;
use crate::{
    config::Startup,
    ids::{GroupName, ServerName},
    reason::Reason,
    registry::state::{GroupEntry, StartEvent, Target, Vacate},
};

impl Change<'_> {
    /// The cluster starts: no other server is up.
    pub(super) fn start_with_cluster(&mut self) {
        self.start_units(&Reason::ClusterStarted, |_| true);
    }

    /// A server starts that was down, or on a new boot.
    pub(super) fn start_with_server(&mut self, server: &ServerName) {
        let bound = |entry: &GroupEntry| {
            let instance = entry.config.as_ref().and_then(|config| config.value.instance.as_ref());
            instance.and_then(|instance| instance.bound.as_ref()) == Some(server)
        };
        self.start_units(&Reason::ServerStarted { server: server.clone() }, bound);
    }

    fn start_units(&mut self, reason: &Reason, which: impl Fn(&GroupEntry) -> bool) {
        let startup = |entry: &GroupEntry| {
            let config = &entry.config.as_ref()?.value;
            let idle = entry.ownership.value.owner.is_none() && config.enabled && which(entry);
            idle.then_some(config.startup)
        };
        let idle: Vec<(GroupName, Startup)> = self
            .state
            .groups
            .iter()
            .filter_map(|(name, entry)| Some((name.clone(), startup(entry)?)))
            .collect();
        for (group, startup) in idle {
            match startup {
                Startup::Always => self.change_target(&group, Target::Online),
                Startup::Never => self.change_target(&group, Target::Offline),
                Startup::Restore => {}
            }
            let wanted = self.state.groups.get(&group).map(|entry| entry.target.value);
            if wanted == Some(Target::Online) {
                let start = Vacate { to: None, reason: reason.clone(), event: StartEvent::Start };
                self.change_ownership(&group, |o| o.vacated = Some(start));
            }
        }
    }
}

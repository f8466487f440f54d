//! What the programs of a resource are told: `CLP_*` variables, by the names that existing cluster
//! scripts know, so that these run unchanged.

use std::collections::BTreeMap;

use crate::{
    config::GroupConfig,
    ids::{Epoch, GroupName, ResourceName, ServerName},
    reason::Reason,
    registry::state::StartEvent,
};

/// What a resource's programs are told.
#[derive(Clone, Debug)]
pub struct Situation<'a> {
    /// The group.
    pub group: &'a GroupName,
    /// Its configuration.
    pub config: &'a GroupConfig,
    /// The resource.
    pub resource: &'a ResourceName,
    /// Here.
    pub server: &'a ServerName,
    /// Under which ownership.
    pub epoch: Epoch,
    /// How this ownership began: the stop script sees the event of its start.
    pub event: StartEvent,
    /// Who ran the group before.
    pub previous: Option<&'a ServerName>,
    /// Why it is being stopped, at a stop.
    pub stopping: Option<&'a Reason>,
}

/// The variables.
#[must_use]
pub fn variables(situation: &Situation<'_>) -> BTreeMap<String, String> {
    let place = situation.config.servers.iter().position(|s| s == situation.server);
    let event = match situation.event {
        StartEvent::Start => "START",
        StartEvent::Failover => "FAILOVER",
    };
    let mut variables = BTreeMap::new();
    let mut set = |name: &str, value: String| {
        variables.insert(name.to_owned(), value);
    };
    set("CLP_EVENT", event.into());
    set("CLP_DISK", "SUCCESS".into()); // a disk that is not there fails the resource before this one
    set("CLP_SERVER", if place == Some(0) { "HOME" } else { "OTHER" }.into());
    set("CLP_PRIORITY", place.map_or(0, |place| place + 1).to_string());
    set("CLP_GROUPNAME", situation.group.to_string());
    set("CLP_RESOURCENAME", situation.resource.to_string());
    set("CLP_OSNAME", "Linux".into());
    set("CLP_VERSION_FULL", env!("CARGO_PKG_VERSION").into());
    set("CLP_VERSION_MAJOR", env!("CARGO_PKG_VERSION_MAJOR").into());
    set("TASUKI_SERVER", situation.server.to_string());
    set("TASUKI_EPOCH", situation.epoch.to_string());
    if let Some(previous) = situation.previous.filter(|_| situation.event == StartEvent::Failover) {
        set("CLP_SERVER_PREV", previous.to_string());
    }
    if let Some(why) = situation.stopping {
        set("CLP_FACTOR", factor(why).into());
        set("CLP_LASTACTION", "NONE".into());
    }
    variables
}

/// The word for why a group is stopped.
fn factor(why: &Reason) -> &'static str {
    match why {
        Reason::ClusterStopping => "CLUSTERSHUTDOWN",
        Reason::ServerLeaving { .. } => "SERVERSHUTDOWN",
        Reason::OperatorMoved { .. } | Reason::HomeIsBack { .. } => "GROUPMOVE",
        Reason::StartFailed { .. } | Reason::ResourceFailed { .. } | Reason::ServerGone { .. } => {
            "GROUPFAILOVER"
        }
        _ => "GROUPSTOP",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Automatic, Startup};

    fn told(server: &str, event: StartEvent, stopping: Option<&Reason>) -> BTreeMap<String, String> {
        let config = GroupConfig {
            comment: String::new(),
            servers: vec!["kiki".into(), "lala".into()],
            startup: Startup::Always,
            failover: Automatic::Auto,
            failback: Automatic::Manual,
            resources: BTreeMap::new(),
            ..GroupConfig::default()
        };
        variables(&Situation {
            group: &"web".into(),
            config: &config,
            resource: &"db".into(),
            server: &server.into(),
            epoch: Epoch(3),
            event,
            previous: Some(&"kiki".into()),
            stopping,
        })
    }

    #[test]
    fn at_home_after_a_start() {
        let told = told("kiki", StartEvent::Start, None);
        assert_eq!(told["CLP_EVENT"], "START");
        assert_eq!((told["CLP_SERVER"].as_str(), told["CLP_PRIORITY"].as_str()), ("HOME", "1"));
        assert!(!told.contains_key("CLP_SERVER_PREV") && !told.contains_key("CLP_FACTOR"));
    }

    #[test]
    fn elsewhere_after_a_failover_and_the_stop_sees_the_event_of_its_start() {
        let moved = Reason::OperatorMoved { by: "me".into() };
        let told = told("lala", StartEvent::Failover, Some(&moved));
        assert_eq!((told["CLP_EVENT"].as_str(), told["CLP_SERVER"].as_str()), ("FAILOVER", "OTHER"));
        assert_eq!((told["CLP_SERVER_PREV"].as_str(), told["CLP_FACTOR"].as_str()), ("kiki", "GROUPMOVE"));
    }
}

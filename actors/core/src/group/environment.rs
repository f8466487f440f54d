//! What the programs of a resource are told: `CLP_*` variables and `_CRS_*` attributes, by the names
//! that existing cluster scripts know, so that these run unchanged.

use std::collections::BTreeMap;

use crate::{
    config::GroupConfig,
    ids::{Epoch, GroupName, ResourceName, ServerName, TypeName},
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
    /// It is stopped to be started again here, for a monitor.
    pub restarting: bool,
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
    if let Some(resource) = situation.config.resources.get(situation.resource) {
        for (name, value) in &resource.attributes {
            set(&attribute(name), value.clone());
        }
        let given = resource.type_name.as_ref().map(TypeName::as_str);
        set("_CRS_TYPE", given.unwrap_or_else(|| resource.kind.type_name()).into());
    }
    set("_CRS_NAME", situation.resource.to_string());
    if let Some(instance) = &situation.config.instance {
        set("_CRS_CARDINALITY_ID", instance.number.to_string());
    }
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
    let factor = situation.stopping.map(factor);
    if let Some(factor) = factor.or(situation.restarting.then_some("RESOURCERESTART")) {
        set("CLP_FACTOR", factor.into());
        set("CLP_LASTACTION", "NONE".into());
    }
    variables
}

/// `_CRS_SVC_NAME` for `svc_name`: what a shell cannot have in a name becomes `_`.
fn attribute(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("_CRS_{}", name.chars().map(letter).collect::<String>())
}

/// The word for why a group is stopped. What only Tasuki knows, as stops by dependencies and
/// server pools, is an ordinary stop to a script; what follows a failure is a failover.
fn factor(why: &Reason) -> &'static str {
    match why {
        Reason::ClusterStopping => "CLUSTERSHUTDOWN",
        Reason::ServerLeaving { .. } => "SERVERSHUTDOWN",
        Reason::OperatorMoved { .. } | Reason::HomeIsBack { .. } | Reason::ServerJoined { .. } => "GROUPMOVE",
        Reason::StartFailed { .. }
        | Reason::ResourceFailed { .. }
        | Reason::MonitorFound { .. }
        | Reason::FailedTooOften { .. }
        | Reason::ServerGone { .. } => "GROUPFAILOVER",
        Reason::ClusterStarted
        | Reason::ServerStarted { .. }
        | Reason::OperatorStarted { .. }
        | Reason::OperatorStopped { .. }
        | Reason::StillWanted
        | Reason::NotConfigured
        | Reason::DependencyStopped { .. }
        | Reason::PulledUp { .. }
        | Reason::NeededBy { .. }
        | Reason::PoolChanged { .. }
        | Reason::PoolsFilled { .. }
        | Reason::LeaseRanOut { .. }
        | Reason::SaidSo
        | Reason::Fenced { .. } => "GROUPSTOP",
        #[cfg(not(feature = "level-1"))]
        Reason::Said { .. } => "GROUPSTOP",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Automatic, ExecConfig, InstanceOf, ResourceConfig, ResourceKind, Startup};

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
            restarting: false,
        })
    }

    /// An instance of `svc`, number 2, of a user's type with attributes.
    fn instance(attributes: &[(&str, &str)], restarting: bool) -> BTreeMap<String, String> {
        let mut resource = ResourceConfig::of(ResourceKind::Exec(ExecConfig::of(Vec::new())));
        resource.type_name = Some("oracle.service".into());
        resource.attributes =
            attributes.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let config = GroupConfig {
            servers: vec!["kiki".into()],
            resources: BTreeMap::from([("svc".into(), resource)]),
            instance: Some(InstanceOf { resource: "svc".into(), number: 2, bound: None, local: false }),
            ..GroupConfig::default()
        };
        variables(&Situation {
            group: &"svc#2".into(),
            config: &config,
            resource: &"svc".into(),
            server: &"kiki".into(),
            epoch: Epoch(3),
            event: StartEvent::Start,
            previous: None,
            stopping: None,
            restarting,
        })
    }

    #[test]
    fn attributes_arrive_by_the_names_that_action_scripts_know() {
        let told = instance(&[("svc_name", "orders"), ("port-no", "1521")], false);
        assert_eq!((told["_CRS_SVC_NAME"].as_str(), told["_CRS_PORT_NO"].as_str()), ("orders", "1521"));
        assert_eq!((told["_CRS_NAME"].as_str(), told["_CRS_CARDINALITY_ID"].as_str()), ("svc", "2"));
        assert_eq!(told["_CRS_TYPE"], "oracle.service");
        assert!(!told.contains_key("CLP_FACTOR"));
    }

    #[test]
    fn no_attribute_hides_what_tasuki_tells() {
        let told = instance(&[("name", "other"), ("type", "other"), ("cardinality_id", "9")], false);
        assert_eq!((told["_CRS_NAME"].as_str(), told["_CRS_CARDINALITY_ID"].as_str()), ("svc", "2"));
        assert_eq!(told["_CRS_TYPE"], "oracle.service");
    }

    #[test]
    fn a_restart_for_a_monitor_is_told_to_the_stop_script() {
        assert_eq!(instance(&[], true)["CLP_FACTOR"], "RESOURCERESTART");
    }

    #[test]
    fn every_stop_has_the_word_of_its_kind() {
        let (server, resource) = (|| ServerName::from("kiki"), || ResourceName::from("db"));
        for (why, word) in [
            (Reason::ClusterStopping, "CLUSTERSHUTDOWN"),
            (Reason::ServerLeaving { server: server() }, "SERVERSHUTDOWN"),
            (Reason::OperatorStopped { by: "me".into() }, "GROUPSTOP"),
            (Reason::DependencyStopped { on: "db#1".into() }, "GROUPSTOP"),
            (Reason::PoolChanged { server: server() }, "GROUPSTOP"),
            (Reason::OperatorMoved { by: "me".into() }, "GROUPMOVE"),
            (Reason::ServerJoined { server: server(), avoids: "db#1".into() }, "GROUPMOVE"),
            (Reason::ResourceFailed { resource: resource(), server: server() }, "GROUPFAILOVER"),
            (Reason::MonitorFound { monitor: "m".into(), server: server() }, "GROUPFAILOVER"),
        ] {
            assert_eq!(told("kiki", StartEvent::Start, Some(&why))["CLP_FACTOR"], word, "{why}");
        }
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

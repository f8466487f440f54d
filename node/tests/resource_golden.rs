//! What operators read about resources, types, pools and monitors, as golden text.
#![allow(clippy::unwrap_used)]

mod support;

use support::{
    FakeNode, Registry, app,
    engine::{LATER, assign, engine, fail, found, say},
    golden, node_status, view,
};
use tasuki::{
    app::{Caller, Role, monitors, pools, resources::view as resources, status},
    cli::{pool, render, type_},
};
use tasuki_core::{
    config::{AttributeConfig, Value, ValueKind},
    ids::{Incarnation, ResourceName},
    reason::Reason,
    registry::{
        Author, Command,
        state::{GroupState, MonitorState, ResourceState},
    },
};

fn all(registry: &Registry) -> Vec<resources::ResourceView> {
    resources::all(&registry.0, LATER)
}

/// Everything that differs from ONLINE, each once.
fn eventful() -> Registry {
    let mut registry = engine();
    registry.join("mimi");
    registry.start("mimi", 1);
    fail(&mut registry, "db#2");
    say(&mut registry, "db#2", GroupState::Online, ResourceState::Intermediate, "read only");
    assign(&mut registry, "Shop#1", "lala");
    say(&mut registry, "Shop#1", GroupState::OnlinePending, ResourceState::OnlinePending, "");
    say(&mut registry, "agent#2", GroupState::Online, ResourceState::Online, "2 clients\nand a second line");
    assign(&mut registry, "agent#3", "mimi");
    say(&mut registry, "agent#3", GroupState::Error, ResourceState::OnlineFailure, "exit code 1");
    registry
}

#[test]
fn a_table_has_local_resources_by_server_and_others_by_number() {
    let text = render::resources::table(&all(&eventful()));
    golden("resource/table.txt", &(text.clone() + "\n"));
    let rules = text.lines().filter(|line| line.starts_with('-'));
    assert!(rules.clone().count() == 5 && rules.into_iter().all(|rule| rule.len() == 80), "{text}");
}

#[test]
fn a_list_has_the_instances_side_by_side() {
    golden("resource/list.txt", &(render::resources::list(&all(&eventful())) + "\n"));
}

#[test]
fn the_full_form_has_every_attribute_of_every_instance() {
    golden("resource/full.txt", &(render::resources::full(&all(&eventful())) + "\n"));
}

#[test]
fn json_has_the_same_values() {
    let views = all(&eventful());
    golden("resource/all.json", &(serde_json::to_string_pretty(&views).unwrap() + "\n"));
}

#[test]
fn one_word_for_what_an_owner_says() {
    let state_of = |registry: &Registry, name: &str, number: u32| {
        let view = resources::one(&registry.0, &ResourceName::new(name), LATER).unwrap();
        let instance = view.instances.into_iter().find(|instance| instance.number == number).unwrap();
        (instance.state.word(), instance.details, instance.server.map(|server| server.to_string()))
    };
    let mut registry = engine();
    for (group, said, word, details, shown) in [
        (GroupState::Online, ResourceState::Online, "ONLINE", "fine", true),
        (GroupState::Online, ResourceState::Intermediate, "INTERMEDIATE", "fine", true),
        (GroupState::OnlinePending, ResourceState::OnlinePending, "OFFLINE", "STARTING", true),
        (GroupState::OfflinePending, ResourceState::OfflinePending, "OFFLINE", "STOPPING", true),
        (GroupState::Error, ResourceState::OnlineFailure, "OFFLINE", "fine", true),
        (GroupState::Error, ResourceState::OfflineFailure, "UNKNOWN", "fine", true),
        (GroupState::Unknown, ResourceState::Unknown, "UNKNOWN", "fine", true),
        (GroupState::OfflinePending, ResourceState::Offline, "OFFLINE", "fine", false),
    ] {
        say(&mut registry, "db#1", group, said, "fine");
        let server = shown.then(|| "kiki".to_owned());
        assert_eq!(state_of(&registry, "db", 1), (word, details.to_owned(), server), "{said:?}");
    }
    // Just given to its owner, which has not said anything.
    assign(&mut registry, "Shop#1", "lala");
    let lala = || Some("lala".to_owned());
    assert_eq!(state_of(&registry, "Shop", 1), ("OFFLINE", "STARTING".to_owned(), lala()));
    // A local one that nobody runs still has its server.
    assert_eq!(state_of(&registry, "agent", 3), ("OFFLINE", String::new(), Some("mimi".to_owned())));
    assert_eq!(state_of(&engine(), "Shop", 1), ("OFFLINE", String::new(), None));
}

#[test]
fn what_is_cleared_away_after_a_failure_says_so() {
    use tasuki_core::registry::state::{FailedResource, FailureKind, GroupReport, ResourceReport};
    let mut registry = engine();
    let ownership = registry.0.groups[&"db#1".into()].ownership.value.clone();
    let said =
        ResourceReport { state: ResourceState::OfflinePending, detail: String::new(), since: support::AT };
    let report = GroupReport {
        epoch: ownership.epoch,
        server: "kiki".into(),
        state: GroupState::OfflinePending,
        resources: [("db".into(), said)].into(),
        failed: Some(FailedResource { resource: "db".into(), kind: FailureKind::Ended, monitor: None }),
    };
    registry.must(Author::Server("kiki".into()), None, Command::Report { group: "db#1".into(), report });
    let view = resources::one(&registry.0, &"db".into(), LATER).unwrap();
    assert_eq!(view.instances[0].details, "CLEANING");
}

#[test]
fn what_a_lost_server_ran_is_offline_and_its_monitors_are_unknown() {
    let mut registry = engine();
    found(&mut registry, "ping", "lala", MonitorState::Error, "192.0.2.1 does not answer");
    let gone = Command::ServerGone { server: "lala".into(), incarnation: Incarnation(1) };
    let silent = std::time::Duration::from_millis(1036);
    registry.must(Author::Leader("kiki".into()), Some(Reason::LeaseRanOut { silent }), gone);
    let view = resources::one(&registry.0, &"db".into(), LATER).unwrap();
    assert_eq!(
        render::resources::list(&[view]),
        "NAME=db\nTYPE=exec\nTARGET=ONLINE        , ONLINE\nSTATE=ONLINE on kiki, OFFLINE"
    );
    let ping =
        monitors::all(&registry.0).into_iter().find(|monitor| monitor.name.as_str() == "ping").unwrap();
    assert!(ping.servers.iter().all(|on| on.state == MonitorState::Unknown), "{ping:?}");
}

#[test]
fn pools_are_shown_by_importance_with_what_they_lack() {
    golden("resource/pools.txt", &pool::status(&pools::all(&engine().0), false));
}

#[test]
fn types_are_shown_with_their_bases_and_attributes() {
    let app = app(FakeNode::new(engine(), true), Err("nobody".into()));
    let viewer = Caller { name: "ada".into(), role: Role::Viewer };
    golden("resource/types.txt", &(type_::list(&app.type_list(&viewer).unwrap()) + "\n"));
    let shown = app.type_show(&viewer, &"webapp".into()).unwrap();
    assert_eq!(shown.resources, ["Shop".into()]);
    golden("resource/type.txt", &(type_::one(&shown, false) + "\n"));
    let error = app.type_show(&viewer, &"webap".into()).unwrap_err();
    assert_eq!(error.to_string(), "no resource type is called webap; did you mean webapp?");
}

#[test]
fn a_type_of_spans_shows_them_with_their_units() {
    let mut registry = engine();
    let mut config = support::engine::engine_config();
    let slow = AttributeConfig {
        kind: ValueKind::Duration,
        default: Some(Value::Duration(90_000)),
        required: false,
        range: Some((1000, i64::MAX)),
        comment: String::new(),
    };
    config.types.get_mut(&"webapp".into()).unwrap().attributes.insert("grace".into(), slow);
    registry.must(Author::Operator("root".into()), None, Command::SetConfig { config });
    let app = app(FakeNode::new(registry, true), Err("nobody".into()));
    let viewer = Caller { name: "ada".into(), role: Role::Viewer };
    let shown = app.type_show(&viewer, &"webapp".into()).unwrap();
    let grace = shown.attributes.into_iter().find(|attribute| attribute.name == "grace").unwrap();
    assert_eq!((grace.default.as_deref(), grace.min.as_deref(), grace.max), (Some("90s"), Some("1s"), None));
}

#[test]
fn monitors_are_shown_with_the_cluster_and_with_their_group() {
    let mut registry = engine();
    found(&mut registry, "ping", "kiki", MonitorState::Normal, "");
    found(&mut registry, "ping", "lala", MonitorState::Error, "192.0.2.1 does not answer");
    found(&mut registry, "app-watch", "kiki", MonitorState::Normal, "");
    found(&mut registry, "app-watch", "lala", MonitorState::Unused, "");
    let restart = Command::CountRestart {
        group: "web".into(),
        epoch: registry.0.groups[&"web".into()].ownership.value.epoch,
        monitor: "app-watch".into(),
        resource: "app".into(),
        server: "kiki".into(),
    };
    registry.must(Author::Server("kiki".into()), None, restart);
    let status = status::cluster(&registry.0, &view(&["lala"]), &node_status(&["kiki", "lala"]), true);
    golden("status/monitors.txt", &render::monitors(&status.monitors, false));
    assert!(render::cluster(&status, LATER, false).contains("192.0.2.1 does not answer"));
    let web = status::group_with_monitors(&registry.0, &"web".into(), &registry.0.groups[&"web".into()]);
    golden("status/group_with_monitors.txt", &render::group(&web, LATER, false));
}

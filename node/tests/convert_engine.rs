//! What is said about resources, types, pools and monitors, there and back, and a page for every
//! code of theirs.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use support::{
    FakeNode, app,
    engine::{LATER, assign, engine, fail, found, say},
    node_status, view,
};
use tasuki::{
    app::{
        AppError, Caller, Role,
        edits::NewAttribute,
        pools,
        resources::{Acted, ResourceError, view as resources},
        status,
    },
    edge::grpc::{
        convert,
        status::{from_status, to_status},
    },
};
use tasuki_core::{
    ids::Revision,
    registry::state::{GroupState, MonitorState, ResourceState},
};

#[test]
fn resources_come_back_as_they_went() {
    let mut registry = engine();
    fail(&mut registry, "db#2");
    say(&mut registry, "db#2", GroupState::Online, ResourceState::Intermediate, "read only");
    say(&mut registry, "agent#1", GroupState::Unknown, ResourceState::Unknown, "");
    assign(&mut registry, "Shop#1", "lala");
    let views = resources::all(&registry.0, LATER);
    assert!(views.iter().any(|view| !view.instances[0].failure_history.is_empty() || view.group.is_some()));
    for view in views {
        assert_eq!(convert::resource_in(convert::resource_out(view.clone())), Ok(view));
    }
    assert!(convert::instance_state_in(0).is_err() && convert::instance_state_in(99).is_err());
}

#[test]
fn accepted_instances_come_back_as_they_went() {
    let acted = vec![
        Acted { unit: "db#1".into(), revision: Revision(7), from: Some("kiki".into()), waits_for: None },
        Acted { unit: "db#2".into(), revision: Revision(8), from: None, waits_for: Some("mimi".into()) },
    ];
    assert_eq!(convert::acted_in(convert::acted_out(acted.clone())), acted);
}

#[test]
fn types_and_pools_come_back_as_they_went() {
    let registry = engine();
    for pool in pools::all(&registry.0) {
        assert_eq!(convert::pool_in(convert::pool_out(pool.clone())), pool);
    }
    let app = app(FakeNode::new(registry, true), Err("nobody".into()));
    let viewer = Caller { name: "ada".into(), role: Role::Viewer };
    for listed in app.type_list(&viewer).unwrap() {
        let shown = app.type_show(&viewer, &listed.name).unwrap();
        assert_eq!(convert::type_in(convert::type_out(shown.clone())), shown);
        assert_eq!(convert::type_in(convert::type_out(listed.clone())), listed);
    }
    let new = NewAttribute {
        name: "port".into(),
        kind: "integer".into(),
        default: Some("80".into()),
        required: false,
        min: None,
        max: Some("9".into()),
    };
    assert_eq!(convert::new_attribute_in(convert::new_attribute_out(new.clone())), new);
}

#[test]
fn monitors_come_back_with_the_cluster() {
    let mut registry = engine();
    for (server, state) in [("kiki", MonitorState::Error), ("lala", MonitorState::Unused)] {
        found(&mut registry, "ping", server, state, "192.0.2.1 does not answer");
    }
    let status = status::cluster(&registry.0, &view(&["lala"]), &node_status(&["kiki"]), true);
    assert_eq!(status.monitors.len(), 2);
    assert_eq!(convert::status_in(convert::status_out(status.clone())), Ok(status));
    for state in [
        MonitorState::Normal,
        MonitorState::Caution,
        MonitorState::Error,
        MonitorState::Unused,
        MonitorState::Unknown,
    ] {
        assert_eq!(convert::monitor_state_in(convert::monitor_state_out(state)), Ok(state));
    }
}

#[test]
fn every_error_about_them_has_a_page_and_survives_the_wire() {
    let (name, nearest) = (|| "x".to_owned(), Some("y".to_owned()));
    let db = || "db".into();
    let mut table = String::new();
    for error in [
        ResourceError::NoSuchResource { name: name(), nearest: nearest.clone() },
        ResourceError::NoSuchType { name: name(), nearest: None },
        ResourceError::NoSuchPool { name: name(), nearest },
        ResourceError::MemberOf { resource: "app".into(), group: "web".into() },
        ResourceError::NothingToStart(db()),
        ResourceError::NothingToStop(db()),
        ResourceError::WhichInstance { resource: db(), servers: vec!["kiki".into(), "lala".into()] },
        ResourceError::NotOn { resource: db(), server: "mimi".into() },
        ResourceError::Bound("agent".into()),
        ResourceError::BuiltIn("type exec".into()),
        ResourceError::Partly { resource: db(), done: 1, unit: "db#2".into(), because: "no quorum".into() },
    ] {
        let error = AppError::from(error);
        let page = format!("../docs/errors/{}.md", error.code());
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(&page).exists(), "{page} is missing");
        let back = from_status(&to_status(&error));
        assert_eq!((back.code(), back.remedy(), back.exit()), (error.code(), error.remedy(), error.exit()));
        table.push_str(&format!("{}  {:<18?} {:<8?} {error}\n", error.code(), error.grpc(), error.exit()));
    }
    support::golden("resource/errors.txt", &table);
}

//! The program's words for resources, types and pools, against the real gRPC face over the local
//! socket, with a registry in memory behind it.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use support::{
    FakeFleet, FakeNode, NoAuthority, Registry, app,
    engine::{engine, engine_config},
    program::{Done, run, served, willing},
};
use tasuki::app::{App, Node, Role, edits::NewObject};
use tasuki_actors::handle::{Accepted, Event, NodeStatus, RegistryError};
use tasuki_core::{
    config::Cardinality,
    ids::Revision,
    membership::view::View,
    reason::Reason,
    registry::{Author, Command, Key, State, state::Target},
};
use tokio::sync::{broadcast, watch};

struct Cluster {
    node: Arc<FakeNode>,
    data: tempfile::TempDir,
    _stop: tokio_util::sync::CancellationToken,
}

impl Cluster {
    async fn of(registry: Registry) -> Self {
        let node = FakeNode::new(registry, true);
        let (data, stop) = served(app(node.clone(), willing())).await;
        Self { node, data, _stop: stop }
    }

    async fn run(&self, arguments: &[&str]) -> Done {
        run(self.data.path(), arguments).await
    }

    async fn ok(&self, arguments: &[&str]) -> Done {
        let done = self.run(arguments).await;
        assert_eq!(done.code, Some(0), "{arguments:?}: {done:?}");
        done
    }

    async fn refused(&self, arguments: &[&str], exit: i32, code: &str) -> Done {
        let before = self.state().revision;
        let done = self.run(arguments).await;
        assert_eq!((done.code, done.err.contains(code)), (Some(exit), true), "{arguments:?}: {done:?}");
        assert!(done.err.contains("remedy") && done.out.is_empty(), "{done:?}");
        assert_eq!(self.state().revision, before, "{arguments:?} changed something");
        done
    }

    fn state(&self) -> Arc<State> {
        Node::watch(&*self.node).borrow().clone()
    }

    fn owner(&self, unit: &str) -> Option<String> {
        self.state().groups[&unit.into()].ownership.value.owner.as_ref().map(ToString::to_string)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_has_three_forms_and_json() {
    let cluster = Cluster::of(engine()).await;
    let table = cluster.ok(&["resource", "status"]).await.out;
    assert!(
        table.starts_with(&"-".repeat(80)) && table.contains("\n      2        ONLINE  ONLINE       lala\n"),
        "{table}"
    );
    let list = cluster.ok(&["resource", "status", "db"]).await.out;
    assert!(list.starts_with("NAME=db\nTYPE=exec\nTARGET=ONLINE        , ONLINE\n"), "{list}");
    let full = cluster.ok(&["resource", "status", "db", "--format", "full"]).await.out;
    assert!(full.contains("\nID=db 2 1\nINCARNATION=1\n"), "{full}");
    let json = cluster.ok(&["resource", "list", "db", "--json"]).await.json();
    assert_eq!(json[0]["instances"][1]["server"], "lala");
    assert_eq!(json[0]["instances"][1]["state"], "ONLINE");
    let missing = cluster.refused(&["resource", "status", "shop1"], 3, "TSK-1700").await;
    assert!(missing.err.contains("did you mean Shop?"), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_are_stopped_started_and_moved_and_waited_for() {
    let cluster = Cluster::of(engine()).await;
    cluster.ok(&["resource", "stop", "db"]).await;
    assert_eq!((cluster.owner("db#1"), cluster.owner("db#2")), (None, None));
    cluster.refused(&["resource", "stop", "db"], 4, "TSK-1705").await;
    let one = cluster.ok(&["resource", "start", "db", "--on", "lala", "--wait"]).await;
    assert!(
        one.out.contains("\n      1        ONLINE  ONLINE       lala\n      2        OFFLINE OFFLINE\n"),
        "{one:?}"
    );
    let two = cluster.ok(&["resource", "start", "db", "--json"]).await.json();
    assert_eq!((two[0]["name"].as_str(), cluster.owner("db#2").as_deref()), (Some("db"), Some("kiki")));
    cluster.refused(&["resource", "start", "db"], 4, "TSK-1704").await;
    cluster.ok(&["resource", "stop", "db", "--on", "kiki"]).await;
    assert_eq!((cluster.owner("db#1").as_deref(), cluster.owner("db#2")), (Some("lala"), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_resource_starts_later_where_its_server_is_down() {
    let cluster = Cluster::of(engine()).await;
    let done = cluster.ok(&["resource", "start", "agent"]).await;
    assert!(done.err.contains("agent#3 starts when mimi is up"), "{done:?}");
    assert_eq!(cluster.state().groups[&"agent#3".into()].target.value, Target::Online);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_instance_is_moved_at_a_time() {
    let cluster = Cluster::of(engine()).await;
    cluster.refused(&["resource", "relocate", "db"], 2, "TSK-1706").await;
    cluster.refused(&["resource", "relocate", "db", "--from", "kiki", "--to", "lala"], 4, "TSK-1605").await;
    cluster.refused(&["resource", "relocate", "db", "--from", "kiki", "--to", "mimi"], 4, "TSK-1610").await;
    cluster.refused(&["resource", "relocate", "db", "--from", "mimi"], 4, "TSK-1707").await;
    cluster.refused(&["resource", "relocate", "Shop"], 4, "TSK-1705").await;
    cluster.refused(&["resource", "relocate", "agent"], 4, "TSK-1708").await;
    cluster.ok(&["resource", "stop", "db", "--on", "kiki"]).await;
    let moved = cluster.ok(&["resource", "relocate", "db", "--to", "kiki"]).await;
    assert!(moved.out.contains("\n      2        ONLINE  ONLINE       kiki\n"), "{moved:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_a_group_names_its_group() {
    let cluster = Cluster::of(engine()).await;
    for verb in ["start", "stop", "relocate", "enable", "disable"] {
        let done = cluster.refused(&["resource", verb, "app"], 4, "TSK-1703").await;
        assert!(done.err.contains("group web"), "{done:?}");
    }
    assert!(cluster.ok(&["resource", "status", "app"]).await.out.contains("STATE=ONLINE on kiki"));
}

#[tokio::test(flavor = "multi_thread")]
async fn stops_that_take_others_with_them_need_force() {
    let cluster = Cluster::of(engine()).await;
    cluster.ok(&["resource", "modify", "db", "--attr", "STOP_DEPENDENCIES=hard(agent)"]).await;
    let done = cluster.refused(&["resource", "stop", "agent"], 4, "TSK-1616").await;
    assert!(done.err.contains("db#1"), "{done:?}");
    cluster.ok(&["resource", "stop", "agent", "--force"]).await;
    cluster.ok(&["resource", "modify", "db", "--attr", "STOP_DEPENDENCIES=hard(app)"]).await;
    cluster.ok(&["group", "status", "web"]).await;
    cluster.refused(&["group", "stop", "web"], 4, "TSK-1616").await;
    cluster.ok(&["group", "stop", "web", "--force"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_of_which_a_part_is_refused_stops_nothing() {
    let cluster = Cluster::of(engine()).await;
    cluster.ok(&["resource", "modify", "db", "--attr", "STOP_DEPENDENCIES=hard(agent)"]).await;
    cluster.ok(&["resource", "stop", "db", "--on", "kiki"]).await;
    // Nothing needs agent#1 now; db#2 needs agent#2.
    let done = cluster.refused(&["resource", "stop", "agent"], 4, "TSK-1616").await;
    assert!(done.err.contains("db#2"), "{done:?}");
    assert_eq!(cluster.state().groups[&"agent#1".into()].target.value, Target::Online);
    assert_eq!(cluster.owner("agent#1").as_deref(), Some("kiki"));
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_are_added_changed_and_taken_out() {
    let cluster = Cluster::of(engine()).await;
    let add = ["resource", "add", "api", "--type", "webapp", "--attr", "site=b", "--attr", "start=/bin/true"];
    let dry = cluster.ok(&[&add[..], &["--dry-run"]].concat()).await;
    assert!(
        dry.out.contains("nothing was changed") && !cluster.state().definitions.contains_key(&"api".into())
    );
    let added = cluster.ok(&[&add[..], &["--attr", "CARDINALITY=2"]].concat()).await;
    assert!(added.out.contains("kiki    applied") && added.out.contains("the configuration is revision"));
    let state = cluster.state();
    let api = &state.definitions[&"api".into()].value;
    assert_eq!((api.type_name.as_str(), api.cardinality), ("webapp", Cardinality::Number(2)));
    assert!(state.groups.contains_key(&"api#2".into()));

    cluster.ok(&["resource", "modify", "api", "--attr", "load=7", "--attr", "auto_start=never"]).await;
    assert_eq!(cluster.state().definitions[&"api".into()].value.load, 7);
    let wrong = cluster.refused(&["resource", "modify", "api", "--attr", "laod=7"], 1, "TSK-1650").await;
    assert!(wrong.err.contains("`load`"), "{wrong:?}");
    cluster.refused(&["resource", "modify", "ap", "--attr", "load=7"], 3, "TSK-1700").await;

    cluster.ok(&["resource", "disable", "api"]).await;
    assert!(!cluster.state().definitions[&"api".into()].value.enabled);
    cluster.ok(&["resource", "stop", "api"]).await;
    cluster.refused(&["resource", "start", "api"], 4, "TSK-1617").await;
    cluster.ok(&["resource", "enable", "api"]).await;
    assert!(cluster.state().definitions[&"api".into()].value.enabled);
    cluster.ok(&["resource", "delete", "api"]).await;
    assert!(!cluster.state().definitions.contains_key(&"api".into()));
    cluster.refused(&["resource", "delete", "api"], 3, "TSK-1700").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_gives_what_words_do_not() {
    let cluster = Cluster::of(engine()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("api.toml");
    let file_name = file.to_str().unwrap();
    fs::write(&file, "# ours\n[[resource]]\nstart = \"/bin/true\"\nload = 3\n").unwrap();
    cluster.ok(&["resource", "add", "api", "--type", "exec", "--file", file_name, "--attr", "load=4"]).await;
    assert_eq!(cluster.state().definitions[&"api".into()].value.load, 4);
    fs::write(&file, "name = \"other\"\ntype = \"exec\"\n").unwrap();
    cluster.refused(&["resource", "add", "next", "--file", file_name], 2, "TSK-1601").await;
    let none = folder.path().join("none.toml");
    cluster.refused(&["resource", "add", "next", "--file", none.to_str().unwrap()], 1, "TSK-1670").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn types_are_added_shown_and_taken_out() {
    let cluster = Cluster::of(engine()).await;
    cluster
        .ok(&[
            "type",
            "add",
            "worker",
            "--base",
            "webapp",
            "--attribute",
            "queue:string,required",
            "--attribute",
            "grace:duration=90s,1s..5m",
            "--attribute",
            "port:integer=8080",
        ])
        .await;
    let shown = cluster.ok(&["type", "show", "worker", "--json"]).await.json();
    let find = |name: &str| {
        let attributes = shown["attributes"].as_array().unwrap();
        attributes.iter().find(|attribute| attribute["name"] == name).unwrap().clone()
    };
    assert_eq!((find("grace")["default"].as_str(), find("grace")["max"].as_str()), (Some("90s"), Some("5m")));
    assert_eq!(
        (find("port")["default"].as_str(), find("port")["from"].as_str()),
        (Some("8080"), Some("worker"))
    );
    assert_eq!(find("queue")["required"], true);
    let list = cluster.ok(&["type", "list"]).await.out;
    assert!(list.contains("TYPE_NAME=resource\nBASE_TYPE=\n\nTYPE_NAME=webapp\n"), "{list}");

    let needed = cluster.refused(&["type", "delete", "webapp"], 1, "TSK-1650").await;
    assert!(needed.err.contains("Shop") && needed.err.contains("worker"), "{needed:?}");
    cluster.ok(&["type", "delete", "worker"]).await;
    cluster.refused(&["type", "delete", "worker"], 3, "TSK-1701").await;
    cluster.refused(&["type", "delete", "exec"], 4, "TSK-1709").await;
    let near = cluster.refused(&["type", "show", "webap"], 3, "TSK-1701").await;
    assert!(near.err.contains("did you mean webapp?"), "{near:?}");
    let base = cluster.refused(&["type", "add", "x", "--base", "webap"], 1, "TSK-1650").await;
    assert!(base.err.contains("webapp"), "{base:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pools_are_added_changed_and_taken_out() {
    let cluster = Cluster::of(engine()).await;
    cluster.ok(&["pool", "delete", "back"]).await;
    cluster
        .ok(&[
            "pool",
            "add",
            "reports",
            "--min",
            "1",
            "--max",
            "1",
            "--importance",
            "3",
            "--servers",
            "mimi,lala",
        ])
        .await;
    let pool = cluster.state().pools[&"reports".into()].value.clone();
    assert_eq!((pool.min, pool.max, pool.importance, pool.servers.len()), (1, Some(1), 3, 2));
    cluster.ok(&["pool", "modify", "reports", "--importance", "9", "--comment", "at night"]).await;
    let json = cluster.ok(&["pool", "status", "reports", "--json"]).await.json();
    assert_eq!((json[0]["importance"].as_u64(), json[0]["comment"].as_str()), (Some(9), Some("at night")));
    let all = cluster.ok(&["pool", "status"]).await.out;
    assert!(all.contains("Generic") && all.contains("kiki lala"), "{all}");
    cluster.refused(&["pool", "modify", "Free", "--min", "1"], 4, "TSK-1709").await;
    cluster.refused(&["pool", "delete", "report"], 3, "TSK-1702").await;
    cluster.refused(&["pool", "status", "fornt"], 3, "TSK-1702").await;
    let used = cluster.refused(&["pool", "delete", "front"], 1, "TSK-1650").await;
    assert!(used.err.contains("Shop"), "{used:?}");
    cluster.refused(&["pool", "add", "much", "--min", "4"], 1, "TSK-1650").await;
}

/// Somebody else pushes a configuration just before each proposal arrives.
struct Raced(Arc<FakeNode>, AtomicBool);

#[async_trait]
impl Node for Raced {
    fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.0.watch()
    }

    async fn read(&self) -> Result<Arc<State>, RegistryError> {
        self.0.read().await
    }

    async fn propose(
        &self,
        author: Author,
        command: Command,
        reason: Option<Reason>,
        read: Vec<(Key, Revision)>,
    ) -> Result<Accepted, RegistryError> {
        if !self.1.swap(true, Ordering::SeqCst) {
            let mut other = engine_config();
            other.resources.remove(&"db".into());
            let by = Author::Operator("mei".into());
            self.0.propose(by, Command::SetConfig { config: other }, None, Vec::new()).await?;
        }
        self.0.propose(author, command, reason, read).await
    }

    fn view(&self) -> Arc<View> {
        self.0.view()
    }

    fn status(&self) -> NodeStatus {
        self.0.status()
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.0.events()
    }

    async fn tree(&self) -> String {
        self.0.tree().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r12_an_edit_of_an_older_configuration_is_refused() {
    let node = Arc::new(Raced(FakeNode::new(engine(), true), AtomicBool::new(false)));
    let app = App::new(node.clone(), Arc::new(FakeFleet(willing())), Arc::new(NoAuthority), "/".into());
    let admin = tasuki::app::Caller { name: "aoi".into(), role: Role::Admin };
    let new = || NewObject {
        name: "api".into(),
        attributes: vec![("start".into(), "/bin/true".into())],
        text: String::new(),
    };
    let refused = app.resource_add(&admin, new(), "exec", false).await.unwrap_err();
    assert_eq!(refused.code(), "TSK-1612", "{refused}");
    assert!(!app.applied().definitions.contains_key(&"db".into()), "what the other one did stays");
    app.resource_add(&admin, new(), "exec", false).await.unwrap();
    let names: Vec<String> = app.applied().definitions.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["Shop", "agent", "api"]);
}

#[tokio::test]
async fn each_role_may_do_what_it_should() {
    let app = app(FakeNode::new(engine(), true), willing());
    let may = |role| tasuki::app::Caller { name: "mei".into(), role };
    let viewer = may(Role::Viewer);
    assert!(app.resource_status(&viewer, None).is_ok() && app.pool_status(&viewer, None).is_ok());
    let denied = app.resource_stop(&viewer, &"db".into(), None, false).await.unwrap_err();
    assert_eq!(denied.code(), "TSK-1630");
    let operator = may(Role::Operator);
    assert!(app.resource_stop(&operator, &"db".into(), None, false).await.is_ok());
    for denied in [
        app.resource_enable(&operator, &"db".into(), false).await.unwrap_err(),
        app.resource_add(&operator, NewObject::default(), "exec", false).await.unwrap_err(),
        app.pool_add(&operator, NewObject::default(), false).await.unwrap_err(),
        app.type_add(&operator, NewObject::default(), "exec", Vec::new(), false).await.unwrap_err(),
    ] {
        assert_eq!(denied.code(), "TSK-1630", "{denied}");
    }
}

//! What would follow, what changed and what was decided, as operators read it: the program itself
//! against the real gRPC face, with a registry in memory behind it.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use support::{AT, FakeNode, Registry, golden};
use tasuki::{
    app::{
        App, Node,
        plan::{self, Supposed},
        ports::LocalCheck,
    },
    cli::{history, plan as render},
    edge::grpc::{bind_uds, routes, serve_uds},
};
use tasuki_actors::{
    handle::{Accepted, Event, NodeStatus, RegistryError},
    journal::Journal,
};
use tasuki_core::{
    config::{FloatingIpConfig, ResourceConfig, ResourceKind},
    ids::{Revision, ServerName},
    membership::view::View,
    placement::{
        forecast::Picture,
        plan::{Input, decide},
    },
    reason::Reason,
    registry::{Author, Command as Registered, Item, Key, State, state::Facts},
};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

/// Three servers, `web` on kiki; its start took 1.2 s, its stop 300 ms.
fn registry() -> Registry {
    let mut registry = Registry::running();
    registry.join("mimi");
    registry.start("mimi", 1);
    let facts = &mut registry.0.groups.get_mut(&"web".into()).unwrap().facts;
    let known = facts.remove(&"app".into()).map(|item| item.value).unwrap_or_default();
    let value = Facts { start_took: Some(1200), stop_took: Some(300), ..known };
    let item = Item { value, created: Revision(1), modified: Revision(1), at: AT };
    facts.insert("app".into(), item);
    registry
}

fn planned(supposed: &Supposed) -> String {
    let plan = plan::forecast(&Picture::of(registry().0), supposed, "aoi").unwrap();
    render::steps(&plan, false) + "\n"
}

#[test]
fn a_lost_server_as_a_plan() {
    let supposed = Supposed { server_down: vec!["kiki".into()], ..Supposed::default() };
    golden("plan/server_down.txt", &planned(&supposed));
    let plan = plan::forecast(&Picture::of(registry().0), &supposed, "aoi").unwrap();
    golden("plan/server_down.json", &(serde_json::to_string_pretty(&plan).unwrap() + "\n"));
}

#[test]
fn a_move_as_a_plan() {
    let moved = vec![("web".into(), Some("lala".into()))];
    golden("plan/move.txt", &planned(&Supposed { moved, ..Supposed::default() }));
}

#[test]
fn a_configuration_that_takes_a_server_away_as_a_plan() {
    let mut config = registry().0.config().unwrap();
    config.groups.get_mut(&"web".into()).unwrap().servers = vec!["lala".into()];
    golden("plan/apply.txt", &planned(&Supposed { config: Some(config), ..Supposed::default() }));
}

#[test]
fn two_lost_servers_of_three_as_a_plan() {
    let server_down = vec!["kiki".into(), "lala".into()];
    golden("plan/no_quorum.txt", &planned(&Supposed { server_down, ..Supposed::default() }));
}

#[test]
fn nothing_supposed_is_nothing_planned() {
    golden("plan/nothing.txt", &planned(&Supposed::default()));
}

#[test]
fn each_single_loss_as_a_table() {
    let rows = plan::matrix(&Picture::of(registry().0), &BTreeSet::new());
    golden("plan/matrix.txt", &render::matrix(&rows, false));
    let broken = BTreeSet::from([("lala".into(), "public".into())]);
    let rows = plan::matrix(&Picture::of(registry().0), &broken);
    golden("plan/matrix_with_a_broken_cable.txt", &render::matrix(&rows, false));
}

/// As [`registry`], with a floating address that `web` needs, online on kiki.
fn with_address() -> Picture {
    let mut registry = registry();
    let mut config = registry.0.config().unwrap();
    let floating = FloatingIpConfig {
        address: [127, 0, 2, 100].into(),
        prefix: 24,
        device: None,
        per_server: Default::default(),
    };
    let ip = ResourceConfig::of(ResourceKind::FloatingIp(floating));
    config.groups.get_mut(&"web".into()).unwrap().resources.insert("ip".into(), ip);
    registry.must(Author::Operator("root".into()), None, Registered::SetConfig { config });
    let mut report = registry.0.groups[&"web".into()].report.clone().unwrap().value;
    let app = report.resources.values().next().unwrap().clone();
    report.resources.insert("ip".into(), app);
    let author = Author::Server("kiki".into());
    registry.must(author, None, Registered::Report { group: "web".into(), report });
    Picture::of(registry.0)
}

#[test]
fn a_cut_cable_as_a_plan_and_each_single_loss_with_a_floating_address() {
    let cable_cut = vec![("kiki".into(), "public".into())];
    let supposed = Supposed { cable_cut, ..Supposed::default() };
    let plan = plan::forecast(&with_address(), &supposed, "aoi").unwrap();
    golden("plan/cable_cut.txt", &(render::steps(&plan, false) + "\n"));
    let rows = plan::matrix(&with_address(), &BTreeSet::new());
    golden("plan/matrix_with_an_address.txt", &render::matrix(&rows, false));
}

#[test]
fn the_history_of_a_group_as_a_table() {
    let changes: Vec<_> = registry().0.history.iter().map(|change| (**change).clone()).collect();
    golden("plan/history.txt", &history::render(&changes, false));
}

/// A fake node with a journal.
struct WithJournal(Arc<FakeNode>, PathBuf);

#[async_trait]
impl Node for WithJournal {
    fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.0.watch()
    }

    async fn read(&self) -> Result<Arc<State>, RegistryError> {
        self.0.read().await
    }

    async fn propose(
        &self,
        author: Author,
        command: Registered,
        reason: Option<Reason>,
        read: Vec<(Key, Revision)>,
    ) -> Result<Accepted, RegistryError> {
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

    fn journal(&self) -> Option<PathBuf> {
        Some(self.1.clone())
    }
}

struct Served {
    data: tempfile::TempDir,
    node: Arc<FakeNode>,
    _stop: CancellationToken,
}

async fn served(registry: Registry) -> Served {
    let data = tempfile::tempdir().unwrap();
    let node = FakeNode::new(registry, false);
    let with = Arc::new(WithJournal(node.clone(), data.path().join("journal")));
    let willing = Ok(LocalCheck { revision: Revision(1_000_000), problems: Vec::new() });
    let fleet = Arc::new(support::FakeFleet(willing));
    let app = App::new(with, fleet, Arc::new(support::NoAuthority), PathBuf::from("/"));
    let stop = CancellationToken::new();
    let (routes, _) = routes(app, tasuki_core::ids::Lineage::new("l1")).await.unwrap();
    let socket = bind_uds(&data.path().join("tasuki.sock")).unwrap();
    tokio::spawn(serve_uds(socket, routes, stop.clone()));
    Served { data, node, _stop: stop }
}

async fn run(data: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tasuki"));
    command.args(arguments).arg("--data").arg(data).env_clear().stdin(Stdio::null());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_changes_nothing_and_is_the_same_without_the_cluster() {
    let served = served(registry()).await;
    let before = served.node.watch().borrow().revision;
    let data = served.data.path();
    let asked = ["plan", "--server-down", "kiki"];
    let online = run(data, &asked).await;
    assert!(online.status.success(), "{}", err(&online));
    assert!(out(&online).contains("lala gets web") && out(&online).contains("web is online on lala"));
    let saved = data.join("state.json");
    let saved = saved.to_str().unwrap();
    let save = run(data, &["plan", "--save", saved]).await;
    assert!(save.status.success(), "{}", err(&save));
    let nowhere = tempfile::tempdir().unwrap();
    let offline = run(nowhere.path(), &[&asked[..], &["--state", saved, "--json"]].concat()).await;
    let online = run(data, &[&asked[..], &["--json"]].concat()).await;
    assert_eq!(json(&offline), json(&online));
    let cut = run(data, &["plan", "--cable-cut", "kiki=public", "--json"]).await;
    assert_eq!(json(&cut)["steps"][0]["text"], "the cable of kiki to public is cut", "{}", err(&cut));
    for arguments in [&["plan", "--matrix"][..], &["plan", "--matrix", "--state", saved]] {
        let rows = run(data, &[arguments, &["--json"]].concat()).await;
        assert_eq!(json(&rows)[0]["loss"], "server kiki", "{arguments:?}");
    }
    assert_eq!(served.node.watch().borrow().revision, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_what_cannot_be_is_one_clear_error() {
    let served = served(registry()).await;
    let torn = served.data.path().join("torn.json");
    fs::write(&torn, "{\"state\":").unwrap();
    let torn = torn.to_str().unwrap();
    for (arguments, exit, code) in [
        (&["plan", "--server-down", "momo"][..], 3, "TSK-1602"),
        (&["plan", "--server-up", "kiki"], 2, "TSK-1720"),
        (&["plan", "--server-up", "kiki", "--server-down", "kiki"], 2, "TSK-1720"),
        (&["plan", "--cable-cut", "kiki=wan"], 2, "TSK-1720"),
        (&["plan", "--cable-cut", "kiki"], 2, "SERVER=NETWORK"),
        (&["plan", "--move", "web=mimi"], 4, "TSK-1608"),
        (&["plan", "--stop", "wbe"], 3, "TSK-1603"),
        (&["plan", "--state", torn], 1, "TSK-1721"),
        (&["plan", "--apply", "/nonexistent.toml"], 1, "TSK-"),
        (&["plan", "--move", "=x"], 2, "GROUP"),
        (&["replay", "7"], 3, "TSK-1722"),
        (&["config", "diff", "999"], 3, "TSK-1725"),
        (&["history", "nobody"], 3, "TSK-1726"),
        (&["explain", "nobody"], 3, "TSK-1726"),
    ] {
        let output = run(served.data.path(), arguments).await;
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {}", err(&output));
        assert!(err(&output).contains(code), "{arguments:?}: {}", err(&output));
        assert!(output.stdout.is_empty(), "{arguments:?}: {}", out(&output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_made_again_online_and_offline_and_a_different_one_is_loud() {
    let served = served(registry()).await;
    let (data, dir) = (served.data.path(), served.data.path().join("journal"));
    // mimi is fit, kiki is gone: web goes on.
    let mut registry = registry();
    let gone =
        Registered::ServerGone { server: "kiki".into(), incarnation: tasuki_core::ids::Incarnation(1) };
    registry.must(Author::Leader("lala".into()), None, gone);
    let fit: BTreeSet<ServerName> = ["lala", "mimi"].map(Into::into).into();
    let (state, since_start) = (Arc::new(registry.0), Duration::from_secs(60));
    let decisions = decide(&Input { state: &state, fit: &fit, since_start });
    assert!(!decisions.is_empty());
    let journal = Journal::start(Some(dir.clone()));
    journal.keep(AT, &state, &fit, since_start, decisions.clone());
    let mut other = decisions;
    other[0].reason = Reason::StillWanted;
    journal.keep(AT, &state, &fit, since_start, other);
    while tasuki_actors::journal::list(&dir, 9).unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    for offline in [&[][..], &["--offline"]] {
        let list = run(data, &[&["replay", "--json"], offline].concat()).await;
        assert_eq!(json(&list).as_array().unwrap().len(), 2);
        assert_eq!(json(&list)[0]["about"], "group/web");
        let same = run(data, &[&["replay", "1"], offline].concat()).await;
        assert!(same.status.success() && out(&same).contains("the same"), "{same:?}");
        assert!(out(&same).contains("lala owns web") && out(&same).contains("kiki is gone"), "{same:?}");
        let different = run(data, &[&["replay", "2"], offline].concat()).await;
        assert_eq!(different.status.code(), Some(1));
        assert!(
            out(&different).contains("DIFFERENT") && err(&different).contains("TSK-1724"),
            "{different:?}"
        );
    }
    let text = run(data, &["replay", "1"]).await;
    golden("plan/replay.txt", &out(&text));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_is_compared_and_taken_back_and_facts_stay() {
    let served = served(registry()).await;
    let data = served.data.path();
    let old = served.node.watch().borrow().config().unwrap();
    let first = served.node.watch().borrow().versions.back().map_or(1, |version| version.revision.0);
    let mut new = old.clone();
    new.settings.comment = "changed".into();
    new.groups.get_mut(&"web".into()).unwrap().servers = vec!["kiki".into(), "lala".into(), "mimi".into()];
    let file = data.join("new.toml");
    fs::write(&file, tasuki_config::to_toml(&new)).unwrap();
    let pushed = run(data, &["config", "push", file.to_str().unwrap()]).await;
    assert!(pushed.status.success(), "{}", err(&pushed));
    let first = first.to_string();
    let diff = run(data, &["config", "diff", &first]).await;
    assert!(out(&diff).contains("+comment = \"changed\""), "{}", out(&diff));
    let coloured = run(data, &["config", "diff", &first, "--color", "always"]).await;
    assert!(out(&coloured).contains("\u{1b}[32m+comment"), "{}", out(&coloured));
    let same = run(data, &["config", "diff", &first, &first]).await;
    assert_eq!(out(&same), "no difference\n");

    let shown = run(data, &["config", "rollback", &first]).await;
    assert_eq!((shown.status.code(), err(&shown).contains("TSK-1727")), (Some(2), true), "{}", err(&shown));
    assert!(out(&shown).contains("-comment = \"changed\""), "{}", out(&shown));
    assert_eq!(served.node.watch().borrow().config().unwrap(), new, "nothing is changed yet");
    let owned = served.node.watch().borrow().groups[&"web".into()].clone();
    let done = run(data, &["config", "rollback", &first, "--yes"]).await;
    assert!(done.status.success(), "{}", err(&done));
    let now = served.node.watch().borrow().clone();
    assert_eq!(now.config().unwrap(), old);
    let web = &now.groups[&"web".into()];
    assert_eq!(
        (&web.ownership, &web.failures, &web.facts),
        (&owned.ownership, &owned.failures, &owned.facts)
    );
    let again = run(data, &["config", "rollback", &first, "--json"]).await;
    assert_eq!(json(&again)["diff"], "");
}

#[tokio::test(flavor = "multi_thread")]
async fn history_and_explanations_go_by_any_name() {
    let served = served(registry()).await;
    let data = served.data.path();
    let all = run(data, &["history", "--json"]).await;
    let web = run(data, &["history", "web", "--json"]).await;
    let kiki = run(data, &["history", "kiki", "--json"]).await;
    let count = |output: &Output| json(output).as_array().unwrap().len();
    assert!(count(&web) < count(&all) && count(&kiki) < count(&all) && count(&kiki) > 0);
    // A resource of a group is about its group.
    let app = run(data, &["history", "app", "--json"]).await;
    assert_eq!(json(&app), json(&web));
    let one = run(data, &["history", "-n", "1"]).await;
    assert_eq!(out(&one).lines().count(), 2, "{}", out(&one));
    for name in ["web", "app"] {
        let explained = run(data, &["explain", name, "--json"]).await;
        assert_eq!(json(&explained)[0]["group"]["name"], "web");
        assert!(!json(&explained)[0]["because"].as_array().unwrap().is_empty());
    }
}

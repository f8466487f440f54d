//! The program itself against the real gRPC face, over the local socket and over mutual TLS, with a
//! registry in memory behind it.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use support::{FakeNode, Registry, app, app_of};
use tasuki::{
    app::{App, ports::LocalCheck},
    edge::grpc::{bind_tcp, bind_uds, routes, serve_tcp, serve_uds},
    identity::{self, Identity, Role, create_cluster},
};
use tasuki_core::{ids::Revision, registry::Command as Registered};
use tokio_util::sync::CancellationToken;

/// The program, which must not see the environment of whoever runs the tests.
fn tasuki(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tasuki"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

async fn run(data: &Path, arguments: &[&str]) -> Output {
    let mut command = tasuki(arguments);
    command.arg("--data").arg(data);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Serves the face on the socket of a fresh data folder.
async fn served(app: App) -> (tempfile::TempDir, CancellationToken) {
    let data = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let (routes, _) = routes(app, tasuki_core::ids::Lineage::new("l1")).await.unwrap();
    let socket = bind_uds(&data.path().join("tasuki.sock")).unwrap();
    tokio::spawn(serve_uds(socket, routes, stop.clone()));
    (data, stop)
}

fn willing() -> Result<LocalCheck, String> {
    Ok(LocalCheck { revision: Revision(1_000_000), problems: Vec::new() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_stopped_started_and_moved_and_waited_for() {
    let (data, _stop) = served(app(FakeNode::new(Registry::running(), true), willing())).await;
    let run = |arguments: &'static [&'static str]| run(data.path(), arguments);
    let moved = run(&["group", "move", "web"]).await;
    assert!(moved.status.success(), "{}", err(&moved));
    assert!(out(&moved).contains("lala"), "{}", out(&moved));
    let again = run(&["group", "move", "web", "--to", "lala"]).await;
    assert_eq!((again.status.code(), err(&again).contains("TSK-1605")), (Some(4), true), "{}", err(&again));
    let stopped = run(&["group", "stop", "web"]).await;
    assert!(stopped.status.success(), "{}", err(&stopped));
    let started = run(&["group", "start", "web", "--on", "lala", "--json"]).await;
    let status: serde_json::Value = serde_json::from_slice(&started.stdout).unwrap();
    assert_eq!((status["state"].as_str(), status["server"].as_str()), (Some("online"), Some("lala")));
    let elsewhere = run(&["group", "move", "web", "--to", "mimi"]).await;
    assert_eq!((elsewhere.status.code(), err(&elsewhere).contains("TSK-1608")), (Some(4), true));
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_ends_when_the_time_is_up() {
    let (data, _stop) = served(app(FakeNode::new(Registry::running(), false), willing())).await;
    let moved = run(data.path(), &["group", "move", "web", "--timeout", "100ms"]).await;
    assert_eq!((moved.status.code(), err(&moved).contains("TSK-1623")), (Some(1), true), "{}", err(&moved));
    let busy = run(data.path(), &["group", "move", "web", "--no-wait"]).await;
    assert_eq!((busy.status.code(), err(&busy).contains("TSK-1607")), (Some(4), true));
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_leaves_the_work_going_on_and_says_so() {
    let node = FakeNode::new(Registry::running(), false);
    let (data, _stop) = served(app(node.clone(), willing())).await;
    let mut states = tasuki::app::Node::watch(&*node);
    let child = tasuki(&["group", "stop", "web", "--data"])
        .arg(data.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let asked = |state: &std::sync::Arc<tasuki_core::registry::State>| {
        state.groups[&"web".into()].ownership.value.release.is_some()
    };
    states.wait_for(asked).await.unwrap();
    // The program watches the registry from now on: a second subscriber besides ours.
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    let done = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    while !done.is_finished() {
        // Until it listens for Ctrl-C the signal would end it otherwise; the handler is set up
        // together with the wait, so look for it in what the kernel says.
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0").trim();
        if u64::from_str_radix(caught, 16).unwrap_or(0) & 0b10 != 0 {
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
            break;
        }
        tokio::task::yield_now().await;
    }
    let done = done.await.unwrap();
    assert_eq!(
        (done.status.code(), err(&done).contains("goes on by itself")),
        (Some(130), true),
        "{}",
        err(&done)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_works_for_every_noun() {
    let (data, _stop) = served(app(FakeNode::new(Registry::running(), true), willing())).await;
    for (arguments, word) in [
        (&["cluster", "status"][..], "demo"),
        (&["cluster", "times"], "misscount"),
        (&["cluster", "tree"], "ohas"),
        (&["group", "status"], "Online"),
        (&["group", "status", "web"], "exec"),
        (&["server", "list"], "kiki"),
        (&["registry", "get", "groups/web/ownership"], "kiki"),
        (&["registry", "list", "groups"], "groups/web/target"),
        (&["registry", "history", "-n", "3"], "web"),
        (&["config", "show"], "[cluster]"),
        (&["explain", "web"], "the group starts with the cluster"),
    ] {
        let human = run(data.path(), arguments).await;
        assert!(human.status.success() && out(&human).contains(word), "{arguments:?}: {human:?}");
        let json = run(data.path(), &[arguments, &["--json"]].concat()).await;
        let value: Result<serde_json::Value, _> = serde_json::from_slice(&json.stdout);
        assert!(value.is_ok(), "{arguments:?}: {json:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_error_has_its_exit_code() {
    let (data, _stop) = served(app(FakeNode::new(Registry::running(), true), willing())).await;
    for (arguments, exit, code) in [
        (&["group", "stop", "wbe"][..], 3, "TSK-1603"),
        (&["explain", "wbe"], 3, "TSK-1726"),
        (&["server", "shutdown", "momo"], 3, "TSK-1602"),
        (&["server", "shutdown", "mimi"], 4, "TSK-1610"),
        (&["registry", "get", "nonsense"], 2, "TSK-1601"),
        (&["registry", "get", "tokens/none"], 3, "TSK-1604"),
        (&["cluster", "resume"], 4, "TSK-1611"),
        (&["cluster", "shutdown"], 2, "TSK-1660"),
    ] {
        let output = run(data.path(), arguments).await;
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {}", err(&output));
        assert!(err(&output).contains(code) && err(&output).contains("remedy"), "{}", err(&output));
        assert!(output.stdout.is_empty());
    }
    let empty = tempfile::tempdir().unwrap();
    let nobody = run(empty.path(), &["cluster", "status"]).await;
    assert_eq!((nobody.status.code(), err(&nobody).contains("TSK-1622")), (Some(5), true));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_status_answers_and_changes_are_refused() {
    let (data, _stop) = served(app(FakeNode::without_quorum(Registry::running()), willing())).await;
    let status = run(data.path(), &["cluster", "status"]).await;
    assert!(out(&status).contains("No quorum confirms this"), "{status:?}");
    let stop = run(data.path(), &["group", "stop", "web"]).await;
    assert_eq!((stop.status.code(), err(&stop).contains("TSK-1620")), (Some(5), true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_reports_each_server_and_a_refusal_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cluster.toml");
    let mut config = support::config();
    config.settings.comment = "new".into();
    fs::write(&file, tasuki_config::to_toml(&config)).unwrap();
    let file = file.to_str().unwrap();

    let node = FakeNode::new(Registry::running(), true);
    let before = tasuki::app::Node::watch(&*node).borrow().revision;
    let refusing =
        Ok(LocalCheck { revision: Revision(0), problems: vec!["/srv/start.sh is missing".into()] });
    let (data, _stop) = served(app(node.clone(), refusing)).await;
    let refused = run(data.path(), &["config", "push", file]).await;
    assert_eq!(
        (refused.status.code(), err(&refused).contains("TSK-1651")),
        (Some(4), true),
        "{}",
        err(&refused)
    );
    assert!(err(&refused).contains("lala: /srv/start.sh is missing"));
    assert_eq!(tasuki::app::Node::watch(&*node).borrow().revision, before);

    let (data, _stop) = served(app(node.clone(), willing())).await;
    let dry = run(data.path(), &["config", "push", file, "--dry-run"]).await;
    assert!(dry.status.success() && out(&dry).contains("nothing was changed"), "{dry:?}");
    assert_eq!(tasuki::app::Node::watch(&*node).borrow().revision, before);
    let pushed = run(data.path(), &["config", "push", file]).await;
    for words in ["kiki    applied", "lala    applied", "mimi    not joined"] {
        assert!(out(&pushed).contains(words), "{words}: {pushed:?}");
    }
    assert!(tasuki::app::Node::watch(&*node).borrow().revision > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_lines() {
    let node = FakeNode::new(Registry::running(), true);
    let (data, stop) = served(app(node.clone(), willing())).await;
    let child = tasuki(&["event", "watch", "group", "--json", "--data"])
        .arg(data.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while node.listeners() == 0 {
        tokio::task::yield_now().await;
    }
    node.emit("lease-granted", "server/kiki", "not asked for");
    node.emit("group-online", "group/web", "web is online");
    let mut child = child;
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
    let line = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut lines, &mut line).unwrap();
        line
    });
    let event: serde_json::Value = serde_json::from_str(&line.await.unwrap()).unwrap();
    assert_eq!(event["kind"], "group-online");
    child.kill().unwrap();
    child.wait().unwrap();
    stop.cancel();
}

/// A founder with a real identity, served over mutual TLS and on its socket.
async fn founder() -> (tempfile::TempDir, std::net::SocketAddr, Identity, CancellationToken) {
    let data = tempfile::tempdir().unwrap();
    let identity = create_cluster(data.path(), "demo", &"kiki".into(), &[[127, 0, 0, 1].into()]).unwrap();
    let mut registry = Registry::default();
    let lineage = identity.lineage().clone();
    registry.must(
        tasuki_core::registry::Author::Operator("root".into()),
        None,
        Registered::Initialise {
            lineage: lineage.clone(),
            config: support::config(),
            founder: "kiki".into(),
        },
    );
    registry.start("kiki", 1);
    let app = app_of(FakeNode::new(registry, true), identity.clone());
    let (routes, _) = routes(app, lineage).await.unwrap();
    let stop = CancellationToken::new();
    let listeners = bind_tcp(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    let address = listeners[0].local_addr().unwrap();
    let socket = bind_uds(&data.path().join("tasuki.sock")).unwrap();
    tokio::spawn(serve_tcp(listeners, identity.server_tls(), routes.clone(), stop.clone()));
    tokio::spawn(serve_uds(socket, routes, stop.clone()));
    (data, address, identity, stop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_joins_once_with_its_token() {
    let (data, address, _, _stop) = founder().await;
    let token = run(data.path(), &["cluster", "token", "--server", "lala", "--json"]).await;
    let token: serde_json::Value = serde_json::from_slice(&token.stdout).unwrap();
    let token = token["token"].as_str().unwrap();
    let address = address.to_string();
    let join = |server: &'static str, data: &Path| {
        let mut command =
            tasuki(&["cluster", "join", &address, "--token", token, "--server", server, "--data"]);
        command.arg(data);
        tokio::task::spawn_blocking(move || command.output().unwrap())
    };
    let other = tempfile::tempdir().unwrap();
    let wrong = join("mimi", other.path()).await.unwrap();
    assert_eq!((wrong.status.code(), err(&wrong).contains("TSK-1640")), (Some(6), true), "{}", err(&wrong));
    assert!(Identity::load(other.path()).is_err(), "a refused join must leave no identity");

    let new = tempfile::tempdir().unwrap();
    let joined = join("lala", new.path()).await.unwrap();
    assert!(joined.status.success(), "{}", err(&joined));
    let identity = Identity::load(new.path()).unwrap();
    assert_eq!((identity.server().as_str(), identity.raft_id().0), ("lala", 2));
    let bootstrap = tasuki::app::bootstrap::Bootstrap::load(new.path()).unwrap().unwrap();
    let tasuki::app::bootstrap::Bootstrap::Join { members, config, .. } = bootstrap else { panic!() };
    assert_eq!((members.len(), config), (2, support::config()));

    let again = join("lala", other.path()).await.unwrap();
    assert_eq!((again.status.code(), err(&again).contains("already")), (Some(6), true), "{}", err(&again));
}

#[tokio::test(flavor = "multi_thread")]
async fn remote_callers_have_the_role_of_their_certificate() {
    let (data, address, identity, _stop) = founder().await;
    let folder = data.path().join("identity");
    let address = address.to_string();
    let remote = |folder: &Path, arguments: &[&str]| {
        let mut command = tasuki(arguments);
        command.args(["--address", &address, "--identity"]).arg(folder);
        tokio::task::spawn_blocking(move || command.output().unwrap())
    };
    let admin = remote(&folder, &["cluster", "status"]).await.unwrap();
    assert!(admin.status.success(), "{}", err(&admin));

    let viewers = tempfile::tempdir().unwrap();
    let viewer = identity.issue_operator("mei", Role::Viewer, Duration::from_secs(3600)).unwrap().0;
    write_credentials(viewers.path(), "mei", identity.ca_pem(), &viewer);
    assert!(remote(viewers.path(), &["group", "status"]).await.unwrap().status.success());
    let denied = remote(viewers.path(), &["group", "start", "web"]).await.unwrap();
    assert_eq!(
        (denied.status.code(), err(&denied).contains("TSK-1630")),
        (Some(6), true),
        "{}",
        err(&denied)
    );

    // Another cluster's certificate, with the right authority to check the server by.
    let foreign_data = tempfile::tempdir().unwrap();
    let foreign = create_cluster(foreign_data.path(), "other", &"kiki".into(), &[]).unwrap();
    let foreigner = tempfile::tempdir().unwrap();
    let admin = foreign.issue_operator("mei", Role::Admin, Duration::from_secs(3600)).unwrap().0;
    write_credentials(foreigner.path(), "admin", identity.ca_pem(), &admin);
    let refused = remote(foreigner.path(), &["cluster", "status"]).await.unwrap();
    assert!(!refused.status.success(), "{}", out(&refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_made_on_a_server_is_all_that_somebody_elsewhere_needs() {
    let (data, address, _identity, _stop) = founder().await;
    let address = address.to_string();
    let made = |name: &'static str, role: &'static str| {
        let folder = data.path().join("for").join(name);
        let words = ["cluster", "certificate", name, "--role", role, "--out", folder.to_str().unwrap()];
        let mut command = tasuki(&words);
        command.arg("--json").arg("--data").arg(data.path());
        let output = command.output().unwrap();
        (folder, output)
    };
    let remote = |folder: &Path, arguments: &[&str]| {
        let mut command = tasuki(arguments);
        command.args(["--address", &address, "--identity"]).arg(folder);
        tokio::task::spawn_blocking(move || command.output().unwrap())
    };
    let (viewer, said) = made("mei", "viewer");
    assert!(said.status.success(), "{}", err(&said));
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!((said["name"].as_str(), said["role"].as_str()), (Some("mei"), Some("viewer")));
    assert!(remote(&viewer, &["group", "status"]).await.unwrap().status.success());
    let denied = remote(&viewer, &["group", "stop", "web"]).await.unwrap();
    assert_eq!((denied.status.code(), err(&denied).contains("mei is viewer")), (Some(6), true));
    let (operator, _) = made("aoi", "operator");
    let suspended = remote(&operator, &["cluster", "suspend"]).await.unwrap();
    assert!(suspended.status.success(), "{}", err(&suspended));
    let denied = remote(&operator, &["cluster", "token"]).await.unwrap();
    assert_eq!((denied.status.code(), err(&denied).contains("TSK-1630")), (Some(6), true));
    let (_, again) = made("aoi", "admin");
    assert_eq!((again.status.code(), err(&again).contains("TSK-1120")), (Some(4), true), "{}", err(&again));
    let missing =
        tasuki(&["cluster", "certificate", "x", "--role", "viewer", "--out", "x", "--data", "/nowhere"]);
    let missing = { missing }.output().unwrap();
    assert_eq!((missing.status.code(), err(&missing).contains("TSK-1102")), (Some(3), true));
}

fn write_credentials(folder: &Path, name: &str, ca_pem: &str, credentials: &identity::Credentials) {
    fs::write(folder.join("ca.pem"), ca_pem).unwrap();
    fs::write(folder.join(format!("{name}.pem")), &credentials.certificate).unwrap();
    fs::write(folder.join(format!("{name}.key")), &credentials.key).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_only_joining_is_possible() {
    let (_data, address, identity, _stop) = founder().await;
    let token = identity.new_token().unwrap();
    let authority = identity::verify_authority(address, &token, Duration::from_secs(5)).await.unwrap();
    let channel = tonic::transport::Endpoint::from_shared(format!("https://{address}"))
        .unwrap()
        .tls_config(authority.client_tls())
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut client = tasuki_proto::v1::cluster_client::ClusterClient::new(channel);
    let status = client.status(tasuki_proto::v1::ClusterStatusRequest {}).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unauthenticated);
    assert!(status.message().contains("TSK-1631"), "{}", status.message());
}

#[test]
fn a_port_in_use_is_one_clear_error() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    let first = bind_tcp(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    let address = first[0].local_addr().unwrap();
    let error = bind_tcp(&[address]).unwrap_err().to_string();
    assert!(error.contains("TSK-1680") && error.contains(&address.to_string()), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tasuki.sock");
    let held = bind_uds(&path).unwrap();
    let error = bind_uds(&path).err().unwrap().to_string();
    assert!(error.contains("TSK-1680"), "{error}");
    drop(held);
    assert!(!path.exists());
}

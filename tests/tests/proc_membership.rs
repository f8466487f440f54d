//! Servers that come and go while a service runs, with whole processes: a fourth is added, a dead
//! voter's vote goes to it, the dead one is removed, a machine that lost its disk is replaced; a
//! server comes back to a cluster whose times, addresses and port have changed; and a damaged local
//! registry stops the start.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    net::{IpAddr, TcpStream},
    process::Output,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tasuki_proto::v1::ServerState;
use tasuki_tests::{
    hosts::await_true,
    process::{Server, Trio, children, succeeded, web},
};

#[track_caller]
fn refused(output: &Output, parts: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    println!("{said}");
    assert!(!output.status.success(), "it did not refuse: {}", String::from_utf8_lossy(&output.stdout));
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
}

#[track_caller]
fn must(server: &Server, words: &[&str]) -> String {
    let said = succeeded(&server.tasuki(words).unwrap());
    let said = said.unwrap_or_else(|error| panic!("tasuki {}: {error}", words.join(" ")));
    println!("$ tasuki {}\n{said}", words.join(" "));
    said
}

/// The token in the answer of `server add`, `server replace` or `cluster token`.
fn token_in(said: &str) -> String {
    said.lines().find(|line| line.starts_with("tasuki1.")).unwrap().trim().to_owned()
}

/// The same address on the other network of these clusters.
fn interconnect(public: IpAddr) -> IpAddr {
    let IpAddr::V4(public) = public else { panic!("{public}") };
    let [a, n, _, last] = public.octets();
    [a, n, 1, last].into()
}

/// The names of those that vote, as the first server sees it.
fn voters(trio: &Trio) -> Vec<String> {
    let Ok(status) = trio.calls.status(trio.servers[0].data()) else { return Vec::new() };
    status.servers.into_iter().filter(|server| server.voter).map(|server| server.name).collect()
}

fn state(trio: &Trio, name: &str) -> Option<ServerState> {
    let status = trio.calls.status(trio.servers[0].data()).ok()?;
    let server = status.servers.into_iter().find(|server| server.name == name)?;
    ServerState::try_from(server.state).ok()
}

/// The process of the demonstration service on a server.
fn service(server: &Server) -> Option<Pid> {
    let mut look = vec![server.guard()?];
    while let Some(parent) = look.pop() {
        for (pid, words) in children(parent) {
            if words.iter().any(|word| word == "__demo-http") {
                return Some(pid);
            }
            look.push(pid);
        }
    }
    None
}

/// A power loss: guard and node at once, without a word to anybody.
fn lose(server: &mut Server) {
    kill(server.guard().unwrap(), Signal::SIGKILL).unwrap();
    server.stop().unwrap();
}

#[test]
fn servers_come_and_go_and_the_service_runs_on() {
    let mut trio = Trio::new().unwrap();
    let config = trio.subnet.config("members", &web(trio.subnet).unwrap());
    trio.found_all(&config).unwrap();
    await_true("three voters", || Ok(voters(&trio).len() == 3)).unwrap();
    let before = service(&trio.servers[0]).unwrap();
    let member = trio.subnet.address(0).to_string();

    // A fourth: a learner, for four voters survive no more than three do.
    let public = trio.subnet.address(3);
    let at = [format!("public={public}"), format!("interconnect={}", interconnect(public))];
    let add = ["server", "add", "nana", "--at", &at[0], "--at", &at[1], "--domain", "cellar"];
    refused(&trio.servers[0].tasuki(&add[..5]).unwrap(), &["TSK-10", "nana", "interconnect"]);
    let token = token_in(&must(&trio.servers[0], &add));
    refused(&trio.servers[0].tasuki(&add).unwrap(), &["TSK-1009", "tasuki server replace nana"]);
    let mut nana = Server::new("nana", trio.folder().join("nana"));
    must(&nana, &["cluster", "join", &member, "--token", &token, "--server", "nana"]);
    nana.start().unwrap();
    await_true("nana is up", || Ok(state(&trio, "nana") == Some(ServerState::Up))).unwrap();
    assert_eq!(voters(&trio), ["kiki", "lala", "mimi"]);

    // A dead voter's vote goes to the learner.
    lose(&mut trio.servers[2]);
    await_true("nana votes for mimi", || Ok(voters(&trio) == ["kiki", "lala", "nana"])).unwrap();

    // The dead one is taken out: said twice, from elsewhere, and only when it is down.
    let remove = |name: &str, more: &[&str]| {
        let words = [&["server", "remove", name][..], more].concat();
        trio.servers[0].tasuki(&words).unwrap()
    };
    refused(&remove("mimi", &[]), &["TSK-1660", "--yes"]);
    refused(&remove("kiki", &["--yes"]), &["TSK-1763", "another member"]);
    refused(&remove("lala", &["--yes"]), &["TSK-1733", "shutdown"]);
    refused(&remove("momo", &["--yes"]), &["TSK-1602"]);
    let said = succeeded(&remove("mimi", &["--yes"])).unwrap();
    println!("{said}");
    assert_eq!(state(&trio, "mimi"), None);
    let shown = must(&trio.servers[0], &["config", "show"]);
    assert!(
        !shown.contains("mimi") && shown.contains("number = 4"),
        "the others keep their numbers:\n{shown}"
    );
    assert_eq!(voters(&trio), ["kiki", "lala", "nana"]);
    // It is told when it starts.
    trio.servers[2].start().unwrap();
    let mimi = &trio.servers[2];
    await_true("mimi knows", || Ok(mimi.log().contains("TSK-1764"))).unwrap();
    assert!(mimi.log().contains("tasuki server add mimi"), "{}", mimi.log());
    trio.servers[2].stop().unwrap();

    // A machine that lost its disk: the store says so, and how it comes back.
    trio.servers[1].stop().unwrap();
    fs::remove_dir_all(trio.servers[1].data().join("registry")).unwrap();
    trio.servers[1].start().unwrap();
    let lala = &trio.servers[1];
    await_true("lala lacks its votes", || Ok(lala.log().contains("TSK-1207"))).unwrap();
    assert!(lala.log().contains("tasuki server replace"), "{}", lala.log());
    trio.servers[1].stop().unwrap();
    await_true("lala is down", || Ok(state(&trio, "lala") == Some(ServerState::Down))).unwrap();
    refused(&trio.servers[0].tasuki(&["server", "replace", "nana"]).unwrap(), &["TSK-1772", "up"]);
    let token = token_in(&must(&trio.servers[0], &["server", "replace", "lala"]));
    fs::rename(trio.servers[1].data(), trio.folder().join("lala.old")).unwrap();
    must(&trio.servers[1], &["cluster", "join", &member, "--token", &token, "--server", "lala"]);
    trio.servers[1].start().unwrap();
    await_true("lala is up", || Ok(state(&trio, "lala") == Some(ServerState::Up))).unwrap();
    await_true("lala votes again", || Ok(voters(&trio) == ["kiki", "lala", "nana"])).unwrap();

    // One that is up, stopped in order by the same command.
    let said = must(&trio.servers[0], &["server", "remove", "nana", "--stop", "--yes"]);
    assert!(said.contains("nana is no member any more"), "{said}");
    nana.stop().unwrap();
    assert_eq!(state(&trio, "nana"), None);
    let log = trio.servers[0].log();
    // R23: what is meant for lala's old store is not answered by its new one, at the same place.
    assert!(!log.contains("log reversion") && !log.contains("panicked"), "{log}");
    assert_eq!(service(&trio.servers[0]), Some(before), "the service was left alone throughout:\n{log}");
}

#[test]
fn a_server_comes_back_to_a_cluster_that_has_moved() {
    let mut trio = Trio::new().unwrap();
    let config = trio.subnet.config("moved", &web(trio.subnet).unwrap());
    trio.found_all(&config).unwrap();
    let before = service(&trio.servers[0]).unwrap();
    trio.servers[2].stop().unwrap();
    await_true("mimi is down", || Ok(state(&trio, "mimi") == Some(ServerState::Down))).unwrap();

    // Times, the port, and where lala and mimi itself are.
    let (lala, mimi) = (trio.subnet.address(1), trio.subnet.address(2));
    let (lala_now, mimi_now) = (trio.subnet.public(22), trio.subnet.public(23));
    let moved = config
        .replace("detect = \"3s\"", "detect = \"2s\"\nport = 29011\nheartbeat_port = 29013")
        .replace(&format!("\"{lala}\""), &format!("\"{lala_now}\""))
        .replace(&format!("\"{mimi}\""), &format!("\"{mimi_now}\""));
    let file = trio.file("moved.toml", &moved).unwrap();
    must(&trio.servers[0], &["config", "push", &file]);
    let sequence = |server: &Server| {
        let shown = must(server, &["--json", "profile", "show"]);
        serde_json::from_str::<Value>(&shown).unwrap()["profile"]["sequence"].as_u64().unwrap()
    };
    await_true("lala has the new profile", || Ok(sequence(&trio.servers[0]) == sequence(&trio.servers[1])))
        .unwrap();
    let now = sequence(&trio.servers[0]);

    trio.servers[2].start().unwrap();
    trio.await_whole().unwrap();
    let log = trio.servers[2].log();
    let line = log.lines().rfind(|line| line.contains("is the newest")).unwrap();
    println!("{line}");
    assert!(line.contains(&format!("profile {now}, from ")) && line.contains(":29001"), "{line}");
    TcpStream::connect((mimi_now, 29011)).unwrap();
    assert!(TcpStream::connect((mimi, 29001)).is_err(), "mimi is where the profile says, and only there");
    assert_eq!(sequence(&trio.servers[2]), now);
    let verified = must(&trio.servers[2], &["profile", "verify"]);
    assert_eq!(verified.matches("valid").count(), 2, "{verified}");
    let shown = must(&trio.servers[2], &["profile", "show"]);
    for part in ["29011", "detect 2000 ms", "interconnect", &mimi_now.to_string()] {
        assert!(shown.contains(part), "{part}:\n{shown}");
    }
    assert_eq!(service(&trio.servers[0]), Some(before), "a port that changes stops no service");

    // A profile that somebody has changed is not believed; the other copy is, and heals it.
    trio.servers[2].stop().unwrap();
    let file = trio.servers[2].data().join("profile.json");
    let changed = fs::read_to_string(&file).unwrap().replace("29011", "29012");
    fs::write(&file, changed).unwrap();
    let verified = must(&trio.servers[2], &["profile", "verify"]);
    assert!(verified.contains("does not match"), "{verified}");
    trio.servers[2].start().unwrap();
    trio.await_whole().unwrap();
    assert!(trio.servers[2].log().contains("TSK-1771"));
    let verified = must(&trio.servers[2], &["profile", "verify"]);
    assert_eq!(verified.matches("valid").count(), 2, "{verified}");
}

#[test]
fn a_damaged_local_registry_stops_the_start_and_names_the_way_back() {
    let mut trio = Trio::new().unwrap();
    let config = trio.subnet.config("local", &web(trio.subnet).unwrap());
    trio.found(&config).unwrap();
    let list = must(&trio.servers[0], &["registry", "local", "list"]);
    let folder = trio.servers[0].data().join("local/kiki").display().to_string();
    let form = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.len() == 4
            && words[0] == "kiki"
            && words[1].len() == 10
            && words[2].len() == 8
            && words[3].starts_with(&format!("{folder}/backup_"))
            && words[3].ends_with(".olr")
    };
    assert!(list.lines().count() == 1 && list.lines().all(form), "made at install: {list}");
    let list = must(&trio.servers[0], &["registry", "local", "backup"]);
    assert!(
        list.lines().count() == 2 && list.lines().all(form) && list.lines().is_sorted_by(|a, b| a > b),
        "{list}"
    );
    let newest = list.split_whitespace().nth(3).unwrap().to_owned();
    for (word, said) in [("add", "added"), ("delete", "deleted"), ("multiplex", "multiplexed")] {
        refused(
            &trio.servers[0].tasuki(&["registry", "local", word]).unwrap(),
            &["TSK-1766", said, "exactly one"],
        );
    }
    refused(&trio.servers[0].tasuki(&["registry", "local", "restore", &newest]).unwrap(), &["TSK-1767"]);
    assert!(must(&trio.servers[0], &["registry", "local", "check"]).contains("whole"));
    assert!(must(&trio.servers[0], &["registry", "local", "dump"]).contains("CHECK_INTERVAL"));

    trio.servers[0].stop().unwrap();
    let place = trio.servers[0].data().join("local/kiki.olr");
    let mut bytes = fs::read(&place).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&place, bytes).unwrap();
    let restore = format!("tasuki registry local restore {newest}");
    refused(&trio.servers[0].tasuki(&["registry", "local", "check"]).unwrap(), &["TSK-1765", &restore]);
    trio.servers[0].start().unwrap();
    let kiki = &trio.servers[0];
    await_true("the start is refused", || Ok(kiki.log().contains("TSK-1765"))).unwrap();
    assert!(kiki.log().contains(&restore), "{}", kiki.log());
    assert!(trio.calls.status(kiki.data()).is_err());
    trio.servers[0].stop().unwrap();
    must(&trio.servers[0], &["registry", "local", "restore", &newest]);
    trio.servers[0].start().unwrap();
    trio.token("lala").unwrap();
    let verified = must(&trio.servers[0], &["profile", "verify"]);
    assert_eq!(verified.matches("valid").count(), 2, "an old copy was brought up to date: {verified}");
}

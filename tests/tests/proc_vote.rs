//! Voting files with whole processes: made at the founding, listed, checked, changed; every mistake
//! refused; and two servers of which one goes on alone because it won the record. Rules R14, R17, R18.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::Output,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tasuki_core::{ids::Lineage, time::WallTime};
use tasuki_storage::votes::{Examined, Overwrite, Owner, create, examine};
use tasuki_tests::{
    client::{Client, Pace},
    hosts::{LIMIT, await_some, await_true},
    process::{Server, Trio, children, succeeded, web},
};

fn say(server: &Server, words: &[&str]) -> Output {
    server.tasuki(words).unwrap()
}

#[track_caller]
fn refused(output: &Output, parts: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    println!("{text}");
    assert!(!output.status.success(), "it was not refused");
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

fn shown(server: &Server, verb: &str) -> Vec<Value> {
    let text = succeeded(&say(server, &["--json", "vote", verb])).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Waits until every file is online and was exchanged.
fn until_online(server: &Server, count: usize) -> Vec<Value> {
    await_some("all voting files are online", || {
        let files = shown(server, "list");
        let online = files.iter().all(|file| file["online"] == true && file["last_millis"].is_u64());
        Ok(Some(files.clone()).filter(|_| online && files.len() == count))
    })
    .unwrap()
}

fn with_file(config: &str, file: &Path) -> String {
    let key = format!("detect = \"3s\"\nvoting_file = \"{}\"\n", file.display());
    config.replace("detect = \"3s\"\n", &key)
}

#[test]
fn voting_files_of_a_running_cluster() {
    let mut trio = Trio::new().unwrap();
    let place = |name: &str| trio.folder().join(name);
    let [a, b, c, d] = ["vote-a", "vote-b", "vote-c", "vote-d"].map(place);
    let config = with_file(&trio.subnet.config("ours", &web(trio.subnet).unwrap()), &a);
    let text = |path: &Path| path.display().to_string();
    let (ta, tb, tc, td) = (text(&a), text(&b), text(&c), text(&d));

    // Nothing is overwritten at the founding.
    let owner = Owner { lineage: Lineage::from("theirs"), cluster: "theirs".into() };
    create(&a, &owner, WallTime(1), Overwrite::Blank).unwrap();
    let file = trio.file("cluster.toml", &config).unwrap();
    let init = ["cluster", "init", "--config", &file, "--server", "kiki"];
    refused(&say(&trio.servers[0], &init), &["TSK-1744", &ta, "theirs"]);
    assert!(!trio.servers[0].data().join("identity").exists(), "nothing was made");
    fs::remove_file(&a).unwrap();
    trio.found_all(&config).unwrap();

    let kiki = &trio.servers[0];
    let files = until_online(kiki, 1);
    println!("{}", succeeded(&say(kiki, &["vote", "list"])).unwrap());
    let Examined::Voting(header) = examine(&a).unwrap() else { panic!("{a:?} is no voting file") };
    assert_eq!(files[0]["id"], header.id.to_string());
    assert_eq!((&files[0]["number"], &files[0]["path"]), (&Value::from(1), &Value::from(ta.clone())));

    // Even numbers, files that are or are not there, files of others.
    refused(&say(kiki, &["vote", "add", &tb]), &["TSK-1740", "2 voting files"]);
    refused(&say(kiki, &["vote", "add", &ta, &tb]), &["TSK-1741", &ta]);
    refused(&say(kiki, &["vote", "remove", &tb]), &["TSK-1741", &tb]);
    refused(&say(kiki, &["vote", "replace", &tb, &tc]), &["TSK-1741", &tb]);
    create(&b, &owner, WallTime(1), Overwrite::Blank).unwrap();
    fs::write(&c, vec![b'x'; 2 << 20]).unwrap();
    fs::write(&d, b"small").unwrap();
    refused(&say(kiki, &["vote", "replace", &ta, &tb]), &["TSK-1744", "theirs"]);
    refused(&say(kiki, &["vote", "replace", &ta, &tc]), &["TSK-1744", "no voting file"]);
    refused(&say(kiki, &["vote", "replace", &ta, &td]), &["TSK-1744", "5 bytes"]);
    refused(&say(kiki, &["vote", "replace", &ta, "/no/such/folder/vote"]), &["TSK-1744", "/no/such/folder"]);
    refused(&say(kiki, &["vote", "replace", &ta, "/dev/null"]), &["TSK-1744", "/dev/null"]);
    assert_eq!(fs::read(&c).unwrap(), vec![b'x'; 2 << 20], "what stood there stands there");

    // Two more, one of them by force; a dry run changes nothing.
    fs::remove_file(&c).unwrap();
    succeeded(&say(kiki, &["vote", "add", &tb, &tc, "--force", "--dry-run"])).unwrap();
    assert!(!c.exists());
    println!("{}", succeeded(&say(kiki, &["vote", "add", &tb, &tc, "--force"])).unwrap());
    for server in &trio.servers {
        until_online(server, 3);
    }
    let checked = await_some("every server beats in every file", || {
        let checked = shown(kiki, "check");
        let whole = checked.len() == 9
            && checked.iter().all(|file| {
                file["online"] == true && file["blocks"].as_array().is_some_and(|blocks| blocks.len() == 3)
            });
        Ok(whole.then_some(checked))
    })
    .unwrap();
    println!("{}", succeeded(&say(kiki, &["vote", "check"])).unwrap());
    assert_eq!(checked.iter().filter(|file| file["server"] == "mimi").count(), 3);

    // A push does not change them; what is shown can be pushed again.
    refused(
        &say(kiki, &["config", "push", &trio.file("old.toml", &config).unwrap()]),
        &["TSK-1743", "tasuki vote"],
    );
    let now = succeeded(&say(kiki, &["config", "show"])).unwrap();
    succeeded(&say(kiki, &["config", "push", &trio.file("now.toml", &now).unwrap()])).unwrap();

    // One for another, on another server; the old one may be used again.
    fs::remove_file(&d).unwrap();
    let lala = &trio.servers[1];
    refused(&say(lala, &["vote", "remove", &tb]), &["TSK-1740"]);
    succeeded(&say(lala, &["vote", "replace", &tb, &td])).unwrap();
    let Examined::Voting(header) = examine(&b).unwrap() else { panic!("{b:?} is no voting file") };
    assert!(header.retired);
    let paths: Vec<Value> = until_online(kiki, 3).iter().map(|file| file["path"].clone()).collect();
    assert_eq!(paths, [ta.clone(), tc.clone(), td.clone()]);

    // A file that is gone is shown, and a majority of three servers stops for none of it.
    fs::remove_file(&c).unwrap();
    await_true("the lost file is OFFLINE for whoever looks", || {
        Ok(shown(lala, "list").iter().any(|file| file["path"] == tc.as_str() && file["online"] == false))
    })
    .unwrap();
    succeeded(&say(lala, &["vote", "replace", &tc, &tb])).unwrap();
    until_online(lala, 3);
    succeeded(&say(lala, &["vote", "remove", &tb, &td])).unwrap();
    until_online(lala, 1);
    // Three servers need no tie-break.
    succeeded(&say(lala, &["vote", "remove", &ta])).unwrap();
    assert_eq!(shown(lala, "list"), Vec::<Value>::new());
    refused(&say(lala, &["vote", "add", &tc, "--data", "/nowhere"]), &["error"]);
    trio.await_whole().unwrap();
}

/// Everything of a server ends at once, as when its power goes.
fn lose_power(server: &Server) {
    let mut all = vec![server.guard().unwrap()];
    let mut next = 0;
    while let Some(pid) = all.get(next).copied() {
        all.extend(children(pid).into_iter().map(|(pid, _)| pid));
        next += 1;
    }
    // Stopped first, so that nobody starts anything anew.
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        for pid in &all {
            let _gone = kill(Pid::from_raw(pid.as_raw()), signal);
        }
    }
}

/// Waits until the registry has it that the record is in this file, and names both.
fn until_noted(server: &Server, file: &Path) {
    await_true("the record names both", || {
        let output = say(server, &["--json", "registry", "get", "cluster/tie_break"]);
        let item: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let note = &item["value"];
        let place = note["place"].as_str().unwrap_or_default();
        let both = note["record"]["mode"].get("pair").is_some();
        Ok(both && note["made"] == true && place.ends_with(&file.display().to_string()))
    })
    .unwrap();
}

#[test]
fn r14_of_two_servers_with_a_voting_file_the_survivor_goes_on_alone_and_takes_the_other_back() {
    let mut trio = Trio::new().unwrap();
    let vote = trio.folder().join("vote");
    let config = with_file(&trio.subnet.config("pair", &web(trio.subnet).unwrap()), &vote);
    let mimi = config.find("[[server]]\nname = \"mimi\"").unwrap();
    let after = mimi + config[mimi..].find("[[heartbeat]]").unwrap();
    let config = format!("{}{}", &config[..mimi], &config[after..]);
    let config = config.replace("[\"kiki\", \"lala\", \"mimi\"]", "[\"kiki\", \"lala\"]");
    trio.servers.truncate(2);
    trio.found(&config).unwrap();
    let token = trio.token("lala").unwrap();
    let member = trio.subnet.address(0).to_string();
    let join = ["cluster", "join", &member, "--token", &token, "--server", "lala"];
    succeeded(&say(&trio.servers[1], &join)).unwrap();
    trio.servers[1].start().unwrap();
    trio.await_whole().unwrap();
    until_online(&trio.servers[1], 1);
    // The record is made by a committed entry, some time after both vote.
    until_noted(&trio.servers[0], &vote);
    refused(
        &say(&trio.servers[0], &["vote", "remove", &vote.display().to_string()]),
        &["TSK-1742", "tie-break"],
    );

    // The file is replaced while it holds the record: the record moves along.
    let other = trio.folder().join("other");
    let (old, new) = (vote.display().to_string(), other.display().to_string());
    succeeded(&say(&trio.servers[0], &["vote", "replace", &old, &new])).unwrap();
    until_online(&trio.servers[1], 1);
    until_noted(&trio.servers[0], &other);
    // What is noted is only then written: one of the two that is lost in between would end both.
    let written = format!("the record at voting files {} says", other.display());
    let has = |log: String| log.lines().any(|line| line.contains(&written) && line.contains("may claim"));
    await_true("the record is in the other file", || Ok(trio.servers.iter().any(|server| has(server.log()))))
        .unwrap();

    let target = SocketAddr::new(trio.subnet.floating(), 8080);
    let client =
        Client::start_here(target, Pace { every: Duration::from_millis(20), ..Pace::default() }).unwrap();
    let before = client.wait_for(LIMIT, |_| true).unwrap().outcome.unwrap();
    let lost = trio.servers.iter().position(|server| server.name() == before.server).unwrap();
    let began = Instant::now();
    lose_power(&trio.servers[lost]);
    client.wait_for(LIMIT, |answer| answer.server != before.server).expect("the survivor answers");
    println!("the survivor answers {:?} after its peer lost power", began.elapsed());
    println!("{} of its answers failed", client.finish().failed());

    trio.servers[lost].start().unwrap();
    trio.await_whole().unwrap();
}

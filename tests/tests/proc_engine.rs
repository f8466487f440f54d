//! The resource engine on a live cluster of three, spoken to as an operator does: types, resources
//! with dependencies, pools, monitors, a lost server that does what the plan said, and the way back.

#![allow(clippy::unwrap_used)]

use std::{fs, process::Output};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tasuki_tests::{
    hosts::{SERVERS, await_true},
    process::{Trio, children, succeeded, web},
};

/// What the first server's command line says as JSON.
fn json(trio: &Trio, words: &[&str]) -> Value {
    let mut all = vec!["--json"];
    all.extend(words);
    let said = succeeded(&trio.servers[0].tasuki(&all).unwrap()).unwrap();
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}:\n{said}"))
}

#[track_caller]
fn must(trio: &Trio, words: &[&str]) -> String {
    let said = succeeded(&trio.servers[0].tasuki(words).unwrap());
    let said = said.unwrap_or_else(|error| panic!("tasuki {}: {error}", words.join(" ")));
    println!("$ tasuki {}\n{said}", words.join(" "));
    said
}

#[track_caller]
fn refused(output: &Output, parts: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    println!("{said}");
    assert!(!output.status.success(), "it did not refuse");
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
}

/// TARGET, STATE and server of a resource's instances.
fn instances(trio: &Trio, resource: &str) -> Vec<String> {
    let list = must(trio, &["resource", "status", resource, "--format", "list"]);
    let line = list.lines().find_map(|line| line.strip_prefix("STATE=")).unwrap().to_owned();
    line.split(',').map(|each| each.trim().to_owned()).collect()
}

fn await_state(trio: &Trio, resource: &str, state: &str) {
    await_true(&format!("{resource} is {state}"), || Ok(instances(trio, resource) == [state])).unwrap();
}

/// The server of the only instance.
fn place(trio: &Trio, resource: &str) -> String {
    let state = instances(trio, resource).remove(0);
    state.strip_prefix("ONLINE on ").unwrap_or_else(|| panic!("{resource} is {state}")).to_owned()
}

/// The process of a program that was started with this argument, on any server.
fn process_of(trio: &Trio, argument: &str) -> Option<Pid> {
    let mut look: Vec<Pid> = trio.servers.iter().filter_map(tasuki_tests::process::Server::guard).collect();
    while let Some(parent) = look.pop() {
        for (pid, words) in children(parent) {
            if words.iter().any(|word| word == argument) {
                return Some(pid);
            }
            look.push(pid);
        }
    }
    None
}

#[test]
fn an_operator_builds_breaks_and_rolls_back_dependent_resources() {
    let mut trio = Trio::new().unwrap();
    let config = trio.subnet.config("engine", &web(trio.subnet).unwrap());
    trio.found_all(&config).unwrap();

    // A type of one's own, two resources that belong together.
    must(
        &trio,
        &[
            "type",
            "add",
            "webapp",
            "--base",
            "cluster_resource",
            "--attribute",
            "port:integer,required,1..65535",
        ],
    );
    let list = must(&trio, &["type", "list"]);
    assert!(list.contains("TYPE_NAME=webapp\nBASE_TYPE=cluster_resource"), "{list}");
    must(
        &trio,
        &[
            "resource",
            "add",
            "db",
            "--type",
            "cluster_resource",
            "--attr",
            "start=/bin/sleep 1000001",
            "--attr",
            "wait=false",
        ],
    );
    let missing = ["resource", "add", "app", "--type", "webapp", "--attr", "start=/bin/sleep 1000002"];
    refused(&trio.servers[0].tasuki(&missing).unwrap(), &["port"]);
    let misspelt = ["resource", "add", "app", "--type", "webap"];
    refused(&trio.servers[0].tasuki(&misspelt).unwrap(), &["webapp"]);
    must(
        &trio,
        &[
            "resource",
            "add",
            "app",
            "--type",
            "webapp",
            "--attr",
            "port=8080",
            "--attr",
            "start=/bin/sleep 1000002",
            "--attr",
            "wait=false",
            "--attr",
            "start_dependencies=hard(db) pullup(db)",
            "--attr",
            "stop_dependencies=hard(db)",
        ],
    );
    await_true("both run", || Ok(instances(&trio, "app")[0].starts_with("ONLINE on "))).unwrap();
    assert_eq!(place(&trio, "db"), place(&trio, "app"));
    let table = must(&trio, &["resource", "status", "--format", "table"]);
    assert!(table.contains("Cluster Resources"), "{table}");

    // What the script of the resource is told.
    let app = process_of(&trio, "1000002").unwrap();
    let told = fs::read(format!("/proc/{app}/environ")).unwrap();
    assert!(String::from_utf8_lossy(&told).contains("_CRS_PORT=8080"));

    // Stopping what others need is refused unless it is meant; pullup brings them back.
    refused(&trio.servers[0].tasuki(&["resource", "stop", "db"]).unwrap(), &["TSK-1616", "app"]);
    must(&trio, &["resource", "stop", "db", "--force"]);
    await_state(&trio, "app", "OFFLINE");
    must(&trio, &["resource", "start", "db"]);
    await_true("app comes back", || Ok(instances(&trio, "app")[0].starts_with("ONLINE on "))).unwrap();

    // A move takes along what must be on the same server.
    let here = place(&trio, "db");
    let there = SERVERS.iter().find(|server| **server != here).unwrap();
    must(&trio, &["resource", "relocate", "db", "--to", there]);
    await_state(&trio, "db", &format!("ONLINE on {there}"));
    await_state(&trio, "app", &format!("ONLINE on {there}"));

    // A failure: app stops before db is started again, and comes back after it.
    let (first_db, first_app) =
        (process_of(&trio, "1000001").unwrap(), process_of(&trio, "1000002").unwrap());
    kill(first_db, Signal::SIGKILL).unwrap();
    await_true("both run anew", || {
        let (db, app) = (process_of(&trio, "1000001"), process_of(&trio, "1000002"));
        Ok(db.is_some_and(|db| db != first_db) && app.is_some_and(|app| app != first_app))
    })
    .unwrap_or_else(|error| {
        must(&trio, &["resource", "status"]);
        must(&trio, &["explain", "db"]);
        must(&trio, &["explain", "app"]);
        must(&trio, &["history"]);
        panic!("{error}");
    });
    await_true("both are online", || Ok(instances(&trio, "app")[0].starts_with("ONLINE on "))).unwrap();
    let full = must(&trio, &["resource", "status", "db", "--format", "full"]);
    let failures = full.lines().find_map(|line| line.strip_prefix("FAILURE_HISTORY=")).unwrap();
    assert!(failures.ends_with(&format!(":{there}")), "{full}");

    // The plan, then the fact.
    let lost = place(&trio, "db");
    let steps = must(&trio, &["plan", "--server-down", &lost]);
    let planned = json(&trio, &["plan", "--server-down", &lost]);
    let goes = |unit: &str| {
        let starts =
            |step: &&Value| step["group"] == unit && step["kind"].as_str().unwrap().contains("start");
        let step = planned["steps"].as_array().unwrap().iter().find(starts)?;
        step["server"].as_str().map(str::to_owned)
    };
    let expected = goes("db#1").unwrap_or_else(|| panic!("the plan starts db elsewhere:\n{steps}"));
    assert!(must(&trio, &["plan", "--matrix"]).contains(&lost));
    if lost != SERVERS[0] {
        let at = SERVERS.iter().position(|server| *server == lost).unwrap();
        let victim = &trio.servers[at];
        let (guard, node) = (victim.guard().unwrap(), victim.node());
        kill(guard, Signal::SIGKILL).unwrap();
        if let Some(node) = node {
            let _ = kill(node, Signal::SIGKILL);
        }
        await_true("db runs where the plan said", || {
            Ok(instances(&trio, "db") == [format!("ONLINE on {expected}")])
        })
        .unwrap();
        await_state(&trio, "app", &format!("ONLINE on {expected}"));
    }
    let why = must(&trio, &["explain", "app"]);
    for server in SERVERS {
        assert!(why.contains(server), "{server} is not spoken of:\n{why}");
    }
    let history = must(&trio, &["history", "app"]);
    assert!(history.contains("leader") && history.contains("app"), "{history}");
    must(&trio, &["replay"]);

    // The way back: the configuration of before, as a new revision.
    let now = || {
        let changes = json(&trio, &["history"]);
        changes.as_array().unwrap().iter().map(|change| change["revision"].as_u64().unwrap()).max().unwrap()
    };
    let with_app = now().to_string();
    must(&trio, &["resource", "delete", "app"]);
    // It is shown for as long as it stops.
    await_true("app is forgotten", || {
        Ok(!trio.servers[0].tasuki(&["resource", "status", "app"])?.status.success())
    })
    .unwrap();
    let without = now().to_string();
    let difference = must(&trio, &["config", "diff", &with_app, &without]);
    assert!(difference.lines().any(|line| line.starts_with('-') && line.contains("\"app\"")), "{difference}");
    let preview = trio.servers[0].tasuki(&["config", "rollback", &with_app]).unwrap();
    println!("{}{}", String::from_utf8_lossy(&preview.stdout), String::from_utf8_lossy(&preview.stderr));
    refused(&trio.servers[0].tasuki(&["resource", "status", "app"]).unwrap(), &["app"]);
    must(&trio, &["config", "rollback", &with_app, "--yes"]);
    await_true("app runs again", || Ok(instances(&trio, "app")[0].starts_with("ONLINE on "))).unwrap();
}

#[test]
fn pools_are_filled_again_and_a_monitor_has_a_resource_restarted() {
    let mut trio = Trio::new().unwrap();
    let config = trio.subnet.config("pools", &web(trio.subnet).unwrap());
    trio.found_all(&config).unwrap();
    let flag = trio.folder().join("bad");

    // One server for the front, whichever; the founder stays out so that it can be asked.
    must(
        &trio,
        &["pool", "add", "front", "--min", "1", "--max", "1", "--importance", "9", "--servers", "lala,mimi"],
    );
    let impossible = ["pool", "add", "more", "--min", "3", "--servers", "lala,mimi"];
    refused(&trio.servers[0].tasuki(&impossible).unwrap(), &["more", "3"]);
    must(
        &trio,
        &[
            "resource",
            "add",
            "front-end",
            "--type",
            "cluster_resource",
            "--attr",
            "cardinality=uniform",
            "--attr",
            "server_pools=front",
            "--attr",
            "start=/bin/sleep 1000003",
            "--attr",
            "wait=false",
            "--attr",
            "restart_attempts=1",
        ],
    );
    let running = |trio: &Trio| -> Vec<String> {
        let online = |state: &String| state.strip_prefix("ONLINE on ").map(str::to_owned);
        instances(trio, "front-end").iter().filter_map(online).collect()
    };
    await_true("one instance runs", || Ok(running(&trio).len() == 1)).unwrap();
    let first = running(&trio).remove(0);
    assert!(must(&trio, &["pool", "status"]).contains(&first));

    // A monitor that is pushed with the file: while it is bad the resource is restarted, once.
    let shown = must(&trio, &["config", "show"]);
    let monitor = format!(
        "\n[[monitor]]\nname = \"flag\"\ntype = \"exec\"\ncommand = \"/usr/bin/test ! -e {}\"\n\
         target = \"front-end\"\ntiming = \"while_active\"\ninterval = \"1s\"\ntimeout = \"10s\"\n\
         recovery = {{ target = \"front-end\", restarts = 1, failovers = 0, final = \"none\" }}\n",
        flag.display()
    );
    let file = trio.file("more.toml", &(shown + &monitor)).unwrap();
    must(&trio, &["config", "push", &file]);
    let status = |trio: &Trio| must(trio, &["cluster", "status"]);
    await_true("the monitor is content", || {
        Ok(status(&trio).contains("flag") && status(&trio).contains("Normal"))
    })
    .unwrap();
    let before = process_of(&trio, "1000003").unwrap();
    fs::write(&flag, "").unwrap();
    await_true("it is restarted", || Ok(process_of(&trio, "1000003").is_some_and(|now| now != before)))
        .unwrap();
    fs::remove_file(&flag).unwrap();
    await_true("the monitor is content again", || {
        let said = status(&trio);
        Ok(said.lines().any(|line| line.contains("flag") && line.contains("Normal")))
    })
    .unwrap();
    assert_eq!(running(&trio), std::slice::from_ref(&first), "it stays where it is");

    // The server of the pool is lost: the pool gets the other one, and the resource follows it.
    let victim = trio.servers.iter().find(|server| server.name() == first).unwrap();
    let node = victim.node();
    kill(victim.guard().unwrap(), Signal::SIGKILL).unwrap();
    if let Some(node) = node {
        let _ = kill(node, Signal::SIGKILL);
    }
    let other = if first == "lala" { "mimi" } else { "lala" };
    await_true("the pool is filled again", || Ok(running(&trio) == [other.to_owned()])).unwrap();
    let why = must(&trio, &["explain", "front-end"]);
    assert!(why.contains("server pools") || why.contains("pool"), "{why}");
}

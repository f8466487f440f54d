//! Fencing with whole processes: a script that kills everything of a server, as a power outlet would.
//! R36: a server that hangs with its guard is taken over once it is off, and not before.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    process::Output,
    time::{Duration, Instant},
};

use nix::sys::signal::{Signal, kill};
use tasuki_tests::{
    client::{Client, Pace},
    hosts::{LIMIT, await_some},
    process::{Server, Trio, succeeded, web},
};

/// The outlet: `NAME.guard` beside it holds the process that everything of a server descends from.
const OUTLET: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
echo "$*" >> outlet.log
[ -e broken ] && { echo "no answer from the outlet" >&2; exit 1; }
guard=$(cat "$2.guard") || exit 1
of() {
    echo "$1"
    for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do of "$child"; done
}
case $1 in
off) kill -9 $(of "$guard") 2>/dev/null; exit 0 ;;
status)
    state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' /proc/"$guard"/status 2>/dev/null)
    [ -z "$state" ] || [ "$state" = Z ] && exit 2
    exit 0 ;;
*) exit 1 ;;
esac
"#;

/// Three servers on one outlet.
fn on_an_outlet() -> Trio {
    let mut trio = Trio::new().unwrap();
    let outlet = trio.file("outlet", OUTLET).unwrap();
    fs::set_permissions(&outlet, fs::Permissions::from_mode(0o755)).unwrap();
    let config = trio.subnet.config("ours", &web(trio.subnet).unwrap());
    let config = config.replace("detect = \"3s\"\n", "detect = \"3s\"\nfence = \"outlet\"\n");
    let device = format!(
        "\n[[fence]]\nname = \"outlet\"\nkind = \"script\"\nprogram = \"{outlet}\"\ntimeout = \"5s\"\n"
    );
    trio.found_all(&(config + &device)).unwrap();
    for server in &trio.servers {
        plug(&trio, server);
    }
    trio
}

fn plug(trio: &Trio, server: &Server) {
    trio.file(&format!("{}.guard", server.name()), &server.guard().unwrap().to_string()).unwrap();
}

fn say(server: &Server, words: &[&str]) -> Output {
    server.tasuki(words).unwrap()
}

fn fails_with(output: &Output, code: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains(code), "{code} expected: {text}");
}

fn until_status(server: &Server, of: &str, word: &str) -> String {
    await_some(&format!("{of}: {word}"), || {
        let text = succeeded(&say(server, &["fence", "status", of]))?;
        Ok(Some(text).filter(|text| text.contains(word)))
    })
    .unwrap()
}

#[test]
fn a_server_that_hangs_with_its_guard_is_switched_off_and_taken_over() {
    let mut trio = on_an_outlet();
    let target = SocketAddr::new(trio.subnet.floating(), 8080);
    let pace = Pace { every: Duration::from_millis(20), ..Pace::default() };
    let client = Client::start_here(target, pace).unwrap();
    let before = client.wait_for(LIMIT, |_| true).unwrap().outcome.unwrap();
    let owner = trio.servers.iter().position(|server| server.name() == before.server).unwrap();
    let name = before.server.clone();
    let other = (owner + 1) % trio.servers.len();

    // Guard and node hang; the service itself runs on, and nothing on that machine would ever stop it.
    let began = Instant::now();
    kill(trio.servers[owner].guard().unwrap(), Signal::SIGSTOP).unwrap();
    kill(trio.servers[owner].node().unwrap(), Signal::SIGSTOP).unwrap();
    client.wait_for(LIMIT, |answer| answer.server != name).expect("another server answers");
    println!("{name} hung; its service answers elsewhere after {:?}", began.elapsed());
    let history = client.finish();
    println!("{} answers, {} failed", history.samples().len(), history.failed());
    let shown = until_status(&trio.servers[other], &name, "confirmed by outlet");
    println!("{shown}");
    let log = fs::read_to_string(trio.folder().join("outlet.log")).unwrap();
    assert_eq!(
        log.lines().filter(|line| line.starts_with("off")).collect::<Vec<_>>(),
        [format!("off {name}")]
    );

    // It is switched on again, and let in by itself.
    trio.servers[owner].stop().unwrap();
    trio.servers[owner].start().unwrap();
    plug(&trio, &trio.servers[owner]);
    until_status(&trio.servers[other], &name, "lifted");
    trio.await_whole().unwrap();
}

#[test]
fn what_operators_say_about_fencing() {
    let trio = on_an_outlet();
    let kiki = &trio.servers[0];
    let list = succeeded(&say(kiki, &["fence", "list"])).unwrap();
    assert!(list.contains("outlet") && list.contains("kiki lala mimi"), "{list}");
    assert_eq!(succeeded(&say(kiki, &["fence", "test", "outlet"])).unwrap(), "outlet answers\n");
    fails_with(&say(kiki, &["fence", "test", "outlat"]), "TSK-1738");
    fails_with(&say(kiki, &["fence", "status", "nobody"]), "TSK-1602");
    fails_with(&say(kiki, &["fence", "now", "lala"]), "TSK-1660");
    fails_with(&say(kiki, &["fence", "confirm", "lala", "--yes"]), "TSK-1739");
    fails_with(&say(kiki, &["fence", "lift", "lala"]), "TSK-1732");
    let json = succeeded(&say(kiki, &["--json", "fence", "status", "lala"])).unwrap();
    let shown: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(shown[0]["state"], "none");
    assert_eq!(shown[0]["levels"], serde_json::json!([["outlet"]]));

    // The outlet fails: nobody takes over before an operator says that the server is off.
    fs::write(trio.folder().join("broken"), "").unwrap();
    let test = say(kiki, &["fence", "test", "outlet"]);
    fails_with(&test, "TSK-1736");
    fails_with(&test, "no answer from the outlet");
    let lala = &trio.servers[1];
    for process in [lala.guard().unwrap(), lala.node().unwrap()] {
        kill(process, Signal::SIGSTOP).unwrap();
    }
    until_status(kiki, "lala", "failed");
    fails_with(&say(kiki, &["fence", "confirm", "lala"]), "TSK-1660");
    succeeded(&say(kiki, &["fence", "confirm", "lala", "--yes"])).unwrap();
    until_status(kiki, "lala", "confirmed by an operator");
    for process in [lala.node().unwrap(), lala.guard().unwrap()] {
        kill(process, Signal::SIGCONT).unwrap();
    }
}

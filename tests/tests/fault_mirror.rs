//! Two real servers with a witness keep a disk between them; a service writes to it, synced, and a client
//! outside remembers what was acknowledged. Servers lose power, a node process and the mirror's cable:
//! nothing that was acknowledged is missing, and the copies are brought up to date by themselves.
//!
//! Times are printed, never asserted. `TASUKI_DETECT` is the knob in milliseconds, `TASUKI_ROUNDS` how
//! often the power goes (1 by default).

#![allow(clippy::unwrap_used)]

use std::{
    env,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use tasuki_tests::{
    hosts::{mirrored::Mirrored, witness::Witness},
    ledger::Writer,
    network::Network,
};

/// So many lines show that the service runs.
const SOME: usize = 20;

fn number(variable: &str, default: u64) -> u64 {
    env::var(variable).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn nothing_that_was_acknowledged_is_lost() {
    if let Some(why) = Mirrored::impossible() {
        println!("skipped, because {why}");
        return;
    }
    let detect = Duration::from_millis(number("TASUKI_DETECT", 2000));
    let ledger = env!("CARGO_BIN_EXE_ledger");
    let stage =
        Mirrored::form(detect, 64, |mount| Ok(format!("{ledger} {}", mount.join("ledger").display())));
    let stage = stage.unwrap_or_else(|error| panic!("{error}"));
    let _witness = Witness::join(&stage.cluster).unwrap();
    done(stage.await_whole());
    let writer = Writer::start(stage.cluster.lab().clone(), stage.cluster.target());
    done(stage.await_lines(&writer, SOME));
    for _ in 0..number("TASUKI_ROUNDS", 1) {
        lose_power(&stage, &writer);
    }
    lose_the_node(&stage, &writer);
    cut_the_mirror(&stage, &writer);
    lose_power(&stage, &writer);
}

/// Errors have many lines: shown as they are.
fn done<T>(outcome: std::io::Result<T>) -> T {
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

fn say(what: &str, writer: &Writer, since: Instant) {
    println!("{what}: {:.0} ms without an acknowledgement", writer.longest_gap(since).as_secs_f64() * 1e3);
}

/// Nothing that was acknowledged is missing where the disk is mounted now.
fn check(stage: &Mirrored, writer: &Writer, after: &str) {
    let file = stage.mount.join("ledger").display().to_string();
    let acknowledged = writer.count();
    let read = stage.cluster.lab().run(done(stage.active()), &["cat", &file]).unwrap();
    let missing = writer.missing(&String::from_utf8(read.stdout).unwrap(), acknowledged);
    assert!(missing.is_empty(), "{after}: {} acknowledged lines are missing: {missing:?}", missing.len());
    println!("{after}: {acknowledged} acknowledged lines, none is missing");
}

/// The active server loses its power; the other goes on, and the one that returns is brought up to date.
fn lose_power(stage: &Mirrored, writer: &Writer) {
    let lost = done(stage.active());
    let struck = Instant::now();
    stage.cluster.power_off(lost).unwrap();
    done(stage.await_lines(writer, SOME));
    say("power lost", writer, struck);
    assert_ne!(done(stage.active()), lost);
    check(stage, writer, "power lost");
    let lacks = stage.disk().unwrap()["copies"][lost]["dirty"].clone();
    let back = Instant::now();
    stage.cluster.power_on(lost).unwrap();
    done(stage.await_good(2));
    let took = back.elapsed().as_secs_f64();
    println!("power back: {took:.1} s until both copies were good; {lacks} bytes were known to be lacking");
    done(stage.await_whole());
    check(stage, writer, "power back");
}

/// The node of the active server is killed: its device goes with it, and the group is started again.
fn lose_the_node(stage: &Mirrored, writer: &Writer) {
    let struck = Instant::now();
    stage.cluster.node(done(stage.active())).unwrap().signal(Signal::SIGKILL).unwrap();
    done(stage.await_lines(writer, SOME));
    say("node killed", writer, struck);
    check(stage, writer, "node killed");
    done(stage.await_whole());
}

/// Only the cable that mirror data takes is cut: the group stays, the other copy is out until it is back.
fn cut_the_mirror(stage: &Mirrored, writer: &Writer) {
    let active = done(stage.active());
    let struck = Instant::now();
    stage.cluster.lab().cut(active, &[Network::Interconnect]).unwrap();
    done(stage.await_good(1));
    done(stage.await_lines(writer, SOME));
    say("mirror cut", writer, struck);
    assert_eq!(done(stage.active()), active, "the group had no reason to move");
    let back = Instant::now();
    stage.cluster.lab().heal(active, &[Network::Interconnect]).unwrap();
    done(stage.await_good(2));
    println!("mirror whole: {:.1} s until both copies were good", back.elapsed().as_secs_f64());
    check(stage, writer, "mirror cut");
    done(stage.await_whole());
}

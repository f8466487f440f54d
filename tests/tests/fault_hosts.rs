//! Real servers lose processes, cables and power, while a client outside asks for the service every
//! 5 ms. What must always hold is asserted: never two holders of the address, the service comes
//! back, the cluster heals without a hand. Times are printed, never asserted.
//!
//! `TASUKI_ROUNDS` says how often each fault happens (1 by default), `TASUKI_FAULTS` which ones, by
//! a part of their names, `TASUKI_DETECT` the knob in milliseconds.

#![allow(clippy::unwrap_used)]

use std::{env, time::Duration};

use tasuki_tests::{
    hosts::{Cluster, Make, fault::Fault},
    network::Lab,
};

fn number(variable: &str, default: u64) -> u64 {
    env::var(variable).ok().map_or(default, |text| text.parse().unwrap())
}

/// One cluster suffers everything in turn: that it is as good as new each time is part of the test.
#[test]
fn a_service_survives_every_fault() {
    if let Some(why) = Lab::impossible() {
        println!("skipped, because {why}");
        return;
    }
    let rounds = number("TASUKI_ROUNDS", 1);
    let detect = Duration::from_millis(number("TASUKI_DETECT", 2000));
    let cluster = Cluster::start(Make::with_detect(detect).unwrap()).unwrap();
    println!("three servers formed from nothing: {:?}", cluster.formation());
    let mut failed = Vec::new();
    for fault in Fault::wanted() {
        for _ in 0..rounds {
            match cluster.suffer(fault) {
                Ok(round) => println!("{round}"),
                Err(error) => {
                    println!("FAILED: {error}");
                    failed.push(fault);
                }
            }
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

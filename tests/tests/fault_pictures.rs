//! Clusters on real hosts fall apart in every way there is: parts with and without the leader, one
//! way only, not transitively. Asserted: never two owners of a group, what has a quorum goes on
//! without noticing, what has none stops, one sick server is put aside and the rest is never shaken,
//! and all heals without a hand. Times are printed as a table, never asserted.
//!
//! A part of the pictures by default; all of them with `--ignored` (`just pictures`), or those whose
//! drawings `TASUKI_PICTURES` names, separated by commas. `TASUKI_DETECT`: the knob in milliseconds.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use tasuki_tests::{
    hosts::{Cluster, Groups, Make, parted::Parted, pictures::Picture},
    network::Lab,
};

fn possible() -> bool {
    let why = Lab::impossible_to_part();
    if let Some(why) = &why {
        println!("skipped, because {why}");
    }
    why.is_none()
}

fn make(servers: usize) -> Make {
    let detect = std::env::var("TASUKI_DETECT").map_or(2000, |text| text.parse().unwrap());
    let make = Make::with_detect(Duration::from_millis(detect)).unwrap();
    Make { servers, groups: Groups::OnEveryServer, ..make }
}

/// One cluster suffers all of them in turn: that it is as good as new each time is part of the test.
fn suffer(make: Make, pictures: Vec<Picture>) {
    let began = Instant::now();
    let cluster = Cluster::start(make).unwrap();
    println!("{} servers formed in {:?}", cluster.size(), cluster.formation().all);
    println!("{}", Parted::head());
    let mut failed = Vec::new();
    for picture in pictures {
        match cluster.fall_apart(&picture) {
            Ok(parted) => println!("{parted}"),
            Err(error) => {
                println!("FAILED: {error}");
                failed.push(picture.name);
            }
        }
    }
    println!("{:.0} s", began.elapsed().as_secs_f64());
    assert!(failed.is_empty(), "{failed:?}");
}

/// The telling ones.
fn some(all: Vec<Picture>, drawings: &[&str]) -> Vec<Picture> {
    let some: Vec<Picture> = all.into_iter().filter(|it| drawings.contains(&it.name.as_str())).collect();
    assert_eq!(some.len(), drawings.len());
    some
}

#[test]
fn three_servers_fall_apart() {
    if possible() {
        suffer(make(3), some(Picture::of_three(), &["L | B C", "L -/- B", "L deaf"]));
    }
}

#[test]
fn five_servers_fall_apart() {
    if possible() {
        suffer(make(5), some(Picture::of_five(), &["L B | C D E", "L | B C | D E"]));
    }
}

#[test]
#[ignore = "minutes: just pictures"]
fn three_servers_fall_apart_in_every_way() {
    if possible() {
        suffer(make(3), Picture::wanted(Picture::of_three()));
    }
}

#[test]
#[ignore = "minutes: just pictures"]
fn five_servers_fall_apart_in_every_way() {
    if possible() {
        suffer(make(5), Picture::wanted(Picture::of_five()));
    }
}

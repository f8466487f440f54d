//! Clusters on real hosts fall apart in every way there is: parts with and without the leader, one
//! way only, not transitively. Asserted: never two owners of a group, what has a quorum goes on
//! without noticing, what has none stops, one sick server is put aside and the rest is never shaken,
//! and all heals without a hand. Times are printed as a table, never asserted.
//!
//! A part of the pictures by default; all of them with `--ignored` (`just pictures`), or those whose
//! drawings `TASUKI_PICTURES` names, separated by commas. `TASUKI_DETECT`: the knob in milliseconds.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    time::{Duration, Instant},
};

use tasuki_proto::v1 as wire;
use tasuki_tests::{
    hosts::{
        Cluster, Groups, Make, await_true, parted::Parted, pictures::Picture, shared_disk::SharedDisk,
        witness::Witness,
    },
    network::{Lab, presence::control_group},
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
    let cluster = Cluster::start(make).unwrap();
    println!("{} servers formed in {:?}", cluster.size(), cluster.formation().all);
    suffer_on(&cluster, pictures);
}

fn suffer_on(cluster: &Cluster, pictures: Vec<Picture>) {
    let began = Instant::now();
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

/// Two servers with a witness on a third machine, which both reach all the time.
fn two_with_a_witness(kind: &str) {
    if !possible() {
        return;
    }
    let make = Make { cluster: Witness::section(kind), ..make(2) };
    let cluster = Cluster::prepare(make).unwrap().form().unwrap();
    let _witness = Witness::join(&cluster).unwrap();
    cluster.await_whole().unwrap();
    println!("two servers and a witness ({kind})");
    suffer_on(&cluster, Picture::wanted(Picture::of_two()));
}

#[test]
fn two_servers_with_a_record_at_a_witness_fall_apart() {
    two_with_a_witness("register");
}

#[test]
fn two_servers_with_a_voting_witness_fall_apart() {
    two_with_a_witness("voter");
}

/// Two servers with a voting file on a loop device that both have.
#[test]
fn two_servers_with_a_voting_file_fall_apart() {
    if !possible() {
        return;
    }
    let shared = match SharedDisk::new(4 << 20) {
        Ok(shared) => shared,
        Err(error) => {
            println!("skipped, because there is no loop device: {error}");
            return;
        }
    };
    let cluster = format!("\nvoting_file = \"{}\"\n", shared.path().display());
    let cluster = Cluster::start(Make { cluster, ..make(2) }).unwrap();
    println!("two servers and a voting file");
    suffer_on(&cluster, Picture::wanted(Picture::of_two()));
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

/// The process of the service on a server, and whether it stands still.
fn service(cluster: &Cluster, server: usize) -> Option<(i32, bool)> {
    let found = cluster.lab().processes(server, &["tasuki", "__demo-http"]).ok()?.pop()?;
    let group = format!("{}.web-{}", Cluster::group_of(server), cluster.lab().name(server));
    let events = control_group(cluster.lab(), server)?.join(group).join("cgroup.events");
    let still = fs::read_to_string(events).ok()?.lines().any(|line| line == "frozen 1");
    Some((found.pid, still))
}

/// `on_quorum_loss = "freeze"`: nobody has a quorum, everything stands still, and goes on as the same
/// processes; one of three is cut off, and what stood still there is ended, because another server
/// has owned it meanwhile.
#[test]
fn frozen_groups_go_on_where_they_stood_unless_somebody_else_owned_them() {
    if !possible() {
        return;
    }
    let make = Make { group: "on_quorum_loss = \"freeze\"".to_owned(), ..make(3) };
    let cluster = Cluster::start(make).unwrap();
    let all = |still: bool| -> Vec<Option<i32>> {
        let one = |server| service(&cluster, server).filter(|it| it.1 == still).map(|it| it.0);
        (0..cluster.size()).map(one).collect()
    };
    let before = all(false);
    assert!(before.iter().all(Option::is_some), "{before:?}");
    cluster.lab().part(&Picture::split("L | B | C").placed(&[0, 1, 2])).unwrap();
    await_true("that everything stands still", || Ok(all(true) == before)).unwrap();
    cluster.lab().part(&[]).unwrap();
    // The registry takes them for online all the time: it was told nothing else.
    await_true("that the same processes go on", || Ok(all(false) == before)).unwrap();
    cluster.await_whole().unwrap();

    cluster.lab().part(&Picture::split("L B | C").placed(&[0, 1, 2])).unwrap();
    await_true("that the third one's service stands still", || Ok(all(true)[2] == before[2])).unwrap();
    await_true("its group on another server", || {
        let status = cluster.status().ok();
        let groups = status.map(|status| status.groups).unwrap_or_default();
        let online = i32::from(wire::RunState::Online);
        let elsewhere = |it: &wire::GroupStatus| it.home != it.server && it.state == online;
        Ok(groups.iter().any(|it| it.home == cluster.lab().name(2) && elsewhere(it)))
    })
    .unwrap();
    cluster.lab().part(&[]).unwrap();
    let anew = |after: &[Option<i32>]| after[2].is_some() && after[2] != before[2];
    await_true("that it was started anew at home", || Ok(anew(&all(false)))).unwrap();
    assert_eq!(all(false)[..2], before[..2], "nobody else noticed");
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

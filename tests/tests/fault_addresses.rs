//! A floating address that somebody else has: Tasuki never takes it over, and never removes an
//! address that it did not add.

#![allow(clippy::unwrap_used)]

use std::net::IpAddr;

use tasuki_tests::{
    client::{Client, Pace},
    hosts::{Cluster, GROUP, LIMIT, Make, SERVERS, await_some},
    network::{Lab, Network},
};

fn possible() -> bool {
    let why = Lab::impossible();
    if let Some(why) = &why {
        println!("skipped, because {why}");
    }
    why.is_none()
}

fn default() -> Make {
    Make::with_detect(std::time::Duration::from_secs(1)).unwrap()
}

fn has(cluster: &Cluster, server: usize, address: IpAddr) -> bool {
    let shown = cluster.lab().run(server, &["ip", "-o", "addr", "show", "dev", "public"]).unwrap();
    String::from_utf8(shown.stdout).unwrap().contains(&format!("{address}/"))
}

/// What is said of the address's resource, once it says this.
fn await_detail(cluster: &Cluster, part: &str) -> String {
    await_some(part, || {
        let status = cluster.status().ok();
        let groups = status.map(|status| status.groups).unwrap_or_default();
        let group = groups.into_iter().find(|group| group.name == GROUP);
        let resources = group.map(|group| group.resources).unwrap_or_default();
        let detail = resources.into_iter().find(|resource| resource.name == "address").map(|it| it.detail);
        Ok(detail.filter(|detail| detail.contains(part)))
    })
    .unwrap()
}

#[test]
fn an_address_that_another_host_answers_for_is_left_to_it() {
    if !possible() {
        return;
    }
    let lab = Cluster::prepare(default()).unwrap();
    // A host outside the cluster has it.
    lab.lab().client().ip(&format!("addr add {}/24 dev eth0\n", lab.address())).unwrap();
    let cluster = lab.form().unwrap();
    let detail = await_detail(&cluster, "TSK-14");
    println!("{detail}");
    assert!(detail.contains("in use") && detail.contains(&cluster.address().to_string()), "{detail}");
    for (server, name) in SERVERS.iter().enumerate() {
        assert!(!has(&cluster, server, cluster.address()), "{name} has it");
    }
    // It goes, an operator says so, and the group starts.
    cluster.lab().client().ip(&format!("addr del {}/24 dev eth0\n", cluster.address())).unwrap();
    cluster.calls().reset_group(&cluster.data(0), GROUP).unwrap();
    // Its counters at zero, it may be on its way by itself already.
    let _refused_if_so = cluster.start_group();
    cluster.await_whole().unwrap();
    let client = Client::start(cluster.lab().client(), cluster.target(), Pace::default()).unwrap();
    assert!(client.wait_for(LIMIT, |_| true).is_some());
}

#[test]
fn r36_a_failover_takes_no_address_from_a_stranger_while_no_server_is_lost() {
    if !possible() {
        return;
    }
    let cluster = Cluster::prepare(default()).unwrap().form().unwrap();
    cluster.await_whole().unwrap();
    let (first, _) = cluster.active_and_leader().unwrap();
    assert!(cluster.tasuki(0, &["group", "stop", GROUP]).unwrap().status.success());
    cluster.lab().client().ip(&format!("addr add {}/24 dev eth0\n", cluster.address())).unwrap();
    cluster.start_group().unwrap();
    // It fails where it is tried first, and then on the server that it fails over to.
    let refused = await_some("a refusal by another server", || {
        let groups = cluster.status().map(|status| status.groups).unwrap_or_default();
        let elsewhere = |name: &str| !name.is_empty() && name != SERVERS[first];
        let group = groups.into_iter().find(|group| group.name == GROUP && elsewhere(&group.server));
        let address = group.and_then(|group| group.resources.into_iter().find(|it| it.name == "address"));
        Ok(address.map(|it| it.detail).filter(|detail| detail.contains("TSK-1403")))
    });
    println!("{}", refused.unwrap_or_else(|error| panic!("{error}\n{}", cluster.last_words(20))));
    for (server, name) in SERVERS.iter().enumerate() {
        assert!(!has(&cluster, server, cluster.address()), "{name} has it");
    }
}

#[test]
fn an_address_that_a_server_had_before_is_neither_used_nor_removed() {
    if !possible() {
        return;
    }
    // It stays where it failed: what is said of it can be read however long the others take to join.
    let group = "failover = \"manual\"".to_owned();
    let lab = Cluster::prepare(Make { group, ..default() }).unwrap();
    let line = format!("addr add {}/24 dev public\n", lab.address());
    lab.lab().with_machine(0, |machine| machine.ip(&line)).unwrap().unwrap();
    let cluster = lab.form().unwrap();
    let detail = await_detail(&cluster, "TSK-14");
    println!("{detail}");
    assert!(has(&cluster, 0, cluster.address()), "it is still there");
    for (server, name) in SERVERS.iter().enumerate().skip(1) {
        assert!(!has(&cluster, server, cluster.address()), "{name} has it too");
    }
    // All three have a vote, so that this one alone has no quorum.
    await_some("three voters", || {
        let status = cluster.status().ok().and_then(|status| status.survival);
        Ok(status.filter(|survival| survival.survives && survival.voters == 3))
    })
    .unwrap();
    // Not even when the server stops everything at its lease's end.
    cluster.lab().cut(0, &Network::ALL).unwrap();
    let log = || std::fs::read_to_string(cluster.log(0)).unwrap_or_default();
    await_some("end of the lease", || Ok(log().contains("stopped what ran").then_some(()))).unwrap();
    assert!(has(&cluster, 0, cluster.address()), "it is still there");
}

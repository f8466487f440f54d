//! Floating addresses between hosts on one switch (rule R39).

#![allow(clippy::unwrap_used)]

mod netns;

use std::{
    net::{IpAddr, UdpSocket},
    time::{Duration, Instant},
};

use netns::{Namespace, Switch, eventually};
use tasuki_system::address::{
    AddressError, AddressSpec, HeldAddress, Loss, Watch, WatchOptions, acquire, carrier, is_present, plan,
    probe_duplicate, release, remove_now, watch,
};
use tokio::{sync::oneshot, time::timeout};

/// One floating address of each family, outside the hosts' own.
const FLOATING: [&str; 2] = ["10.88.0.200/24", "fd88::200/64"];
const SOON: Duration = Duration::from_secs(5);

fn spec(text: &str) -> AddressSpec {
    let (address, device) = match text.split_once('%') {
        Some((address, device)) => (address, Some(device.to_owned())),
        None => (text, None),
    };
    let (address, prefix) = address.split_once('/').unwrap();
    AddressSpec { address: address.parse().unwrap(), prefix: prefix.parse().unwrap(), device }
}

/// The whole way of a start.
async fn take(text: &str) -> Result<HeldAddress, AddressError> {
    let held = plan(&spec(text))?;
    probe_duplicate(&held).await?;
    acquire(&held)?;
    Ok(held)
}

/// Takes the address and watches it.
async fn hold(text: &str, options: WatchOptions) -> (HeldAddress, Watch, oneshot::Receiver<Loss>) {
    let held = take(text).await.unwrap();
    let (watching, lost) = watch(&held, options).unwrap();
    (held, watching, lost)
}

/// Which hardware address `host` believes `address` to be at, after it had to find out.
fn believed(host: &Namespace, address: IpAddr) -> Option<String> {
    let text = host.ip(&format!("neigh show {address} dev eth0"));
    let mut words = text.split_whitespace();
    words.find(|word| *word == "lladdr")?;
    words.next().map(str::to_owned)
}

fn resolve(host: &Namespace, address: IpAddr) {
    host.run(async || {
        let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).unwrap();
        let _ = socket.send_to(b"?", (address, 9));
    });
    eventually("a first answer", || believed(host, address).is_some());
}

#[test]
fn a_move_is_seen_by_the_neighbours() {
    needs_namespaces!();
    let lan = Switch::with_hosts(3);
    for text in FLOATING {
        let address = spec(text).address;
        let held = lan.host(1).run(async || take(text).await.unwrap());
        resolve(lan.host(3), address);
        assert_eq!(believed(lan.host(3), address), Some(lan.mac(1)), "{text}");

        lan.host(1).run(async || release(&held).unwrap());
        let timing = lan.host(2).run(async || {
            let start = Instant::now();
            let held = plan(&spec(text)).unwrap();
            let planned = start.elapsed();
            probe_duplicate(&held).await.unwrap();
            let probed = start.elapsed();
            acquire(&held).unwrap();
            (planned, probed - planned, start.elapsed() - probed)
        });
        // Announced once, without a watch: frames cross a virtual switch at once.
        let took = eventually("the announcement", || believed(lan.host(3), address) == Some(lan.mac(2)));
        println!(
            "{text}: plan {:?}, probe {:?}, add and announce {:?}, seen {took:?} later",
            timing.0, timing.1, timing.2
        );
    }
}

#[test]
fn an_address_that_another_host_answers_for_is_refused() {
    needs_namespaces!();
    let lan = Switch::with_hosts(2);
    lan.host(2).ip("addr add 10.88.0.200/24 dev eth0");
    lan.host(2).ip("addr add fd88::200/64 dev eth0 nodad");
    for text in FLOATING {
        let error = lan.host(1).run(async || take(text).await.unwrap_err());
        assert_eq!(error.code(), "TSK-1403", "{error}");
        assert!(error.to_string().contains(&lan.mac(2)), "{error}");
    }
    let there = lan.host(1).ip("addr show dev eth0");
    assert!(!there.contains("10.88.0.200") && !there.contains("fd88::200"), "{there}");
}

#[test]
fn the_servers_own_address_is_neither_taken_nor_removed() {
    needs_namespaces!();
    let lan = Switch::with_hosts(1);
    for own in ["10.88.0.1/24", "fd88::1/64"] {
        let error = lan.host(1).run(async || take(own).await.unwrap_err());
        assert_eq!(error.code(), "TSK-1402", "{error}");
        // Even when it came between the plan and the start.
        let late = HeldAddress {
            address: spec(own).address,
            prefix: spec(own).prefix,
            device: "eth0".to_owned(),
            loopback: false,
        };
        let error = lan.host(1).run(async || acquire(&late).unwrap_err());
        assert_eq!(error.code(), "TSK-1402", "{error}");
    }
    let there = lan.host(1).ip("addr show dev eth0");
    assert!(there.contains("10.88.0.1/24") && there.contains("fd88::1/64"), "{there}");
}

#[test]
fn wrong_subnets_and_interfaces_are_refused() {
    needs_namespaces!();
    let lan = Switch::with_hosts(1);
    lan.host(1).ip("link add spare type bridge");
    let refused = |text: &str| lan.host(1).run(async || plan(&spec(text)).unwrap_err());
    let error = refused("10.99.0.1/24");
    assert_eq!(error.code(), "TSK-1401");
    assert!(error.to_string().contains("10.88.0.1/24 on eth0"), "{error}");
    for device in ["spare", "eth7"] {
        assert_eq!(refused(&format!("10.88.0.200/24%{device}")).code(), "TSK-1404");
    }
    lan.cut(1);
    eventually("carrier loss", || !lan.host(1).run(async || carrier("eth0").unwrap()));
    assert_eq!(refused(FLOATING[0]).code(), "TSK-1404");
}

#[test]
fn the_guard_removes_what_is_listed_and_nothing_else() {
    needs_namespaces!();
    let lan = Switch::with_hosts(1);
    let host = lan.host(1);
    let took = host.run(async || {
        let mut held = Vec::new();
        for text in FLOATING {
            held.push(take(text).await.unwrap());
        }
        take("10.88.0.201/24").await.unwrap(); // not listed
        held.push(HeldAddress { address: [10, 88, 0, 202].into(), ..held[0].clone() }); // not there
        held.push(HeldAddress { device: "gone".to_owned(), ..held[0].clone() }); // on no such interface
        held.push(HeldAddress { prefix: 16, address: [10, 88, 0, 1].into(), ..held[0].clone() }); // not as recorded
        assert!(is_present(&held[0]).unwrap() && is_present(&held[1]).unwrap());
        let start = Instant::now();
        remove_now(&held).unwrap();
        let took = start.elapsed();
        assert!(held.iter().all(|one| !is_present(one).unwrap()));
        remove_now(&held).unwrap();
        took
    });
    println!("removed two addresses in {took:?}");
    let there = host.ip("addr show dev eth0");
    for own in ["10.88.0.1/24", "10.88.0.201/24", "fd88::1/64"] {
        assert!(there.contains(own), "{own} is missing: {there}");
    }
    assert!(!there.contains(".200/") && !there.contains("::200/"), "{there}");
}

#[test]
fn addresses_that_came_after_the_floating_one_stay_when_it_goes() {
    needs_namespaces!();
    let lan = Switch::with_hosts(1);
    let host = lan.host(1);
    host.ip("addr flush dev eth0");
    host.run(async || {
        let held = take("10.88.0.200/24%eth0").await.unwrap();
        host.ip("addr add 10.88.0.7/24 dev eth0");
        release(&held).unwrap();
    });
    let there = host.ip("-4 addr show dev eth0");
    assert!(there.contains("10.88.0.7/24") && !there.contains("10.88.0.200"), "{there}");
}

#[test]
fn the_servers_own_connections_do_not_use_the_floating_address() {
    needs_namespaces!();
    let lan = Switch::with_hosts(2);
    for (text, other, own) in [(FLOATING[0], "10.88.0.2", "10.88.0.1"), (FLOATING[1], "fd88::2", "fd88::1")] {
        let source = lan.host(1).run(async || {
            take(text).await.unwrap();
            let other: IpAddr = other.parse().unwrap();
            let socket = UdpSocket::bind(if other.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
            socket.connect((other, 9)).unwrap();
            socket.local_addr().unwrap().ip()
        });
        assert_eq!(source.to_string(), own);
    }
}

#[test]
fn r39_an_address_announced_from_elsewhere_is_dropped_at_once() {
    needs_namespaces!();
    let lan = Switch::with_hosts(2);
    for text in FLOATING {
        lan.host(1).run(async || {
            let (held, _watching, lost) = hold(text, WatchOptions::adopted()).await;
            // Another host takes it without asking.
            let start = Instant::now();
            lan.host(2).run(async || acquire(&held).unwrap());
            let loss = timeout(SOON, lost).await.unwrap().unwrap();
            println!("{text}: {loss}; noticed after {:?}", start.elapsed());
            assert!(matches!(&loss, Loss::Conflict { mac, .. } if mac.to_string() == lan.mac(2)), "{loss}");
            assert!(!is_present(&held).unwrap(), "dropped before anybody is told");
        });
    }
}

#[test]
fn r39_the_new_owner_stays_and_the_old_one_drops() {
    needs_namespaces!();
    let lan = Switch::with_hosts(3);
    for text in FLOATING {
        let address = spec(text).address;
        lan.host(1).run(async || {
            let (held, _old, lost) = hold(text, WatchOptions::adopted()).await;
            resolve(lan.host(3), address);
            lan.host(2).run(async || {
                acquire(&held).unwrap();
                let (_new, mut kept) = watch(&held, WatchOptions::acquired(Duration::from_secs(3))).unwrap();
                let loss = timeout(SOON, lost).await.unwrap().unwrap();
                assert!(matches!(loss, Loss::Conflict { .. }), "{loss}");
                // The old one speaks once more, as one that was frozen would.
                lan.host(1).run(async || {
                    acquire(&held).unwrap();
                    release(&held).unwrap();
                });
                eventually("the new owner's word", || believed(lan.host(3), address) == Some(lan.mac(2)));
                assert!(kept.try_recv().is_err() && is_present(&held).unwrap());
            });
        });
        lan.host(2).ip(&format!("addr del {text} dev eth0"));
    }
}

#[test]
fn r39_announcements_are_repeated() {
    needs_namespaces!();
    let lan = Switch::with_hosts(2);
    for text in FLOATING {
        let address = spec(text).address;
        lan.host(1).run(async || {
            let (_held, _watching, _lost) = hold(text, WatchOptions::acquired(Duration::from_secs(4))).await;
            let host = lan.host(2);
            for _ in 0..2 {
                // As if the announcements so far had been lost.
                host.ip(&format!("neigh replace {address} dev eth0 lladdr 02:00:00:00:00:99 nud stale"));
                let took = eventually("another announcement", || believed(host, address) == Some(lan.mac(1)));
                println!("{text}: told again after {took:?}");
            }
        });
    }
}

#[test]
fn a_lost_carrier_is_reported_and_its_return_announced() {
    needs_namespaces!();
    let lan = Switch::with_hosts(2);
    lan.host(1).run(async || {
        let (held, _watching, lost) = hold(FLOATING[0], WatchOptions::adopted()).await;
        let start = Instant::now();
        lan.cut(1);
        let loss = timeout(SOON, lost).await.unwrap().unwrap();
        println!("{loss}; after {:?}", start.elapsed());
        assert_eq!(loss, Loss::Carrier { address: held.address, device: "eth0".to_owned() });
        assert!(is_present(&held).unwrap(), "what follows is the caller's choice");

        let host = lan.host(2);
        host.ip(&format!("neigh replace {} dev eth0 lladdr 02:00:00:00:00:99 nud stale", held.address));
        lan.heal(1);
        let took = eventually("an announcement", || believed(host, held.address) == Some(lan.mac(1)));
        println!("announced {took:?} after the cable was back");

        // After a split the other side may have taken it meanwhile.
        lan.host(2).run(async || acquire(&held).unwrap());
        eventually("the drop", || !is_present(&held).unwrap());
    });
}

#[test]
fn a_carrier_that_flickers_is_no_loss() {
    needs_namespaces!();
    let lan = Switch::with_hosts(1);
    lan.host(1).run(async || {
        let options = WatchOptions { carrier_grace: Duration::from_secs(5), ..WatchOptions::adopted() };
        let (_held, _watching, mut lost) = hold(FLOATING[0], options).await;
        for _ in 0..3 {
            lan.cut(1);
            eventually("carrier loss", || !carrier("eth0").unwrap());
            lan.heal(1);
            eventually("carrier", || carrier("eth0").unwrap());
        }
        // Long enough for several looks at the interface.
        assert!(timeout(Duration::from_secs(1), &mut lost).await.is_err());
    });
}

#[test]
fn an_address_that_somebody_removes_is_reported() {
    needs_namespaces!();
    let lan = Switch::with_hosts(1);
    for text in FLOATING {
        lan.host(1).run(async || {
            let (held, _watching, lost) = hold(text, WatchOptions::adopted()).await;
            let start = Instant::now();
            lan.host(1).ip(&format!("addr del {text} dev eth0"));
            let loss = timeout(SOON, lost).await.unwrap().unwrap();
            println!("{loss}; after {:?}", start.elapsed());
            assert_eq!(loss, Loss::Removed { address: held.address, device: "eth0".to_owned() });
        });
    }
}

#[test]
fn r6_a_restarted_node_finds_its_address_and_goes_on() {
    needs_namespaces!();
    let lan = Switch::with_hosts(1);
    lan.host(1).run(async || {
        let (held, watching, _lost) = hold(FLOATING[0], WatchOptions::adopted()).await;
        drop(watching);
        assert!(is_present(&held).unwrap(), "the end of a watch removes nothing");
        let error = acquire(&held).unwrap_err();
        assert_eq!(error.code(), "TSK-1402");
        let (_watching, mut lost) = watch(&held, WatchOptions::adopted()).unwrap();
        assert!(lost.try_recv().is_err());
    });
}

#[test]
fn loopback_addresses_change_nothing() {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        for text in ["127.0.88.1/8", "127.0.88.1/32", "::1/128"] {
            let held = take(text).await.unwrap();
            assert!(held.loopback && is_present(&held).unwrap());
            assert_eq!(
                serde_json::from_str::<HeldAddress>(&serde_json::to_string(&held).unwrap()).unwrap(),
                held
            );
            let (_watching, mut lost) = watch(&held, WatchOptions::adopted()).unwrap();
            assert!(lost.try_recv().is_err());
            release(&held).unwrap();
        }
    });
}

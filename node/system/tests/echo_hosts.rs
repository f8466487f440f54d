//! Echoes of this host, and between hosts on one switch.

#![allow(clippy::unwrap_used)]

#[allow(dead_code)] // other tests use the rest of it
mod netns;

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use netns::Switch;
use tasuki_system::echo::{EchoError, echo};

const LIMIT: Duration = Duration::from_secs(2);
/// For an address that does not answer: the test waits for all of it.
const SHORT: Duration = Duration::from_millis(300);

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[tokio::test]
async fn this_host_answers() {
    for own in ["127.0.0.1", "::1"] {
        match echo(address(own), LIMIT).await {
            Ok(took) => assert!(took < LIMIT, "{own}"),
            Err(error @ EchoError::NotPermitted { .. }) => println!("skipped, because {error}"),
            Err(error) if own == "::1" && !std::path::Path::new("/proc/sys/net/ipv6").exists() => {
                println!("skipped, because this machine's kernel has no IPv6: {error}");
            }
            Err(error) => panic!("{own}: {error}"),
        }
    }
}

#[test]
fn a_neighbour_answers_until_its_cable_is_pulled() {
    needs_namespaces!();
    let lan = Switch::with_hosts(2);
    for other in ["10.88.0.2", "fd88::2"] {
        let took = lan.host(1).run(async || echo(address(other), LIMIT).await);
        println!("{other} answered after {:?}", took.unwrap());
    }
    lan.cut(2);
    for other in ["10.88.0.2", "fd88::2"] {
        let began = Instant::now();
        let lost = lan.host(1).run(async || echo(address(other), SHORT).await);
        let error = lost.unwrap_err();
        assert!(matches!(&error, EchoError::NoAnswer { .. }), "{other}: {error}");
        assert!(error.to_string().contains("300ms"), "{error}");
        assert!(began.elapsed() >= SHORT, "{other}: given up before its time");
    }
    // A network that no route leads to is known at once.
    let nowhere = lan.host(1).run(async || echo(address("192.0.2.1"), LIMIT).await);
    assert!(matches!(nowhere, Err(EchoError::Unreachable { .. })), "{nowhere:?}");
}

#[test]
fn both_kinds_of_socket_give_the_same_answer() {
    needs_namespaces!();
    let lan = Switch::with_hosts(2);
    // A new namespace permits no unprivileged ICMP socket; then it permits them to everybody.
    for range in ["1 0", "0 2147483647"] {
        let answered = lan.host(1).run(async || {
            std::fs::write("/proc/sys/net/ipv4/ping_group_range", range)?; // of this thread's namespace
            std::io::Result::Ok((
                echo(address("10.88.0.2"), LIMIT).await.map_err(|error| error.to_string()),
                echo(address("fd88::2"), LIMIT).await.map_err(|error| error.to_string()),
            ))
        });
        let (v4, v6) = answered.unwrap();
        assert!(v4.is_ok() && v6.is_ok(), "{range}: {v4:?} {v6:?}");
    }
}

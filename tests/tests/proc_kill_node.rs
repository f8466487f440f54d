//! A node that is killed again and again is no matter to the service.

#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, time::Duration};

use nix::sys::signal::{Signal, kill};
use tasuki_tests::{
    client::{Client, Pace},
    hosts::{LIMIT, await_some},
    process::{Trio, web},
};

/// Longer than what a guard calls an early end.
const LIFE: Duration = Duration::from_millis(2500);

#[test]
fn a_service_does_not_notice_that_its_node_is_killed_in_a_loop() {
    let mut trio = Trio::new().unwrap();
    let config = trio.subnet.config("ours", &web(trio.subnet).unwrap());
    trio.found_all(&config).unwrap();
    let target = SocketAddr::new(trio.subnet.floating(), 8080);
    let client =
        Client::start_here(target, Pace { every: Duration::from_millis(20), ..Pace::default() }).unwrap();
    let before = client.wait_for(LIMIT, |_| true).unwrap().outcome.unwrap();
    let owner = trio.servers.iter().position(|server| server.name() == before.server).unwrap();
    let mut killed = 0;
    for _ in 0..5 {
        let old = await_some("node", || Ok(trio.servers[owner].node())).unwrap();
        kill(old, Signal::SIGKILL).unwrap();
        killed += 1;
        await_some("new node", || Ok(trio.servers[owner].node().filter(|new| *new != old))).unwrap();
        // Whole again, with a lease of the new node's own. A guard that sees node after node end within
        // two seconds of its start takes a pause, so this one has to live longer than that.
        trio.await_whole().unwrap();
        std::thread::sleep(LIFE);
    }
    let after = client.wait_for(LIMIT, |_| true).unwrap().outcome.unwrap();
    let history = client.finish();
    println!(
        "{killed} nodes killed, {} answers of {:?}, {} failed",
        history.samples().len(),
        after,
        history.failed()
    );
    println!("{}", trio.servers[owner].log());
    assert_eq!((&after.server, after.pid), (&before.server, before.pid), "the same process");
    assert_eq!(history.answered().len(), 1);
}

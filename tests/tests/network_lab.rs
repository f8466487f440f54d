//! The laboratory's own tests: what measures outages and overlaps must be right first.

#![allow(clippy::unwrap_used)]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    process::{Child, Command},
    sync::Arc,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tasuki_tests::{
    client::{Client, Pace},
    network::{Lab, Network, floating_v4, floating_v6, holders::HolderProbe},
};

const SERVICE: &str = "TASUKI_TEST_SERVICE";
const SOON: Duration = Duration::from_secs(10);

/// A laboratory, or `None` with the reason printed.
fn lab(names: &[&str]) -> Option<Arc<Lab>> {
    if let Some(why) = Lab::impossible() {
        println!("skipped, because {why}");
        return None;
    }
    Some(Arc::new(Lab::start(names).unwrap()))
}

/// Not a test of its own: what the other tests start on their servers.
#[test]
fn service_inside() {
    let Ok(name) = std::env::var(SERVICE) else { return };
    let listener = TcpListener::bind("[::]:80").unwrap();
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        let body = format!("{{\"server\":\"{name}\",\"pid\":{},\"epoch\":1}}\n", std::process::id());
        let _ = stream.read(&mut [0; 1024]);
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    }
}

/// Dropped, it ends with its machine.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(lab: &Lab, server: usize) -> Service {
    let exe = std::env::current_exe().unwrap();
    let mut command: Command = lab.command(server, exe).unwrap();
    command
        .args(["--exact", "service_inside"])
        .env(SERVICE, lab.name(server))
        .stdout(std::process::Stdio::null());
    Service(command.spawn().unwrap())
}

fn ip(lab: &Lab, server: usize, line: &str) {
    lab.with_machine(server, |machine| machine.ip(line)).unwrap().unwrap();
}

fn announce(lab: &Lab, server: usize, address: &str) {
    ip(
        lab,
        server,
        &format!("addr add {address} dev public{}\n", if address.contains(':') { " nodad" } else { "" }),
    );
    // In place of an announcement: the client forgets where it was.
    lab.client().ip("neigh flush dev eth0\n").unwrap();
}

fn read(lab: &Lab, server: usize, path: &str) -> String {
    String::from_utf8(lab.run(server, &["cat", path]).unwrap().stdout).unwrap()
}

#[test]
fn an_outage_and_a_hand_over_are_measured_as_they_were_made() {
    let Some(lab) = lab(&["kiki", "lala"]) else { return };
    // One pair for both rounds: what ends with its machine still has the port a little longer.
    let _services = [serve(&lab, 0), serve(&lab, 1)];
    for (address, prefix) in [(floating_v4(0).into(), 24), (std::net::IpAddr::from(floating_v6(0)), 64)] {
        let text = format!("{address}/{prefix}");
        announce(&lab, 0, &text);
        let probe = HolderProbe::start(&lab, address, Duration::from_millis(5));
        let client = Client::start(lab.client(), SocketAddr::new(address, 80), Pace::default()).unwrap();
        client.wait_for(SOON, |answer| answer.server == "kiki").unwrap();

        let fault = Instant::now();
        ip(&lab, 0, &format!("addr del {text} dev public\n"));
        std::thread::sleep(Duration::from_millis(300));
        announce(&lab, 1, &text);
        let back = client.wait_for(SOON, |answer| answer.server == "lala").unwrap();
        let (history, holders) = (client.finish(), probe.finish());
        ip(&lab, 1, &format!("addr del {text} dev public\n"));

        let outage = history.outage(fault, back.ended).unwrap();
        println!("{outage}; {}; looks {:?}", holders.hand_overs()[0], holders.looks());
        assert!(
            outage.length() >= Duration::from_millis(300) && outage.length() < Duration::from_millis(800)
        );
        assert!(history.overlaps().is_empty() && holders.overlap().is_zero());
        assert_eq!((holders.runs().len(), holders.looks().1), (2, 0));
        let gap = holders.hand_overs()[0].gap;
        assert!(gap >= Duration::from_millis(300) && gap < Duration::from_millis(500), "{gap:?}");
    }
}

#[test]
fn two_holders_are_seen_on_the_servers() {
    let Some(lab) = lab(&["kiki", "lala"]) else { return };
    let text = format!("{}/24", floating_v4(0));
    let probe = HolderProbe::start(&lab, floating_v4(0).into(), Duration::from_millis(5));
    announce(&lab, 0, &text);
    std::thread::sleep(Duration::from_millis(100));
    announce(&lab, 1, &text);
    std::thread::sleep(Duration::from_millis(200));
    ip(&lab, 0, &format!("addr del {text} dev public\n"));
    std::thread::sleep(Duration::from_millis(50));
    let holders = probe.finish();
    println!("{}", holders.hand_overs()[0]);
    assert!(holders.overlap() > Duration::from_millis(150), "{holders:?}");
}

#[test]
fn a_power_loss_leaves_nothing_but_the_disk() {
    let Some(lab) = lab(&["kiki", "lala"]) else { return };
    let address = floating_v4(0);
    let _service = serve(&lab, 0);
    announce(&lab, 0, &format!("{address}/24"));
    let probe = HolderProbe::start(&lab, address.into(), Duration::from_millis(5));
    let client = Client::start(lab.client(), SocketAddr::new(address.into(), 80), Pace::default()).unwrap();
    client.wait_for(SOON, |answer| answer.server == "kiki").unwrap();
    std::fs::write(lab.data_dir(0).join("kept"), "x").unwrap();
    std::fs::write(lab.run_dir(0).join("lost"), "x").unwrap();
    let before = read(&lab, 0, "/proc/sys/kernel/random/boot_id");
    let inside = lab.processes(0, &["service_inside"]).unwrap();
    assert!(!inside.is_empty());

    let start = Instant::now();
    lab.power_off(0).unwrap();
    println!("off in {:?}", start.elapsed());
    assert!(!lab.is_on(0) && lab.run(0, &["true"]).is_err());
    for process in inside {
        assert_eq!(kill(Pid::from_raw(process.pid), None), Err(Errno::ESRCH), "{process:?}");
    }
    assert!(client.wait_for(Duration::from_millis(300), |_| true).is_none(), "nobody answers");
    // A dead machine refuses nothing.
    let history = client.finish();
    let outcomes: Vec<_> =
        history.samples().iter().rev().take(20).map(|sample| sample.outcome.clone()).collect();
    assert!(outcomes.contains(&Err("no answer in time".to_owned())), "{outcomes:?}");

    let start = Instant::now();
    lab.power_on(0).unwrap();
    println!("on in {:?}", start.elapsed());
    assert_ne!(read(&lab, 0, "/proc/sys/kernel/random/boot_id"), before);
    assert!(lab.data_dir(0).join("kept").exists() && !lab.run_dir(0).join("lost").exists());
    assert!(lab.processes(0, &[]).unwrap().is_empty());
    assert!(lab.run(0, &["ping", "-c1", "-W2", "192.168.77.2"]).map_or(true, |done| done.status.success()));
    assert_eq!((probe.finish().runs().len()), 1);
}

#[test]
fn cables_and_switches_fail_on_their_own() {
    let Some(lab) = lab(&["kiki", "lala"]) else { return };
    let carrier = |network: Network| {
        lab.with_machine(0, |machine| machine.has_carrier(network.interface())).unwrap().unwrap()
    };
    let service = serve(&lab, 0);
    let own = SocketAddr::new(Network::Public.address(0), 80);
    let client = Client::start(lab.client(), own, Pace::default()).unwrap();
    let answers = |limit| client.wait_for(limit, |_| true).is_some();
    assert!(answers(SOON));

    lab.cut(0, &[Network::Interconnect]).unwrap();
    assert!(!carrier(Network::Interconnect) && carrier(Network::Public) && answers(SOON));
    lab.cut(0, &Network::ALL).unwrap();
    assert!(!carrier(Network::Public) && !answers(Duration::from_millis(300)));
    lab.heal(0, &Network::ALL).unwrap();
    assert!(answers(SOON) && carrier(Network::Interconnect));

    lab.black_hole(0, &[Network::Public]).unwrap();
    assert!(carrier(Network::Public) && !answers(Duration::from_millis(300)));
    lab.heal(0, &[Network::Public]).unwrap();
    assert!(answers(SOON));
    drop(client.finish());
    drop(service);
}

#[test]
fn orphans_are_collected_and_nothing_outlives_the_laboratory() {
    let Some(lab) = lab(&["kiki"]) else { return };
    // A daemon: its parent ends at once, in a session of its own.
    lab.run(0, &["sh", "-c", "setsid sh -c 'sleep 0.1; exec sleep 1000' >/dev/null 2>&1 & exit 0"]).unwrap();
    let start = Instant::now();
    let daemon = loop {
        let found = lab.processes(0, &["sleep", "1000"]).unwrap();
        if let [daemon] = &found[..] {
            break daemon.clone();
        }
        assert!(start.elapsed() < SOON);
    };
    daemon.signal(Signal::SIGTERM).unwrap();
    while kill(Pid::from_raw(daemon.pid), None).is_ok() {
        assert!(start.elapsed() < SOON, "a zombie stays");
    }
    let folder = lab.folder().to_owned();
    let init = lab.with_machine(0, tasuki_tests::network::Machine::init).unwrap();
    drop(lab);
    assert_eq!(kill(Pid::from_raw(init), None), Err(Errno::ESRCH));
    assert!(!folder.exists());
}

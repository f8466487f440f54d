//! The Debian package, in a clean Debian: what is installed, what an upgrade, a removal and a purge do
//! and leave alone. The steps are in `deploy/debian/test.sh`; the container has no network.

#![allow(clippy::unwrap_used)]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
};

use tasuki_tests::hosts::program;

const BASE: &str = "debian:bookworm-slim";
const IMAGE: &str = "tasuki-debian-test";

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/debian")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn docker(words: &[&str]) -> Option<Output> {
    Command::new("docker").args(words).output().ok()
}

/// Why there is no clean Debian here.
fn impossible() -> Option<String> {
    for tool in ["dpkg-deb", "objdump", "strip"] {
        if Command::new(tool).arg("--version").output().is_err() {
            return Some(format!("there is no {tool}"));
        }
    }
    match docker(&["version"]) {
        Some(answer) if answer.status.success() => {}
        _ => return Some("docker does not run here".to_owned()),
    }
    if docker(&["image", "inspect", IMAGE]).is_some_and(|answer| answer.status.success()) {
        return None;
    }
    // From a registry, or from Debian's packages where debootstrap is: whichever test comes first makes it.
    let base = Command::new(here().join("../base-image.sh")).args(["--unless-there", BASE]).output().ok()?;
    if !base.status.success() {
        let why = said(&base);
        return Some(format!("there is no image {BASE}: {}", why.trim().lines().last().unwrap_or_default()));
    }
    let file = here().join("Containerfile.test");
    let built = Command::new("docker")
        .args(["build", "--network", "host", "--tag", IMAGE, "--file"])
        .args([&file, &here()])
        .output()
        .ok()?;
    (!built.status.success()).then(|| format!("no image could be made: {}", said(&built)))
}

/// A package of the program that was built with this test.
fn package(version: &str, to: &Path) -> PathBuf {
    let built = Command::new(here().join("build.sh"))
        .arg("--program")
        .arg(program().unwrap())
        .args(["--fast", "--version", version, "--to"])
        .arg(to)
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", said(&built));
    PathBuf::from(String::from_utf8(built.stdout).unwrap().trim())
}

#[test]
fn the_package_starts_nothing_unasked_and_a_purge_leaves_data() {
    if let Some(why) = impossible() {
        println!("skipped, because {why}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (older, newer) = thread::scope(|both| {
        let older = both.spawn(|| package("0.0.9", folder.path()));
        let newer = package("0.0.10", folder.path());
        (older.join().unwrap(), newer)
    });
    let name = |package: &Path| format!("/packages/{}", package.file_name().unwrap().to_str().unwrap());
    let tried = Command::new("docker")
        .args(["run", "--rm", "--network", "none", "--volume"])
        .arg(format!("{}:/packages:ro", folder.path().display()))
        .arg("--volume")
        .arg(format!("{}:/test.sh:ro", here().join("test.sh").display()))
        .args([IMAGE, "bash", "/test.sh", &name(&older), &name(&newer)])
        .output()
        .unwrap();
    println!("{}", said(&tried));
    assert!(tried.status.success(), "{tried:?}");
}

//! What is shipped to try Tasuki with: the configurations pass `tasuki config check`, the watch on
//! PostgreSQL ends when it should, and the tour of the compose lab finds what it promises.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tasuki_tests::hosts::program;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A file with the scripts beside it, as the documents say to put them.
fn check(config: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("cluster.toml");
    fs::copy(config, &place).unwrap();
    for pair in fs::read_dir(deploy().join("scripts")).unwrap() {
        let pair = pair.unwrap();
        copy_folder(&pair.path(), &folder.path().join("scripts").join(pair.file_name()));
    }
    let checked = Command::new(program().unwrap()).args(["config", "check"]).arg(&place).output().unwrap();
    assert!(checked.status.success(), "{}: {}", config.display(), said(&checked));
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// The worked example as the lab runs it.
fn in_the_lab() -> String {
    let made = Command::new("sed")
        .arg("-f")
        .arg(deploy().join("lab/example.sed"))
        .arg(deploy().join("samples/postgres-mirror.toml"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", said(&made));
    String::from_utf8(made.stdout).unwrap()
}

#[test]
fn the_worked_example_and_the_lab_pass_the_check() {
    check(&deploy().join("samples/postgres-mirror.toml"));
    let folder = tempfile::tempdir().unwrap();
    let lab = folder.path().join("lab.toml");
    fs::write(&lab, in_the_lab()).unwrap();
    check(&lab);
}

#[test]
fn the_lab_runs_the_worked_example_with_other_addresses_and_paths_and_nothing_else() {
    let sample = text(&deploy().join("samples/postgres-mirror.toml"));
    let lab = in_the_lab();
    let only_in = |text: &str, other: &str| -> Vec<String> {
        text.lines().filter(|line| !other.lines().any(|there| there == *line)).map(str::to_owned).collect()
    };
    let all = |lines: &[String], parts: &[&str]| {
        let stray: Vec<_> =
            lines.iter().filter(|line| !parts.iter().any(|part| line.contains(part))).collect();
        assert!(stray.is_empty(), "different for another reason: {stray:#?}");
    };
    // Addresses, the areas of the disk, and the serial port, which containers do not have.
    let (here, there) = (only_in(&sample, &lab), only_in(&lab, &sample));
    all(&here, &["10.1.0.", "192.168.0.", "\"/dev/sdb", "\"com\"", "\"/dev/ttyS0\""]);
    all(&there, &["172.30.85.", "172.30.86.", "/mirror/oracle.", "size = "]);
    assert_eq!((here.len(), there.len()), (11, 10), "{here:#?} {there:#?}");
    for address in ["10.1.0.", "192.168.0.", "/dev/sdb", "/dev/ttyS"] {
        assert!(!lab.contains(address), "{address} is left in the lab:\n{lab}");
    }
}

#[test]
fn the_worked_example_is_told_with_the_file_that_is_shipped() {
    let document = text(&deploy().join("../docs/example-postgres.md"));
    let (_, told) = document.split_once("```toml\n").unwrap();
    let (told, _) = told.split_once("```").unwrap();
    let sample = text(&deploy().join("samples/postgres-mirror.toml"));
    // Without the words at its head, which say where it belongs.
    let (_, sample) = sample.split_once("\n\n").unwrap();
    assert_eq!(told, sample);
}

/// A `psql` that fails as often as it is told: what it is asked is what it writes down.
fn watch(fails: &str, options: &[&str]) -> (Output, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let psql = folder.path().join("psql");
    let asked = folder.path().join("asked");
    let body = format!(
        "#!/bin/sh\nfor last; do :; done\necho \"$last\" | tr '\\n' ' ' >>{0}; echo >>{0}\n\
         n=$(wc -l <{0})\n{fails}\nexit 0\n",
        asked.display()
    );
    fs::write(&psql, body).unwrap();
    fs::set_permissions(&psql, fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new(deploy().join("scripts/postgres-watch/start.sh"))
        .args(["--every", "0"])
        .args(options)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("PGBIN", folder.path())
        .envs([("CLP_EVENT", "START"), ("CLP_DISK", "SUCCESS")])
        .output()
        .unwrap();
    (output, text(&asked).lines().map(|line| line.trim().to_owned()).collect())
}

#[test]
fn the_watch_ends_after_so_many_failed_looks_one_after_the_other() {
    // Well once, bad twice, well once, bad three times.
    let (output, asked) = watch(
        "case $n in 2|3|5|6|7) echo 'connection refused' >&2; exit 2;; esac",
        &["--tries", "3", "--timeout", "20"],
    );
    assert_eq!((output.status.code(), asked.len()), (Some(1), 7), "{}", said(&output));
    assert!(said(&output).ends_with("look 3 of 3 failed: connection refused\n"), "{}", said(&output));
    assert!(asked.iter().all(|question| question == "SELECT 1"), "{asked:?}");
}

#[test]
fn the_watch_takes_a_silent_server_for_a_bad_one_and_writes_when_asked_to() {
    let (output, asked) = watch(
        "case $n in 1|2|3) ;; *) exec sleep 60;; esac",
        &["--tries", "1", "--timeout", "4", "--table", "seen_here"],
    );
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).ends_with("look 1 of 1 failed: no answer within 4 s\n"), "{}", said(&output));
    assert!(asked[0].starts_with("CREATE TABLE IF NOT EXISTS seen_here"), "{asked:?}");
    assert_eq!(asked[1..].len(), 3, "the table is made once: {asked:?}");
    assert!(asked[1..].iter().all(|question| question == "UPDATE seen_here SET seen = now()"), "{asked:?}");
}

/// The tour beside a `docker` that lacks something: whether it ends well, and what it says.
fn tour_without(what: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let docker = folder.path().join("docker");
    let body = format!(
        "#!/bin/sh\nlacks={what}\ncase $1 in\ninfo) [ $lacks != engine ] ;;\ncompose) [ $lacks != compose ] ;;\n\
         ps) [ $lacks != nothing ] || echo 0123abcd ;;\nimage | pull) [ $lacks != image ] ;;\n\
         run) echo 'no such device' >&2; [ $lacks != devices ] ;;\n*) exit 3 ;;\nesac\n"
    );
    fs::write(&docker, body).unwrap();
    fs::set_permissions(&docker, fs::Permissions::from_mode(0o755)).unwrap();
    // What the tour calls, and nothing that could make an image or start a container.
    for tool in ["bash", "dirname", "id", "cat"] {
        let from = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(tool));
        std::os::unix::fs::symlink(from.iter().find(|file| file.exists()).unwrap(), folder.path().join(tool))
            .unwrap();
    }
    // The script by its own shell: `env` is not among them.
    let toured = Command::new(folder.path().join("bash"))
        .arg(deploy().join("tour.sh"))
        .env("PATH", folder.path())
        .output()
        .unwrap();
    (toured.status.success(), said(&toured))
}

#[test]
fn the_tour_says_aloud_why_it_is_skipped_and_fails_where_a_lab_is_in_its_way() {
    for (lacking, why) in [
        ("engine", "skipped, because no Docker engine answers"),
        ("compose", "skipped, because neither 'docker compose' nor docker-compose is installed"),
        ("image", "skipped, because there is no image debian:bookworm-slim: debootstrap is missing"),
        ("devices", "skipped, because containers get no /dev/fuse and loop devices here: no such device"),
    ] {
        let (well, said) = tour_without(lacking);
        assert!(well && said.contains(why), "without {lacking}: {said}");
    }
    let (well, said) = tour_without("nothing");
    assert!(!well && said.contains("the lab is there already; 'deploy/lab.sh down' takes it away"), "{said}");
}

/// Says by itself that it is skipped where no Docker engine answers, or containers get no FUSE and loop devices.
#[test]
fn the_tour_of_the_lab_finds_what_it_promises() {
    if Command::new("docker").arg("--version").output().is_err() {
        println!("skipped, because docker is not installed");
        return;
    }
    let toured = Command::new("bash")
        .arg(deploy().join("tour.sh"))
        .env("TASUKI_BINARY", program().unwrap())
        // Where no other test has a server.
        .env("LAB_PORT", "29901")
        // What is shown is what happens and not how fast, on a machine that may be busy.
        .env("DETECT", std::env::var("DETECT").unwrap_or_else(|_| "8s".to_owned()))
        .status()
        .unwrap();
    assert!(toured.success());
}

//! A voting file that one server does not find: the same path leads somewhere else there.

#![allow(clippy::unwrap_used)]

use std::{fs, path::Path, process::Output, time::Duration};

use tasuki_tests::{
    hosts::{Cluster, Make},
    network::Lab,
};

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn run(cluster: &Cluster, server: usize, words: &[&str]) {
    let output = cluster.lab().run(server, words).unwrap();
    assert!(output.status.success(), "{words:?}: {}", text(&output));
}

/// How many voting files the cluster has.
fn configured(cluster: &Cluster) -> usize {
    let output = cluster.tasuki(0, &["vote", "list", "--json"]).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    value.as_array().unwrap().len()
}

#[test]
fn a_voting_file_that_not_every_server_finds_is_refused_and_taken_out_of_use_again() {
    if let Some(why) = Lab::impossible() {
        return println!("skipped, because {why}");
    }
    let cluster = Cluster::start(Make::with_detect(Duration::from_secs(1)).unwrap()).unwrap();
    let folder = cluster.lab().folder().join("votes");
    fs::create_dir(&folder).unwrap();
    let (folder, file) = (folder.to_str().unwrap().to_owned(), folder.join("a").to_str().unwrap().to_owned());
    let add = || cluster.tasuki(0, &["vote", "add", &file]).unwrap();

    // On lala something else is mounted there, and the file is missing.
    run(&cluster, 1, &["mount", "-t", "tmpfs", "none", &folder]);
    let refused = add();
    let said = text(&refused);
    assert_eq!(refused.status.code(), Some(4), "{said}");
    assert!(said.contains("TSK-1747") && said.contains("lala") && !said.contains("mimi"), "{said}");
    assert_eq!(configured(&cluster), 0);

    // And now another file: a voting file too, but not this one.
    run(&cluster, 1, &["truncate", "-s", "2M", &file]);
    let said = text(&add());
    assert!(said.contains("TSK-1747") && said.contains("lala"), "{said}");
    assert_eq!(configured(&cluster), 0);

    run(&cluster, 1, &["umount", &folder]);
    let added = add();
    assert!(added.status.success(), "what was made before is blank again: {}", text(&added));
    assert_eq!(configured(&cluster), 1);
    assert!(Path::new(&file).is_file());
}

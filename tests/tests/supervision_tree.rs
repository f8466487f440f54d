//! The live supervision tree is the one that is drawn, and the folders of `tasuki-actors` are it.
//!
//! `UPDATE=1 cargo test -p tasuki-tests --test supervision_tree` writes the drawing anew.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tasuki_core::config::{MirrorDiskConfig, MonitorKind, RecoveryTarget, ResourceConfig, ResourceKind};
use tasuki_tests::twin::{Twin, config, monitor, servers};

/// What comes and goes with configuration and ownership, and where its code is.
const DYNAMIC: [(&str, &str); 8] = [
    ("link ", "sync/link_actor.rs"),
    ("voting file ", "sync/voting_file_actor.rs"),
    ("root agent", "crs/agents/mod.rs"),
    ("script agent", "crs/agents/mod.rs"),
    ("resource ", "crs/agents/resource_actor.rs"),
    ("group ", "crs/groups/group_actor.rs"),
    ("monitor ", "crs/monitors/monitor_actor.rs"),
    ("mirror ", "mirrors/mirror_actor.rs"),
];

/// Actors whose file has another name than they: a keeper stands beside the supervisor whose
/// children it adds and removes, and is found in that one's file.
const ELSEWHERE: [(&str, &str); 7] = [
    ("links", "sync/mod.rs"),
    ("links_keeper", "sync/links_actor.rs"),
    ("voting_files", "sync/mod.rs"),
    ("voting_files_keeper", "sync/voting_files_actor.rs"),
    ("groups_keeper", "crs/groups/mod.rs"),
    ("monitors_keeper", "crs/monitors/mod.rs"),
    ("mirrors_keeper", "mirrors/mod.rs"),
];

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/supervision_tree.txt")
}

/// Numbers that differ between two runs are not part of the picture.
fn normalise(tree: &str) -> String {
    let mut lines = Vec::new();
    for line in tree.lines() {
        match line.split_once(" epoch ") {
            Some((before, _)) => lines.push(format!("{before} epoch N")),
            None => lines.push(line.to_owned()),
        }
    }
    lines.join("\n") + "\n"
}

/// The trees of the server that runs the group, and of one that runs nothing.
async fn pictures(twin: &Twin) -> String {
    let mut text = String::new();
    for (server, what) in [("kiki", "runs the group web"), ("lala", "runs nothing")] {
        let tree = twin.node(&server.into()).unwrap().tree().await;
        text.push_str(&format!("# {server}, which {what}\n{}", normalise(&tree)));
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_live_tree_is_the_drawn_one() {
    let mut config = config(3, Duration::from_secs(1));
    let kind = MonitorKind::Ip { addresses: vec!["10.1.0.1".parse().unwrap()] };
    config.monitors.insert("gateway".into(), monitor(kind, RecoveryTarget::Group("web".into())));
    config.settings.votes.files = vec!["/shared/vote".into()];
    let disk = MirrorDiskConfig::of("/data".into(), "/meta".into());
    let disk = ResourceConfig::of(ResourceKind::MirrorDisk(disk));
    config.groups.get_mut(&"web".into()).unwrap().resources.insert("data".into(), disk);
    let twin = Twin::form(config).await;
    twin.until_whole().await;
    twin.until_online("web", &servers(&["kiki"])).await;
    let expected = fs::read_to_string(golden()).unwrap_or_default();
    let began = Instant::now();
    let mut found = pictures(&twin).await;
    // Links and agents are added by actors of their own, a moment after the registry says so.
    while found != expected && began.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        found = pictures(&twin).await;
    }
    if env::var_os("UPDATE").is_some() {
        fs::write(golden(), &found).unwrap();
        return;
    }
    assert_eq!(found, expected, "{} differs; UPDATE=1 writes it anew", golden().display());
}

/// Where the code of an actor must be, from its place in the tree.
fn file_of(folder: &str, name: &str, has_children: bool) -> String {
    if let Some((_, file)) = DYNAMIC.iter().find(|(start, _)| name.starts_with(start)) {
        return (*file).to_owned();
    }
    if let Some((_, file)) = ELSEWHERE.iter().find(|(other, _)| *other == name) {
        return (*file).to_owned();
    }
    if has_children { format!("{folder}{name}/mod.rs") } else { format!("{folder}{name}_actor.rs") }
}

fn actor_files(folder: &Path, below: &str, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            actor_files(&path, &format!("{below}{name}/"), found);
        } else if name.ends_with("_actor.rs") {
            found.insert(format!("{below}{name}"));
        }
    }
}

#[test]
fn the_folders_are_the_tree() {
    let drawn = fs::read_to_string(golden()).unwrap();
    let lines: Vec<&str> = drawn.lines().filter(|line| !line.starts_with('#')).collect();
    let depth = |line: &str| line.len() - line.trim_start().len();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../actors/src/ohas");
    let mut above: Vec<&str> = Vec::new();
    let mut used = BTreeSet::new();
    for (at, line) in lines.iter().enumerate() {
        let (level, name) = (depth(line) / 2, line.trim());
        above.truncate(level);
        let folder: String = above.iter().skip(1).map(|name| format!("{name}/")).collect();
        // A supervisor without children at this moment still has its folder.
        let is_folder = root.join(format!("{folder}{name}")).is_dir();
        let has_children = is_folder || lines.get(at + 1).is_some_and(|next| depth(next) > depth(line));
        let file = if level == 0 { "mod.rs".to_owned() } else { file_of(&folder, name, has_children) };
        assert!(root.join(&file).is_file(), "{name}: no file actors/src/ohas/{file}");
        used.insert(file);
        above.push(name);
    }
    let mut files = BTreeSet::new();
    actor_files(&root, "", &mut files);
    // The tree of a witness that votes is another one (`sim_witness` starts it); its table names them.
    let witness = fs::read_to_string(root.join("witness/mod.rs")).unwrap();
    for file in files {
        if let Some(own) = file.strip_prefix("witness/") {
            let name = own.trim_end_matches(".rs");
            assert!(witness.contains(&format!("{name}::")), "actors/src/ohas/{file} is in no table");
            continue;
        }
        assert!(used.contains(&file), "actors/src/ohas/{file} is no part of the tree");
    }
}

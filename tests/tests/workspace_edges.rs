//! Which crate may use which: the arrows between the workspace's own crates, and everything that
//! the pure core and the wire's types use. What is not in the golden list is not allowed.
//!
//! `UPDATE=1 cargo test -p tasuki-tests --test workspace_edges` writes the list anew; a new arrow
//! wants a reason in `docs/decisions`.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Write as _,
    fs,
    path::PathBuf,
    process::Command,
};

use serde::Deserialize;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

/// Crates whose dependencies from outside are part of the rule, because they are what keeps them
/// what they are.
const NARROW: [&str; 4] = ["tasuki-config", "tasuki-core", "tasuki-proto", "tasuki-system"];

fn workspace() -> Vec<Package> {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    // Without dependencies: what the manifests say, whatever is installed.
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path"])
        .arg(manifest)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Metadata = serde_json::from_slice(&output.stdout).unwrap();
    metadata.packages
}

fn names<'a>(package: &'a Package, kinds: &[Option<&str>]) -> BTreeSet<&'a str> {
    let wanted = |dependency: &&Dependency| kinds.contains(&dependency.kind.as_deref());
    package.dependencies.iter().filter(wanted).map(|dependency| dependency.name.as_str()).collect()
}

#[test]
fn crates_use_only_what_they_may() {
    let packages = workspace();
    let ours: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let by_name: BTreeMap<&str, &Package> = packages.iter().map(|p| (p.name.as_str(), p)).collect();
    let mut found = String::new();
    for (name, package) in &by_name {
        let uses = names(package, &[None, Some("build")]);
        let inside: Vec<&str> = uses.intersection(&ours).copied().collect();
        writeln!(found, "{name} -> {}", inside.join(" ")).unwrap();
    }
    for name in NARROW {
        let uses = names(by_name[name], &[None]);
        let outside: Vec<&str> = uses.difference(&ours).copied().collect();
        writeln!(found, "{name} from outside: {}", outside.join(" ")).unwrap();
    }
    let found = found.replace(" \n", "\n");

    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/workspace_edges.txt");
    if env::var_os("UPDATE").is_some() {
        fs::write(&golden, &found).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap();
    assert_eq!(found, expected, "{} differs; UPDATE=1 writes it anew", golden.display());
}

/// The golden list could be rewritten by mistake; these hold whatever it says.
#[test]
fn the_core_stays_pure_and_no_arrow_points_up() {
    let packages = workspace();
    let ours: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let every = [None, Some("build"), Some("dev")];
    for package in &packages {
        let inside: BTreeSet<&str> = names(package, &every).intersection(&ours).copied().collect();
        match package.name.as_str() {
            "tasuki-core" | "tasuki-proto" => assert!(inside.is_empty(), "{}: {inside:?}", package.name),
            "tasuki-config" | "tasuki-storage" | "tasuki-system" => {
                assert_eq!(inside, BTreeSet::from(["tasuki-core"]), "{}", package.name);
            }
            "tasuki-actors" => assert_eq!(inside, BTreeSet::from(["tasuki-core", "tasuki-storage"])),
            "tasuki" => assert!(!inside.contains("tasuki-tests")),
            "tasuki-volume" => {
                // Itself too, with the rules that its tests take out.
                let may = BTreeSet::from(["tasuki-core", "tasuki-storage", "tasuki-volume"]);
                assert!(inside.is_subset(&may), "{}: {inside:?}", package.name);
            }
            "tasuki-tests" => {}
            "tasuki-models" => assert!(inside.is_empty(), "a model is written afresh: {inside:?}"),
            other => panic!("{other} has no place in this list"),
        }
        if package.name != "tasuki-proto" && package.name != "tasuki" && package.name != "tasuki-tests" {
            let all = names(package, &every);
            let wire: Vec<&&str> =
                all.iter().filter(|n| n.starts_with("tonic") || n.starts_with("prost")).collect();
            assert!(wire.is_empty(), "{}: generated types stop at node/src/edge: {wire:?}", package.name);
        }
        if package.name != "tasuki-actors" {
            assert!(!names(package, &every).contains("ractor"), "{}: actors are in one crate", package.name);
        }
    }
}

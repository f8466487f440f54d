//! Fencing devices: the manual's example is a file that is taken, what is written is read again, and
//! secrets stay out of whatever is only shown.

#![allow(clippy::unwrap_used)]

use std::{path::PathBuf, time::Duration};

use tasuki_config::{Loaded, parse, to_toml};
use tasuki_core::config::{FenceKind, TieBreak};

const BEGINNING: &str = r#"
[cluster]
name = "manual"

[[network]]
name = "public"
subnet = "10.1.0.0/24"
use = ["public", "interconnect"]

[[heartbeat]]
kind = "lan"
network = "public"

[[server]]
name = "lala"
addresses = { public = "10.1.0.86" }
"#;

/// The manual's example, with what it leaves out.
fn example() -> Loaded {
    let page = include_str!("../../../docs/operations.md");
    let section = page.split("### Fencing\n").nth(1).unwrap();
    let text = section.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    parse(&format!("{BEGINNING}\n{text}"), "fencing.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

fn levels(loaded: &Loaded, server: &str) -> Vec<Vec<String>> {
    let levels = &loaded.config.servers[&server.into()].fencing;
    levels.iter().map(|level| level.iter().map(ToString::to_string).collect()).collect()
}

#[test]
fn the_manuals_example_is_taken() {
    let loaded = example();
    assert_eq!(levels(&loaded, "kiki"), [vec!["ipmi".to_owned()], vec!["outlets".into(), "disks".into()]]);
    assert_eq!(levels(&loaded, "lala"), Vec::<Vec<String>>::new());
    let fences = &loaded.config.settings.fences;
    let ipmi = &fences[&"ipmi".into()];
    assert_eq!(
        (ipmi.timeout, ipmi.retries, ipmi.delay),
        (Duration::from_secs(20), 1, Duration::from_secs(2))
    );
    let FenceKind::Agent { program, parameters } = &ipmi.kind else { panic!("{ipmi:?}") };
    assert_eq!(program, &PathBuf::from("fence_ipmilan"));
    assert_eq!(parameters["lanplus"], "1", "numbers are told as agents read them");
    let outlets = &fences[&"outlets".into()];
    assert_eq!(outlets.timeout, Duration::from_secs(60));
    assert_eq!((outlets.port_of(&"kiki".into()), outlets.port_of(&"mimi".into())), ("rack2-7", "mimi"));
    assert_eq!(loaded.config.settings.votes.tie_break, TieBreak::None, "nobody said that it breaks ties");
}

#[test]
fn what_is_written_is_read_again() {
    let loaded = example();
    let again = parse(&to_toml(&loaded.config), "again.toml").unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(again.config, loaded.config);
}

#[test]
fn the_short_form_means_every_server_and_breaks_the_tie_of_two() {
    let device = "\n[[server]]\nname = \"kiki\"\naddresses = { public = \"10.1.0.85\" }\n\n\
                  [[fence]]\nname = \"ipmi\"\nkind = \"agent\"\nprogram = \"fence_ipmilan\"\n";
    let text = BEGINNING.replace("name = \"manual\"", "name = \"manual\"\nfence = \"ipmi\"") + device;
    let loaded = parse(&text, "short.toml").unwrap_or_else(|errors| panic!("{errors}"));
    for server in ["kiki", "lala"] {
        assert_eq!(levels(&loaded, server), [["ipmi"]], "{server}");
    }
    assert_eq!(loaded.config.settings.votes.tie_break, TieBreak::Fence);
    let again = parse(&to_toml(&loaded.config), "again.toml").unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(again.config, loaded.config);
}

#[test]
fn secrets_stay_out_of_what_is_only_shown() {
    let mut config = example().config;
    let ipmi = config.settings.fences.get_mut(&"ipmi".into()).unwrap();
    let FenceKind::Agent { parameters, .. } = &mut ipmi.kind else { panic!("{ipmi:?}") };
    parameters.insert("passwd".into(), "hunter2".into());
    assert!(to_toml(&config).contains("hunter2"), "what is kept is whole");
    assert!(!format!("{config:?} {config:#?}").contains("hunter2"));
    let ipmi = config.settings.fences.get_mut(&"ipmi".into()).unwrap();
    *ipmi = ipmi.hidden();
    assert!(!to_toml(&config).contains("hunter2"));
    let refused = parse(&to_toml(&config), "shown.toml").unwrap_err().to_string();
    assert!(refused.contains("TSK-1067"), "what was shown is not taken for the password: {refused}");
}

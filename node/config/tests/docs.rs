//! The examples of the manual are files that the program takes.

#![allow(clippy::unwrap_used)]

const BEGINNING: &str = r#"
[cluster]
name = "manual"

[[network]]
name = "public"
subnet = "10.1.0.0/24"
use = "public"

[[network]]
name = "interconnect"
subnet = "192.168.0.0/24"
use = "interconnect"

[[server]]
name = "kiki"
addresses = { public = "10.1.0.85", interconnect = "192.168.0.1" }

[[server]]
name = "lala"
addresses = { public = "10.1.0.86", interconnect = "192.168.0.2" }

[[server]]
name = "mimi"
addresses = { public = "10.1.0.87", interconnect = "192.168.0.3" }

[[heartbeat]]
kind = "lan"
network = "interconnect"

[[heartbeat]]
kind = "lan"
network = "public"
"#;

/// The TOML examples of a page, one after the other.
fn examples(page: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for line in page.lines() {
        match line {
            "```toml" => inside = true,
            "```" => inside = false,
            _ if inside => {
                text.push_str(line);
                text.push('\n');
            }
            _ => {}
        }
    }
    text
}

#[test]
fn the_examples_about_resources_make_one_configuration() {
    let examples = examples(include_str!("../../../docs/resources.md"));
    assert!(examples.contains("[[pool]]") && examples.contains("[[monitor]]"), "{examples}");
    let file = format!("{BEGINNING}\n{examples}");
    let loaded = tasuki_config::parse(&file, "resources.toml").unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.warnings, [], "the manual gives no advice that is warned about");
    assert_eq!(loaded.config.pools.len(), 2);
}

#[test]
fn the_example_about_mirrored_disks_is_one() {
    let examples = examples(include_str!("../../../docs/mirror.md"));
    let file = format!("{BEGINNING}\n{examples}");
    let loaded = tasuki_config::parse(&file, "mirror.md").unwrap_or_else(|errors| panic!("{errors}"));
    // That a restart of the node interrupts it is said on the page, too.
    let codes: Vec<_> = loaded.warnings.iter().map(|warning| warning.code).collect();
    assert_eq!(codes, [tasuki_config::Code::MirrorRestart]);
    let monitors: Vec<&str> = loaded.config.monitors.keys().map(|name| name.as_str()).collect();
    assert_eq!(monitors, ["mdnw1", "mdw1"]);
}

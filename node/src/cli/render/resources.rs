//! The three forms of a resource's status. People and scripts know them by their columns, so they
//! are kept to the character, without colours.

use tasuki_core::registry::state::Target;

use crate::app::resources::view::{InstanceState, InstanceView, ResourceView};

const RULE: &str = "--------------------------------------------------------------------------------";

/// A line for each instance: local resources by server, cluster resources by number.
#[must_use]
pub fn table(resources: &[ResourceView]) -> String {
    let mut lines =
        vec![RULE.to_owned(), row("NAME", "TARGET", "STATE", "SERVER", "STATE_DETAILS"), RULE.to_owned()];
    for (heading, local) in [("Local Resources", true), ("Cluster Resources", false)] {
        let of_this: Vec<&ResourceView> = resources.iter().filter(|r| r.local == local).collect();
        if of_this.is_empty() {
            continue;
        }
        if lines.len() > 3 {
            lines.push(RULE.to_owned());
        }
        lines.extend([heading.to_owned(), RULE.to_owned()]);
        for resource in of_this {
            lines.push(resource.name.to_string());
            lines.extend(resource.instances.iter().map(|instance| line(instance, local)));
        }
    }
    lines.join("\n")
}

fn line(instance: &InstanceView, local: bool) -> String {
    let number = if local { String::new() } else { format!("      {}", instance.number) };
    let server = instance.server.as_ref().map_or("", |server| server.as_str());
    row(&number, target(instance), instance.state.word(), server, &instance.details)
}

fn row(name: &str, target: &str, state: &str, server: &str, details: &str) -> String {
    format!("{name:<14} {target:<7} {state:<12} {server:<24} {details}").trim_end().to_owned()
}

/// NAME, TYPE, TARGET and STATE of each resource, its instances side by side.
#[must_use]
pub fn list(resources: &[ResourceView]) -> String {
    let one = |resource: &ResourceView| {
        let targets: Vec<&str> = resource.instances.iter().map(target).collect();
        let states: Vec<String> = resource.instances.iter().map(state).collect();
        let widths: Vec<usize> =
            targets.iter().zip(&states).map(|(target, state)| target.len().max(state.len())).collect();
        format!(
            "NAME={}\nTYPE={}\nTARGET={}\nSTATE={}",
            resource.name,
            resource.type_name,
            side_by_side(targets.into_iter(), &widths),
            side_by_side(states.iter().map(String::as_str), &widths)
        )
    };
    resources.iter().map(one).collect::<Vec<_>>().join("\n\n")
}

/// What belongs to one instance stands below each other; nothing follows the last.
fn side_by_side<'a>(words: impl Iterator<Item = &'a str>, widths: &[usize]) -> String {
    let padded: Vec<String> = words.zip(widths).map(|(word, width)| format!("{word:<width$}")).collect();
    padded.join(", ").trim_end().to_owned()
}

/// Everything that is known of each instance.
#[must_use]
pub fn full(resources: &[ResourceView]) -> String {
    let one = |resource: &ResourceView| {
        let instances: Vec<String> =
            resource.instances.iter().map(|instance| attributes(resource, instance)).collect();
        format!("NAME={}\nTYPE={}\n{}", resource.name, resource.type_name, instances.join("\n\n"))
    };
    resources.iter().map(one).collect::<Vec<_>>().join("\n\n")
}

fn attributes(resource: &ResourceView, instance: &InstanceView) -> String {
    let history: Vec<String> = instance
        .failure_history
        .iter()
        .map(|failure| format!("{}:{}", failure.at.0 / 1000, failure.server))
        .collect();
    [
        ("LAST_SERVER", instance.last_server.as_ref().map_or_else(String::new, ToString::to_string)),
        ("STATE", state(instance)),
        ("TARGET", target(instance).to_owned()),
        ("CARDINALITY_ID", instance.number.to_string()),
        ("CREATION_SEED", instance.creation_seed.to_string()),
        ("CURRENT_RCOUNT", instance.current_rcount.to_string()),
        ("FAILURE_COUNT", instance.failure_count.to_string()),
        ("FAILURE_HISTORY", history.join(" ")),
        // The last number is that of the copy on one server, of which there is one.
        ("ID", format!("{} {} 1", resource.name, instance.number)),
        ("INCARNATION", instance.incarnation.to_string()),
        ("LAST_RESTART", (instance.last_restart.0 / 1000).to_string()),
        ("STATE_DETAILS", instance.details.clone()),
    ]
    .map(|(name, value)| format!("{name}={value}"))
    .join("\n")
}

fn target(instance: &InstanceView) -> &'static str {
    match instance.target {
        Target::Online => "ONLINE",
        Target::Offline => "OFFLINE",
    }
}

fn state(instance: &InstanceView) -> String {
    let word = instance.state.word();
    match &instance.server {
        Some(server) if instance.state != InstanceState::Offline => format!("{word} on {server}"),
        _ => word.to_owned(),
    }
}

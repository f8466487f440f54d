//! Writes a configuration as the file that reads back to it. What equals its default is left out.

mod fence;
mod mirror_disk;
mod monitor;
mod resource;
mod settings;
mod sheet;
pub(crate) mod text;
mod types;

use tasuki_core::{
    config::{
        ClusterConfig, GroupConfig, StartDependency, StopDependency,
        dependency_syntax::{start_line, stop_line},
        mirror_monitors,
        type_tree::TypeTree,
    },
    ids::MonitorName,
};

pub(crate) use sheet::{Item, Sheet};

use crate::section::group::{AUTOMATIC, EXCLUSIVE, PLACEMENT, QUORUM_LOSS, STARTUP};
use text::{quoted, texts, word};

/// The configuration as a file.
#[must_use]
pub fn to_toml(config: &ClusterConfig) -> String {
    render(&sheets(config))
}

/// The sections as a file.
pub(crate) fn render(sheets: &[Sheet]) -> String {
    sheets.iter().map(Sheet::render).collect::<Vec<_>>().join("\n")
}

/// The sections of the file, in its order.
pub(crate) fn sheets(config: &ClusterConfig) -> Vec<Sheet> {
    let tree = TypeTree::new(&config.types).unwrap_or_else(|_| TypeTree::built_in());
    let words = resource::type_words(&tree);
    let mut sheets = settings::sheets(config);
    sheets.extend(config.types.iter().map(|(name, config)| types::sheet(name, config)));
    sheets.extend(config.pools.iter().map(|(name, pool)| settings::pool(name, pool)));
    for (name, group) in &config.groups {
        sheets.push(group_sheet(name.as_str(), group));
        let members = group.resources.iter();
        sheets.extend(members.map(|(name, member)| resource::member(name, member, &config.settings, &words)));
    }
    let alone = config.resources.iter();
    sheets.extend(alone.map(|(name, resource)| resource::alone(name, resource, &config.settings, &words)));
    let automatic = automatic_monitors(config);
    let monitors = config.monitors.iter().filter(|(name, _)| !automatic.contains(name));
    sheets.extend(monitors.map(|(name, monitor)| monitor::sheet(name, monitor)));
    sheets
}

/// The monitors of mirrored disks that are as they come by themselves.
fn automatic_monitors(config: &ClusterConfig) -> Vec<&MonitorName> {
    let others = config.monitors.iter().filter(|(_, monitor)| !monitor.kind.is_of_mirror());
    let others = others.map(|(name, monitor)| (name.clone(), monitor.clone())).collect();
    let usual = mirror_monitors(&config.groups, &others);
    let same = config.monitors.iter().filter(|(name, monitor)| usual.get(*name) == Some(*monitor));
    same.map(|(name, _)| name).collect()
}

fn group_sheet(name: &str, group: &GroupConfig) -> Sheet {
    let mut sheet = Sheet::named("[[group]]", name);
    sheet.optional_text("comment", &group.comment);
    sheet.pair("servers", texts(group.servers.iter().map(|server| server.as_str())));
    sheet.text("startup", word(&STARTUP, group.startup));
    sheet.text("failover", word(&AUTOMATIC, group.failover));
    sheet.text("failback", word(&AUTOMATIC, group.failback));
    sheet.unless("\"no\"", "exclusive", quoted(word(&EXCLUSIVE, group.exclusive)));
    sheet.unless("\"ordered\"", "placement", quoted(word(&PLACEMENT, group.placement)));
    sheet.unless("[]", "server_pools", texts(group.pools.iter().map(|pool| pool.as_str())));
    sheet.unless("1", "load", group.load.to_string());
    sheet.unless("true", "enabled", group.enabled.to_string());
    sheet.unless("\"stop\"", "on_quorum_loss", quoted(word(&QUORUM_LOSS, group.on_quorum_loss)));
    dependencies(&mut sheet, &group.start, &group.stop);
    sheet
}

fn dependencies(sheet: &mut Sheet, start: &[StartDependency], stop: &[StopDependency]) {
    sheet.optional_text("start_dependencies", &start_line(start));
    sheet.optional_text("stop_dependencies", &stop_line(stop));
}

//! A resource added to a group.

use tasuki_core::config::ClusterConfig;

use super::{Kind, MEMBER, change, only};
use crate::{
    parse_unnumbered,
    problem::{Code, ConfigErrors, Problem},
    spell::{did_you_mean, nearest, one_of},
    write::{Sheet, render, sheets},
};

/// Adds a resource to a group, with its attributes given as text as for
/// [`edit_define`](super::edit_define).
///
/// # Errors
/// That there is no such group, or everything that would be wrong with the configuration then.
pub fn edit_member_add(
    config: &ClusterConfig,
    group: &str,
    name: &str,
    attributes: &[(String, String)],
    source: &str,
) -> Result<ClusterConfig, ConfigErrors> {
    let mut all = sheets(config);
    let Some(at) = all.iter().position(|sheet| sheet.header == "[[group]]" && sheet.name == group) else {
        let names = || config.groups.keys().map(|name| name.as_str());
        let problem = Problem::nowhere(Code::UnknownName, source, format!("no group is called `{group}`"))
            .found(format!("`{group}`"))
            .expected(one_of(names()))
            .remedy(did_you_mean(nearest(group, names()), "see `tasuki group status`"));
        return Err(ConfigErrors::one(problem));
    };
    let mut sheet = Sheet::named(MEMBER, name);
    change(config, Kind::Resource, &mut sheet, attributes, source)?;
    let members = all.iter().skip(at + 1).take_while(|sheet| sheet.header == MEMBER).count();
    all.insert(at + 1 + members, sheet);
    let edited = parse_unnumbered(&render(&all), source)?.config;
    only(config, Kind::Resource, edited, source)
}

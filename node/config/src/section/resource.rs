//! `[[group.resource]]`: one managed thing inside a group; the keys that all types share.
//!
//! | key | meaning | default |
//! |---|---|---|
//! | `name`, `comment` | the name is unique in the cluster | name needed |
//! | `type` | `exec`, `floating_ip`, `mirror_disk`, `application`, `cluster_resource`, or a `[[type]]` based on one of them | needed |
//! | `depends_on` | the members of its group that must be online before it | floating addresses before mirrored disks before programs |
//! | | what follows a failure: see `policies` | |
//! | | keys of the type: see `exec`, `floating_ip`, `mirror_disk`, and the attributes of the `[[type]]` | |

use std::collections::BTreeMap;

use tasuki_core::config::{Value, built_in::ROOT};

use crate::{
    draft::{KindDraft, Name, ResourceDraft},
    problem::Code,
    reader::Section,
    section::{
        exec, floating_ip, mirror_disk, policies,
        resource_type::value,
        types::{Added, Known, Root, Types},
    },
};

/// Keys of a [[resource]] that only its whole group can have here.
const OF_THE_GROUP: [&str; 11] = [
    "auto_start",
    "cardinality",
    "enabled",
    "failback",
    "failover",
    "hosting_members",
    "load",
    "placement",
    "server_pools",
    "start_dependencies",
    "stop_dependencies",
];

pub(crate) fn read<'a>(mut section: Section<'a>, types: &Types<'a>) -> ResourceDraft {
    let known = begin(&mut section, types, "type = \"exec\", \"floating_ip\" or \"mirror_disk\"");
    let known = known.filter(|known| {
        let local = known.root == Root::Local;
        if local {
            let message = format!("{} would run on every server, but its group runs on one", section.what);
            refuse_type(&section, &known.name, message, "make it a [[resource]] of its own");
        }
        !local
    });
    let mut draft = common(&section, known.as_ref());
    draft.depends_on = section.list("depends_on", "a list of resource names, such as [\"database\"]");
    for key in OF_THE_GROUP {
        let message = format!("`{key}` is nothing that {} can have by itself", section.what);
        section.refuse(key, message, "a key of a [[group.resource]]", "give it to the [[group]]");
    }
    match known {
        None => section.finish_missing(),
        Some(known) if known.unclear => section.finish_missing(),
        Some(_) => section.finish(),
    }
    draft
}

/// What comes first: the name, and the type with its defaults.
pub(crate) fn begin<'a>(section: &mut Section<'a>, types: &Types<'a>, example: &str) -> Option<Known<'a>> {
    section.need("name", "name = \"…\"");
    section.need("type", example);
    let name = section.string("type")?;
    if name.get_ref() == ROOT {
        let message = format!("{} has a type that only other types are made from", section.what);
        let remedy = "use `exec` for a program, `floating_ip` for an address, `local_resource` for a program on \
                      every server";
        refuse_type(section, &name, message, remedy);
        return None;
    }
    let words: Vec<(&str, ())> = types.names().iter().map(|name| (name.as_str(), ())).collect();
    section.choice("type", &words)?;
    let known = types.find(&name)?;
    section.defaults.clone_from(&known.defaults);
    for (key, fault) in &known.foreign {
        let message = format!("{}: {fault}", section.what);
        section.refuse(key, message, &fault.expected(), &fault.remedy());
    }
    Some(known)
}

pub(crate) fn refuse_type(section: &Section<'_>, name: &Name, message: String, remedy: &str) {
    let problem = section
        .reading
        .problem(Code::BadType, &name.span(), message)
        .found(format!("`{}`", name.get_ref()))
        .expected("a type that a resource can have here")
        .remedy(remedy);
    section.reading.add(problem);
}

/// What resources in groups and outside of them have in common. Which other keys make sense
/// depends on the type: without one only the common ones are judged.
pub(crate) fn common(section: &Section<'_>, known: Option<&Known<'_>>) -> ResourceDraft {
    let is_address = known.is_some_and(|known| known.root == Root::FloatingIp);
    let kind = known.and_then(|known| match known.root {
        Root::FloatingIp => Some(KindDraft::FloatingIp(floating_ip::read(section))),
        Root::MirrorDisk => Some(KindDraft::MirrorDisk(Box::new(mirror_disk::read(section)))),
        _ => exec::read(section).map(KindDraft::Exec),
    });
    ResourceDraft {
        name: section.string("name"),
        comment: section.comment(),
        depends_on: None,
        policies: policies::read(section, is_address),
        type_name: known.map(|known| known.name.clone()),
        attributes: known.map(|known| attributes(section, known)).unwrap_or_default(),
        kind,
    }
}

/// The attributes that a user type adds.
fn attributes(section: &Section<'_>, known: &Known<'_>) -> BTreeMap<String, Value> {
    let mut attributes = BTreeMap::new();
    for Added { name, kind, range, required, doc } in &known.attributes {
        if *required {
            let about = if doc.is_empty() { String::new() } else { format!(": {doc}") };
            section.need(name, &format!("{name} = …{about}"));
        }
        let value = value(section, name, *kind, *range);
        attributes.extend(value.map(|value| (name.clone(), value.into_inner())));
    }
    attributes
}

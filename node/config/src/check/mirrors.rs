//! Mirrored disks: enough servers, areas that nothing else uses, ports, and no voting file on one
//! (R18).

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use toml::Spanned;

use super::references::Known;
use crate::{
    draft::{Draft, GroupDraft, KindDraft, MirrorDraft, Name, label},
    problem::{Code, Problem},
    source::{Reading, Span},
    spell::one_of,
};

/// Two copies. Wire format, maps and data path are made for four; but of three, the two that outlive a
/// primary may each have another part of what it had acknowledged to nobody, and no map names that: a
/// block could be read in one way, and after the next loss in another.
const COPIES: usize = 2;
/// Whoever has no port of its own in the file.
const WEB_PORT: u16 = 29003;

pub(crate) fn check(reading: &Reading, draft: &Draft) {
    let mut taken = BTreeMap::new();
    for (group, name, disk) in disks(draft) {
        copies(reading, group, name, disk);
        areas(reading, draft, group, name, disk, &mut taken);
        network(reading, draft, group, name, disk);
    }
    mounts(reading, draft);
    ports(reading, draft);
    voting_files(reading, draft);
}

fn disks(draft: &Draft) -> impl Iterator<Item = (&GroupDraft, &str, &MirrorDraft)> {
    draft.groups.iter().flat_map(|group| {
        let members = group.resources.iter();
        members.filter_map(move |member| match &member.kind {
            Some(KindDraft::MirrorDisk(disk)) => Some((group, label(member.name.as_ref()), &**disk)),
            _ => None,
        })
    })
}

fn copies(reading: &Reading, group: &GroupDraft, name: &str, disk: &MirrorDraft) {
    let servers = group.servers.len();
    if servers == 0 || servers == COPIES {
        return; // without servers at all: that has been reported
    }
    let found = if servers == 1 { "one server".to_owned() } else { format!("{servers} servers") };
    let message =
        format!("mirrored disk {name} cannot have its copies on the servers of group {}", group.label());
    let problem = reading
        .problem(Code::MirrorCopies, &disk.span, message)
        .found(found)
        .expected("two servers: each keeps one copy")
        .remedy(if servers == 1 {
            "add a second server to `servers` of the group, or use a disk that is not mirrored"
        } else {
            "leave two servers in the group: what would differ after a loss is known of two copies only"
        });
    reading.add(problem);
}

/// One use of a path on one server.
struct Use {
    what: String,
    span: Span,
}

type Taken = BTreeMap<(String, PathBuf), Use>;

fn areas(
    reading: &Reading,
    draft: &Draft,
    group: &GroupDraft,
    name: &str,
    disk: &MirrorDraft,
    taken: &mut Taken,
) {
    per_server(reading, draft, group, name, disk);
    let mut told: Vec<Span> = Vec::new();
    for server in &group.servers {
        let own = disk.per_server.iter().find(|(of, _)| of.get_ref() == server.get_ref()).map(|(_, own)| own);
        let data = own.and_then(|own| own.data.as_ref()).or(disk.data.as_ref());
        let metadata = own.and_then(|own| own.metadata.as_ref()).or(disk.metadata.as_ref());
        for (word, path) in [("data area", data), ("management area", metadata)] {
            let Some(path) = path else { continue };
            let this = format!("the {word} of {name}");
            let key = (server.get_ref().clone(), path.get_ref().clone());
            if let Some(first) = taken.get(&key) {
                if !told.contains(&path.span()) {
                    told.push(path.span());
                    twice(reading, path, &this, first, server);
                }
                continue;
            }
            let below = disk.mount.as_ref().filter(|mount| path.get_ref().starts_with(mount.get_ref()));
            if let Some(mount) = below
                && !told.contains(&path.span())
            {
                told.push(path.span());
                on_itself(reading, path, &this, mount.get_ref());
            }
            taken.insert(key, Use { what: this, span: path.span() });
        }
    }
}

fn twice(reading: &Reading, path: &Spanned<PathBuf>, this: &str, first: &Use, server: &Name) {
    let message = format!("{this} is {} too, on {}", first.what, server.get_ref());
    let problem = reading
        .problem(Code::MirrorArea, &path.span(), message)
        .found(format!("`{}`, first used{}", path.get_ref().display(), reading.source.in_line(&first.span)))
        .expected("an area that nothing else uses")
        .remedy("give each its own partition or file; a management area needs 10 MB");
    reading.add(problem);
}

fn on_itself(reading: &Reading, path: &Spanned<PathBuf>, this: &str, mount: &Path) {
    let problem = reading
        .problem(Code::MirrorArea, &path.span(), format!("{this} would be a file on the disk itself"))
        .found(format!("`{}`, below its own mount `{}`", path.get_ref().display(), mount.display()))
        .expected("a place that is there before the disk is mounted")
        .remedy("choose a path outside the mount");
    reading.add(problem);
}

fn per_server(reading: &Reading, draft: &Draft, group: &GroupDraft, name: &str, disk: &MirrorDraft) {
    let servers = Known::new("server", draft.servers.iter().map(|server| server.name.as_ref()))
        .but(draft.witnesses.iter().filter_map(|witness| witness.name.as_ref()));
    let own: Vec<&str> = group.servers.iter().map(|server| server.get_ref().as_str()).collect();
    for (server, _) in &disk.per_server {
        servers.look_up(reading, server, &format!("`per_server` of {name} names"));
        let word = server.get_ref().as_str();
        if !servers.has(server) || own.contains(&word) || own.is_empty() {
            continue;
        }
        let message = format!("`per_server` of {name} names `{word}`, which keeps no copy of it");
        let problem = reading
            .problem(Code::UnknownName, &server.span(), message)
            .found(format!("`{word}`"))
            .expected(one_of(own.iter().copied()))
            .remedy(format!("add `{word}` to the servers of group {}, or take it out here", group.label()));
        reading.add(problem);
    }
}

/// A network that is named has to be there, with an address of every server that keeps a copy.
fn network(reading: &Reading, draft: &Draft, group: &GroupDraft, name: &str, disk: &MirrorDraft) {
    let Some(network) = &disk.network else { return };
    let networks = Known::new("network", draft.networks.iter().map(|network| network.name.as_ref()));
    networks.look_up(reading, network, &format!("`network` of {name} names"));
    if !networks.has(network) {
        return;
    }
    let lacks = |server: &&Name| {
        let own = draft.servers.iter().find(|one| {
            one.name.as_ref().is_some_and(|own| own.get_ref() == server.get_ref())
                && !one.addresses.is_empty()
        });
        own.is_some_and(|own| own.addresses.iter().all(|(on, _)| on.get_ref() != network.get_ref()))
    };
    let Some(server) = group.servers.iter().find(lacks) else { return };
    let message = format!(
        "server {} keeps a copy of {name}, but has no address on network {}",
        server.get_ref(),
        network.get_ref()
    );
    let problem = reading
        .problem(Code::MirrorCopies, &network.span(), message)
        .found(format!("`{}`", network.get_ref()))
        .expected("a network on which every server of its group has an address")
        .remedy(format!("add {} = \"ADDRESS\" to the addresses of {}", network.get_ref(), server.get_ref()));
    reading.add(problem);
}

/// Where two disks would be mounted, on servers that may have both.
fn mounts(reading: &Reading, draft: &Draft) {
    let mut seen: Vec<(&GroupDraft, &str, &Spanned<PathBuf>)> = Vec::new();
    for (group, name, disk) in disks(draft) {
        let Some(mount) = &disk.mount else { continue };
        let shares = |other: &&GroupDraft| {
            other.servers.iter().any(|one| group.servers.iter().any(|own| own.get_ref() == one.get_ref()))
        };
        let first = seen.iter().find(|(other, _, at)| at.get_ref() == mount.get_ref() && shares(other));
        if let Some((_, first, at)) = first {
            let problem = reading
                .problem(Code::MirrorArea, &mount.span(), format!("{name} is mounted where {first} is"))
                .found(format!(
                    "`{}`, first{}",
                    mount.get_ref().display(),
                    reading.source.in_line(&at.span())
                ))
                .expected("a folder of its own")
                .remedy("choose another folder for one of the two");
            reading.add(problem);
        }
        seen.push((group, name, mount));
    }
}

/// All disks of a server answer on one port, which nothing else has.
fn ports(reading: &Reading, draft: &Draft) {
    let Some(cluster) = &draft.cluster else { return };
    let mut used: BTreeMap<u16, String> = BTreeMap::from([
        (cluster.port, "the servers' own calls".to_owned()),
        (cluster.heartbeat_port, "heartbeats".to_owned()),
        (WEB_PORT, "the web manager".to_owned()),
    ]);
    let mut common: Option<(u16, &str)> = None;
    for (_, name, disk) in disks(draft) {
        let port = *disk.port.get_ref();
        match common {
            Some((first, of)) if first != port => {
                let message = format!("{name} and {of} have different ports for mirror data");
                let problem = reading
                    .problem(Code::MirrorPort, &disk.port.span(), message)
                    .found(format!("{port}, and {first} for {of}"))
                    .expected("one port for all mirrored disks")
                    .remedy(format!("give both `port = {first}`, or take the key out"));
                reading.add(problem);
            }
            Some(_) => {}
            None => {
                taken(reading, &used, &disk.port, name);
                common = Some((port, name));
                used.insert(port, "mirror data".to_owned());
            }
        }
    }
    for (_, name, disk) in disks(draft) {
        let Some(port) = &disk.export_port else { continue };
        taken(reading, &used, port, name);
        used.insert(*port.get_ref(), format!("the export of {name}"));
    }
}

fn taken(reading: &Reading, used: &BTreeMap<u16, String>, port: &Spanned<u16>, name: &str) {
    let Some(by) = used.get(port.get_ref()) else { return };
    let problem = reading
        .problem(Code::MirrorPort, &port.span(), format!("a port of {name} is taken by {by}"))
        .found(format!("`{}`", port.get_ref()))
        .expected("a port of its own")
        .remedy("choose another one; 29051 is the usual one for mirror data");
    reading.add(problem);
}

/// R18: the halves of a mirrored volume can differ, so no vote may stand on one.
fn voting_files(reading: &Reading, draft: &Draft) {
    for file in draft.voting_files() {
        let path = file.get_ref();
        let on = disks(draft).find_map(|(_, name, disk)| {
            let areas = disk.per_server.iter().flat_map(|(_, own)| own.data.iter().chain(&own.metadata));
            let areas = areas.chain(&disk.data).chain(&disk.metadata);
            let device = disk.config.device.as_ref().is_some_and(|device| device == path);
            let named = path.strip_prefix("/dev/tasuki").is_ok_and(|rest| rest == Path::new(name));
            let mounted = disk.mount.as_ref().is_some_and(|mount| path.starts_with(mount.get_ref()));
            let is_area = areas.into_iter().any(|area| area.get_ref() == path);
            (device || named || mounted || is_area).then_some(name)
        });
        let Some(name) = on else { continue };
        let message = format!("voting file {} would be on mirrored disk {name}", path.display());
        let problem = reading
            .problem(Code::VotingFileOnMirror, &file.span(), message)
            .found(format!("`{}`", path.display()))
            .expected("storage that all servers reach themselves: the halves of a mirror can differ")
            .remedy("put it on a shared disk or on NFS, or use a [[witness]]");
        reading.add(problem);
    }
}

/// R34: said once, at the first disk.
pub(crate) fn restart(reading: &Reading, draft: &Draft) -> Option<Problem> {
    let (_, name, disk) = disks(draft).next()?;
    let outlives = "a device that outlives the node process; this version has none";
    Some(
        reading
            .problem(
                Code::MirrorRestart,
                &disk.span,
                format!(
                    "a restart of the node interrupts {name}: what uses its device is stopped and started"
                ),
            )
            .found("a device that is served by the node process")
            .expected(outlives)
            .remedy("nothing, if an interruption like that of a failover is fine when a node process dies"),
    )
}

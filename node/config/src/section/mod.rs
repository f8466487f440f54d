//! The sections of the file, one module each: what keys they have and what their values may be.
//! How sections relate to each other is the matter of [`crate::check`].

pub(crate) mod cluster;
pub(crate) mod definition;
pub(crate) mod dependencies;
pub(crate) mod exec;
pub(crate) mod fence;
pub(crate) mod floating_ip;
pub(crate) mod group;
pub(crate) mod heartbeat;
pub(crate) mod keys;
pub(crate) mod mirror_disk;
pub(crate) mod monitor;
pub(crate) mod network;
pub(crate) mod policies;
pub(crate) mod pool;
pub(crate) mod resource;
pub(crate) mod resource_type;
pub(crate) mod server;
pub(crate) mod types;
pub(crate) mod votes;
pub(crate) mod web;
pub(crate) mod witness;

use toml::{Spanned, de::DeTable};

use crate::{draft::Draft, reader::Section, source::Reading};

/// Reads the whole file.
pub(crate) fn read(reading: &Reading, root: &Spanned<DeTable<'_>>) -> Draft {
    // What is missing altogether is shown at the beginning of the file.
    let mut file = Section::new(reading, "the file".to_owned(), 0..0, root.get_ref());
    file.is_file = true;
    file.need("cluster", "a section [cluster] with the cluster's name");
    file.need("network", "a section [[network]] for each subnet that the servers share");
    file.need("server", "a section [[server]] for each server");
    file.need(
        "heartbeat",
        "a section [[heartbeat]] with kind = \"lan\" for each network that carries heartbeats",
    );
    let (types, defaults) = resource_type::read_all(file.tables("type", "[[type]]"));
    let tree = types::Types::new(reading, &types, &defaults);
    let mut draft = Draft {
        voting: file.table("votes", "one section [votes]").map(votes::read),
        cluster: file.table("cluster", "one section [cluster]").map(cluster::read),
        fences: file.tables("fence", "[[fence]]").into_iter().map(fence::read).collect(),
        networks: file.tables("network", "[[network]]").into_iter().map(network::read).collect(),
        servers: file.tables("server", "[[server]]").into_iter().map(server::read).collect(),
        heartbeats: file.tables("heartbeat", "[[heartbeat]]").into_iter().map(heartbeat::read).collect(),
        pools: file.tables("pool", "[[pool]]").into_iter().map(pool::read).collect(),
        groups: file
            .tables("group", "[[group]]")
            .into_iter()
            .map(|group| group::read(group, &tree))
            .collect(),
        definitions: file
            .tables("resource", "[[resource]]")
            .into_iter()
            .map(|resource| definition::read(resource, &tree))
            .collect(),
        monitors: file.tables("monitor", "[[monitor]]").into_iter().map(monitor::read).collect(),
        witnesses: file.tables("witness", "[[witness]]").into_iter().map(witness::read).collect(),
        types: Vec::new(),
    };
    draft.types = types;
    let short = draft.cluster.as_mut().and_then(|cluster| cluster.witness.take());
    draft.witnesses.extend(short);
    web::read(&file);
    file.finish();
    draft
}

//! The sections of the file, one module each: what keys they have and what their values may be.
//! How sections relate to each other is the matter of [`crate::check`].

pub(crate) mod cluster;
pub(crate) mod exec;
pub(crate) mod floating_ip;
pub(crate) mod group;
pub(crate) mod heartbeat;
pub(crate) mod monitor;
pub(crate) mod network;
pub(crate) mod resource;
pub(crate) mod server;
pub(crate) mod web;

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
    let draft = Draft {
        cluster: file.table("cluster", "one section [cluster]").map(cluster::read),
        networks: file.tables("network", "[[network]]").into_iter().map(network::read).collect(),
        servers: file.tables("server", "[[server]]").into_iter().map(server::read).collect(),
        heartbeats: file.tables("heartbeat", "[[heartbeat]]").into_iter().map(heartbeat::read).collect(),
        groups: file.tables("group", "[[group]]").into_iter().map(group::read).collect(),
    };
    web::read(&file);
    monitor::read(&file);
    file.finish();
    draft
}

//! Servers that come and go while the cluster runs.

use std::{collections::BTreeMap, net::IpAddr};

use tasuki_core::{
    config::{ClusterConfig, Role, ServerConfig, removal::Needs},
    ids::{NetworkName, ServerName},
};

use crate::{
    parse_unnumbered,
    problem::{Code, ConfigErrors, Problem},
    write::to_toml,
};

/// A server that is about to be added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewServer {
    /// Its name.
    pub name: String,
    /// For people.
    pub comment: String,
    /// Its address on each network.
    pub addresses: BTreeMap<NetworkName, IpAddr>,
    /// What it may be lost together with.
    pub domain: Option<String>,
}

/// Adds a server, with a number above all others.
///
/// # Errors
/// Everything that would be wrong with the configuration then.
pub fn edit_server_add(config: &ClusterConfig, new: &NewServer) -> Result<ClusterConfig, ConfigErrors> {
    let source = "server add";
    let name = ServerName::new(new.name.as_str());
    if config.servers.contains_key(&name) {
        let problem =
            Problem::nowhere(Code::DuplicateName, source, format!("there is a server {name} already"))
                .found(format!("`{name}`"))
                .expected("a name of its own")
                .remedy(format!(
                    "choose another name, or bring its machine back with `tasuki server replace {name}`"
                ));
        return Err(ConfigErrors::one(problem));
    }
    let server = ServerConfig {
        number: config.next_number(),
        comment: new.comment.clone(),
        addresses: new.addresses.clone(),
        role: Role::Server,
        domain: new.domain.clone(),
        fencing: Vec::new(),
    };
    let mut edited = config.clone();
    edited.servers.insert(name, server);
    Ok(parse_unnumbered(&to_toml(&edited), source)?.config)
}

/// Takes a server out of everything that names it.
///
/// # Errors
/// What needs it, or what would be wrong with the configuration then.
pub fn edit_server_remove(config: &ClusterConfig, gone: &ServerName) -> Result<ClusterConfig, ConfigErrors> {
    let source = "server remove";
    let edited = config.without_server(gone).map_err(|needs| ConfigErrors::one(needed(gone, &needs)))?;
    Ok(parse_unnumbered(&to_toml(&edited), source)?.config)
}

fn needed(server: &ServerName, needs: &[Needs]) -> Problem {
    let all: Vec<String> = needs.iter().map(ToString::to_string).collect();
    Problem::nowhere(Code::StillNeeded, "server remove", format!("server {server} is still needed"))
        .found(all.join("; "))
        .expected("nothing that needs it")
        .remedy("name other servers there, or take these out, and push; then remove the server")
}

//! Pulling a server's cables, and plugging them in again: the file of cuts that its node looks at.

use std::{fs, io};

use super::{error::LabError, state::Lab};

/// Cuts a server off, on one network or on all; cuts of before stay.
pub(super) fn cut(lab: &Lab, server: &str, network: Option<&str>) -> Result<(), LabError> {
    let mut networks = cut_networks(lab, server);
    let network = network.unwrap_or("*").to_owned();
    if !networks.contains(&network) {
        networks.push(network);
    }
    let text: String = networks.iter().map(|network| format!("* {network}\n")).collect();
    let path = lab.cuts(server);
    let temporary = path.with_extension("cuts.new");
    // In one step: the node must not see half of it.
    fs::write(&temporary, text)
        .and_then(|()| fs::rename(&temporary, &path))
        .map_err(LabError::io(format!("writing {}", path.display())))
}

/// Mends all cables of a server; whether one was cut.
pub(super) fn heal(lab: &Lab, server: &str) -> Result<bool, LabError> {
    let path = lab.cuts(server);
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(LabError::io(format!("removing {}", path.display()))(error)),
    }
}

/// The networks on which a server is cut off; `*` is all of them.
pub(super) fn cut_networks(lab: &Lab, server: &str) -> Vec<String> {
    let text = fs::read_to_string(lab.cuts(server)).unwrap_or_default();
    text.lines().filter_map(|line| Some(line.strip_prefix("* ")?.to_owned())).collect()
}

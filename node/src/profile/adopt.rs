//! At a start: the newest valid profile among this server's copies and those of its peers wins, and
//! only the profile, never the rest of a registry.

use std::path::Path;

use tasuki_core::config::ClusterConfig;

use super::{ProfileError, SignedProfile, peers};
use crate::{identity::Identity, local_registry::LocalRegistry};

/// Brings `config`, with which the node starts, up to the newest profile there is, and keeps that
/// one everywhere on this server. `None` when there is none at all, which is said.
///
/// # Errors
/// When the newest one says that this server is no member any more, or it cannot be kept.
pub async fn adopt(
    data: &Path,
    identity: &Identity,
    local: &mut LocalRegistry,
    config: &mut ClusterConfig,
) -> Result<Option<SignedProfile>, ProfileError> {
    let file = SignedProfile::load(identity, data);
    let place = local.place().display().to_string();
    let of_local = local.profile().map(|text| SignedProfile::check(identity, &text, &place)).transpose();
    let mut newest: Option<(SignedProfile, String)> = None;
    for (copy, from) in [(file, "the file"), (of_local, "the local registry")] {
        match copy {
            Ok(Some(copy)) => newer(&mut newest, copy, from),
            Ok(None) => {}
            Err(error) => tracing::warn!("{}: {error}; {}", error.code(), error.remedy()),
        }
    }
    // Where the others are says the newest that is known here.
    if let Some((known, _)) = &newest {
        known.profile().apply_to(config);
    }
    for (copy, from) in peers::ask(identity, config).await {
        newer(&mut newest, copy, &from);
    }
    let Some((signed, from)) = newest else {
        tracing::warn!(
            "TSK-1770: there is no profile: traffic between the servers may use the public network; it is \
             written as soon as this server follows its cluster"
        );
        return Ok(None);
    };
    let profile = signed.profile();
    if !profile.servers.contains_key(identity.server()) {
        return Err(ProfileError::Removed {
            server: identity.server().to_string(),
            cluster: identity.cluster().to_owned(),
            sequence: profile.sequence.0,
            from,
        });
    }
    if !profile.has_interconnect() {
        tracing::warn!(
            "TSK-1770: profile {} has no interconnect: traffic between the servers may use the public network",
            profile.sequence
        );
    }
    for (name, network) in &profile.settings.networks {
        let uses: Vec<String> = network.uses.iter().map(|one| format!("{one:?}").to_lowercase()).collect();
        tracing::info!(
            "network {name} ({}/{}) is used for {} by profile {}",
            network.subnet,
            network.prefix,
            uses.join(" and "),
            profile.sequence
        );
    }
    tracing::info!("profile {}, from {from}, is the newest", profile.sequence);
    profile.apply_to(config);
    signed.save(data)?;
    local.set_profile(&signed.text())?;
    Ok(Some(signed))
}

/// Among equal ones the first stays.
fn newer(newest: &mut Option<(SignedProfile, String)>, copy: SignedProfile, from: &str) {
    let known = newest.as_ref().map(|(known, _)| known.profile().sequence);
    if known.is_none_or(|known| copy.profile().sequence > known) {
        *newest = Some((copy, from.to_owned()));
    }
}

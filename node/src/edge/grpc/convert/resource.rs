//! Resources and their instances.

use tasuki_core::{
    ids::{GroupName, Revision, ServerName},
    registry::state::Target,
    time::WallTime,
};
use tasuki_proto::v1 as wire;

use super::{Malformed, Result, all, optional, text_of};
use crate::app::resources::{
    Acted,
    view::{Failure, InstanceState, InstanceView, ResourceView},
};

words!(instance_state_out, instance_state_in, InstanceState, wire::InstanceState, {
    InstanceState::Online => wire::InstanceState::Online => InstanceState::Online,
    InstanceState::Offline => wire::InstanceState::Offline => InstanceState::Offline,
    InstanceState::Intermediate => wire::InstanceState::Intermediate => InstanceState::Intermediate,
    InstanceState::Unknown => wire::InstanceState::Unknown => InstanceState::Unknown,
});

/// To the wire.
#[must_use]
pub fn resource_out(resource: ResourceView) -> wire::ResourceInfo {
    wire::ResourceInfo {
        name: resource.name.to_string(),
        r#type: resource.type_name,
        local: resource.local,
        enabled: resource.enabled,
        group: text_of(resource.group),
        instances: resource.instances.into_iter().map(instance_out).collect(),
    }
}

/// From the wire.
///
/// # Errors
/// When a word has no meaning here.
pub fn resource_in(resource: wire::ResourceInfo) -> Result<ResourceView> {
    Ok(ResourceView {
        name: resource.name.as_str().into(),
        type_name: resource.r#type,
        local: resource.local,
        enabled: resource.enabled,
        group: optional(resource.group).map(|name| name.as_str().into()),
        instances: all(resource.instances, instance_in)?,
    })
}

fn instance_out(instance: InstanceView) -> wire::ResourceInstance {
    wire::ResourceInstance {
        unit: instance.unit.to_string(),
        number: instance.number,
        server: text_of(instance.server),
        wanted_online: instance.target == Target::Online,
        state: instance_state_out(instance.state),
        details: instance.details,
        last_server: text_of(instance.last_server),
        creation_seed: instance.creation_seed.0,
        current_rcount: instance.current_rcount,
        failure_count: instance.failure_count,
        failure_history: instance
            .failure_history
            .into_iter()
            .map(|failure| wire::InstanceFailure { at_ms: failure.at.0, server: failure.server.to_string() })
            .collect(),
        incarnation: instance.incarnation,
        last_restart_ms: instance.last_restart.0,
    }
}

fn instance_in(instance: wire::ResourceInstance) -> Result<InstanceView> {
    Ok(InstanceView {
        unit: GroupName::new(instance.unit),
        number: instance.number,
        server: optional(instance.server).map(ServerName::new),
        target: if instance.wanted_online { Target::Online } else { Target::Offline },
        state: instance_state_in(instance.state)?,
        details: instance.details,
        last_server: optional(instance.last_server).map(ServerName::new),
        creation_seed: Revision(instance.creation_seed),
        current_rcount: instance.current_rcount,
        failure_count: instance.failure_count,
        failure_history: instance
            .failure_history
            .into_iter()
            .map(|failure| Failure { at: WallTime(failure.at_ms), server: ServerName::new(failure.server) })
            .collect(),
        incarnation: instance.incarnation,
        last_restart: WallTime(instance.last_restart_ms),
    })
}

/// To the wire.
#[must_use]
pub fn acted_out(acted: Vec<Acted>) -> wire::ResourceActedResponse {
    wire::ResourceActedResponse {
        instances: acted
            .into_iter()
            .map(|acted| wire::ActedInstance {
                unit: acted.unit.to_string(),
                revision: acted.revision.0,
                from: text_of(acted.from),
                waits_for: text_of(acted.waits_for),
            })
            .collect(),
    }
}

/// From the wire.
#[must_use]
pub fn acted_in(answer: wire::ResourceActedResponse) -> Vec<Acted> {
    answer
        .instances
        .into_iter()
        .map(|acted| Acted {
            unit: GroupName::new(acted.unit),
            revision: Revision(acted.revision),
            from: optional(acted.from).map(ServerName::new),
            waits_for: optional(acted.waits_for).map(ServerName::new),
        })
        .collect()
}

/// To the wire.
#[must_use]
pub fn attributes_out(attributes: Vec<(String, String)>) -> Vec<wire::Attribute> {
    attributes.into_iter().map(|(key, value)| wire::Attribute { key, value }).collect()
}

/// From the wire.
#[must_use]
pub fn attributes_in(attributes: Vec<wire::Attribute>) -> Vec<(String, String)> {
    attributes.into_iter().map(|attribute| (attribute.key, attribute.value)).collect()
}

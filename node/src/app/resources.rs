//! Resources that stand for themselves: how they are, and starting, stopping and moving their
//! instances. Adding and changing them is in [`super::edits`].

pub mod choice;
pub mod error;
pub mod view;

use serde::{Deserialize, Serialize};
use tasuki_core::{
    ids::{GroupName, ResourceName, Revision, ServerName},
    registry::{Author, Command, Proposal, Reply, State, apply},
};

pub use self::error::ResourceError;
use self::{
    choice::{Chosen, Unit},
    view::ResourceView,
};
use super::{App, AppError, Caller, Role, wall_now};

/// One instance that does what was asked for, from this revision on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acted {
    /// The instance: `db#1`.
    pub unit: GroupName,
    /// The revision that accepted it.
    pub revision: Revision,
    /// Where it was.
    pub from: Option<ServerName>,
    /// The only server that it may run on, when that is not up: it starts when that is.
    pub waits_for: Option<ServerName>,
}

impl App {
    /// Every resource or one, as this server has applied it.
    ///
    /// # Errors
    /// When the caller may not, or there is no such resource.
    pub fn resource_status(
        &self,
        by: &Caller,
        name: Option<&ResourceName>,
    ) -> Result<Vec<ResourceView>, AppError> {
        by.must_be(Role::Viewer)?;
        let state = self.applied();
        let Some(name) = name else { return Ok(view::all(&state, wall_now())) };
        match view::one(&state, name, wall_now()) {
            Some(view) => Ok(vec![view]),
            None => Err(no_such_resource(&state, name).into()),
        }
    }

    /// Wants every instance online that does not run, or only the one on a server.
    ///
    /// # Errors
    /// Not allowed, no such resource, nothing to start, refused, no quorum.
    pub async fn resource_start(
        &self,
        by: &Caller,
        name: &ResourceName,
        on: Option<&ServerName>,
    ) -> Result<Vec<Acted>, AppError> {
        by.must_be(Role::Operator)?;
        let state = self.node.read().await?;
        let chosen = choice::to_start(name, &units(&state, name)?, on)?;
        let start =
            |chosen: &Chosen| Command::StartGroup { group: chosen.unit.clone(), on: chosen.to.clone() };
        self.act(by, &state, name, chosen, start).await
    }

    /// Wants every instance offline that runs, or only the one on a server.
    ///
    /// # Errors
    /// Not allowed, no such resource, nothing to stop, refused, no quorum.
    pub async fn resource_stop(
        &self,
        by: &Caller,
        name: &ResourceName,
        on: Option<&ServerName>,
        force: bool,
    ) -> Result<Vec<Acted>, AppError> {
        by.must_be(Role::Operator)?;
        let state = self.node.read().await?;
        let chosen = choice::to_stop(name, &units(&state, name)?, on)?;
        let stop = |chosen: &Chosen| Command::StopGroup { group: chosen.unit.clone(), force };
        self.act(by, &state, name, chosen, stop).await
    }

    /// Wants one instance on another server.
    ///
    /// # Errors
    /// Not allowed, no such resource, unclear which instance, refused, no quorum.
    pub async fn resource_relocate(
        &self,
        by: &Caller,
        name: &ResourceName,
        from: Option<&ServerName>,
        to: Option<&ServerName>,
        force: bool,
    ) -> Result<Vec<Acted>, AppError> {
        by.must_be(Role::Operator)?;
        let state = self.node.read().await?;
        let chosen = choice::to_relocate(name, &units(&state, name)?, from, to)?;
        let relocate =
            |chosen: &Chosen| Command::MoveGroup { group: chosen.unit.clone(), to: chosen.to.clone(), force };
        self.act(by, &state, name, vec![chosen], relocate).await
    }

    async fn act(
        &self,
        by: &Caller,
        state: &State,
        name: &ResourceName,
        chosen: Vec<Chosen>,
        command: impl Fn(&Chosen) -> Command,
    ) -> Result<Vec<Acted>, AppError> {
        let commands: Vec<Command> = chosen.iter().map(&command).collect();
        rehearse(by, state, &commands)?;
        let mut acted = Vec::new();
        for one in chosen {
            let accepted = match self.propose(by, command(&one)).await {
                Ok(accepted) => accepted,
                Err(error) if acted.is_empty() => return Err(error),
                Err(error) => {
                    let because = format!("{error} ({})", error.code());
                    let done = acted.len();
                    return Err(ResourceError::Partly {
                        resource: name.clone(),
                        done,
                        unit: one.unit,
                        because,
                    }
                    .into());
                }
            };
            let down = |server: &ServerName| !state.presence(server).is_some_and(|presence| presence.up);
            acted.push(Acted {
                unit: one.unit,
                revision: accepted.revision,
                from: one.from,
                waits_for: one.bound.filter(down),
            });
        }
        Ok(acted)
    }
}

/// Whether the registry as it is would accept all of them, one after the other: none is asked for
/// when one would be refused.
fn rehearse(by: &Caller, state: &State, commands: &[Command]) -> Result<(), AppError> {
    let mut copy = state.clone();
    for command in commands {
        let proposal = Proposal {
            id: None,
            author: Author::Operator(by.name.clone()),
            at: wall_now(),
            lineage: copy.lineage.clone(),
            read: Vec::new(),
            reason: None,
            command: command.clone(),
        };
        if let Reply::Refused(refusal) = apply(&mut copy, &proposal) {
            return Err(refusal.into());
        }
    }
    Ok(())
}

/// The instances of a resource, by number.
fn units(state: &State, name: &ResourceName) -> Result<Vec<Unit>, ResourceError> {
    let mut units: Vec<Unit> =
        state.groups.iter().filter_map(|(unit, entry)| Unit::of(unit, entry, name)).collect();
    units.sort_by_key(|unit| unit.number);
    if units.is_empty() && !state.definitions.contains_key(name) {
        return Err(no_such_resource(state, name));
    }
    Ok(units)
}

/// Why a name means no resource of its own: it is in a group, or nothing is called so.
pub(super) fn no_such_resource(state: &State, name: &ResourceName) -> ResourceError {
    let groups =
        || state.groups.iter().filter_map(|(unit, entry)| Some((unit, &entry.config.as_ref()?.value)));
    let member =
        groups().find(|(_, config)| config.instance.is_none() && config.resources.contains_key(name));
    if let Some((group, _)) = member {
        return ResourceError::MemberOf { resource: name.clone(), group: group.clone() };
    }
    let known = groups().flat_map(|(_, config)| config.resources.keys()).chain(state.definitions.keys());
    ResourceError::NoSuchResource {
        name: name.to_string(),
        nearest: nearest(name.as_str(), known.map(ResourceName::as_str)),
    }
}

/// The nearest right word.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    tasuki_config::nearest(word, known).map(str::to_owned)
}

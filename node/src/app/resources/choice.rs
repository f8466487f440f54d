//! Which instances an operator means who names a resource: plans without any effect.

use tasuki_core::{
    ids::{GroupName, ResourceName, ServerName},
    registry::{
        Refusal,
        state::{GroupEntry, GroupState, Target},
    },
};

use super::ResourceError;
use crate::app::{AppError, status::current_report};

/// One instance, as far as the choice needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its name: `db#1`.
    pub name: GroupName,
    /// Its number.
    pub number: u32,
    /// The only server that it may run on.
    pub bound: Option<ServerName>,
    /// Who runs it.
    pub owner: Option<ServerName>,
    /// The owner is asked to stop it.
    pub releasing: bool,
    /// It failed where it is, and nothing more is tried.
    pub failed: bool,
    /// Whether it is wanted.
    pub target: Target,
}

/// An instance that was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Which.
    pub unit: GroupName,
    /// Where to, when it was said.
    pub to: Option<ServerName>,
    /// Where it is.
    pub from: Option<ServerName>,
    /// The only server that it may run on.
    pub bound: Option<ServerName>,
}

impl Unit {
    /// The unit, when it is an instance of this resource.
    #[must_use]
    pub fn of(name: &GroupName, entry: &GroupEntry, resource: &ResourceName) -> Option<Self> {
        let instance = entry.config.as_ref()?.value.instance.as_ref()?;
        let ownership = &entry.ownership.value;
        (instance.resource == *resource).then(|| Self {
            name: name.clone(),
            number: instance.number,
            bound: instance.bound.clone(),
            owner: ownership.owner.clone(),
            releasing: ownership.release.is_some(),
            failed: current_report(entry).is_some_and(|report| report.state == GroupState::Error),
            target: entry.target.value,
        })
    }

    fn chosen(&self, to: Option<&ServerName>) -> Chosen {
        Chosen {
            unit: self.name.clone(),
            to: to.cloned(),
            from: self.owner.clone(),
            bound: self.bound.clone(),
        }
    }

    fn is_on(&self, server: &ServerName) -> bool {
        self.owner.as_ref() == Some(server) || self.bound.as_ref() == Some(server)
    }

    fn startable(&self) -> bool {
        self.owner.is_none() || (self.failed && !self.releasing)
    }
}

/// Those that do not run; with a server, the one that belongs there, or the first that could.
///
/// # Errors
/// When there is none.
pub fn to_start(
    resource: &ResourceName,
    units: &[Unit],
    on: Option<&ServerName>,
) -> Result<Vec<Chosen>, AppError> {
    let Some(on) = on else {
        let idle: Vec<&Unit> = units.iter().filter(|unit| unit.startable()).collect();
        // What is being stopped cannot be started yet; the registry says so by name.
        let busy = units.iter().find(|unit| unit.releasing);
        let meant: Vec<&Unit> = if idle.is_empty() { busy.into_iter().collect() } else { idle };
        if meant.is_empty() {
            return Err(ResourceError::NothingToStart(resource.clone()).into());
        }
        return Ok(meant.into_iter().map(|unit| unit.chosen(None)).collect());
    };
    refuse_company(units, None, on)?;
    let belongs = units.iter().find(|unit| unit.is_on(on));
    let free = || units.iter().find(|unit| unit.bound.is_none() && unit.startable());
    match belongs.or_else(free) {
        Some(unit) => Ok(vec![unit.chosen(Some(on))]),
        None if units.iter().all(|unit| unit.bound.is_some()) => {
            Err(ResourceError::NotOn { resource: resource.clone(), server: on.clone() }.into())
        }
        None => Err(ResourceError::NothingToStart(resource.clone()).into()),
    }
}

/// Those that run or should; with a server, the one that is or belongs there.
///
/// # Errors
/// When there is none.
pub fn to_stop(
    resource: &ResourceName,
    units: &[Unit],
    on: Option<&ServerName>,
) -> Result<Vec<Chosen>, AppError> {
    let there: Vec<&Unit> = units.iter().filter(|unit| on.is_none_or(|server| unit.is_on(server))).collect();
    if let (Some(server), true) = (on, there.is_empty()) {
        return Err(ResourceError::NotOn { resource: resource.clone(), server: server.clone() }.into());
    }
    let wanted = |unit: &&Unit| unit.target == Target::Online || unit.owner.is_some();
    let meant: Vec<Chosen> = there.into_iter().filter(wanted).map(|unit| unit.chosen(None)).collect();
    if meant.is_empty() {
        return Err(ResourceError::NothingToStop(resource.clone()).into());
    }
    Ok(meant)
}

/// The one that runs, or the one that runs on `from`.
///
/// # Errors
/// When there is none or more than one, or it cannot be elsewhere.
pub fn to_relocate(
    resource: &ResourceName,
    units: &[Unit],
    from: Option<&ServerName>,
    to: Option<&ServerName>,
) -> Result<Chosen, AppError> {
    if !units.is_empty() && units.iter().all(|unit| unit.bound.is_some()) {
        return Err(ResourceError::Bound(resource.clone()).into());
    }
    let running: Vec<&Unit> = units
        .iter()
        .filter(|unit| unit.owner.is_some())
        .filter(|unit| from.is_none() || unit.owner.as_ref() == from)
        .collect();
    match (&running[..], from) {
        ([only], _) => {
            if let Some(to) = to {
                refuse_company(units, Some(only), to)?;
            }
            Ok(only.chosen(to))
        }
        ([], Some(server)) => {
            Err(ResourceError::NotOn { resource: resource.clone(), server: server.clone() }.into())
        }
        ([], None) => Err(ResourceError::NothingToStop(resource.clone()).into()),
        (several, _) => Err(ResourceError::WhichInstance {
            resource: resource.clone(),
            servers: several.iter().filter_map(|unit| unit.owner.clone()).collect(),
        }
        .into()),
    }
}

/// Two instances of one resource never share a server.
fn refuse_company(units: &[Unit], but: Option<&Unit>, on: &ServerName) -> Result<(), AppError> {
    let there = |unit: &&Unit| {
        unit.owner.as_ref() == Some(on) && !unit.startable() && but.is_none_or(|but| but.name != unit.name)
    };
    match units.iter().find(there) {
        Some(unit) => Err(Refusal::AlreadyRuns { group: unit.name.clone(), server: on.clone() }.into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn unit(number: u32, owner: Option<&str>) -> Unit {
        Unit {
            name: format!("db#{number}").as_str().into(),
            number,
            bound: None,
            owner: owner.map(Into::into),
            releasing: false,
            failed: false,
            target: if owner.is_some() { Target::Online } else { Target::Offline },
        }
    }

    fn bound(number: u32, server: &str, runs: bool) -> Unit {
        Unit { bound: Some(server.into()), ..unit(number, runs.then_some(server)) }
    }

    fn names(chosen: &[Chosen]) -> Vec<&str> {
        chosen.iter().map(|chosen| chosen.unit.as_str()).collect()
    }

    fn code<T: std::fmt::Debug>(result: Result<T, AppError>) -> String {
        result.unwrap_err().code().to_owned()
    }

    #[test]
    fn a_start_means_what_does_not_run() {
        let db = "db".into();
        let failed = Unit { failed: true, ..unit(3, Some("mimi")) };
        let units = [unit(1, Some("kiki")), unit(2, None), failed];
        assert_eq!(names(&to_start(&db, &units, None).unwrap()), ["db#2", "db#3"]);
        assert_eq!(code(to_start(&db, &units[..1], None)), "TSK-1704");
        let stopping = [Unit { releasing: true, ..unit(1, Some("kiki")) }];
        // The registry refuses it, with the reason.
        assert_eq!(names(&to_start(&db, &stopping, None).unwrap()), ["db#1"]);
    }

    #[test]
    fn a_start_on_a_server_means_the_instance_of_that_server() {
        let db = "db".into();
        let units = [unit(1, Some("kiki")), unit(2, None), unit(3, None)];
        let chosen = to_start(&db, &units, Some(&"lala".into())).unwrap();
        assert_eq!((names(&chosen), chosen[0].to.clone()), (vec!["db#2"], Some("lala".into())));
        assert_eq!(code(to_start(&db, &units, Some(&"kiki".into()))), "TSK-1605");
        assert_eq!(code(to_start(&db, &units[..1], Some(&"lala".into()))), "TSK-1704");
        let local = [bound(1, "kiki", true), bound(2, "lala", false)];
        assert_eq!(names(&to_start(&db, &local, Some(&"lala".into())).unwrap()), ["db#2"]);
        assert_eq!(code(to_start(&db, &local, Some(&"mimi".into()))), "TSK-1707");
    }

    #[test]
    fn a_stop_means_what_runs_or_should() {
        let db = "db".into();
        let waiting = Unit { target: Target::Online, ..unit(2, None) };
        let units = [unit(1, Some("kiki")), waiting, unit(3, None)];
        assert_eq!(names(&to_stop(&db, &units, None).unwrap()), ["db#1", "db#2"]);
        assert_eq!(names(&to_stop(&db, &units, Some(&"kiki".into())).unwrap()), ["db#1"]);
        assert_eq!(code(to_stop(&db, &units, Some(&"mimi".into()))), "TSK-1707");
        assert_eq!(code(to_stop(&db, &units[2..], None)), "TSK-1705");
    }

    #[test]
    fn one_instance_moves_at_a_time_and_never_beside_another() {
        let db = "db".into();
        let units = [unit(1, Some("kiki")), unit(2, Some("lala"))];
        assert_eq!(code(to_relocate(&db, &units, None, None)), "TSK-1706");
        let (kiki, lala, mimi) = ("kiki".into(), "lala".into(), "mimi".into());
        let chosen = to_relocate(&db, &units, Some(&kiki), Some(&mimi)).unwrap();
        assert_eq!((chosen.unit.as_str(), chosen.from, chosen.to), ("db#1", Some(kiki.clone()), Some(mimi)));
        assert_eq!(code(to_relocate(&db, &units, Some(&kiki), Some(&lala))), "TSK-1605");
        assert_eq!(to_relocate(&db, &units[..1], None, None).unwrap().unit.as_str(), "db#1");
        assert_eq!(code(to_relocate(&db, &[unit(1, None)], None, None)), "TSK-1705");
        assert_eq!(code(to_relocate(&db, &[bound(1, "kiki", true)], None, None)), "TSK-1708");
        assert_eq!(code(to_relocate(&db, &units, Some(&"momo".into()), None)), "TSK-1707");
    }
}

//! What must always hold, each in a file of its own with the rules that it comes from. They look at
//! facts as they happen, and know what no server knows: the true time, and everything at once.

mod committed;
mod fresh;
mod lease;
mod linear;
mod obeys;
mod one_leader;
mod one_owner;
mod one_sole;
mod settled;
mod sound;
mod stop_reason;

use std::fmt;

use tasuki_core::config::ClusterConfig;

use crate::sim::{fact::Fact, world::State};

/// Something that must not happen has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant that saw it.
    pub invariant: &'static str,
    /// The rules that it comes from.
    pub rules: &'static str,
    /// When, in nanoseconds of true time.
    pub at: u64,
    /// What.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.invariant, self.rules, self.what.replace('\n', " "))
    }
}

/// One thing that must always hold.
pub trait Invariant {
    /// Its name.
    fn name(&self) -> &'static str;
    /// Where it comes from.
    fn rules(&self) -> &'static str;
    /// Looks at something that happened.
    ///
    /// # Errors
    /// What is wrong.
    fn look(&mut self, fact: &Fact, world: &State) -> Result<(), String>;
    /// Looks at the end of every step.
    ///
    /// # Errors
    /// What is wrong.
    fn tick(&mut self, _world: &State) -> Result<(), String> {
        Ok(())
    }
}

/// All of them.
pub struct Invariants(Vec<Box<dyn Invariant>>);

impl Invariants {
    /// All of them, for a cluster of this configuration.
    #[must_use]
    pub fn new(config: &ClusterConfig) -> Self {
        let timing = &config.settings.timing;
        Self(vec![
            Box::new(one_owner::OneOwner::new(timing)),
            Box::new(lease::Lease::new(timing)),
            Box::new(committed::Committed::default()),
            Box::new(one_leader::OneLeader::default()),
            Box::new(one_sole::OneSole::default()),
            Box::new(stop_reason::StopReason::default()),
            Box::new(linear::Linear::default()),
            Box::new(settled::Settled),
            Box::new(obeys::Obeys::new(timing)),
            Box::new(fresh::Fresh::default()),
            Box::new(sound::Sound),
        ])
    }

    /// Shows all of them something that happened.
    ///
    /// # Errors
    /// The first that is broken.
    pub fn look(&mut self, fact: &Fact, world: &State) -> Result<(), Violation> {
        for invariant in &mut self.0 {
            invariant.look(fact, world).map_err(|what| Violation {
                invariant: invariant.name(),
                rules: invariant.rules(),
                at: fact.at,
                what,
            })?;
        }
        Ok(())
    }

    /// Lets all of them look at the end of a step.
    ///
    /// # Errors
    /// The first that is broken.
    pub fn tick(&mut self, world: &State) -> Result<(), Violation> {
        for invariant in &mut self.0 {
            invariant.tick(world).map_err(|what| Violation {
                invariant: invariant.name(),
                rules: invariant.rules(),
                at: world.now,
                what,
            })?;
        }
        Ok(())
    }
}

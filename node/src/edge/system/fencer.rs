//! The port `Fencer`: agents and scripts as programs, reservations on this server's disks.

use async_trait::async_trait;
use tasuki_actors::ports::{FenceAction, FenceOrder, Fencer};
use tasuki_core::{
    config::FenceKind,
    ids::{Lineage, ServerName},
};
use tasuki_system::fence::{
    agent::Agent,
    reservation::{cut_off, key_of, monitor, register},
    script::Script,
    switch::Switch,
};

/// See the module.
#[derive(Debug)]
pub struct SystemFencer {
    me: ServerName,
    lineage: Lineage,
}

impl SystemFencer {
    /// The devices as this server of this cluster reaches them.
    #[must_use]
    pub fn new(me: ServerName, lineage: Lineage) -> Self {
        Self { me, lineage }
    }

    /// A server's key at shared disks: as configured, in hexadecimal, or made of its name.
    fn key(&self, order: &FenceOrder, server: &ServerName) -> Result<u64, String> {
        let Some(text) = order.config.ports.get(server) else {
            return Ok(key_of(self.lineage.as_str(), server.as_str()));
        };
        let digits = text.trim_start_matches("0x");
        let key = u64::from_str_radix(digits, 16).ok().filter(|key| *key != 0);
        key.ok_or_else(|| format!("`{text}` is no reservation key: write it as 0x and up to 16 digits"))
    }

    async fn switch(&self, order: &FenceOrder) -> Result<(), String> {
        let (target, port) = (order.target.as_str(), order.config.port_of(&order.target));
        let limit = order.config.timeout;
        let device = match &order.config.kind {
            FenceKind::Agent { program, parameters } => {
                Switch::Agent(Agent { program, parameters, target, port })
            }
            FenceKind::Script { program } => {
                Switch::Script(Script { program, local: self.me.as_str(), target, port })
            }
            FenceKind::Reservation { devices } => return self.reserve(order, devices).await,
            // The fencing actor waits instead.
            FenceKind::Watchdog => return Err("a watchdog takes no orders: its time has to pass".to_owned()),
        };
        let done = match order.action {
            FenceAction::Off => device.off(limit).await,
            FenceAction::On => device.on(limit).await,
            FenceAction::Monitor => device.monitor(limit).await,
        };
        done.map_err(|error| error.to_string())
    }

    async fn reserve(&self, order: &FenceOrder, disks: &[std::path::PathBuf]) -> Result<(), String> {
        let (disks, limit) = (disks.to_vec(), order.config.timeout);
        let own = self.key(order, &self.me)?;
        let done = match order.action {
            FenceAction::Off => cut_off(disks, own, self.key(order, &order.target)?, limit).await,
            // A key belongs to the machine that sends it: nobody can register another one.
            FenceAction::On if order.target != self.me => {
                return Err(format!("{} has to register itself", order.target));
            }
            FenceAction::On => register(disks, own, limit).await,
            FenceAction::Monitor => monitor(disks, own, limit).await,
        };
        done.map_err(|error| error.to_string())
    }
}

#[async_trait]
impl Fencer for SystemFencer {
    async fn act(&self, order: &FenceOrder) -> Result<(), String> {
        self.switch(order).await
    }
}

//! The machine's clocks.

use std::io;

use tasuki_actors::ports::Clock;
use tasuki_core::{
    ids::BootId,
    time::{Timestamp, WallTime},
};
use tasuki_system::clock;

/// The clocks of this machine.
#[derive(Clone, Debug)]
pub struct SystemClock {
    boot: BootId,
}

impl SystemClock {
    /// Reads the boot id once: it is the same for as long as this process lives.
    ///
    /// # Errors
    /// When `/proc` is not there.
    pub fn new() -> io::Result<Self> {
        Ok(Self { boot: clock::boot_id()? })
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        clock::now()
    }

    fn wall(&self) -> WallTime {
        clock::wall()
    }

    fn boot_id(&self) -> BootId {
        self.boot.clone()
    }
}

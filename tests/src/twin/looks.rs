//! What monitors and checks see on a machine in memory: as tests set it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tasuki_actors::ports::{LookError, Prober, ProgramAnswer, ProgramLook};

use super::Machine;

/// See the module.
#[derive(Default)]
pub(super) struct Looks {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    silent: BTreeSet<IpAddr>,
    programs: BTreeMap<String, ProgramAnswer>,
    looked: BTreeMap<String, usize>,
}

impl Looks {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Machine {
    /// Seen from here, an address answers echoes or does not; all do at first.
    pub fn answers(&self, address: IpAddr, answers: bool) {
        let mut looks = self.looks.inner();
        if answers {
            looks.silent.remove(&address);
        } else {
            looks.silent.insert(address);
        }
    }

    /// What a program says here from now on; exit code 0 and no text at first.
    pub fn program(&self, name: &str, code: i32, first_line: &str) {
        let answer = ProgramAnswer { code, first_line: first_line.to_owned() };
        self.looks.inner().programs.insert(name.to_owned(), answer);
    }

    /// How often a program was run, or an address asked, here.
    #[must_use]
    pub fn looked(&self, what: &str) -> usize {
        self.looks.inner().looked.get(what).copied().unwrap_or(0)
    }
}

#[async_trait]
impl Prober for Machine {
    async fn echo(&self, address: IpAddr, timeout: Duration) -> Result<(), String> {
        let silent = {
            let mut looks = self.looks.inner();
            *looks.looked.entry(address.to_string()).or_default() += 1;
            looks.silent.contains(&address)
        };
        if silent {
            tokio::time::sleep(timeout).await; // as long as the real one waits
            return Err(format!("{address} does not answer an echo within {timeout:?}"));
        }
        Ok(())
    }

    async fn run(&self, look: &ProgramLook) -> Result<ProgramAnswer, LookError> {
        let mut looks = self.looks.inner();
        let name = look.command.first().cloned().unwrap_or_default();
        *looks.looked.entry(name.clone()).or_default() += 1;
        let fine = || ProgramAnswer { code: 0, first_line: String::new() };
        Ok(looks.programs.get(&name).cloned().unwrap_or_else(fine))
    }
}

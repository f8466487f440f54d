//! Paths that are cut on purpose: how `tasuki lab cut` pulls a cable where there is none.
//!
//! Only a node that was started with [`CUTS_VARIABLE`] looks at such a file. A line `PEER NETWORK`
//! cuts this server's path to PEER on NETWORK, both directions: calls get no answer, datagrams
//! vanish. `*` stands for every peer or network; `#` begins a comment. A missing file cuts nothing.

use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tasuki_core::{
    config::ClusterConfig,
    ids::{NetworkName, ServerName},
};

/// The environment variable that names the file.
pub const CUTS_VARIABLE: &str = "TASUKI_LAB_CUTS";

/// How often the file is looked at, at most.
const LOOK: Duration = Duration::from_millis(10);

/// Which paths are cut. Shared by calls and datagrams.
#[derive(Debug)]
pub struct Cuts {
    file: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    looked: Option<Instant>,
    /// Inode, size, seconds and nanoseconds: a file replaced within one tick differs in the first.
    version: Option<(u64, u64, i64, i64)>,
    lines: Vec<(String, String)>,
    /// Whose address is on which network.
    networks: BTreeMap<IpAddr, NetworkName>,
    /// The same by the configuration, for networks that carry no heartbeats.
    configured: BTreeMap<IpAddr, NetworkName>,
}

impl Cuts {
    /// Nothing is ever cut.
    #[must_use]
    pub fn none() -> Arc<Self> {
        Arc::new(Self { file: None, state: Mutex::default() })
    }

    /// What the file says, now and whenever it changes.
    #[must_use]
    pub fn from_file(file: PathBuf) -> Arc<Self> {
        Arc::new(Self { file: Some(file), state: Mutex::default() })
    }

    /// As the environment says: nothing, unless [`CUTS_VARIABLE`] names a file.
    #[must_use]
    pub fn from_environment() -> Arc<Self> {
        match std::env::var_os(CUTS_VARIABLE) {
            Some(file) => Self::from_file(file.into()),
            None => Self::none(),
        }
    }

    /// Whether anything is ever cut here.
    #[must_use]
    pub fn may_cut(&self) -> bool {
        self.file.is_some()
    }

    /// Which addresses, of peers and of this server, are on which network.
    pub fn set_addresses(&self, addresses: impl IntoIterator<Item = (IpAddr, NetworkName)>) {
        if self.file.is_some() {
            self.state.lock().unwrap_or_else(PoisonError::into_inner).networks =
                addresses.into_iter().collect();
        }
    }

    /// Which addresses of which servers are on which network, as configured.
    pub fn set_configured(&self, config: &ClusterConfig) {
        if self.file.is_some() {
            let all = config.servers.values().flat_map(|server| &server.addresses);
            self.state.lock().unwrap_or_else(PoisonError::into_inner).configured =
                all.map(|(network, address)| (*address, network.clone())).collect();
        }
    }

    /// Whether the path to `peer` on `network` is cut.
    #[must_use]
    pub fn is_cut(&self, peer: &ServerName, network: &NetworkName) -> bool {
        self.file.is_some() && self.look().cuts(peer, Some(network))
    }

    /// Whether the path to `peer` is cut on the network that `address` belongs to.
    #[must_use]
    pub fn is_cut_at(&self, peer: &ServerName, address: IpAddr) -> bool {
        if self.file.is_none() {
            return false;
        }
        let state = self.look();
        state.cuts(peer, state.networks.get(&address).or_else(|| state.configured.get(&address)))
    }

    fn look(&self) -> std::sync::MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.is_some_and(|at| at.elapsed() < LOOK) {
            return state;
        }
        state.looked = Some(Instant::now());
        let Some(file) = &self.file else { return state };
        let version = fs::metadata(file).ok().map(|m| (m.ino(), m.size(), m.mtime(), m.mtime_nsec()));
        if version != state.version {
            state.version = version;
            state.lines = parse(&fs::read_to_string(file).unwrap_or_default());
            tracing::warn!(file = %file.display(), paths = state.lines.len(), "paths are cut on purpose");
        }
        state
    }
}

impl State {
    fn cuts(&self, peer: &ServerName, network: Option<&NetworkName>) -> bool {
        self.lines.iter().any(|(p, n)| {
            (p == "*" || p == peer.as_str()) && (n == "*" || network.is_some_and(|name| n == name.as_str()))
        })
    }
}

fn parse(text: &str) -> Vec<(String, String)> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split('#').next()?.split_whitespace();
            Some((words.next()?.to_owned(), words.next()?.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_the_file_names_is_cut() {
        let lines = parse("# cables\nkiki public\nlala *  # all of them\nbroken\n\n* mirror\n");
        let state = State { lines, ..State::default() };
        let cut = |peer: &str, network: &str| state.cuts(&peer.into(), Some(&network.into()));
        assert!(cut("kiki", "public") && cut("lala", "private") && cut("mimi", "mirror"));
        assert!(!cut("kiki", "private") && !cut("broken", "public"));
        assert!(state.cuts(&"lala".into(), None) && !state.cuts(&"kiki".into(), None));
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cuts");
        let cuts = Cuts::from_file(file.clone());
        let address: IpAddr = "10.1.0.2".parse().unwrap();
        cuts.set_addresses([(address, "public".into())]);
        let soon = |expected: bool| {
            let end = Instant::now() + Duration::from_secs(5);
            while cuts.is_cut_at(&"kiki".into(), address) != expected {
                assert!(Instant::now() < end);
                std::thread::yield_now();
            }
        };
        soon(false);
        fs::write(&file, "kiki public\n").unwrap();
        soon(true);
        assert!(cuts.is_cut(&"kiki".into(), &"public".into()));
        fs::remove_file(&file).unwrap();
        soon(false);
        assert!(!Cuts::none().is_cut(&"kiki".into(), &"public".into()));
    }
}

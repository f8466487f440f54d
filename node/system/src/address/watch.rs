//! Looks after an address that is held: repeats its announcement, and notices when another machine
//! announces it, when somebody removes it, and when its interface loses the carrier.
//!
//! Neighbours' caches, and switches, are told again and again, because one announcement may be lost
//! and because a cable that was out has told nobody (a stale cache keeps a service away for
//! minutes). While the address is new, two servers may speak for it: the new owner, and an old one
//! that was frozen and has not noticed yet that its lease is over. The new one then stays and
//! announces at once; the old one, which has had it for longer, drops it at once (R39).

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use tokio::{
    io::unix::AsyncFd,
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

use crate::readable::readable;

use super::{
    HeldAddress,
    error::{AddressError, Loss},
    find_held, find_link,
    frame::{Mac, Sighting},
    netlink::{Changes, Link, Netlink},
    packet::{Listener, PacketSocket, close_elsewhere},
    probe::own_macs,
    remove_now,
};

/// The kernel's message about a lost carrier may come a second late; its answer to a question is
/// right at once.
const CHECK_EVERY: Duration = Duration::from_millis(250);
/// After that, announcements only serve neighbours that lost or never heard the earlier ones.
const ANNOUNCE_FOREVER: Duration = Duration::from_secs(10);
/// Announcements in answer to a conflict are not closer together than this.
const DEFEND_EVERY: Duration = Duration::from_millis(20);

/// How long an address that a lost server still answers for is announced often, and defended.
const CONTESTED: Duration = Duration::from_secs(600);

/// How an address is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchOptions {
    /// How long the owner is new: it announces often, and answers a conflict by announcing instead
    /// of dropping. Two leases for an address just acquired, zero for one that was adopted.
    pub settle: Duration,
    /// How long the carrier may be away before it counts as lost.
    pub carrier_grace: Duration,
}

impl WatchOptions {
    /// For an address just acquired.
    #[must_use]
    pub fn acquired(two_leases: Duration) -> Self {
        Self { settle: two_leases, ..Self::adopted() }
    }

    /// For an address that a lost server's kernel still answers for: the clients are told again and
    /// again where it is now, for as long as somebody may take to look after that server.
    #[must_use]
    pub fn contested(two_leases: Duration) -> Self {
        Self { settle: two_leases.max(CONTESTED), ..Self::adopted() }
    }

    /// For an address that this server has had for a while.
    #[must_use]
    pub fn adopted() -> Self {
        Self { settle: Duration::ZERO, carrier_grace: Duration::from_millis(200) }
    }
}

/// Keeps the watch going; dropped, it ends. It never removes the address, except on a conflict.
#[derive(Debug)]
pub struct Watch {
    task: Option<JoinHandle<()>>,
    /// A loopback address is never lost, but the receiver must not believe that the watch ended.
    _never: Option<oneshot::Sender<Loss>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Starts to watch and announce an address that is held. Needs a tokio runtime.
///
/// The receiver resolves with the first thing that is wrong. After [`Loss::Conflict`] the address is
/// gone from here already; after [`Loss::Carrier`] it is still there, announced again when the
/// carrier is back, and still dropped on a conflict.
///
/// # Errors
/// When the interface is gone or sockets cannot be opened.
pub fn watch(
    held: &HeldAddress,
    options: WatchOptions,
) -> Result<(Watch, oneshot::Receiver<Loss>), AddressError> {
    let (report, lost) = oneshot::channel();
    if held.loopback {
        return Ok((Watch { task: None, _never: Some(report) }, lost));
    }
    // Before the first look, so that no change falls between the two.
    let changes = Changes::open()?;
    let link = find_link(&mut Netlink::open()?, &held.device)?;
    let listener = PacketSocket::open(&link, held.address)?.map(Listener::new).transpose()?;
    let changed = changes
        .as_fd()
        .try_clone_to_owned()
        .and_then(readable)
        .map_err(|error| AddressError::kernel("watch the address", error))?;
    let watcher = Watcher {
        held: held.clone(),
        options,
        index: link.index,
        listener,
        changes,
        changed,
        own: Vec::new(),
        report: Some(report),
        started: Instant::now(),
        burst: Instant::now(),
        announced: None,
        dark_since: None,
    };
    Ok((Watch { task: Some(tokio::spawn(watcher.run())), _never: None }, lost))
}

struct Watcher {
    held: HeldAddress,
    options: WatchOptions,
    index: u32,
    listener: Option<Listener>,
    changes: Changes,
    changed: AsyncFd<OwnedFd>,
    own: Vec<Mac>,
    report: Option<oneshot::Sender<Loss>>,
    started: Instant,
    /// Since when announcements are frequent.
    burst: Instant,
    announced: Option<Instant>,
    dark_since: Option<Instant>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.take() {
            close_elsewhere(listener);
        }
    }
}

/// The end of the watch.
struct Over;

impl Watcher {
    async fn run(mut self) {
        let mut next_check = Instant::now();
        let mut next_announcement = Instant::now();
        loop {
            let step = tokio::select! {
                biased;
                seen = hear(self.listener.as_ref()) => match seen {
                    Ok(seen) => self.on_sighting(seen),
                    Err(error) => {
                        // "Network is down" is reported once; the check says what it means.
                        tracing::debug!(address = %self.held.address, %error, "listening was interrupted");
                        sleep(DEFEND_EVERY).await;
                        self.check().await
                    }
                },
                changed = changed(&self.changed, &self.changes, self.index) => match changed {
                    Ok(()) => self.check().await,
                    Err(error) => {
                        tracing::debug!(address = %self.held.address, %error, "no more messages from the kernel");
                        sleep(DEFEND_EVERY).await;
                        Ok(())
                    }
                },
                () = sleep_until(next_check) => {
                    next_check = Instant::now() + CHECK_EVERY;
                    self.check().await
                }
                () = sleep_until(next_announcement) => {
                    self.announce();
                    Ok(())
                }
            };
            if let Err(Over) = step {
                return;
            }
            if let (Some(since), Some(_)) = (self.dark_since, &self.report) {
                next_check = next_check.min(since + self.options.carrier_grace);
            }
            let settle = self.options.settle.max(Duration::from_secs(1));
            next_announcement = Instant::now() + until_next(self.announced, self.burst, settle);
        }
    }

    fn on_sighting(&mut self, seen: Sighting) -> Result<(), Over> {
        let Sighting::Claimed(mac) = seen else { return Ok(()) };
        if self.own.contains(&mac) {
            return Ok(());
        }
        // The machine's own hardware addresses may have changed since the last look (bonding).
        if let Ok(links) = Netlink::open().and_then(|mut netlink| netlink.links()) {
            self.own = own_macs(&links);
            if self.own.contains(&mac) {
                return Ok(());
            }
        }
        let (address, device) = (self.held.address, self.held.device.clone());
        if self.started.elapsed() < self.options.settle {
            tracing::warn!(%address, %mac, device, "somebody else announces an address just taken: announcing it again");
            if self.announced.is_none_or(|last| last.elapsed() >= DEFEND_EVERY) {
                self.announce();
            }
            self.burst = Instant::now();
            return Ok(());
        }
        // Here and not by the caller: nothing may delay it.
        if let Err(error) = remove_now(std::slice::from_ref(&self.held)) {
            tracing::error!(%address, device, %error, "an address that somebody else announces cannot be removed");
        }
        self.tell(Loss::Conflict { address, mac, device });
        Err(Over)
    }

    /// Looks at the address and its interface.
    async fn check(&mut self) -> Result<(), Over> {
        let held = self.held.clone();
        // Not on a runtime thread: another program may hold the kernel's lock for long.
        let look = tokio::task::spawn_blocking(move || look(&held)).await;
        let state = match look {
            Ok(Ok(state)) => state,
            Ok(Err(error)) => {
                tracing::warn!(address = %self.held.address, %error, "cannot look after the address");
                return Ok(());
            }
            Err(_) => return Ok(()),
        };
        self.own = state.own;
        let (address, device) = (self.held.address, self.held.device.clone());
        if !state.present {
            self.tell(Loss::Removed { address, device });
            return Err(Over);
        }
        let now = Instant::now();
        match (state.carrier, self.dark_since) {
            (true, None) => {}
            (true, Some(_)) => {
                self.dark_since = None;
                self.burst = now;
                self.announce();
            }
            (false, None) => self.dark_since = Some(now),
            (false, Some(since)) if now - since >= self.options.carrier_grace => {
                self.tell(Loss::Carrier { address, device });
            }
            (false, Some(_)) => {}
        }
        Ok(())
    }

    fn announce(&mut self) {
        self.announced = Some(Instant::now());
        if let Some(listener) = &self.listener
            && let Err(error) = listener.socket.announce()
        {
            tracing::debug!(address = %self.held.address, %error, "announcement failed");
        }
    }

    fn tell(&mut self, loss: Loss) {
        if let Some(report) = self.report.take() {
            tracing::warn!(code = loss.code(), "{loss}");
            // Nobody listening any more is the caller's choice.
            let _ = report.send(loss);
        }
    }
}

/// How long until the next announcement: at 0, 0.1, 0.3 seconds of a burst, then every half second
/// until it has lasted `settle`, then now and then.
fn until_next(announced: Option<Instant>, burst: Instant, settle: Duration) -> Duration {
    let Some(last) = announced else { return Duration::ZERO };
    let at = match last.saturating_duration_since(burst) {
        _ if last < burst => burst,
        since if since < Duration::from_millis(100) => burst + Duration::from_millis(100),
        since if since < Duration::from_millis(300) => burst + Duration::from_millis(300),
        since if since < settle => last + Duration::from_millis(500),
        _ => last + ANNOUNCE_FOREVER,
    };
    at.saturating_duration_since(Instant::now())
}

struct State {
    present: bool,
    carrier: bool,
    own: Vec<Mac>,
}

fn look(held: &HeldAddress) -> Result<State, AddressError> {
    let mut netlink = Netlink::open()?;
    let links = netlink.links()?;
    let addresses = netlink.addresses()?;
    let carries = |link: &Link| link.name == held.device && link.up && link.carrier;
    Ok(State {
        present: find_held(held, &links, &addresses).is_some(),
        carrier: links.iter().any(carries),
        own: own_macs(&links),
    })
}

/// The next thing heard about the address; never, on a link without neighbours.
async fn hear(listener: Option<&Listener>) -> io::Result<Sighting> {
    match listener {
        Some(listener) => listener.hear().await,
        None => std::future::pending().await,
    }
}

/// Resolves when the kernel says that something happened to the interface.
async fn changed(ready: &AsyncFd<OwnedFd>, changes: &Changes, index: u32) -> io::Result<()> {
    loop {
        let mut ready = ready.readable().await?;
        let concerned = changes.drain(index)?;
        ready.clear_ready();
        if concerned {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn announcements_are_dense_at_first_and_rare_later() {
        let burst = Instant::now();
        let settle = Duration::from_secs(2);
        let (mut announced, mut times) = (None, Vec::new());
        for _ in 0..9 {
            tokio::time::advance(until_next(announced, burst, settle)).await;
            announced = Some(Instant::now());
            times.push(burst.elapsed().as_millis());
        }
        assert_eq!(times, [0, 100, 300, 800, 1300, 1800, 2300, 12_300, 22_300]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_burst_announces_at_once() {
        let announced = Instant::now();
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(until_next(Some(announced), Instant::now(), Duration::from_secs(1)), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_loopback_address_is_watched_without_end() {
        let held = HeldAddress {
            address: [127, 0, 0, 88].into(),
            prefix: 8,
            device: "lo".to_owned(),
            loopback: true,
        };
        let Ok((_watch, mut lost)) = watch(&held, WatchOptions::adopted()) else { panic!("refused") };
        assert!(lost.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
    }
}

//! Mirrored volumes over the real actors, Raft and store, with cables and disks in memory: what a client
//! saw acknowledged is there after every failover, and only good copies are opened. Rules R25 to R31,
//! R40.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tasuki_actors::ohas::mirrors::MirrorError;
use tasuki_core::{
    config::{ClusterConfig, InitialCopy, MirrorDiskConfig, ResourceConfig, ResourceKind},
    ids::{ServerName, VolumeName},
    mirror::{DiskState, LinkState, Role, state::Wish, wire::Wires},
    registry::{
        Author, Command, State,
        mirror::{Volume, VolumeCommand},
    },
};
use tasuki_tests::twin::{
    Twin, config, holds_in_time, online_on, patiently_at, servers, until, volumes::BLOCKS,
};
use tokio::task::JoinHandle;

const DETECT: Duration = Duration::from_secs(2);
const VOLUME: &str = "data";

fn kiki() -> ServerName {
    "kiki".into()
}

fn lala() -> ServerName {
    "lala".into()
}

fn set(names: &[&str]) -> BTreeSet<ServerName> {
    names.iter().map(|name| ServerName::from(*name)).collect()
}

/// Servers of which the first `copies` keep copies, and may run the group.
fn mirrored(servers: usize, copies: usize, change: impl Fn(&mut MirrorDiskConfig)) -> ClusterConfig {
    let mut config = config(servers, DETECT);
    let group = config.groups.get_mut(&"web".into()).unwrap();
    group.servers.truncate(copies);
    let mut disk = MirrorDiskConfig::of("/data".into(), "/meta".into());
    disk.initial = InitialCopy::KnownEqual;
    change(&mut disk);
    group.resources.insert(VOLUME.into(), ResourceConfig::of(ResourceKind::MirrorDisk(disk)));
    config
}

async fn form(config: ClusterConfig) -> Arc<Twin> {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
    let twin = Arc::new(Twin::form(config).await);
    twin.until_whole().await;
    twin
}

fn volume(state: &State) -> Option<&Volume> {
    state.volumes.get(&VolumeName::from(VOLUME)).map(|item| &item.value)
}

/// Until the registry has these copies as the good ones.
async fn until_good(twin: &Twin, names: &[&str]) {
    let wanted = set(names);
    twin.until(&format!("the good copies are {names:?}"), |state| {
        volume(state).is_some_and(|volume| volume.good == wanted)
    })
    .await;
}

/// A client: writes numbers that grow, wherever the device is, and keeps what was acknowledged.
struct Client {
    twin: Arc<Twin>,
    /// For each block the last number that was acknowledged, and the last that was tried.
    told: Arc<Mutex<BTreeMap<usize, (u64, u64)>>>,
    /// The last number.
    number: Arc<AtomicU64>,
    /// Taken while it writes; held by who wants it to rest.
    turn: Arc<tokio::sync::Mutex<()>>,
    resting: Option<tokio::sync::OwnedMutexGuard<()>>,
    task: JoinHandle<()>,
}

impl Client {
    fn start(twin: &Arc<Twin>) -> Self {
        let told: Arc<Mutex<BTreeMap<usize, (u64, u64)>>> = Arc::default();
        let (writing, known) = (twin.clone(), told.clone());
        let turn: Arc<tokio::sync::Mutex<()>> = Arc::default();
        let mine = turn.clone();
        let number: Arc<AtomicU64> = Arc::default();
        let next = number.clone();
        let task = tokio::spawn(async move {
            loop {
                let writes = mine.lock().await;
                let number = next.fetch_add(1, Ordering::Relaxed) + 1;
                let block = usize::try_from(number * 7).unwrap() % BLOCKS;
                let devices = writing.disks().devices(VOLUME);
                assert!(devices.len() <= 1, "devices on {devices:?} at once");
                if let Some(server) = devices.first() {
                    known.lock().unwrap().entry(block).or_default().1 = number;
                    let answered = writing.disks().write(server, VOLUME, block, number).await;
                    if answered.is_some() {
                        known.lock().unwrap().entry(block).or_default().0 = number;
                    }
                }
                drop(writes);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        Self { twin: twin.clone(), told, number, turn, resting: None, task }
    }

    /// It writes nothing for a while, or goes on.
    async fn rest(&mut self, rest: bool) {
        self.resting = if rest { Some(self.turn.clone().lock_owned().await) } else { None };
    }

    fn acknowledged(&self) -> usize {
        self.told.lock().unwrap().values().filter(|(acknowledged, _)| *acknowledged > 0).count()
    }

    /// Until so many more writes than now have been acknowledged.
    async fn goes_on(&self) {
        let last = || self.told.lock().unwrap().values().map(|(acknowledged, _)| *acknowledged).max();
        let before = last();
        until("the client writes on", || last() > before.map(|number| number + 20)).await;
    }

    /// Every block holds what was acknowledged last, or a later write that was tried.
    fn check(&self) {
        let devices = self.twin.disks().devices(VOLUME);
        let server = devices.first().expect("a device");
        for (block, (acknowledged, tried)) in &*self.told.lock().unwrap() {
            let read = self.twin.disks().read(server, VOLUME, *block).expect("a read");
            assert!(
                (*acknowledged..=*tried).contains(&read),
                "block {block} on {server} reads {read}; acknowledged was {acknowledged}, tried {tried}"
            );
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Three servers, the first two with a copy, both good; the first runs the group, and a client writes.
async fn served() -> (Arc<Twin>, Client) {
    let twin = form(mirrored(3, 2, |_| {})).await;
    twin.until_online("web", &[kiki()]).await;
    until_good(&twin, &["kiki", "lala"]).await;
    let client = Client::start(&twin);
    client.goes_on().await;
    (twin, client)
}

async fn propose(twin: &Twin, by: &ServerName, command: Command) {
    twin.command(by, command).await;
}

/// Until the leader has looked again after one more change of the registry.
async fn wait_for_decisions(twin: &Twin) {
    let revision = twin.node(&lala()).unwrap().state().revision;
    let token = Command::IssueToken {
        id: "one more".into(),
        digest: "digest".into(),
        server: None,
        expires: tasuki_core::time::WallTime(u64::MAX),
    };
    propose(twin, &lala(), token).await;
    twin.until("one more change", |state| state.revision > revision).await;
    tokio::time::sleep(DETECT / 2).await; // in which nothing may happen
}

async fn move_to(twin: &Twin, by: &ServerName, to: &ServerName) {
    let command = Command::MoveGroup { group: "web".into(), to: Some(to.clone()), force: false };
    propose(twin, by, command).await;
}

/// The owner dies while it writes; the other copy has every acknowledged write, goes on alone, and the
/// first one comes back by a resync of what differs only, and may take over again.
#[test]
fn r25_r28_what_was_acknowledged_is_there_after_every_failover() {
    patiently_at(DETECT, async || {
        let (twin, mut client) = served().await;

        twin.kill_machine(&kiki()).await;
        twin.until_online("web", &[lala()]).await;
        client.check();
        client.goes_on().await;
        until_good(&twin, &["lala"]).await;

        // Back and equal again; then away while only a few blocks are written: only those are copied.
        twin.boot(&kiki()).await;
        until_good(&twin, &["kiki", "lala"]).await;
        client.rest(true).await;
        twin.kill_machine(&kiki()).await;
        until_good(&twin, &["lala"]).await;
        for block in 10..15 {
            let value = client.number.fetch_add(1, Ordering::Relaxed) + 1;
            twin.disks().write(&lala(), VOLUME, block, value).await.unwrap();
            client.told.lock().unwrap().insert(block, (value, value));
        }
        let before = twin.disks().resynced();
        twin.boot(&kiki()).await;
        until_good(&twin, &["kiki", "lala"]).await;
        let copied = twin.disks().resynced() - before;
        holds_in_time(copied == 5, &format_args!("five blocks are copied: {copied}"));
        client.rest(false).await;
        client.goes_on().await;

        twin.kill_machine(&lala()).await;
        twin.until_online("web", &[kiki()]).await;
        client.check();
        assert!(client.acknowledged() > 0);
    });
}

/// A group that is moved closes its volume in order: nothing has to be copied afterwards.
#[test]
fn a_move_closes_and_opens_and_copies_nothing() {
    patiently_at(DETECT, async || {
        let (twin, client) = served().await;
        move_to(&twin, &kiki(), &lala()).await;
        twin.until_online("web", &[lala()]).await;
        client.check();
        client.goes_on().await;
        client.check();
        until_good(&twin, &["kiki", "lala"]).await;
        let view = twin.node(&lala()).unwrap().mirrors().view(&VOLUME.into()).unwrap();
        assert_eq!((view.path.unwrap().role, view.disk), (Role::Primary, DiskState::UpToDate));
        let view = twin.node(&kiki()).unwrap().mirrors().view(&VOLUME.into()).unwrap();
        assert_eq!((view.path.unwrap().role, view.disk), (Role::Secondary, DiskState::UpToDate));
        twin.assert_one_owner_at_a_time();
    });
}

/// Only the cable that carries mirror data is cut: writes stand still until the registry has the other
/// copy as outdated, then go on; the group stays where it is, and the copy comes back.
#[test]
fn r26_r29_a_cut_mirror_cable_outdates_the_other_copy_before_the_next_answer() {
    patiently_at(DETECT, async || {
        let (twin, client) = served().await;
        twin.cut_network("inter");
        until_good(&twin, &["kiki"]).await;
        client.goes_on().await;
        assert_eq!(twin.disks().devices(VOLUME), [kiki()]);
        let view = twin.node(&lala()).unwrap().mirrors().view(&VOLUME.into()).unwrap();
        assert_eq!(view.disk, DiskState::Outdated);
        twin.heal();
        until_good(&twin, &["kiki", "lala"]).await;
        client.goes_on().await;
        twin.kill_machine(&kiki()).await;
        twin.until_online("web", &[lala()]).await;
        client.check();
    });
}

/// A program that leaves a version out: its server is refused by the other one, the group goes on from its
/// own copy, people are told whom to upgrade, and after that both copies are good again.
#[test]
fn r28_a_peer_without_a_common_version_is_put_out_and_comes_back_with_its_upgrade() {
    patiently_at(DETECT, async || {
        let (twin, client) = served().await;
        twin.kill_machine(&kiki()).await;
        twin.until_online("web", &[lala()]).await;
        until_good(&twin, &["lala"]).await;
        let (mut heard, told) = (twin.node(&lala()).unwrap().events(), Arc::new(Mutex::new(Vec::new())));
        let tells = told.clone();
        let listening = tokio::spawn(async move {
            while let Ok(event) = heard.recv().await {
                tells.lock().unwrap().push((event.kind, event.text));
            }
        });
        twin.disks().install(&lala(), Wires { oldest: 2, newest: 3 });
        twin.boot(&kiki()).await;
        let refused = |kind: &str, text: &str| {
            let words = ["TSK-1830", "versions 2 to 3", "kiki version 1: upgrade kiki"];
            kind == "mirror-refused" && words.iter().all(|word| text.contains(word))
        };
        until("lala says whom to upgrade", || {
            told.lock().unwrap().iter().any(|(kind, text)| refused(kind, text))
        })
        .await;
        client.goes_on().await;
        assert_eq!(volume(&twin.node(&lala()).unwrap().state()).unwrap().good, set(&["lala"]));
        twin.disks().install(&kiki(), Wires { oldest: 1, newest: 2 });
        until_good(&twin, &["kiki", "lala"]).await;
        listening.abort();
        twin.kill_machine(&lala()).await;
        twin.until_online("web", &[kiki()]).await;
        client.check();
    });
}

/// C20, T2: the good copy's server dies while the other one's copy is old. The group waits for it, and
/// says so; an operator's word lets it go on from the old copy all the same.
#[test]
fn r40_a_group_waits_for_the_server_that_has_the_good_copy() {
    patiently_at(DETECT, async || {
        let (twin, client) = served().await;
        twin.cut_network("inter");
        until_good(&twin, &["kiki"]).await;
        client.goes_on().await;
        twin.kill_machine(&kiki()).await;
        twin.heal();
        twin.until("kiki is gone", |state| {
            state.groups[&"web".into()].ownership.value.owner.is_none()
                && state.presence(&kiki()).is_some_and(|presence| !presence.up)
        })
        .await;
        // An operator who wants it online does not change that.
        let started = Command::StartGroup { group: "web".into(), on: None };
        let by = Author::Operator("twin".into());
        let _accepted_or_not = twin.node(&lala()).unwrap().propose(by, started, None, Vec::new()).await;
        wait_for_decisions(&twin).await;
        assert!(twin.disks().devices(VOLUME).is_empty(), "an outdated copy was opened");
        assert_eq!(online_on(&twin.node(&lala()).unwrap().state(), "web"), None);

        twin.boot(&kiki()).await;
        twin.until_online("web", &[kiki()]).await;
        client.check();
        until_good(&twin, &["kiki", "lala"]).await;
    });
}

/// The operator's word opens an old copy; the one that was good is shown as diverged when it comes
/// back, and is copied over only after a second word.
#[test]
fn r35_force_opens_an_old_copy_and_the_other_is_overwritten_only_by_a_second_word() {
    patiently_at(DETECT, async || {
        let (twin, client) = served().await;
        twin.cut_network("inter");
        until_good(&twin, &["kiki"]).await;
        client.goes_on().await;
        drop(client);
        twin.kill_machine(&kiki()).await;
        twin.heal();
        twin.until("kiki is gone", |state| state.groups[&"web".into()].ownership.value.owner.is_none()).await;
        let force =
            Command::Volume { volume: VOLUME.into(), command: VolumeCommand::Force { server: lala() } };
        let operator = || Author::Operator("twin".into());
        let node = twin.node(&lala()).unwrap();
        let forced = node.propose(operator(), force.clone(), None, Vec::new()).await;
        assert!(forced.is_ok(), "{forced:?}");
        twin.until_online("web", &[lala()]).await;
        let client = Client::start(&twin);
        client.goes_on().await;
        client.check();
        let events = Arc::new(Mutex::new(Vec::new()));
        let (mut heard, told) = (node.events(), events.clone());
        let listening = tokio::spawn(async move {
            while let Ok(event) = heard.recv().await {
                told.lock().unwrap().push(event.kind);
            }
        });
        twin.boot(&kiki()).await;
        until("lala says that they diverged", || {
            events.lock().unwrap().iter().any(|k| k == "mirror-diverged")
        })
        .await;
        assert_eq!(volume(&node.state()).unwrap().good, set(&["lala"]));
        let wish = Wish::Rebuild { peer: kiki(), full: false, discard: true };
        node.mirrors().wish(&VOLUME.into(), wish).unwrap();
        until_good(&twin, &["kiki", "lala"]).await;
        listening.abort();
        twin.kill_machine(&lala()).await;
        twin.until_online("web", &[kiki()]).await;
        client.check();
    });
}

/// R27: the owner's own disk fails. It goes on through the peer, and is the copy that is out.
#[test]
fn r27_a_primary_without_its_disk_goes_on_through_the_peer() {
    patiently_at(DETECT, async || {
        let (twin, client) = served().await;
        twin.disks().fail_disk(&kiki(), VOLUME);
        until_good(&twin, &["lala"]).await;
        client.goes_on().await;
        client.check();
        assert_eq!(twin.disks().devices(VOLUME), [kiki()]);
        // While it is open there, nothing can be copied to it.
        let mend = || async { twin.node(&kiki()).unwrap().mirrors().mend(&VOLUME.into()).await };
        assert_eq!(mend().await, Err(MirrorError::OpenHere(VOLUME.into())));
        twin.kill_machine(&kiki()).await;
        twin.until_online("web", &[lala()]).await;
        client.check();
        // It is as failed after a boot, until somebody says that it is in order; then it is copied whole.
        twin.boot(&kiki()).await;
        let seen = || twin.node(&kiki()).and_then(|node| node.mirrors().view(&VOLUME.into()));
        until("the copy is open again", || seen().is_some_and(|view| view.path.is_some())).await;
        wait_for_decisions(&twin).await;
        assert_eq!(seen().map(|view| view.disk), Some(DiskState::Failed));
        until_good(&twin, &["lala"]).await;
        let before = twin.disks().resynced();
        assert_eq!(mend().await, Ok(()));
        until_good(&twin, &["kiki", "lala"]).await;
        assert!(twin.disks().resynced() - before >= BLOCKS as u64);
        assert_eq!(mend().await, Ok(()), "a disk that works is left as it is");
        twin.kill_machine(&lala()).await;
        twin.until_online("web", &[kiki()]).await;
        client.check();
    });
}

/// A server with a copy gets another address while the volume is open: it is called there.
#[test]
fn a_copy_is_called_where_its_server_is_now() {
    patiently_at(DETECT, async || {
        let (twin, client) = served().await;
        let mut config = mirrored(3, 2, |_| {});
        let addresses = &mut config.servers.get_mut(&lala()).unwrap().addresses;
        addresses.insert("inter".into(), [127, 99, 0, 2].into());
        let before = twin.disks().resynced();
        propose(&twin, &kiki(), Command::SetConfig { config }).await;
        client.goes_on().await;
        // Its copy was opened anew at the new address, and is in step again.
        until("a copy that is in step", || {
            let view = twin.node(&kiki()).and_then(|node| node.mirrors().view(&VOLUME.into()));
            let peers = view.and_then(|view| view.path).map(|path| path.peers).unwrap_or_default();
            twin.disks().at(&lala(), VOLUME).iter().any(|place| place.ip() == IpAddr::from([127, 99, 0, 2]))
                && peers.iter().any(|peer| peer.server == lala() && peer.link == LinkState::Connected)
        })
        .await;
        until_good(&twin, &["kiki", "lala"]).await;
        println!("{} blocks were copied", twin.disks().resynced() - before);
        client.goes_on().await;
        twin.kill_machine(&kiki()).await;
        twin.until_online("web", &[lala()]).await;
        client.check();
    });
}

/// Restarting the volume's actor does not close the volume: the device stays, and writes go on.
#[test]
fn a_restarted_mirror_actor_adopts_the_open_volume() {
    patiently_at(DETECT, async || {
        let (twin, client) = served().await;
        let starts = twin.machine(&kiki()).starts();
        let node = twin.node(&kiki()).unwrap();
        let epoch = volume(&node.state()).unwrap().epoch;
        node.context().mirrors.actor(&VOLUME.into()).unwrap().kill();
        twin.until("it is opened once more", |state| volume(state).unwrap().epoch > epoch).await;
        client.goes_on().await;
        until_good(&twin, &["kiki", "lala"]).await;
        holds_in_time(twin.machine(&kiki()).starts() == starts, &"no resource is restarted");
        client.check();
        twin.kill_machine(&kiki()).await;
        twin.until_online("web", &[lala()]).await;
        client.check();
    });
}

/// A data path that ends by a fault of its own is opened again, and the node lives on: the resource is
/// started again, or elsewhere.
#[test]
fn a_data_path_that_has_ended_is_opened_again() {
    patiently_at(DETECT, async || {
        let (twin, client) = served().await;
        let incarnation = |state: &State| state.presence(&kiki()).map(|presence| presence.incarnation);
        let before = incarnation(&twin.node(&kiki()).unwrap().state());
        twin.disks().end_path(&kiki(), VOLUME);
        client.goes_on().await;
        client.check();
        until_good(&twin, &["kiki", "lala"]).await;
        // A secondary's, too.
        let primary = twin.disks().devices(VOLUME)[0].clone();
        let other = if primary == kiki() { lala() } else { kiki() };
        twin.disks().end_path(&other, VOLUME);
        client.goes_on().await;
        until_good(&twin, &["kiki", "lala"]).await;
        client.check();
        let after = incarnation(&twin.node(&primary).unwrap().state());
        holds_in_time(after == before, &"the node is not restarted");
        twin.kill_machine(&primary).await;
        twin.until_online("web", &[other]).await;
        client.check();
    });
}

/// A copy whose disk was replaced by an empty one is copied whole, and is no target until then.
#[test]
fn r30_a_new_disk_is_copied_whole() {
    patiently_at(DETECT, async || {
        let (twin, client) = served().await;
        twin.kill_machine(&lala()).await;
        until_good(&twin, &["kiki"]).await;
        twin.disks().replace_disk(&lala(), VOLUME);
        let before = twin.disks().resynced();
        twin.boot(&lala()).await;
        until_good(&twin, &["kiki", "lala"]).await;
        assert!(twin.disks().resynced() - before >= BLOCKS as u64);
        twin.kill_machine(&kiki()).await;
        twin.until_online("web", &[lala()]).await;
        client.check();
    });
}

/// Three copies: one dies and two go on, and another dies and one goes on.
#[test]
fn three_copies_lose_one_after_the_other() {
    patiently_at(DETECT, async || {
        let twin = form(mirrored(5, 3, |_| {})).await;
        twin.until_online("web", &[kiki()]).await;
        until_good(&twin, &["kiki", "lala", "mimi"]).await;
        let client = Client::start(&twin);
        client.goes_on().await;
        twin.kill_machine(&kiki()).await;
        twin.until_online("web", &servers(&["lala", "mimi"])).await;
        client.check();
        until_good(&twin, &["lala", "mimi"]).await;
        client.goes_on().await;
        let first = twin.disks().devices(VOLUME)[0].clone();
        twin.kill_machine(&first).await;
        let last = if first == lala() { "mimi" } else { "lala" };
        twin.until_online("web", &servers(&[last])).await;
        client.check();
        until_good(&twin, &[last]).await;
        twin.boot(&kiki()).await;
        twin.boot(&first).await;
        until_good(&twin, &["kiki", "lala", "mimi"]).await;
        client.goes_on().await;
        client.check();
    });
}

/// The owner is cut off from everybody: it writes nothing more once its lease has ended, and nothing of
/// what it could not commit was acknowledged.
#[test]
fn r31_an_owner_that_is_cut_off_acknowledges_nothing_that_the_next_one_lacks() {
    patiently_at(DETECT, async || {
        let (twin, client) = served().await;
        twin.isolate(&[kiki()]);
        twin.until_online("web", &[lala()]).await;
        client.check();
        client.goes_on().await;
        twin.kill_node(&kiki()).await; // as its guard does
        twin.heal();
        twin.boot(&kiki()).await;
        until_good(&twin, &["kiki", "lala"]).await;
        client.check();
        twin.assert_one_owner_at_a_time();
    });
}

/// A volume that is stopped with its group is closed, and opened again without a copy.
#[test]
fn a_stopped_group_closes_its_volume() {
    patiently_at(DETECT, async || {
        let twin = form(mirrored(2 + 1, 2, |_| {})).await;
        twin.until_online("web", &[kiki()]).await;
        until_good(&twin, &["kiki", "lala"]).await;
        propose(&twin, &lala(), Command::StopGroup { group: "web".into(), force: false }).await;
        twin.until("it is closed", |state| {
            volume(state).is_some_and(|volume| volume.owner.is_none())
                && state.groups[&"web".into()].ownership.value.owner.is_none()
        })
        .await;
        assert!(twin.disks().devices(VOLUME).is_empty());
        propose(&twin, &lala(), Command::StartGroup { group: "web".into(), on: None }).await;
        twin.until_online("web", &servers(&["kiki", "lala"])).await;
        holds_in_time(twin.disks().resynced() == 0, &"nothing is copied");
    });
}

//! Two servers and their tie-break over the real actors, Raft and store, with machines, cables, the
//! record and the fencing devices in memory. Rules R14 to R22 and R40.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tasuki_core::{
    config::{ClusterConfig, FenceConfig, FenceKind, Role, ServerConfig, TieBreak},
    ids::{RaftId, ServerName},
    membership::tie_break::Mode,
    registry::{
        Author, Command,
        state::{AfterStop, ClusterMode},
    },
    time::WallTime,
};
use tasuki_tests::twin::{Happening, Twin, config, online_on, servers};

const DETECT: Duration = Duration::from_secs(1);
/// For what must have happened, however slow the machine is.
const PATIENT: Duration = Duration::from_secs(30);

fn kiki() -> ServerName {
    "kiki".into()
}

fn lala() -> ServerName {
    "lala".into()
}

fn witness() -> TieBreak {
    TieBreak::Witness { witness: "wit".into() }
}

/// This many servers, with this tie-break, a witness that keeps records, and one fencing device each.
fn with(count: usize, tie_break: TieBreak) -> ClusterConfig {
    let mut config = config(count, DETECT);
    config.settings.votes.tie_break = tie_break;
    config.settings.votes.files = vec!["/votes/a".into()];
    let keeper = ServerConfig {
        number: 100,
        comment: String::new(),
        addresses: BTreeMap::from([("public".into(), [127, 9, 2, 100].into())]),
        role: Role::Register { port: 4 },
        domain: None,
        fencing: Vec::new(),
    };
    for server in config.servers.values_mut() {
        let device = FenceConfig {
            comment: String::new(),
            kind: FenceKind::Script { program: "/bin/true".into() },
            ports: BTreeMap::new(),
            timeout: Duration::from_secs(2),
            retries: 0,
            delay: Duration::ZERO,
        };
        let name = format!("ipmi-{}", server.number);
        config.settings.fences.insert(name.as_str().into(), device);
        if config.settings.votes.tie_break == TieBreak::Fence {
            server.fencing = vec![vec![name.as_str().into()]];
        }
    }
    config.servers.insert("wit".into(), keeper);
    config
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENT, waited).await.is_ok(), "never so: {what}");
}

fn voters(twin: &Twin, at: &ServerName) -> BTreeSet<ServerName> {
    twin.node(at).map(|node| node.status().raft.voters.into_iter().collect()).unwrap_or_default()
}

fn set(names: &[&str]) -> BTreeSet<ServerName> {
    names.iter().map(|name| ServerName::from(*name)).collect()
}

/// Until these vote, as every one of them sees it, and the record, where there is one, says so.
async fn until_voters(twin: &Twin, names: &[&str], has_record: bool) {
    let wanted = set(names);
    until(&format!("{names:?} vote"), || {
        let all = wanted.iter().all(|server| voters(twin, server) == wanted);
        let record = twin.register().record();
        let fits = match (names.len(), record.map(|record| record.mode)) {
            _ if !has_record => true,
            (1, Some(Mode::Sole(_))) | (2, Some(Mode::Pair(..))) => true,
            (count, Some(Mode::Majority)) => count > 2,
            _ => false,
        };
        all && fits
    })
    .await;
}

async fn two(tie_break: TieBreak) -> Twin {
    let has_record = has_record(&tie_break);
    let twin = Twin::form(with(2, tie_break)).await;
    twin.until_whole().await;
    twin.until_online("web", &servers(&["kiki"])).await;
    until_voters(&twin, &["kiki", "lala"], has_record).await;
    twin
}

fn has_record(tie_break: &TieBreak) -> bool {
    matches!(tie_break, TieBreak::Witness { .. } | TieBreak::VotingFiles)
}

async fn propose(twin: &Twin, through: &ServerName, command: Command) {
    let node = twin.node(through).unwrap();
    node.propose(Author::Operator("test".into()), command, None, Vec::new()).await.unwrap();
}

fn token(id: &str) -> Command {
    let (id, digest) = (id.to_owned(), "digest".to_owned());
    Command::IssueToken { id, digest, server: None, expires: WallTime(u64::MAX) }
}

/// Writes to the registry through both servers, and remembers what was acknowledged.
struct Writers {
    acknowledged: Arc<Mutex<BTreeSet<String>>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Writers {
    fn start(twin: &Twin, name: &str) -> Self {
        let acknowledged: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let tasks = [kiki(), lala()].into_iter().filter_map(|server| {
            let (node, acknowledged) = (twin.node(&server)?, acknowledged.clone());
            let name = format!("{name}-{server}");
            Some(tokio::spawn(async move {
                for n in 0_u32.. {
                    let id = format!("{name}-{n}");
                    let by = Author::Operator("test".into());
                    if node.propose(by, token(&id), None, Vec::new()).await.is_ok() {
                        acknowledged.lock().unwrap().insert(id);
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }))
        });
        Self { acknowledged: acknowledged.clone(), tasks: tasks.collect() }
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Ends, and finds everything that was acknowledged.
    async fn find_all(self, twin: &Twin, at: &ServerName) {
        for task in &self.tasks {
            task.abort();
        }
        let state = twin.node(at).unwrap().read().await.unwrap();
        let acknowledged = self.acknowledged.lock().unwrap();
        assert!(!acknowledged.is_empty());
        let lost: Vec<&String> = acknowledged.iter().filter(|id| !state.tokens.contains_key(*id)).collect();
        assert!(lost.is_empty(), "lost of {}: {lost:?}", acknowledged.len());
    }
}

/// One dies, the other takes over, the dead one returns and votes again; then the other way round.
async fn each_dies_in_turn(tie_break: TieBreak) {
    let has_record = has_record(&tie_break);
    let twin = two(tie_break).await;
    for (round, lost) in [kiki(), lala(), kiki()].into_iter().enumerate() {
        let other = twin.others(&lost).into_iter().find(|name| *name != "wit".into()).unwrap();
        let leads = twin.leader() == Some(lost.clone());
        let writers = Writers::start(&twin, &format!("r{round}"));
        until("some writes", || writers.count() >= 20).await;
        let began = Instant::now();
        twin.kill_machine(&lost).await;
        until("the survivor votes alone", || voters(&twin, &other) == BTreeSet::from([other.clone()])).await;
        let alone = began.elapsed();
        let before = writers.count();
        until("writes again", || writers.count() > before).await;
        let writes = began.elapsed();
        twin.until_online("web", std::slice::from_ref(&other)).await;
        println!(
            "{lost} lost (leader: {leads}): alone after {alone:?}, writes after {writes:?}, online after {:?}",
            began.elapsed()
        );
        writers.find_all(&twin, &other).await;
        twin.boot(&lost).await;
        until_voters(&twin, &["kiki", "lala"], has_record).await;
        twin.until_whole().await;
    }
    let stood = |(_, what): &(Duration, Happening)| matches!(what, Happening::StoodDown(_));
    for server in [kiki(), lala()] {
        let log = twin.machine(&server).log();
        assert!(!log.iter().any(stood), "the survivor never lost its lease: {server}: {log:?}");
    }
    twin.assert_one_owner_at_a_time();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r16_with_a_witness_the_survivor_goes_on_and_the_lost_one_returns() {
    each_dies_in_turn(witness()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r16_with_voting_files_the_survivor_goes_on_and_the_lost_one_returns() {
    each_dies_in_turn(TieBreak::VotingFiles).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r19_with_a_fence_the_survivor_goes_on_and_the_lost_one_returns() {
    each_dies_in_turn(TieBreak::Fence).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_addresses_that_answer_the_survivor_goes_on_and_the_lost_one_returns() {
    each_dies_in_turn(TieBreak::UnsafePing { addresses: vec![[127, 9, 2, 254].into()] }).await;
}

/// The only voter among the two, as it says itself.
fn sole(twin: &Twin) -> Vec<ServerName> {
    let alone = |server: &ServerName| voters(twin, server) == BTreeSet::from([server.clone()]);
    [kiki(), lala()].into_iter().filter(alone).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r14_cut_in_two_exactly_one_goes_on() {
    let twin = two(witness()).await;
    for round in 0..3 {
        let writers = Writers::start(&twin, &format!("c{round}"));
        until("some writes", || writers.count() >= 10).await;
        twin.isolate(&[lala()]);
        until("one goes on alone", || sole(&twin).len() == 1).await;
        let winner = sole(&twin).remove(0);
        let loser = if winner == kiki() { lala() } else { kiki() };
        twin.until_online("web", std::slice::from_ref(&winner)).await;
        assert_eq!(sole(&twin), std::slice::from_ref(&winner));
        let cut_off = twin.node(&loser).unwrap();
        let by = || Author::Operator("test".into());
        assert!(cut_off.propose(by(), token("lonely"), None, Vec::new()).await.is_err());
        writers.find_all(&twin, &winner).await;
        twin.heal();
        // Its guard stopped what ran there; the node went on. It listens, and is taken in again.
        until_voters(&twin, &["kiki", "lala"], true).await;
        let state = twin.node(&winner).unwrap().read().await.unwrap();
        assert!(!state.tokens.contains_key("lonely"), "of the cut off one nothing survives");
        twin.kill_node(&loser).await; // as its guard does once it has stood down
        twin.boot(&loser).await;
        twin.until_whole().await;
        until_voters(&twin, &["kiki", "lala"], true).await;
        twin.assert_one_owner_at_a_time();
    }
}

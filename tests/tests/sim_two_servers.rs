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
use tasuki_tests::twin::{Happening, Twin, config, servers};

const DETECT: Duration = Duration::from_secs(2);
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

/// `RUST_LOG` shows what the actors say.
fn listen() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
}

async fn two(tie_break: TieBreak) -> Twin {
    listen();
    let has_record = has_record(&tie_break);
    let twin = Twin::form(with(2, tie_break)).await;
    twin.until_whole().await;
    twin.until_online("web", &servers(&["kiki"])).await;
    until_voters(&twin, &["kiki", "lala"], has_record).await;
    // R19: what has no memory breaks a tie only once entries went to and fro under these two.
    propose(&twin, &lala(), token("to and fro")).await;
    // The follower knows it too, and what was committed of the record.
    let applied = |server: &ServerName| twin.node(server).map(|node| node.status().raft.applied);
    let noted = |server: &ServerName| {
        let note = twin.node(server).and_then(|node| node.state().tie_break.clone());
        !has_record || note.is_some_and(|note| note.value.made)
    };
    until("both have applied all of it", || {
        applied(&kiki()) == applied(&lala()) && noted(&kiki()) && noted(&lala())
    })
    .await;
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
    let mut slow = false;
    for (round, leads) in [true, true, false].into_iter().enumerate() {
        let leader = twin.leader().unwrap();
        let lost = if leads == (leader == kiki()) { kiki() } else { lala() };
        let other = if lost == kiki() { lala() } else { kiki() };
        let writers = Writers::start(&twin, &format!("r{round}"));
        until("some writes", || writers.count() >= 20).await;
        let began = Instant::now();
        twin.kill_machine(&lost).await;
        until("the survivor votes alone", || voters(&twin, &other) == BTreeSet::from([other.clone()])).await;
        let alone = began.elapsed();
        let before = writers.count();
        until("writes again", || writers.count() > before).await;
        let writes = began.elapsed();
        slow |= alone > DETECT * 11 / 20;
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
    if slow {
        println!("skipped, because this machine is too busy: whether the survivor keeps its lease");
    }
    for server in [kiki(), lala()].into_iter().filter(|_| !slow) {
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
        // Its guard stopped what ran there; the node went on. It listens, and takes what it lacks.
        let state = twin.node(&winner).unwrap().read().await.unwrap();
        until("the cut off one has what was written", || cut_off.state().revision >= state.revision).await;
        assert!(!cut_off.state().tokens.contains_key("lonely"), "of the cut off one nothing survives");
        twin.kill_node(&loser).await; // as its guard does once it has stood down
        twin.boot(&loser).await;
        twin.until_whole().await;
        until_voters(&twin, &["kiki", "lala"], true).await;
        twin.assert_one_owner_at_a_time();
    }
}

/// Nobody goes on for longer than any claim would take.
async fn nobody_goes_on(twin: &Twin, at: &ServerName) {
    until("it has read its log", || !twin.node(at).unwrap().status().raft.voters.is_empty()).await;
    let before = twin.node(at).unwrap().status().raft;
    tokio::time::sleep(DETECT * 3).await; // nothing must happen, and that takes time to see
    let node = twin.node(at).unwrap();
    assert_eq!(node.status().raft.voters, before.voters);
    let written = node.propose(Author::Operator("test".into()), token("alone"), None, Vec::new()).await;
    assert!(written.is_err(), "{written:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r16_an_unclear_swap_is_read_back() {
    let twin = two(witness()).await;
    twin.register().lose_answers(1);
    twin.kill_machine(&kiki()).await;
    until_voters(&twin, &["lala"], true).await;
    twin.until_online("web", &[lala()]).await;
    let claims = twin.register().swaps().iter().filter(|(by, _)| *by == lala()).count();
    assert_eq!(claims, 1, "{:?}", twin.register().swaps());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r16_a_crash_after_the_swap_leaves_an_owner_that_claims_again() {
    let twin = two(witness()).await;
    twin.register().cut_after_swap();
    twin.kill_machine(&kiki()).await;
    until("the record names lala", || {
        twin.register().record().is_some_and(|record| record.mode == Mode::Sole(RaftId(2)))
    })
    .await;
    twin.kill_machine(&lala()).await;
    twin.register().heal();
    // The one whom the record does not name waits, also when it boots first.
    twin.boot(&kiki()).await;
    nobody_goes_on(&twin, &kiki()).await;
    twin.kill_machine(&kiki()).await;
    twin.boot(&lala()).await;
    until_voters(&twin, &["lala"], true).await;
    twin.boot(&kiki()).await;
    until_voters(&twin, &["kiki", "lala"], true).await;
    twin.until_whole().await;
    twin.assert_one_owner_at_a_time();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r15_a_returner_that_the_record_does_not_name_grants_and_writes_nothing() {
    let twin = two(witness()).await;
    twin.kill_machine(&lala()).await;
    until_voters(&twin, &["kiki"], true).await;
    propose(&twin, &kiki(), token("written alone")).await;
    twin.kill_machine(&kiki()).await;
    twin.boot(&lala()).await;
    nobody_goes_on(&twin, &lala()).await;
    assert_eq!(twin.machine(&lala()).starts(), 0, "without a grant nothing starts");
    twin.boot(&kiki()).await;
    until_voters(&twin, &["kiki", "lala"], true).await;
    twin.until("what was written alone is there", |state| state.tokens.contains_key("written alone")).await;
    twin.assert_one_owner_at_a_time();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r40_both_lost_power_and_the_one_that_the_record_names_opens_the_registry() {
    let twin = two(witness()).await;
    for server in [kiki(), lala()] {
        twin.kill_machine(&server).await;
    }
    twin.boot(&lala()).await;
    until_voters(&twin, &["lala"], true).await;
    twin.until_online("web", &[lala()]).await;
    twin.boot(&kiki()).await;
    until_voters(&twin, &["kiki", "lala"], true).await;
    twin.assert_one_owner_at_a_time();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r40_both_lost_power_and_both_boot_without_a_claim() {
    let twin = two(witness()).await;
    let before = twin.register().swaps().len();
    for server in [kiki(), lala()] {
        twin.kill_machine(&server).await;
    }
    for server in [kiki(), lala()] {
        twin.boot(&server).await;
    }
    twin.until_online("web", &[kiki(), lala()]).await;
    assert_eq!(twin.register().swaps().len(), before, "{:?}", twin.register().swaps());
    twin.assert_one_owner_at_a_time();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r19_both_lost_power_and_with_a_fence_one_alone_waits_for_the_other() {
    let twin = two(TieBreak::Fence).await;
    for server in [kiki(), lala()] {
        twin.kill_machine(&server).await;
    }
    twin.boot(&lala()).await;
    nobody_goes_on(&twin, &lala()).await;
    assert!(twin.power().tries().is_empty(), "and fences nobody: {:?}", twin.power().tries());
    twin.boot(&kiki()).await;
    twin.until_online("web", &[kiki(), lala()]).await;
    twin.assert_one_owner_at_a_time();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r19_cut_in_two_with_a_fence_the_heavier_side_goes_on() {
    let twin = two(TieBreak::Fence).await;
    twin.isolate(&[lala()]);
    until("kiki goes on alone", || sole(&twin).contains(&kiki())).await;
    twin.until_online("web", &[kiki()]).await;
    assert_eq!(sole(&twin), [kiki()]);
    twin.heal();
    twin.kill_machine(&lala()).await; // its power is cut already; what is left of its node ends too
    twin.boot(&lala()).await;
    until_voters(&twin, &["kiki", "lala"], false).await;
    twin.assert_one_owner_at_a_time();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r19_a_fence_that_fails_breaks_no_tie() {
    let twin = two(TieBreak::Fence).await;
    twin.power().break_device("ipmi-1");
    twin.kill_machine(&kiki()).await;
    nobody_goes_on(&twin, &lala()).await;
    twin.power().mend_device("ipmi-1");
    until_voters(&twin, &["lala"], false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_answer_from_the_addresses_nobody_goes_on() {
    let gateway = [127, 9, 2, 254].into();
    let twin = two(TieBreak::UnsafePing { addresses: vec![gateway] }).await;
    twin.machine(&lala()).answers(gateway, false);
    twin.kill_machine(&kiki()).await;
    nobody_goes_on(&twin, &lala()).await;
    twin.machine(&lala()).answers(gateway, true);
    until_voters(&twin, &["lala"], false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_unsafe_tie_break_two_masters_take_nothing_from_each_other() {
    let twin = two(TieBreak::UnsafePing { addresses: vec![[127, 9, 2, 254].into()] }).await;
    twin.isolate(&[lala()]);
    until("both go on alone, as the name says", || sole(&twin).len() == 2).await;
    for server in [kiki(), lala()] {
        propose(&twin, &server, token(&format!("by {server}"))).await;
    }
    twin.heal();
    tokio::time::sleep(DETECT).await; // they call each other all the time, and that is refused
    for (server, other) in [(kiki(), lala()), (lala(), kiki())] {
        let state = twin.node(&server).unwrap().read().await.unwrap();
        let has = |by: &ServerName| state.tokens.contains_key(&format!("by {by}"));
        assert!(has(&server) && !has(&other));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r17_a_record_that_is_gone_lets_nobody_claim_and_is_not_made_again() {
    let twin = two(witness()).await;
    twin.register().wipe();
    twin.kill_machine(&kiki()).await;
    nobody_goes_on(&twin, &lala()).await;
    assert_eq!(twin.register().record(), None);
    twin.boot(&kiki()).await;
    twin.until_online("web", &[kiki(), lala()]).await;
    tokio::time::sleep(DETECT).await; // the leader looks several times, and leaves it
    assert_eq!(twin.register().record(), None);
    twin.assert_one_owner_at_a_time();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r22_one_that_leaves_narrows_the_voters_first_and_comes_back() {
    let twin = two(witness()).await;
    for leaver in [lala(), kiki(), lala()] {
        let stayer = if leaver == kiki() { lala() } else { kiki() };
        let mut events = twin.node(&stayer).unwrap().events();
        let leave = Command::ServerLeave { server: leaver.clone(), after: AfterStop::Nothing };
        propose(&twin, &stayer, leave).await;
        until("the leaver has left", || {
            let log = twin.machine(&leaver).log();
            log.last().is_some_and(|(_, what)| *what == Happening::Left)
        })
        .await;
        assert_eq!(voters(&twin, &stayer), BTreeSet::from([stayer.clone()]), "narrowed before it stopped");
        twin.kill_node(&leaver).await;
        twin.until_online("web", std::slice::from_ref(&stayer)).await;
        propose(&twin, &stayer, token(&format!("after {leaver} {:?}", Instant::now()))).await;
        while let Ok(event) = events.try_recv() {
            assert!(!event.kind.starts_with("tie-break-asked"), "nobody claims: {event:?}");
        }
        twin.boot(&leaver).await;
        until_voters(&twin, &["kiki", "lala"], true).await;
        twin.until_whole().await;
    }
    twin.assert_one_owner_at_a_time();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r22_both_that_stop_together_stay_the_two_that_they_are() {
    let twin = two(witness()).await;
    let before = twin.register().record();
    propose(&twin, &lala(), Command::SetMode { mode: ClusterMode::Stopping(AfterStop::Nothing) }).await;
    let left =
        |server: ServerName| twin.machine(&server).log().iter().any(|(_, what)| *what == Happening::Left);
    until("both leave", || left(kiki()) && left(lala())).await;
    assert_eq!(twin.register().record(), before);
    for server in [kiki(), lala()] {
        twin.kill_node(&server).await;
    }
    for server in [kiki(), lala()] {
        twin.boot(&server).await;
    }
    twin.until_online("web", &[kiki()]).await;
    assert_eq!(twin.register().record(), before);
    twin.assert_one_owner_at_a_time();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r15_three_become_two_and_the_record_lets_both_claim() {
    listen();
    let twin = Twin::form(with(3, witness())).await;
    twin.until_whole().await;
    until_voters(&twin, &["kiki", "lala", "mimi"], true).await;
    let mimi = ServerName::from("mimi");
    twin.kill_machine(&mimi).await;
    twin.until("mimi is gone", |state| state.presence(&"mimi".into()).is_some_and(|p| !p.up)).await;
    let mut config = twin.node(&kiki()).unwrap().state().config().unwrap();
    config.servers.remove(&mimi);
    for group in config.groups.values_mut() {
        group.servers.retain(|server| *server != mimi);
    }
    propose(&twin, &kiki(), Command::RemoveServer { server: mimi, config }).await;
    until_voters(&twin, &["kiki", "lala"], true).await;
    twin.kill_machine(&kiki()).await;
    until_voters(&twin, &["lala"], true).await;
    twin.until_online("web", &[lala()]).await;
    twin.assert_one_owner_at_a_time();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_tie_break_two_that_lose_each_other_stop() {
    let twin = two(TieBreak::None).await;
    twin.kill_machine(&kiki()).await;
    nobody_goes_on(&twin, &lala()).await;
    twin.boot(&kiki()).await;
    twin.until_whole().await;
    twin.until_online("web", &[kiki(), lala()]).await;
    twin.assert_one_owner_at_a_time();
}

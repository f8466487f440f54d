//! Two servers and their tie-break over the real actors, Raft and store, with machines, cables, the
//! record and the fencing devices in memory. Rules R14 to R22 and R40. Here is what all of the tests use.

#![allow(clippy::unwrap_used)]

mod boots;
mod cuts;
mod leaving;
mod losses;
mod writers;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tasuki_core::{
    config::{ClusterConfig, FenceConfig, FenceKind, Role, ServerConfig, TieBreak},
    ids::ServerName,
    membership::tie_break::Mode,
    registry::{Author, Command},
    time::WallTime,
};
use tasuki_tests::twin::{Twin, config, servers, until};

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
    two_of(with(2, tie_break)).await
}

/// Two that would wait for each other longer than any test does, when both boot.
async fn two_that_wait_at_a_boot(tie_break: TieBreak) -> Twin {
    let mut config = with(2, tie_break);
    config.settings.startup_wait = PATIENT * 100;
    two_of(config).await
}

async fn two_of(config: ClusterConfig) -> Twin {
    listen();
    let has_record = has_record(&config.settings.votes.tie_break);
    let twin = Twin::form(config).await;
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
    twin.command(through, command).await;
}

fn token(id: &str) -> Command {
    let (id, digest) = (id.to_owned(), "digest".to_owned());
    Command::IssueToken { id, digest, server: None, expires: WallTime(u64::MAX) }
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

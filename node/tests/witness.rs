//! A whole witness process on loopback addresses, and the servers' side of it: what was
//! acknowledged is there, exactly one of many is first, and strangers are told why not.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU8, Ordering},
    time::{Duration, Instant},
};

use tasuki::{
    app::{Authority as _, bootstrap::Bootstrap},
    edge::{peer::Cuts, system::WitnessRegister},
    identity::{Credentials, Identity, KeyRequest, Role, create_cluster, server_domain},
};
use tasuki_actors::ports::{PeerAddress, RegisterError, Swap};
use tasuki_core::{
    config::ClusterConfig,
    ids::{Incarnation, RaftId},
    membership::tie_break::{Mode, Record},
};
use tasuki_proto::v1::{self as wire, tie_break_client::TieBreakClient};
use tempfile::TempDir;
use tonic::transport::Endpoint;

const PAIR: Mode = Mode::Pair(RaftId(1), RaftId(2));

/// A cluster of two servers that are not there, and its witness's place.
struct Pair {
    config: ClusterConfig,
    kiki: Identity,
    lala: Identity,
    witness: PeerAddress,
    _data: TempDir,
}

impl Pair {
    /// A cluster of this name, whose witness `mimi` has an address of its own.
    fn new(cluster: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = free_address();
        let text = format!(
            "[cluster]\nname = \"{cluster}\"\n[[network]]\nname = \"public\"\nsubnet = \"10.1.0.0/24\"\nuse = \"public\"\n\
             [[server]]\nname = \"kiki\"\naddresses = {{ public = \"10.1.0.1\" }}\n\
             [[server]]\nname = \"lala\"\naddresses = {{ public = \"10.1.0.2\" }}\n\
             [[heartbeat]]\nkind = \"lan\"\nnetwork = \"public\"\n\
             [[witness]]\nname = \"mimi\"\naddress = \"{address}\"\nport = {port}\n"
        );
        let config = tasuki_config::parse(&text, "here.toml").unwrap().config;
        let data = TempDir::new().unwrap();
        let kiki = create_cluster(&data.path().join("kiki"), cluster, &"kiki".into(), &[]).unwrap();
        let lala = member(&kiki, "lala", 2, &data.path().join("lala"));
        let witness = PeerAddress { server: "mimi".into(), addresses: vec![address], port };
        Self { config, kiki, lala, witness, _data: data }
    }

    /// Makes the witness's folder for this cluster, as its joining does.
    fn admit(&self, witness: &Path) -> PathBuf {
        let folder = witness.join(self.kiki.cluster());
        fs::create_dir_all(&folder).unwrap();
        member(&self.kiki, "mimi", 3, &folder);
        let join = Bootstrap::Join { raft_id: RaftId(3), config: self.config.clone(), members: Vec::new() };
        join.save(&folder).unwrap();
        folder
    }

    fn record(&self, number: u64, mode: Mode) -> Record {
        Record { lineage: self.kiki.lineage().clone(), number, mode }
    }

    fn client(&self, identity: &Identity) -> WitnessRegister {
        WitnessRegister::new(identity.clone(), &self.config.settings.timing, Cuts::from_environment())
    }

    /// Waits until the witness answers one way or the other.
    async fn answers(&self, client: &WitnessRegister) -> Result<Option<Record>, RegisterError> {
        let began = Instant::now();
        loop {
            match client.read(&self.witness).await {
                Err(RegisterError::Unreachable(why)) => {
                    assert!(began.elapsed() < Duration::from_secs(30), "{why}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                answer => return answer,
            }
        }
    }
}

/// Lets a member in, without any node.
fn member(issuer: &Identity, name: &str, raft_id: u64, data: &Path) -> Identity {
    let token = issuer.new_token().unwrap();
    let request = KeyRequest::new(data, &name.into()).unwrap();
    let (key, raft_id) = (request.public_key(), RaftId(raft_id));
    let mut welcome = issuer.issue(&name.into(), raft_id, &[], &key, Incarnation(0)).unwrap();
    if name == "mimi" {
        welcome.ca_key = String::new(); // as a member hands it out to a witness
    }
    request.store(welcome, &token).unwrap()
}

fn free_address() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let process = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 60 + process[2] % 60, process[3], NEXT.fetch_add(1, Ordering::Relaxed)).into()
}

/// A witness process, killed when dropped.
struct Process(Child);

impl Process {
    fn start(folder: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tasuki"));
        command.args(["witness", "--data"]).arg(folder).stderr(Stdio::null()).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn tasuki(folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tasuki"));
    command.arg("witness").args(words).arg("--data").arg(folder).output().unwrap()
}

fn list(folder: &Path) -> serde_json::Value {
    let listed = tasuki(folder, &["list", "--json"]);
    serde_json::from_slice(&listed.stdout).unwrap()
}

#[tokio::test]
async fn r14_of_many_claims_at_once_exactly_one_is_done() {
    let (pair, folder) = (Pair::new("one"), TempDir::new().unwrap());
    pair.admit(folder.path());
    let _process = Process::start(folder.path());
    let setup = pair.client(&pair.kiki);
    assert_eq!(pair.answers(&setup).await, Ok(None));
    let before = pair.record(1, PAIR);
    assert_eq!(setup.swap(&pair.witness, None, &before).await, Ok(Swap::Done));
    // Each client has a connection of its own.
    let claims = (0..24u64).map(|claim| {
        let id = 1 + claim % 2;
        let client = pair.client(if id == 1 { &pair.kiki } else { &pair.lala });
        let (before, witness) = (before.clone(), pair.witness.clone());
        let after = pair.record(2 + claim, Mode::Sole(RaftId(id)));
        async move {
            let done = loop {
                match client.swap(&witness, Some(&before), &after).await {
                    Ok(outcome) => break outcome == Swap::Done,
                    // Unclear: what stands there now says whether it was done (R16).
                    Err(RegisterError::Unreachable(_)) => match client.read(&witness).await {
                        Ok(now) if now.as_ref() != Some(&before) => break now.as_ref() == Some(&after),
                        _ => {}
                    },
                    Err(error) => panic!("{error}"),
                }
            };
            done.then_some(after)
        }
    });
    let won: Vec<Record> = futures::future::join_all(claims).await.into_iter().flatten().collect();
    assert_eq!(won.len(), 1, "{won:?}");
    assert_eq!(pair.answers(&setup).await, Ok(won.first().cloned()));
}

#[tokio::test]
async fn r14_what_was_acknowledged_survives_kills_in_the_middle_of_swaps() {
    let (pair, folder) = (Pair::new("one"), TempDir::new().unwrap());
    pair.admit(folder.path());
    let (mut acknowledged, mut swaps, mut unclear): (Option<Record>, u64, u64) = (None, 0, 0);
    for round in 0..12u64 {
        let process = Process::start(folder.path());
        let client = pair.client(&pair.kiki);
        let found = pair.answers(&client).await.unwrap();
        // Either what was acknowledged last, or the one swap whose answer was never seen.
        let number = |record: &Option<Record>| record.as_ref().map_or(0, |record| record.number);
        let ahead = number(&found) - number(&acknowledged);
        assert!(ahead <= 1, "round {round}: {acknowledged:?} became {found:?}");
        acknowledged = found;
        let kill = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(5 + round * 7)).await;
            drop(process);
        });
        loop {
            let next = pair.record(number(&acknowledged) + 1, PAIR);
            match client.swap(&pair.witness, acknowledged.as_ref(), &next).await {
                Ok(Swap::Done) => {
                    acknowledged = Some(next);
                    swaps += 1;
                }
                Ok(Swap::Other(other)) => panic!("round {round}: {other:?} beside {acknowledged:?}"),
                Err(_) => {
                    unclear += 1;
                    break;
                }
            }
        }
        kill.await.unwrap();
    }
    println!("{swaps} swaps acknowledged and kept over 12 kills, {unclear} without an answer");
    assert!(swaps > 0 && unclear == 12);
}

#[tokio::test]
async fn r24_strangers_are_refused_with_the_reason() {
    let (pair, other) = (Pair::new("one"), Pair::new("two"));
    let folder = TempDir::new().unwrap();
    pair.admit(folder.path());
    let _process = Process::start(folder.path());
    assert_eq!(pair.answers(&pair.client(&pair.kiki)).await, Ok(None));

    // A server of another cluster: neither side takes the other's certificate.
    let Err(RegisterError::Unusable(why)) = pair.answers(&pair.client(&other.kiki)).await else {
        panic!("another cluster's server got an answer")
    };
    assert!(why.contains("certificate is of another cluster") && why.contains("TSK-1111"), "{why}");

    // A person of the right cluster, and somebody without a certificate.
    let person = pair.kiki.issue_operator("aoi", Role::Admin, Duration::from_secs(3600)).unwrap().0;
    let status = call(&pair, &person, pair.kiki.lineage().as_str()).await;
    assert_eq!(status.code(), tonic::Code::PermissionDenied, "{status}");
    assert!(status.message().contains("only servers"), "{status}");

    // A server of the right cluster with the registry of an older life.
    let channel = Endpoint::from_shared(format!("https://{}", place(&pair))).unwrap();
    let channel = channel.tls_config(pair.kiki.client_tls(&"mimi".into())).unwrap().connect().await.unwrap();
    let request = wire::ReadTieBreakRequest { lineage: "an-older-one".into() };
    let status = TieBreakClient::new(channel).read(request).await.unwrap_err();
    assert!(status.message().contains("TSK-1751"), "{status}");
}

fn place(pair: &Pair) -> SocketAddr {
    SocketAddr::new(pair.witness.addresses[0], pair.witness.port)
}

async fn call(pair: &Pair, person: &Credentials, lineage: &str) -> tonic::Status {
    let tls = person.client_tls(pair.kiki.ca_pem(), Some(&server_domain(&"mimi".into())));
    let channel = Endpoint::from_shared(format!("https://{}", place(pair))).unwrap();
    let channel = channel.tls_config(tls).unwrap().connect().await.unwrap();
    let request = wire::ReadTieBreakRequest { lineage: lineage.into() };
    TieBreakClient::new(channel).read(request).await.unwrap_err()
}

#[tokio::test]
async fn one_process_serves_clusters_as_they_come_and_go() {
    let (one, two) = (Pair::new("one"), Pair::new("two"));
    let folder = TempDir::new().unwrap();
    one.admit(folder.path());
    assert_eq!(list(folder.path())["served"], false);
    let _process = Process::start(folder.path());
    let (of_one, of_two) = (one.client(&one.kiki), two.client(&two.kiki));
    assert_eq!(one.answers(&of_one).await, Ok(None));
    assert!(matches!(of_two.read(&two.witness).await, Err(RegisterError::Unreachable(_))));

    // A second process would answer beside the first.
    let second = tasuki(folder.path(), &[]);
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("TSK-1753"));

    two.admit(folder.path());
    assert_eq!(two.answers(&of_two).await, Ok(None));
    assert_eq!(one.swap_first(&of_one).await, Swap::Done);
    assert_eq!(
        two.answers(&of_two).await,
        Ok(None),
        "records of two clusters have nothing to do with each other"
    );
    let listed = list(folder.path());
    assert_eq!(listed["served"], true);
    assert_eq!(listed["clusters"][0]["cluster"], "one");
    assert_eq!(listed["clusters"][0]["kind"], "register");
    assert_eq!(listed["clusters"][0]["record"], "number 1: stores 1 and 2 may claim");
    assert_eq!(listed["clusters"][1]["record"], "no record yet");

    let hasty = tasuki(folder.path(), &["leave", "one"]);
    assert_eq!(hasty.status.code(), Some(2), "{hasty:?}");
    assert!(tasuki(folder.path(), &["leave", "one", "--yes"]).status.success());
    let began = Instant::now();
    while of_one.read(&one.witness).await.is_ok() {
        assert!(began.elapsed() < Duration::from_secs(30), "it still answers for a cluster that it left");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(two.answers(&of_two).await, Ok(None));
    let missing = tasuki(folder.path(), &["leave", "one", "--yes"]);
    assert_eq!(missing.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("TSK-1756"));
}

impl Pair {
    async fn swap_first(&self, client: &WitnessRegister) -> Swap {
        client.swap(&self.witness, None, &self.record(1, PAIR)).await.unwrap()
    }
}

#[tokio::test]
async fn r17_a_damaged_record_is_no_blank_one_to_the_servers_either() {
    let (pair, folder) = (Pair::new("one"), TempDir::new().unwrap());
    let cluster = pair.admit(folder.path());
    fs::write(cluster.join("tie_break.record"), "tasuki tie-break record 1\n{}\n0\n").unwrap();
    let _process = Process::start(folder.path());
    let client = pair.client(&pair.kiki);
    let Err(RegisterError::Unusable(why)) = pair.answers(&client).await else {
        panic!("a damaged record was read")
    };
    assert!(why.contains("TSK-1752"), "{why}");
    let swapped = client.swap(&pair.witness, None, &pair.record(1, PAIR)).await;
    assert!(matches!(swapped, Err(RegisterError::Unusable(_))), "{swapped:?}");
}

#[test]
fn a_servers_data_folder_is_no_witnesss_folder() {
    let data = TempDir::new().unwrap();
    create_cluster(data.path(), "one", &"kiki".into(), &[]).unwrap();
    let refused = tasuki(data.path(), &["list"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("TSK-1755"), "{refused:?}");
}

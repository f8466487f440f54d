//! Calls a cluster from outside: prints its status, asks for a group to be moved, and watches until it
//! runs where it should. Uses the generated types and tonic, and nothing else of Tasuki.
//!
//! ```sh
//! tasuki cluster certificate mei --role operator --out mei     # on a server, as root
//! cargo run -p tasuki-proto --example move_group -- 10.1.0.85:29001 mei web lala
//! ```

use std::{env, error::Error, fs, path::Path, process::ExitCode, time::Duration};

use prost::Message as _;
use tasuki_proto::v1::{
    self as tasuki, RunState, cluster_client::ClusterClient, group_client::GroupClient,
    registry_client::RegistryClient,
};
use tonic::{
    Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let [address, folder, group, to] = &words[..] else {
        eprintln!("move_group ADDRESS:PORT FOLDER GROUP SERVER");
        return ExitCode::from(2);
    };
    match move_group(address, Path::new(folder), group, to).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", explain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn move_group(address: &str, folder: &Path, group: &str, to: &str) -> Result<(), Box<dyn Error>> {
    let channel = connect(address, folder).await?;

    let status =
        ClusterClient::new(channel.clone()).status(tasuki::ClusterStatusRequest {}).await?.into_inner();
    println!("cluster {}, led by {}, revision {}", status.cluster, status.leader, status.revision);
    for server in &status.servers {
        println!("  server {:<8} {}", server.name, server.state().as_str_name());
    }
    for group in &status.groups {
        println!("  group  {:<8} {} {}", group.name, group.state().as_str_name(), group.server);
    }

    // Watched from a revision that was read before the move: nothing between the two can be missed.
    let prefix = format!("groups/{group}");
    let watch = tasuki::WatchRegistryRequest { after: Some(status.revision), prefix };
    let mut changes = RegistryClient::new(channel.clone()).watch(watch).await?.into_inner();

    let mut groups = GroupClient::new(channel);
    let request =
        tasuki::MoveGroupRequest { group: group.to_owned(), to: to.to_owned(), ..Default::default() };
    let accepted = groups.r#move(request).await?.into_inner();
    println!("accepted as revision {}", accepted.revision);

    // Accepted is not done: each change is a reason to look, and only the look counts.
    while let Some(said) = changes.message().await? {
        if let Some(change) = said.change {
            println!("  revision {}: {} ({})", change.revision, change.what, change.author);
        }
        let now = groups.get(tasuki::GetGroupRequest { group: group.to_owned() }).await?.into_inner();
        if now.server == to && now.state() == RunState::Online {
            println!("group {group} is online on {to}");
            return Ok(());
        }
    }
    Err("the node has ended: ask another server".into())
}

/// Connects with the certificate in a folder that `tasuki cluster certificate` made.
async fn connect(address: &str, folder: &Path) -> Result<Channel, Box<dyn Error>> {
    let key = fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|it| it == "key"))
        .ok_or_else(|| format!("no key in {}", folder.display()))?;
    let certificate = fs::read(key.with_extension("pem"))?;
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(fs::read(folder.join("ca.pem"))?))
        .identity(Identity::from_pem(certificate, fs::read(key)?));
    let endpoint = Endpoint::from_shared(format!("https://{address}"))?
        .connect_timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(Duration::from_secs(5))
        .tls_config(tls)?;
    Ok(endpoint.connect().await?)
}

/// An error of the cluster with its code and remedy, any other one with its causes.
fn explain(error: &(dyn Error + 'static)) -> String {
    if let Some(detail) = error.downcast_ref::<Status>().and_then(detail) {
        return format!("{}: {}\n  -> {}", detail.code, detail.message, detail.remedy);
    }
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// What is in `grpc-status-details-bin`.
fn detail(status: &Status) -> Option<tasuki::ErrorDetail> {
    let all = RpcStatus::decode(status.details()).ok()?.details;
    let ours = all.iter().find(|any| any.type_url.ends_with("/tasuki.v1.ErrorDetail"))?;
    tasuki::ErrorDetail::decode(&*ours.value).ok()
}

/// `google.rpc.Status`, as far as it is needed.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

//! `tasuki cluster init | join | token | certificate | status | suspend | resume | shutdown | tree`

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::json;
use tasuki_core::{
    config::{ClusterConfig, profile::Profile},
    ids::{Revision, ServerName},
    registry::state::AfterStop,
    time::WallTime,
};
use tasuki_proto::v1::{self as wire, cluster_client::ClusterClient, join_client::JoinClient};
use tasuki_storage::votes::{Examined, Overwrite, Owner, create, examine};
use tonic::transport::Endpoint;

use super::{
    Context,
    args::{After, ClusterVerb},
    connect::{answered, resolve, unreadable},
    render,
};
use crate::{
    app::{AppError, bootstrap::Bootstrap, error::Kind, joins::Admission, votes::VoteError, wall_now},
    edge::grpc::{convert, serve::chain},
    identity::{self, Identity, KeyRequest, Token, explain_tls, verify_authority},
    local_registry::LocalRegistry,
    profile::SignedProfile,
};

/// How long a joining server waits for one step.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn perform(context: &Context, verb: ClusterVerb) -> Result<(), AppError> {
    match verb {
        ClusterVerb::Init { config, server } => init(context, &config, ServerName::new(server)),
        ClusterVerb::Join { member, token, server } => {
            join(context, &member, &token, ServerName::new(server)).await
        }
        ClusterVerb::Token { server, expires } => token(context, server, expires).await,
        ClusterVerb::Certificate(arguments) => super::certificate::perform(context, &arguments),
        ClusterVerb::Status => status(context).await,
        ClusterVerb::Suspend => {
            let accepted = client(context).await?.suspend(wire::SuspendRequest {}).await.map_err(answered)?;
            accepted_as(context, accepted.into_inner(), "the cluster is suspended: groups run on, unwatched")
        }
        ClusterVerb::Resume => {
            let accepted = client(context).await?.resume(wire::ResumeRequest {}).await.map_err(answered)?;
            accepted_as(context, accepted.into_inner(), "the cluster is running")
        }
        ClusterVerb::Shutdown { after, yes } => {
            if !yes {
                return Err(AppError::NotAcknowledged("cluster shutdown"));
            }
            let after = convert::after_out(after.into());
            let request = wire::ClusterShutdownRequest { after, acknowledged: yes };
            let accepted = client(context).await?.shutdown(request).await.map_err(answered)?;
            accepted_as(context, accepted.into_inner(), "the cluster is shutting down")
        }
        ClusterVerb::Times => {
            let times = client(context).await?.times(wire::ClusterTimesRequest {}).await.map_err(answered)?;
            let times = convert::times::times_in(times.into_inner());
            context.out.show(&times, |times| render::times::times(times, context.out.color))
        }
        ClusterVerb::Tree => {
            let tree = client(context).await?.tree(wire::TreeRequest {}).await.map_err(answered)?;
            let text = tree.into_inner().text;
            context.out.show(&json!({ "tree": text.lines().collect::<Vec<_>>() }), |_| text)
        }
    }
}

async fn client(context: &Context) -> Result<ClusterClient<tonic::transport::Channel>, AppError> {
    Ok(ClusterClient::new(context.connect().await?))
}

/// Prints that an intention was accepted.
pub(super) fn accepted_as(context: &Context, accepted: wire::Accepted, text: &str) -> Result<(), AppError> {
    let revision = Revision(accepted.revision);
    context.out.show(&json!({ "revision": revision }), |_| format!("{text} (revision {revision})"))
}

impl From<After> for AfterStop {
    fn from(after: After) -> Self {
        match after {
            After { reboot: true, .. } => Self::Reboot,
            After { poweroff: true, .. } => Self::PowerOff,
            After { .. } => Self::Nothing,
        }
    }
}

async fn status(context: &Context) -> Result<(), AppError> {
    let answer = client(context).await?.status(wire::ClusterStatusRequest {}).await.map_err(answered)?;
    let status = convert::status_in(answer.into_inner()).map_err(unreadable)?;
    context.out.show(&status, |status| render::cluster(status, wall_now(), context.out.color))
}

async fn token(context: &Context, server: Option<String>, expires: Duration) -> Result<(), AppError> {
    // Whole seconds on the wire, and never none, which would mean the default.
    let valid_seconds = expires.as_secs().max(1);
    let request = wire::IssueTokenRequest { server: server.clone().unwrap_or_default(), valid_seconds };
    let answer = client(context).await?.issue_token(request).await.map_err(answered)?.into_inner();
    show_token(context, answer, server.as_deref())
}

/// Shows a token, and the command that uses it.
pub(super) fn show_token(
    context: &Context,
    answer: wire::IssueTokenResponse,
    server: Option<&str>,
) -> Result<(), AppError> {
    let expires = WallTime(answer.expires_ms);
    let value = json!({
        "token": answer.token,
        "expires": expires,
        "join_at": answer.join_at,
        "witness": answer.witness,
    });
    context.out.show(&value, |_| {
        let at = answer.join_at.first().map_or("ADDRESS", String::as_str);
        let name = server.unwrap_or("NAME");
        let (who, verb, option) = match answer.witness {
            true => ("witness's machine", "witness join", "name"),
            false => ("server that joins", "cluster join", "server"),
        };
        format!(
            "{}\n\nGood once, until {expires}. On the {who}:\n  \
             tasuki {verb} {at} --{option} {name} --token {}",
            answer.token, answer.token
        )
    })
}

/// Makes a cluster without any node: identity first, because it refuses a folder that is taken.
fn init(context: &Context, file: &Path, server: ServerName) -> Result<(), AppError> {
    let loaded = super::config::load(context, file)?;
    let config = loaded.config;
    let Some(entry) = config.servers.get(&server) else {
        return Err(AppError::NotFound {
            kind: Kind::Server,
            name: format!("{server} in {}", file.display()),
        });
    };
    let data = &context.options.data;
    blank(&config.settings.votes.files)?;
    let addresses: Vec<_> = entry.addresses.values().copied().collect();
    let identity = identity::create_cluster(data, &config.settings.name, &server, &addresses)?;
    make_votes(&identity, &config)?;
    keep_local(data, &identity, &config)?;
    let bootstrap = Bootstrap::Found { config };
    save(&bootstrap, data)?;
    let value = json!({
        "cluster": identity.cluster(),
        "server": server,
        "lineage": identity.lineage(),
        "data": data,
    });
    context.out.show(&value, |_| {
        format!(
            "cluster {} is made, with {server} as its first member, in {}\n\n\
             Start it:            systemctl start tasuki\n\
             For each other one:  tasuki cluster token --server NAME\n\
             Operators elsewhere use admin.pem, admin.key and ca.pem of {}",
            identity.cluster(),
            data.display(),
            data.join("identity").display()
        )
    })
}

/// What stands in a file that shall be a voting file is somebody's.
fn blank(files: &[PathBuf]) -> Result<(), AppError> {
    for path in files {
        let refuse = |why: String| -> AppError { VoteError::NotUsable(why).into() };
        match examine(path) {
            Ok(Examined::Absent | Examined::Blank) => {}
            Ok(Examined::Voting(header)) if header.retired => {}
            Ok(Examined::Voting(header)) => {
                let path = path.display();
                return Err(refuse(format!("{path} is a voting file of cluster {}", header.cluster)));
            }
            Ok(Examined::Unknown) => {
                return Err(refuse(format!("{} holds something that is no voting file", path.display())));
            }
            Err(error) => return Err(refuse(error.to_string())),
        }
    }
    Ok(())
}

/// The founder makes the voting files, and nobody ever again without being asked.
fn make_votes(identity: &Identity, config: &ClusterConfig) -> Result<(), AppError> {
    let owner = Owner { lineage: identity.lineage().clone(), cluster: identity.cluster().to_owned() };
    for path in &config.settings.votes.files {
        create(path, &owner, wall_now(), Overwrite::Own)
            .map_err(|error| VoteError::NotUsable(error.to_string()))?;
    }
    Ok(())
}

/// Joins: verifies the other end, then sends the secret, then keeps what comes back.
async fn join(context: &Context, member: &str, token: &str, server: ServerName) -> Result<(), AppError> {
    let token = Token::parse(token)?;
    let address = resolve(member).await?;
    let data = &context.options.data;
    // Prepared before anything is sent: a token must not be used up for a folder that is taken.
    let request = KeyRequest::new(data, &server)?;
    let admission = present(address, &token, &server, &request, false).await?;
    let raft_id = admission.welcome.raft_id;
    let identity = request.store(admission.welcome, &token)?;
    keep_local(data, &identity, &admission.config)?;
    save(&Bootstrap::Join { raft_id, config: admission.config, members: admission.members }, data)?;
    let value = json!({
        "cluster": identity.cluster(),
        "server": server,
        "lineage": identity.lineage(),
        "raft_id": raft_id,
        "data": data,
    });
    context.out.show(&value, |_| {
        format!(
            "{server} is a member of cluster {} now, in {}\n\nStart it:  systemctl start tasuki",
            identity.cluster(),
            data.display()
        )
    })
}

/// Verifies who answers at `address`, and presents the token there.
pub(super) async fn present(
    address: SocketAddr,
    token: &Token,
    server: &ServerName,
    request: &KeyRequest,
    witness: bool,
) -> Result<Admission, AppError> {
    let authority = verify_authority(address, token, PATIENCE).await?;
    let unreachable = |why: String| AppError::Unreachable(format!("no answer from {address}: {why}"));
    let channel = Endpoint::from_shared(format!("https://{address}"))
        .and_then(|endpoint| {
            endpoint.connect_timeout(PATIENCE).timeout(PATIENCE * 3).tls_config(authority.client_tls())
        })
        .map_err(|error| AppError::Failed(chain(&error)))?
        .connect()
        .await
        .map_err(|error| unreachable(explain_tls(&error).unwrap_or_else(|| chain(&error))))?;
    let call = wire::JoinRequest {
        token_id: token.id.clone(),
        secret: token.secret().to_owned(),
        server: server.to_string(),
        public_key: request.public_key(),
        witness,
        level: tasuki_core::registry::level::KNOWN.0,
    };
    let answer = JoinClient::new(channel).join(call).await.map_err(answered)?.into_inner();
    convert::admission_in(answer).map_err(unreadable)
}

/// The first profile, in its file and in the local registry, and the backup that is made at install.
fn keep_local(data: &Path, identity: &Identity, config: &ClusterConfig) -> Result<(), AppError> {
    let first = Profile::first(identity.lineage().clone(), config);
    let signed = SignedProfile::sign(identity, first)?;
    signed.save(data)?;
    LocalRegistry::create(data, identity.server(), Some(&signed.text()), wall_now())?;
    Ok(())
}

pub(super) fn save(bootstrap: &Bootstrap, data: &Path) -> Result<(), AppError> {
    bootstrap
        .save(data)
        .map_err(|error| AppError::File(format!("{}: {error}", Bootstrap::path(data).display())))
}

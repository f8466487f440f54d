//! `tasuki witness`, and `tasuki witness join | list | leave`. All of it is about this machine: no
//! node is asked but the member that lets the witness in.

use std::{path::Path, process::ExitCode};

use serde::Serialize;
use serde_json::json;
use tasuki_core::{
    config::Role,
    ids::{Lineage, ServerName},
};

use super::{
    args::{Options, WitnessArgs, WitnessVerb},
    cluster::{present, save},
    connect::resolve,
    output::{Cell, Output, table},
};
use crate::{
    app::{AppError, bootstrap::Bootstrap},
    identity::{KeyRequest, Token},
    witness::{self, DEFAULT_FOLDER, Membership, RecordFile, WitnessFolder},
};

/// Serves, or does what the verb says.
#[must_use]
pub fn run(options: &Options, arguments: WitnessArgs) -> ExitCode {
    let out = Output::new(options.json, options.color);
    let place = if options.data == Path::new("/var/lib/tasuki") {
        Path::new(DEFAULT_FOLDER)
    } else {
        options.data.as_path()
    };
    let done = match (WitnessFolder::new(place), arguments.verb) {
        (Err(error), _) => Err(error.into()),
        (Ok(folder), None) => return witness::run(&folder),
        (Ok(folder), Some(WitnessVerb::Join { member, token, name })) => {
            let joining = join(&out, &folder, &member, &token, ServerName::new(name));
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| AppError::Failed(format!("cannot start: {error}")))
                .and_then(|runtime| runtime.block_on(joining))
        }
        (Ok(folder), Some(WitnessVerb::List)) => list(&out, &folder),
        (Ok(folder), Some(WitnessVerb::Leave { cluster, yes })) => leave(&out, &folder, &cluster, yes),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => out.fail(&error),
    }
}

async fn join(
    out: &Output,
    folder: &WitnessFolder,
    member: &str,
    token: &str,
    name: ServerName,
) -> Result<(), AppError> {
    let token = Token::parse(token)?;
    let address = resolve(member).await?;
    folder.is_new(&token)?;
    // Prepared before anything is sent, as for a server.
    let begun = folder.begin(&token)?;
    let request = KeyRequest::new(&begun, &name)?;
    let admission = present(address, &token, &name, &request, true).await?;
    let raft_id = admission.welcome.raft_id;
    let identity = request.store(admission.welcome, &token)?;
    save(&Bootstrap::Join { raft_id, config: admission.config, members: admission.members }, &begun)?;
    let place = folder.finish(&begun, identity.cluster(), identity.lineage())?;
    let role = Membership::load(&place)?.role();
    let value = json!({
        "cluster": identity.cluster(),
        "name": name,
        "lineage": identity.lineage(),
        "kind": role,
        "folder": place,
    });
    out.show(&value, |_| {
        let next = if folder.is_served() {
            "The witness that runs here serves it at once.".to_owned()
        } else {
            format!("Start it:  tasuki witness --data {}", folder.place().display())
        };
        format!("{name} is a witness ({}) of cluster {} now\n\n{next}", word(role), identity.cluster())
    })
}

/// One cluster, as it is listed.
#[derive(Debug, Serialize)]
struct Listed {
    cluster: String,
    name: ServerName,
    lineage: Lineage,
    #[serde(flatten)]
    role: Role,
    addresses: Vec<String>,
    /// What the record says, for a witness that keeps one.
    record: Option<String>,
    /// Why it cannot be served, or not whole.
    problem: Option<String>,
    folder: String,
}

fn list(out: &Output, folder: &WitnessFolder) -> Result<(), AppError> {
    let mut listed = Vec::new();
    for place in folder.clusters()? {
        match Membership::load(&place) {
            Ok(membership) => listed.push(row(&membership)),
            // The others are listed nevertheless.
            Err(error) => eprintln!("{}: {error} ({})", place.display(), error.code()),
        }
    }
    let served = folder.is_served();
    out.show(&json!({ "served": served, "clusters": listed }), |_| {
        if listed.is_empty() {
            return format!("{} has no cluster; `tasuki witness join` adds one", folder.place().display());
        }
        let rows: Vec<Vec<Cell>> = listed
            .iter()
            .map(|one| {
                let note = one.problem.clone().or_else(|| one.record.clone()).unwrap_or_default();
                vec![
                    one.cluster.as_str().into(),
                    one.name.as_str().into(),
                    word(one.role).into(),
                    one.addresses.join(" ").into(),
                    note.into(),
                ]
            })
            .collect();
        let mut text = table(&["CLUSTER", "NAME", "KIND", "ADDRESSES", "NOTE"], &rows, out.color);
        if !served {
            text.push_str("\nno process serves them now; start `tasuki witness`\n");
        }
        text
    })
}

fn row(membership: &Membership) -> Listed {
    let (identity, role) = (&membership.identity, membership.role());
    let read = matches!(role, Role::Register { .. })
        .then(|| RecordFile::new(&membership.folder, identity.lineage().clone()).read());
    let (record, problem) = match read {
        None if role == Role::Server => (None, Some("a server in the configuration, not a witness".into())),
        None => (None, None),
        Some(Ok(None)) => (Some("no record yet".to_owned()), None),
        Some(Ok(Some(record))) => (Some(record.to_string()), None),
        Some(Err(error)) => (None, Some(format!("{error} ({})", error.code()))),
    };
    Listed {
        cluster: identity.cluster().to_owned(),
        name: identity.server().clone(),
        lineage: identity.lineage().clone(),
        role,
        addresses: membership.sockets().iter().map(ToString::to_string).collect(),
        record,
        problem,
        folder: membership.folder.display().to_string(),
    }
}

fn leave(out: &Output, folder: &WitnessFolder, cluster: &str, yes: bool) -> Result<(), AppError> {
    let place = folder.find(cluster)?;
    if !yes {
        return Err(AppError::Invalid(format!(
            "leaving {cluster} removes what this witness keeps for it, for good; say --yes, best after its \
             [[witness]] was taken out of the configuration"
        )));
    }
    folder.remove(&place)?;
    out.show(&json!({ "cluster": cluster, "left": true }), |_| {
        format!("this machine is no witness of cluster {cluster} any more")
    })
}

fn word(role: Role) -> &'static str {
    match role {
        Role::Server => "server",
        Role::Voter { .. } => "voter",
        Role::Register { .. } => "register",
    }
}

//! What would follow: the core's forecast, in the words that faces show. Nothing here changes
//! anything.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tasuki_core::{
    config::ClusterConfig,
    ids::{GroupName, NetworkName, ServerName},
    membership::view::{GossipState, PathState, View},
    placement::{
        forecast::{self, Change, Ended, Forecast, Impossible, Interruption, Picture},
        matrix::{self, Loss},
        spared::spared,
    },
};

use super::{App, AppError, Caller, Role, config::parse, error::Exit};

/// What is supposed to happen, all at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Supposed {
    /// A configuration that is pushed.
    pub config: Option<ClusterConfig>,
    /// Servers that lose power.
    pub server_down: Vec<ServerName>,
    /// Servers that start.
    pub server_up: Vec<ServerName>,
    /// Cables that are cut: whose, and to which network.
    pub cable_cut: Vec<(ServerName, NetworkName)>,
    /// Groups that an operator moves, and where to.
    pub moved: Vec<(GroupName, Option<ServerName>)>,
    /// Groups that an operator starts, and where.
    pub started: Vec<(GroupName, Option<ServerName>)>,
    /// Groups that an operator stops.
    pub stopped: Vec<GroupName>,
}

/// What would follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What would happen, in order.
    pub steps: Vec<PlanStep>,
    /// Every group that is touched.
    pub interruptions: Vec<Interruption>,
    /// Groups that are wanted and would not run in the end.
    pub down: Vec<GroupName>,
    /// Nothing more would follow.
    pub settled: bool,
    /// How it would end.
    pub ending: String,
}

/// One step of what would happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanStep {
    /// Milliseconds after the beginning.
    pub after_ms: u64,
    /// What kind of step, one word.
    pub kind: String,
    /// What.
    pub text: String,
    /// Why, when it is a decision.
    pub reason: Option<String>,
    /// The group it is about.
    pub group: Option<GroupName>,
    /// The server it is about.
    pub server: Option<ServerName>,
}

/// What one loss would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatrixRow {
    /// What is lost: `server`, `cable` or `network`.
    pub kind: String,
    /// Its name.
    pub loss: String,
    /// Servers that no other one would hear any more.
    pub cut_off: Vec<ServerName>,
    /// The groups that would be interrupted.
    pub interruptions: Vec<Interruption>,
    /// Groups that run now and would not run any more.
    pub down: Vec<GroupName>,
    /// Nothing more would follow.
    pub settled: bool,
    /// How it would end.
    pub ending: String,
}

impl Supposed {
    fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        changes.extend(self.config.iter().map(|c| Change::Configure { config: Box::new(c.clone()) }));
        changes.extend(self.server_down.iter().map(|s| Change::ServerDown { server: s.clone() }));
        changes.extend(self.server_up.iter().map(|s| Change::ServerUp { server: s.clone() }));
        let cut = |(server, network): &(ServerName, NetworkName)| Change::CableCut {
            server: server.clone(),
            network: network.clone(),
        };
        changes.extend(self.cable_cut.iter().map(cut));
        let moved = self.moved.iter();
        changes.extend(moved.map(|(group, to)| Change::Move { group: group.clone(), to: to.clone() }));
        let started = self.started.iter();
        changes.extend(started.map(|(group, on)| Change::Start { group: group.clone(), on: on.clone() }));
        changes.extend(self.stopped.iter().map(|group| Change::Stop { group: group.clone() }));
        changes
    }
}

/// Plays what would follow.
///
/// # Errors
/// When something that is supposed cannot happen.
pub fn forecast(picture: &Picture, supposed: &Supposed, by: &str) -> Result<Plan, AppError> {
    let Forecast { steps, interruptions, down, ended } =
        forecast::forecast(picture, &supposed.changes(), by).map_err(impossible)?;
    let steps = steps.into_iter().map(|step| PlanStep {
        after_ms: step.after_ms,
        kind: step.what.word().to_owned(),
        text: step.what.to_string(),
        group: step.what.group().cloned(),
        server: step.what.server().cloned(),
        reason: step.reason.map(|reason| reason.to_string()),
    });
    let (settled, ending) = ending(&ended);
    let ending = ending + &left(picture, &ended, &[]);
    Ok(Plan { steps: steps.collect(), interruptions, down, settled, ending })
}

/// What each single loss would do. `broken` are the cables that carry nothing now.
#[must_use]
pub fn matrix(picture: &Picture, broken: &BTreeSet<(ServerName, NetworkName)>) -> Vec<MatrixRow> {
    let rows = matrix::matrix(picture, broken).into_iter().map(|row| {
        let kind = match row.loss {
            Loss::Server { .. } => "server",
            Loss::Cable { .. } => "cable",
            Loss::Network { .. } => "network",
        };
        let (settled, ending) = ending(&row.ended);
        let ending = ending + &left(picture, &row.ended, &row.cut_off);
        MatrixRow {
            kind: kind.to_owned(),
            loss: row.loss.to_string(),
            cut_off: row.cut_off,
            interruptions: row.interruptions,
            down: row.down,
            settled,
            ending,
        }
    });
    rows.collect()
}

/// What goes on, or stands still, on servers that lose their lease: all of them where no quorum is
/// left, otherwise those that are cut off.
fn left(picture: &Picture, ended: &Ended, cut_off: &[ServerName]) -> String {
    let all = matches!(ended, Ended::NoQuorum { .. });
    let spared = spared(&picture.state, |server| all || cut_off.contains(server));
    spared.iter().map(|one| format!("; {one}")).collect()
}

fn ending(ended: &Ended) -> (bool, String) {
    match ended {
        Ended::Settled => (true, "then nothing more follows".to_owned()),
        Ended::NoQuorum { voters, left, needed } => (
            true,
            format!(
                "no quorum: {left} of {voters} voters are left, {needed} are needed; every server stops what \
                 it runs"
            ),
        ),
        Ended::Unfinished { rounds } => (
            false,
            format!("not at rest after {rounds} rounds of deciding: what is shown is only the beginning"),
        ),
        Ended::Waiting { groups } => {
            let names: Vec<&str> = groups.iter().map(GroupName::as_str).collect();
            (false, format!("{} should stop and wait for others that do not", names.join(", ")))
        }
        Ended::Stuck { refusal } => (false, format!("what is decided next is refused: {refusal}")),
    }
}

fn impossible(error: Impossible) -> AppError {
    match error {
        Impossible::Refused { refusal, .. } => AppError::Refused(refusal),
        other @ (Impossible::AlreadyUp(_) | Impossible::Both(_) | Impossible::NoNetwork(_)) => {
            AppError::Coded {
                code: "TSK-1720".to_owned(),
                message: other.to_string(),
                remedy:
                    "`tasuki server list` shows which servers are up, `tasuki config show` the networks; \
                     suppose something that can happen"
                        .to_owned(),
                exit: Exit::Usage,
            }
        }
    }
}

/// A picture that `tasuki plan --save` wrote.
///
/// # Errors
/// When it is none.
pub fn read_picture(text: &str, file: &str) -> Result<Picture, AppError> {
    serde_json::from_str(text).map_err(|error| AppError::Coded {
        code: "TSK-1721".to_owned(),
        message: format!("{file} is not a saved state: {error}"),
        remedy: "`tasuki plan --save FILE` writes one, on a server of the cluster".to_owned(),
        exit: Exit::Failed,
    })
}

impl App {
    /// What would follow if something happened.
    ///
    /// # Errors
    /// Not allowed, no quorum, or it cannot happen.
    pub async fn plan_forecast(&self, by: &Caller, supposed: &Supposed) -> Result<Plan, AppError> {
        by.must_be(Role::Viewer)?;
        let picture = self.picture().await?;
        forecast(&picture, supposed, &by.name)
    }

    /// As [`App::plan_forecast`], with the configuration as text.
    ///
    /// # Errors
    /// Mistakes in the configuration too.
    pub async fn plan_forecast_with(
        &self,
        by: &Caller,
        mut supposed: Supposed,
        config: &str,
        file: &str,
    ) -> Result<Plan, AppError> {
        by.must_be(Role::Viewer)?;
        if !config.is_empty() {
            supposed.config = Some(parse(config, file)?.0);
        }
        self.plan_forecast(by, &supposed).await
    }

    /// What the loss of each single server and path would do now.
    ///
    /// # Errors
    /// Not allowed, no quorum.
    pub async fn plan_matrix(&self, by: &Caller) -> Result<Vec<MatrixRow>, AppError> {
        by.must_be(Role::Viewer)?;
        let picture = self.picture().await?;
        Ok(matrix(&picture, &broken(&self.node.status().server, &self.node.view())))
    }

    /// Everything that a forecast begins with.
    ///
    /// # Errors
    /// Not allowed, no quorum.
    pub async fn plan_picture(&self, by: &Caller) -> Result<Picture, AppError> {
        by.must_be(Role::Viewer)?;
        self.picture().await
    }

    /// The registry, confirmed by a quorum, as far as a forecast needs it, and who is heard here.
    async fn picture(&self) -> Result<Picture, AppError> {
        let state = self.node.read().await?;
        let mut picture = Picture::of(super::secrets::hidden(&tasuki_core::registry::State {
            history: Default::default(),
            versions: Default::default(),
            tokens: Default::default(),
            ..(*state).clone()
        }));
        let view = self.node.view();
        picture.fit.retain(|server| view.peers.get(server).is_none_or(|p| p.gossip != GossipState::Dead));
        picture.at = super::wall_now();
        picture.voters = self.node.status().raft.voters.into_iter().collect();
        Ok(picture)
    }
}

/// The cables that carry nothing, as one server sees it: its own where it hears nobody, those of the
/// others where it hears somebody else.
fn broken(here: &ServerName, view: &View) -> BTreeSet<(ServerName, NetworkName)> {
    let paths = view.peers.iter().filter(|(_, peer)| peer.gossip != GossipState::Dead);
    let paths: Vec<_> = paths
        .flat_map(|(peer, seen)| seen.paths.iter().map(move |(network, path)| (peer, network, path.state)))
        .collect();
    let mut broken = BTreeSet::new();
    let networks: BTreeSet<&NetworkName> = paths.iter().map(|(_, network, _)| *network).collect();
    for network in networks {
        let on = || paths.iter().filter(|(_, n, _)| *n == network);
        if on().all(|(.., state)| *state == PathState::Error) {
            broken.insert((here.clone(), network.clone()));
        } else {
            let silent = on().filter(|(.., state)| *state == PathState::Error);
            broken.extend(silent.map(|(peer, ..)| ((*peer).clone(), network.clone())));
        }
    }
    broken
}

//! Voting files: shown, checked on every server, and changed on the running cluster.
//!
//! What they hold has to move with the configuration, so they are changed here and not by a push: new
//! files are made and found by every server first, then the tie-break record moves, then the
//! configuration names them, and at last the old ones are taken out of use.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tasuki_core::{
    config::{ClusterConfig, TieBreak},
    ids::{Incarnation, ServerName},
    registry::{Key, State},
};

use super::{
    App, AppError, Caller, Role,
    config::{Push, parse},
    error::Exit,
    joins::addresses_of,
};

/// One server's block in a voting file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockView {
    /// Which block.
    pub slot: u32,
    /// Whose.
    pub server: ServerName,
    /// The incarnation that wrote it.
    pub incarnation: Incarnation,
    /// The how-manieth beat.
    pub sequence: u64,
}

/// One voting file, as one server finds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteView {
    /// Its place in the configuration, from 1; 0 when it is not configured.
    pub number: u32,
    /// Who looked.
    pub server: Option<ServerName>,
    /// Its path.
    pub path: PathBuf,
    /// It can be read, and is a voting file of this cluster.
    pub online: bool,
    /// Its name; empty when it has none.
    pub id: String,
    /// It is there, or can be made there, and nothing stands in it.
    pub blank: bool,
    /// Why it is not online.
    pub problem: String,
    /// How long reading it took.
    pub latency_micros: u64,
    /// How long ago it was last read and written by the synchronisation service.
    pub last_millis: Option<u64>,
    /// It has not answered for the whole of `disk_timeout`.
    pub lost: bool,
    /// Who beats in it.
    pub blocks: Vec<BlockView>,
}

/// The voting files of this machine, for the service layer.
#[async_trait]
pub trait Votes: Send + Sync + 'static {
    /// What is there.
    async fn look(&self, path: &Path) -> VoteView;
    /// Makes a voting file; its name.
    ///
    /// # Errors
    /// When it cannot be one, or something stands there and `force` is not said.
    async fn make(&self, path: &Path, cluster: &str, force: bool) -> Result<String, String>;
    /// Moves the tie-break record from these files to those.
    ///
    /// # Errors
    /// When not enough of them answer.
    async fn settle(&self, old: &[PathBuf], new: &[PathBuf]) -> Result<(), String>;
    /// Takes a file out of use.
    async fn retire(&self, path: &Path);
}

/// Why the voting files stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VoteError {
    /// An even number survives no more losses than one less.
    #[error("that would leave {0} voting files, an even number")]
    Even(usize),
    /// It is, or is not, one of them already.
    #[error("{0}")]
    Which(String),
    /// Two servers would have nothing to break a tie.
    #[error("without {0} the two servers have no tie-break: they stop when they lose each other")]
    LastTieBreak(String),
    /// A push does not move what the files hold.
    #[error("the configuration names other voting files than the cluster has ({0})")]
    ByPush(String),
    /// It cannot be a voting file, or must not be overwritten.
    #[error("{0}")]
    NotUsable(String),
    /// The record stays where it is, and so do the files.
    #[error("the tie-break record could not be moved: {0}")]
    NotMoved(String),
    /// Other servers do not find it.
    #[error("not every server finds the same file: {0}")]
    NotShared(String),
}

impl From<VoteError> for AppError {
    fn from(error: VoteError) -> Self {
        let (code, remedy) = match &error {
            VoteError::Even(_) => {
                ("TSK-1740", "name one more or one less, or use `tasuki vote replace OLD NEW`")
            }
            VoteError::Which(_) => ("TSK-1741", "`tasuki vote list` shows the voting files"),
            VoteError::LastTieBreak(_) => {
                ("TSK-1742", "add a witness first, or say --yes if both shall stop rather than guess")
            }
            VoteError::ByPush(_) => (
                "TSK-1743",
                "change them with `tasuki vote add`, `remove` or `replace`, and leave them in the file as they are",
            ),
            VoteError::NotUsable(_) => (
                "TSK-1744",
                "use a blank device or file of at least 1 MiB that is no mirror; --force overwrites what is there",
            ),
            VoteError::NotMoved(_) => ("TSK-1745", "`tasuki vote check` shows which file does not answer"),
            VoteError::NotShared(_) => {
                ("TSK-1747", "the path must lead to the same storage on every server: mount it there first")
            }
        };
        Self::Coded {
            code: code.to_owned(),
            message: error.to_string(),
            remedy: remedy.to_owned(),
            exit: Exit::Refused,
        }
    }
}

/// A change of the voting files.
#[derive(Clone, Debug, Default)]
struct Change {
    add: Vec<PathBuf>,
    remove: Vec<PathBuf>,
    force: bool,
    acknowledged: bool,
    dry_run: bool,
}

impl App {
    /// The voting files as this server finds them.
    ///
    /// # Errors
    /// Only when the caller may not.
    pub async fn vote_list(&self, by: &Caller) -> Result<Vec<VoteView>, AppError> {
        self.vote_check_here(by, &[]).await
    }

    /// The voting files, or others, as this server finds them.
    ///
    /// # Errors
    /// Only when the caller may not.
    pub async fn vote_check_here(&self, by: &Caller, paths: &[PathBuf]) -> Result<Vec<VoteView>, AppError> {
        by.must_be(Role::Viewer)?;
        let configured = files_of(&self.applied());
        let paths = if paths.is_empty() { &configured[..] } else { paths };
        let here = self.node.status();
        let known = self.node.voting_files();
        let views = futures::future::join_all(paths.iter().map(|path| self.look(path))).await;
        let number = |path: &Path| configured.iter().position(|file| file == path);
        Ok(views
            .into_iter()
            .map(|view| {
                let state = known.iter().find(|file| file.path == view.path);
                let last = state.and_then(|file| file.last).map(|last| here.now.since(last).as_millis());
                VoteView {
                    number: number(&view.path).and_then(|n| u32::try_from(n + 1).ok()).unwrap_or(0),
                    server: Some(here.server.clone()),
                    last_millis: last.and_then(|last| u64::try_from(last).ok()),
                    lost: state.is_some_and(|file| file.lost),
                    ..view
                }
            })
            .collect())
    }

    /// The voting files as every server finds them.
    ///
    /// # Errors
    /// Not allowed.
    pub async fn vote_check(&self, by: &Caller) -> Result<Vec<VoteView>, AppError> {
        by.must_be(Role::Viewer)?;
        let state = self.applied();
        let files = files_of(&state);
        let mut views = Vec::new();
        for (server, found) in self.ask_votes(by, &state, &files).await {
            match found {
                Ok(found) => views.extend(found),
                Err(why) => views.extend((1..).zip(&files).map(|(number, path)| VoteView {
                    number,
                    server: Some(server.clone()),
                    path: path.clone(),
                    problem: why.clone(),
                    ..VoteView::default()
                })),
            }
        }
        Ok(views)
    }

    /// Makes files voting files, and adds them to the configuration.
    ///
    /// # Errors
    /// Not allowed, an even number, not usable, not shared, no quorum.
    pub async fn vote_add(
        &self,
        by: &Caller,
        paths: Vec<PathBuf>,
        force: bool,
        dry_run: bool,
    ) -> Result<Push, AppError> {
        self.change_votes(by, Change { add: paths, force, dry_run, ..Change::default() }).await
    }

    /// Takes voting files out of the configuration.
    ///
    /// # Errors
    /// Not allowed, an even number, the last tie-break, no quorum.
    pub async fn vote_remove(
        &self,
        by: &Caller,
        paths: Vec<PathBuf>,
        acknowledged: bool,
        dry_run: bool,
    ) -> Result<Push, AppError> {
        self.change_votes(by, Change { remove: paths, acknowledged, dry_run, ..Change::default() }).await
    }

    /// Puts one voting file in the place of another.
    ///
    /// # Errors
    /// Not allowed, not usable, not shared, no quorum.
    pub async fn vote_replace(
        &self,
        by: &Caller,
        old: PathBuf,
        new: PathBuf,
        force: bool,
        dry_run: bool,
    ) -> Result<Push, AppError> {
        let (add, remove) = (vec![new], vec![old]);
        self.change_votes(by, Change { add, remove, force, dry_run, ..Change::default() }).await
    }

    async fn change_votes(&self, by: &Caller, change: Change) -> Result<Push, AppError> {
        by.must_be(Role::Admin)?;
        let votes =
            self.votes.clone().ok_or_else(|| AppError::Failed("this node has no voting files".into()))?;
        let state = self.node.read().await?;
        let mut config =
            state.config().ok_or_else(|| AppError::Failed("the registry has no configuration yet".into()))?;
        let old = config.settings.votes.files.clone();
        let new = changed(&old, &change)?;
        apply_to(&mut config, new.clone(), change.acknowledged)?;
        let (config, warnings) = parse(&tasuki_config::to_toml(&config), "")?;
        for path in &change.add {
            let found = votes.look(path).await;
            if !found.blank && !change.force {
                let why =
                    if found.online { "is a voting file of this cluster already" } else { &found.problem };
                return Err(VoteError::NotUsable(describe(path, why)).into());
            }
        }
        let read = vec![(Key::Configuration, state.revision_of(&Key::Configuration))];
        if change.dry_run {
            return self.adopt(by, &state, config, warnings, true, read).await;
        }
        let cluster = config.settings.name.clone();
        let mut made: BTreeMap<PathBuf, String> = BTreeMap::new();
        for path in &change.add {
            match votes.make(path, &cluster, change.force).await {
                Ok(id) => drop(made.insert(path.clone(), id)),
                Err(why) => {
                    unmake(&*votes, &made).await;
                    return Err(VoteError::NotUsable(describe(path, &why)).into());
                }
            }
        }
        if let Err(error) = self.found_everywhere(by, &state, &made).await {
            unmake(&*votes, &made).await;
            return Err(error);
        }
        if !old.is_empty()
            && !new.is_empty()
            && let Err(why) = votes.settle(&old, &new).await
        {
            // Whether it moved is not known: what was made stays, and can be added again.
            return Err(VoteError::NotMoved(why).into());
        }
        let push = self.adopt(by, &state, config, warnings, false, read).await?;
        for path in &change.remove {
            votes.retire(path).await;
        }
        Ok(push)
    }

    /// Every server that can be asked finds the very files that were made here.
    async fn found_everywhere(
        &self,
        by: &Caller,
        state: &State,
        made: &BTreeMap<PathBuf, String>,
    ) -> Result<(), AppError> {
        if made.is_empty() {
            return Ok(());
        }
        let paths: Vec<PathBuf> = made.keys().cloned().collect();
        let mut wrong = Vec::new();
        for (server, found) in self.ask_votes(by, state, &paths).await {
            // One that is down finds out when it comes back, and says so then.
            let up = state.presence(&server).is_some_and(|presence| presence.up);
            match found {
                Err(why) if up => wrong.push(format!("{server}: {why}")),
                Err(_) => {}
                Ok(found) => {
                    for view in found.iter().filter(|view| made.get(&view.path) != Some(&view.id)) {
                        let other = "is another file there";
                        let why = if view.problem.is_empty() { other } else { &view.problem };
                        wrong.push(format!("{server}: {}", describe(&view.path, why)));
                    }
                }
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(VoteError::NotShared(wrong.join("; ")).into()) }
    }

    async fn look(&self, path: &Path) -> VoteView {
        match &self.votes {
            Some(votes) => votes.look(path).await,
            None => VoteView {
                path: path.to_owned(),
                problem: "this node has no voting files".to_owned(),
                ..VoteView::default()
            },
        }
    }

    async fn ask_votes(
        &self,
        by: &Caller,
        state: &State,
        paths: &[PathBuf],
    ) -> Vec<(ServerName, Result<Vec<VoteView>, String>)> {
        let here = self.node.status().server;
        let config = state.config();
        let servers = config.iter().flat_map(ClusterConfig::runners);
        let questions = servers.map(|(server, _)| {
            let (server, here) = (server.clone(), here.clone());
            async move {
                let found = if server == here {
                    self.vote_check_here(by, paths).await.map_err(|error| error.to_string())
                } else if state.presence(&server).is_none() {
                    Err("has not joined".to_owned())
                } else {
                    let port = state.settings.as_ref().map_or(0, |settings| settings.value.port);
                    self.fleet.votes_there(&server, &addresses_of(state, &server), port, paths).await
                };
                (server, found)
            }
        });
        futures::future::join_all(questions).await
    }
}

/// Refuses a configuration that names other voting files than there are.
pub(super) fn same_files(state: &State, config: &ClusterConfig) -> Result<(), AppError> {
    let set = |files: &[PathBuf]| files.iter().cloned().collect::<BTreeSet<PathBuf>>();
    let now = files_of(state);
    if state.settings.is_none() || set(&now) == set(&config.settings.votes.files) {
        return Ok(());
    }
    let names: Vec<String> = now.iter().map(|file| file.display().to_string()).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Err(VoteError::ByPush(names).into())
}

fn files_of(state: &State) -> Vec<PathBuf> {
    state.settings.as_ref().map(|settings| settings.value.votes.files.clone()).unwrap_or_default()
}

/// The files after the change.
fn changed(old: &[PathBuf], change: &Change) -> Result<Vec<PathBuf>, VoteError> {
    let mut new = old.to_vec();
    if change.add.is_empty() && change.remove.is_empty() {
        return Err(VoteError::Which("no voting file was named".to_owned()));
    }
    for path in &change.remove {
        let Some(place) = new.iter().position(|file| file == path) else {
            return Err(VoteError::Which(describe(path, "is no voting file of this cluster")));
        };
        new.remove(place);
    }
    for path in &change.add {
        if old.contains(path) || new.contains(path) {
            return Err(VoteError::Which(describe(path, "is named already")));
        }
        new.push(path.clone());
    }
    if new.len().is_multiple_of(2) && !new.is_empty() { Err(VoteError::Even(new.len())) } else { Ok(new) }
}

fn apply_to(config: &mut ClusterConfig, new: Vec<PathBuf>, acknowledged: bool) -> Result<(), VoteError> {
    let two = config.servers.values().filter(|server| server.role.may_vote()).count() == 2;
    let votes = &mut config.settings.votes;
    if new.is_empty() && votes.tie_break == TieBreak::VotingFiles {
        if two && !acknowledged {
            let names: Vec<String> = votes.files.iter().map(|file| file.display().to_string()).collect();
            return Err(VoteError::LastTieBreak(names.join(", ")));
        }
        votes.tie_break = TieBreak::None;
    }
    if votes.files.is_empty() && two && votes.tie_break == TieBreak::None {
        votes.tie_break = TieBreak::VotingFiles;
    }
    votes.files = new;
    Ok(())
}

async fn unmake(votes: &dyn Votes, made: &BTreeMap<PathBuf, String>) {
    for path in made.keys() {
        votes.retire(path).await;
    }
}

/// What is said of a path names it already, or not.
fn describe(path: &Path, why: &str) -> String {
    let path = path.display().to_string();
    if why.contains(&path) { why.to_owned() } else { format!("{path} {why}") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    fn after(old: &[&str], add: &[&str], remove: &[&str]) -> Result<Vec<PathBuf>, VoteError> {
        changed(&paths(old), &Change { add: paths(add), remove: paths(remove), ..Change::default() })
    }

    #[test]
    fn the_number_of_voting_files_stays_odd() {
        assert_eq!(after(&[], &["/a"], &[]), Ok(paths(&["/a"])));
        assert_eq!(after(&["/a"], &["/b"], &[]), Err(VoteError::Even(2)));
        assert_eq!(after(&["/a"], &["/b", "/c"], &[]), Ok(paths(&["/a", "/b", "/c"])));
        assert_eq!(after(&["/a", "/b", "/c"], &["/d"], &["/b"]), Ok(paths(&["/a", "/c", "/d"])));
        assert_eq!(after(&["/a", "/b", "/c"], &[], &["/b"]), Err(VoteError::Even(2)));
        assert_eq!(after(&["/a"], &[], &["/a"]), Ok(Vec::new()));
    }

    #[test]
    fn files_are_named_once_and_removed_only_when_they_are_there() {
        for (add, remove) in
            [(&["/a"][..], &[][..]), (&["/b", "/b"], &[]), (&[], &["/b"]), (&[], &[]), (&["/a"], &["/a"])]
        {
            assert!(matches!(after(&["/a"], add, remove), Err(VoteError::Which(_))), "{add:?} {remove:?}");
        }
    }
}

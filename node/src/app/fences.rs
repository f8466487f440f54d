//! Fencing as operators see and use it.

use serde::{Deserialize, Serialize};
use tasuki_core::{
    config::{FenceConfig, FenceKind},
    ids::{FenceName, Incarnation, Revision, ServerName},
    registry::{
        Command, State,
        fencing::{FenceTry, FencingState},
        state::Presence,
    },
};

use super::{
    App, AppError, Caller, Role,
    error::{Exit, Kind},
};

/// One device, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceView {
    /// Its name.
    pub name: FenceName,
    /// For people.
    pub comment: String,
    /// `agent`, `script`, `reservation` or `watchdog`.
    pub kind: String,
    /// Its program, or its disks.
    pub what: String,
    /// Whether its confirmation proves that a server neither runs nor writes.
    pub proves_off: bool,
    /// The servers that name it.
    pub servers: Vec<ServerName>,
}

/// The fencing of one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FencingView {
    /// Which.
    pub server: ServerName,
    /// Levels in order; all devices of one must confirm.
    pub levels: Vec<Vec<FenceName>>,
    /// `none`, `requested`, `confirmed`, `failed` or `lifted`.
    pub state: String,
    /// The devices that confirmed it; empty when an operator did.
    pub by: Vec<FenceName>,
    /// The incarnation that it is about; zero without a fencing.
    pub incarnation: Incarnation,
    /// Why it was asked for.
    pub because: String,
    /// The last tries, oldest first.
    pub tries: Vec<FenceTry>,
}

impl App {
    /// The fencing devices, as this server has applied them.
    ///
    /// # Errors
    /// Only when the caller may not.
    pub fn fence_list(&self, by: &Caller) -> Result<Vec<DeviceView>, AppError> {
        by.must_be(Role::Viewer)?;
        let state = self.applied();
        let fences = state.settings.as_ref().map(|settings| &settings.value.fences);
        Ok(fences.into_iter().flatten().map(|(name, config)| device(&state, name, config)).collect())
    }

    /// How every server, or one, is fenced, and how far its last fencing is.
    ///
    /// # Errors
    /// Not allowed, no such server.
    pub fn fence_status(&self, by: &Caller, name: Option<&ServerName>) -> Result<Vec<FencingView>, AppError> {
        by.must_be(Role::Viewer)?;
        let state = self.applied();
        let mut servers: Vec<_> = state.servers.iter().collect();
        servers.sort_by_key(|(_, entry)| entry.config.value.number);
        let wanted = |server: &ServerName| name.is_none_or(|name| name == server);
        let views: Vec<FencingView> = servers
            .into_iter()
            .filter(|(server, entry)| {
                wanted(server) && (name.is_some() || entry.config.value.role.runs_groups())
            })
            .map(|(server, _)| fencing(&state, server))
            .collect();
        match name {
            Some(name) if views.is_empty() => Err(no_server(name)),
            _ => Ok(views),
        }
    }

    /// Asks a device whether it answers, from this server.
    ///
    /// # Errors
    /// Not allowed, no such device.
    pub async fn fence_test(&self, by: &Caller, device: &FenceName) -> Result<Result<(), String>, AppError> {
        by.must_be(Role::Operator)?;
        let state = self.applied();
        let fences = state.settings.as_ref().map(|settings| &settings.value.fences);
        if !fences.is_some_and(|fences| fences.contains_key(device)) {
            let known: Vec<&str> = fences.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
            let there = if known.is_empty() { "there is none".to_owned() } else { known.join(", ") };
            return Err(AppError::Coded {
                code: "TSK-1738".to_owned(),
                message: format!("no fencing device is called {device}; the devices: {there}"),
                remedy: "`tasuki fence list` shows them; new ones come by `config push`".to_owned(),
                exit: Exit::NotFound,
            });
        }
        Ok(self.node.test_fence(device).await)
    }

    /// Has a server fenced now, whether it answers or not.
    ///
    /// # Errors
    /// Not allowed, not acknowledged, no such server, no device, under way already.
    pub async fn fence_now(
        &self,
        by: &Caller,
        server: &ServerName,
        acknowledged: bool,
    ) -> Result<Revision, AppError> {
        by.must_be(Role::Admin)?;
        let state = self.node.read().await?;
        let presence = joined(&state, server)?;
        if fencing(&state, server).levels.is_empty() {
            return Err(no_device(server));
        }
        if !acknowledged {
            return Err(not_acknowledged(format!("fencing {server} cuts off all that runs there")));
        }
        let because = format!("{} asked for it", by.name);
        let incarnation = presence.incarnation;
        let command = Command::RequestFence { server: server.clone(), incarnation, because };
        Ok(self.propose(by, command).await?.revision)
    }

    /// Says in an operator's name that a server is off (R36). Refused while it is heard: that server
    /// is not off.
    ///
    /// # Errors
    /// Not allowed, not acknowledged, no such server, or it is heard.
    pub async fn fence_confirm(
        &self,
        by: &Caller,
        server: &ServerName,
        acknowledged: bool,
    ) -> Result<Revision, AppError> {
        by.must_be(Role::Admin)?;
        let state = self.node.read().await?;
        let incarnation = joined(&state, server)?.incarnation;
        let heard = self.node.view().peers.get(server).is_some_and(|peer| !peer.is_silent());
        if heard || self.node.status().server == *server {
            return Err(AppError::Coded {
                code: "TSK-1739".to_owned(),
                message: format!("server {server} is heard: it is not off"),
                remedy: "stop it with `tasuki server shutdown`, or have it fenced with `tasuki fence now`"
                    .to_owned(),
                exit: Exit::Refused,
            });
        }
        if !acknowledged {
            let message = format!("if {server} is not off, what runs there runs twice from now on");
            return Err(not_acknowledged(message));
        }
        let command = Command::ServerFenced { server: server.clone(), incarnation, by: Vec::new() };
        Ok(self.propose(by, command).await?.revision)
    }

    /// Ends a fencing by hand.
    ///
    /// # Errors
    /// Not allowed, no such server, nothing to lift.
    pub async fn fence_lift(&self, by: &Caller, server: &ServerName) -> Result<Revision, AppError> {
        by.must_be(Role::Admin)?;
        joined(&*self.node.read().await?, server)?;
        Ok(self.propose(by, Command::FenceLifted { server: server.clone() }).await?.revision)
    }
}

fn joined<'a>(state: &'a State, server: &ServerName) -> Result<&'a Presence, AppError> {
    if !state.servers.contains_key(server) {
        return Err(no_server(server));
    }
    let refusal = || AppError::Refused(tasuki_core::registry::Refusal::NotJoined(server.clone()));
    state.presence(server).ok_or_else(refusal)
}

fn not_acknowledged(message: String) -> AppError {
    let remedy = "say --yes if that is what you want".to_owned();
    AppError::Coded { code: "TSK-1660".to_owned(), message, remedy, exit: Exit::Usage }
}

fn no_server(name: &ServerName) -> AppError {
    AppError::NotFound { kind: Kind::Server, name: name.to_string() }
}

fn no_device(server: &ServerName) -> AppError {
    AppError::Coded {
        code: "TSK-1738".to_owned(),
        message: format!("server {server} has no fencing device"),
        remedy: "add a [[fence]] and `fence = \"…\"` to the server, then push".to_owned(),
        exit: Exit::Refused,
    }
}

fn device(state: &State, name: &FenceName, config: &FenceConfig) -> DeviceView {
    let paths = |paths: &[std::path::PathBuf]| {
        paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
    };
    let (kind, what) = match &config.kind {
        FenceKind::Agent { program, .. } => ("agent", program.display().to_string()),
        FenceKind::Script { program } => ("script", program.display().to_string()),
        FenceKind::Reservation { devices } => ("reservation", paths(devices)),
        FenceKind::Watchdog => ("watchdog", String::new()),
    };
    let names = |server: &ServerName| {
        state.servers[server].config.value.fencing.iter().flatten().any(|device| device == name)
    };
    DeviceView {
        name: name.clone(),
        comment: config.comment.clone(),
        kind: kind.to_owned(),
        what,
        proves_off: config.kind.proves_off(),
        servers: state.servers.keys().filter(|server| names(server)).cloned().collect(),
    }
}

fn fencing(state: &State, server: &ServerName) -> FencingView {
    let entry = state.servers.get(server);
    let levels = entry.map(|entry| entry.config.value.fencing.clone()).unwrap_or_default();
    let mut view = FencingView {
        server: server.clone(),
        levels,
        state: "none".to_owned(),
        by: Vec::new(),
        incarnation: Incarnation(0),
        because: String::new(),
        tries: Vec::new(),
    };
    let Some(fencing) = entry.and_then(|entry| entry.fencing.as_ref()).map(|item| &item.value) else {
        return view;
    };
    let word = match &fencing.state {
        FencingState::Requested => "requested",
        FencingState::Confirmed { by } => {
            view.by.clone_from(by);
            "confirmed"
        }
        FencingState::Failed => "failed",
        FencingState::Lifted => "lifted",
    };
    word.clone_into(&mut view.state);
    view.incarnation = fencing.incarnation;
    view.because.clone_from(&fencing.because);
    view.tries.clone_from(&fencing.tries);
    view
}

//! Fences servers, where this one leads, and has this one let in again after it was fenced itself.
//!
//! Started by the synchronisation supervisor; owns the fencings under way, at most one a target. Lost
//! at a restart: those, with what their devices were doing. The registry still asks for them, so they
//! are begun again: switching off what is off already changes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tasuki_core::{
    config::FenceKind,
    ids::{FenceName, Incarnation, ServerName},
    membership::fencing::{
        Attempt, Duty, FencingStep, Unfit, duties, gives_way, is_withheld, pause, proving_levels,
        registered_with,
    },
    registry::{Author, Command, State as Registry, fencing::FencingState},
};
use tokio::task::JoinHandle;

use super::reset_wait::{is_armed, reset_for_certain};
use crate::{
    context::Context,
    follow::Follow,
    handle::RegistryError,
    ports::{FenceAction, FenceOrder},
    propose::{propose, read},
};

/// What the fencing actor is told.
#[derive(Debug)]
pub enum FencingMsg {
    /// The registry or the leadership has changed, or time has passed.
    Look,
    /// A fencing has ended, or was asked for again.
    Ended(ServerName, Incarnation, Ended),
    /// This server is registered with these devices.
    Registered(Vec<FenceName>),
    /// Its registration, or its return, has to be tried again.
    NotYet,
}

/// How a fencing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Nobody waits for it any more: confirmed, or not asked for.
    Over,
    /// No level was left.
    Failed,
    /// It was asked for again.
    AskedAgain,
}

/// The actor.
pub struct FencingActor;

/// Its state.
pub struct State {
    context: Arc<Context>,
    under_way: BTreeMap<ServerName, Task>,
    /// How often in a row the fencing of an incarnation failed.
    failures: BTreeMap<(ServerName, Incarnation), u32>,
    registered: BTreeSet<FenceName>,
    returning: Option<Task>,
    _follow: [Follow; 3],
}

/// A task that ends with its owner, and with it the device's program.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A device may take this much longer than its time-out until it is given up: to say so itself.
const SLACK: Duration = Duration::from_secs(1);
/// After an entry whose outcome is not known, before it is proposed again.
const AGAIN: Duration = Duration::from_millis(10);
/// Between two tries of a server to be let in again.
const RETURN_AGAIN: Duration = Duration::from_secs(1);

impl Actor for FencingActor {
    type Msg = FencingMsg;
    type State = State;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        me: ActorRef<FencingMsg>,
        context: Arc<Context>,
    ) -> Result<State, ActorProcessingErr> {
        let follow = [
            Follow::changes(context.registry.subscribe(), me.clone(), || FencingMsg::Look),
            Follow::changes(context.leading.subscribe(), me.clone(), || FencingMsg::Look),
            Follow::beats(context.timing().detect, me, || FencingMsg::Look),
        ];
        Ok(State {
            context,
            under_way: BTreeMap::new(),
            failures: BTreeMap::new(),
            registered: BTreeSet::new(),
            returning: None,
            _follow: follow,
        })
    }

    async fn handle(
        &self,
        me: ActorRef<FencingMsg>,
        message: FencingMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            FencingMsg::Look => {}
            FencingMsg::Ended(server, incarnation, ended) => {
                state.under_way.remove(&server);
                match ended {
                    Ended::Over => drop(state.failures.remove(&(server, incarnation))),
                    Ended::Failed => *state.failures.entry((server, incarnation)).or_default() += 1,
                    Ended::AskedAgain => {}
                }
            }
            FencingMsg::Registered(devices) => {
                state.returning = None;
                state.registered = devices.into_iter().collect();
            }
            FencingMsg::NotYet => state.returning = None,
        }
        state.look(&me);
        Ok(())
    }
}

impl State {
    fn look(&mut self, me: &ActorRef<FencingMsg>) {
        let registry = self.context.state();
        let leads = self.context.leading.borrow().is_some();
        let duties = duties(&registry, self.context.me(), leads);
        // Whoever leads no more, or is asked no more, lets go of the device. One that has confirmed
        // ends by itself.
        self.under_way.retain(|server, _| {
            let fencing = registry.servers.get(server).and_then(|entry| entry.fencing.as_ref());
            let confirmed = fencing.is_some_and(|f| matches!(f.value.state, FencingState::Confirmed { .. }));
            confirmed || duties.iter().any(|duty| target(duty) == Some(server))
        });
        let mut back = false;
        for duty in duties {
            match duty {
                Duty::Fence { server, incarnation } => {
                    self.begin(
                        me,
                        &server,
                        incarnation,
                        fence(self.context.clone(), server.clone(), incarnation),
                    );
                }
                Duty::AskAgain { server, incarnation, because } => {
                    let failures = self.failures.get(&(server.clone(), incarnation)).copied().unwrap_or(0);
                    let after = pause(failures, self.context.timing().detect);
                    let command = Command::RequestFence { server: server.clone(), incarnation, because };
                    self.begin(me, &server, incarnation, ask_again(self.context.clone(), command, after));
                }
                Duty::Return { .. } => back = true,
            }
        }
        let devices = registered_with(&registry, self.context.me());
        let missing = devices.iter().any(|device| !self.registered.contains(device));
        if self.returning.is_none() && (back || missing) && may_come_in(&self.context, &registry) {
            let (context, me) = (self.context.clone(), me.clone());
            self.returning = Some(Task(tokio::spawn(async move {
                let message = match come_in(&context, &devices).await {
                    Ok(()) => FencingMsg::Registered(devices),
                    Err(why) => {
                        let object = format!("server/{}", context.me());
                        context.tell("fence-not-lifted", object, why);
                        tokio::time::sleep(RETURN_AGAIN).await;
                        FencingMsg::NotYet
                    }
                };
                let _ = me.cast(message); // the actor may have ended
            })));
        }
    }

    /// At most one at a time for each target.
    fn begin(
        &mut self,
        me: &ActorRef<FencingMsg>,
        server: &ServerName,
        incarnation: Incarnation,
        work: impl Future<Output = Ended> + Send + 'static,
    ) {
        if self.under_way.contains_key(server) {
            return;
        }
        let (me, target) = (me.clone(), server.clone());
        let task = tokio::spawn(async move {
            let ended = work.await;
            let _ = me.cast(FencingMsg::Ended(target, incarnation, ended)); // the actor may have ended
        });
        self.under_way.insert(server.clone(), Task(task));
    }
}

fn target(duty: &Duty) -> Option<&ServerName> {
    match duty {
        Duty::Fence { server, .. } | Duty::AskAgain { server, .. } => Some(server),
        Duty::Return { .. } => None,
    }
}

/// Fences one server: device after device, each try in the registry.
async fn fence(context: Arc<Context>, server: ServerName, incarnation: Incarnation) -> Ended {
    let registry = context.state();
    let (Some(settings), Some(entry)) = (&registry.settings, registry.servers.get(&server)) else {
        return Ended::Over;
    };
    let mut attempt = Attempt::new(&settings.value, &entry.config.value.fencing, false);
    let tried = |tried: Vec<(FenceName, Option<String>)>, failed: bool| Command::FenceTried {
        server: server.clone(),
        incarnation,
        tried,
        failed,
    };
    let mut last = None;
    loop {
        match attempt.step() {
            FencingStep::Try { device, after } => {
                tokio::time::sleep(after.max(others_at_it(&context))).await;
                // R11: what a leader that was deposed has read is no reason to switch anything off.
                if !is_asked_for(&context, &server, incarnation).await {
                    return Ended::Over;
                }
                let error = act(&context, &device, FenceAction::Off, &server).await.err();
                attempt.tried(error.is_none());
                let failed = attempt.step() == FencingStep::Exhausted;
                let note = tried(vec![(device.clone(), error)], failed);
                if matches!(attempt.step(), FencingStep::Confirmed { .. }) {
                    last = Some(note); // said after what it confirms, which others wait for
                } else if !say(&context, note).await {
                    return Ended::Over;
                } else if failed {
                    not_fenced(&context, &server);
                    return Ended::Failed;
                }
            }
            FencingStep::Confirmed { by } => {
                let confirmed = Command::ServerFenced { server: server.clone(), incarnation, by: by.clone() };
                if say(&context, confirmed).await {
                    let text = format!("{server} was fenced by {}", list(&by));
                    context.tell("server-fenced", format!("server/{server}"), text);
                }
                if let Some(note) = last {
                    say(&context, note).await;
                }
                return Ended::Over;
            }
            FencingStep::Exhausted => {
                // It has no device that could be tried: a configuration that took them out.
                say(&context, tried(Vec::new(), true)).await;
                not_fenced(&context, &server);
                return Ended::Failed;
            }
        }
    }
}

/// For how long the leader before this one may still be at a device: until it has heard of this one, or
/// has lost its lease. A server that this leader itself found lost has been silent for longer.
fn others_at_it(context: &Context) -> Duration {
    let since = context.leading.borrow().as_ref().map(|leading| leading.since);
    let now = context.ports.clock.now();
    since.map_or(Duration::ZERO, |since| (since + context.timing().lease).since(now))
}

fn not_fenced(context: &Context, server: &ServerName) {
    let text = format!(
        "TSK-1736: {server} could not be fenced: nobody takes over from it until a device confirms, or \
         `tasuki fence confirm {server}` says that it is off"
    );
    tracing::error!("{text}");
    context.tell("fence-failed", format!("server/{server}"), text);
}

async fn ask_again(context: Arc<Context>, command: Command, after: Duration) -> Ended {
    tokio::time::sleep(after).await;
    say(&context, command).await;
    Ended::AskedAgain
}

/// Proposes until the answer is clear; says whether it was accepted.
async fn say(context: &Arc<Context>, command: Command) -> bool {
    loop {
        let author = Author::Leader(context.me().clone());
        match propose(context, author, command.clone(), None, Vec::new()).await {
            Ok(_) => return true,
            Err(RegistryError::Refused(refusal)) => {
                tracing::debug!(%refusal, "an entry about fencing was refused");
                return false;
            }
            Err(error) => {
                tracing::debug!(%error, "an entry about fencing is said again");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Whether the registry, as a quorum has it now, asks for this fencing.
async fn is_asked_for(context: &Arc<Context>, server: &ServerName, incarnation: Incarnation) -> bool {
    let Ok(registry) = read(context).await else { return false };
    let fence = Duty::Fence { server: server.clone(), incarnation };
    duties(&registry, context.me(), context.leading.borrow().is_some()).contains(&fence)
}

/// One order to one device, and what is told of it.
async fn act(
    context: &Arc<Context>,
    device: &FenceName,
    action: FenceAction,
    target: &ServerName,
) -> Result<(), String> {
    let config = context.config().settings.fences.remove(device);
    let Some(config) = config else { return Err(format!("no fencing device is called {device}")) };
    let began = context.ports.clock.now();
    let outcome = match (&config.kind, action) {
        // It takes no orders, and as long as it takes.
        (FenceKind::Watchdog, FenceAction::Off) => reset_for_certain(context, target).await,
        (FenceKind::Watchdog, FenceAction::Monitor) => is_armed(context, target),
        (FenceKind::Watchdog, FenceAction::On) => Ok(()),
        _ => {
            let limit = config.timeout + SLACK;
            let order = FenceOrder { device: device.clone(), config, action, target: target.clone() };
            let outcome = tokio::time::timeout(limit, context.ports.fencer.act(&order)).await;
            outcome.unwrap_or_else(|_| Err(format!("{device} did not answer within {limit:?}")))
        }
    };
    let took = context.ports.clock.now().since(began).as_millis();
    let text = match (&outcome, action) {
        (Ok(()), FenceAction::Off) => format!("{device} confirms after {took} ms that {target} is off"),
        (Err(why), FenceAction::Off) => format!("{device} did not switch {target} off: {why}"),
        _ => return outcome,
    };
    let kind = if outcome.is_ok() { "fence-confirmed" } else { "fence-try-failed" };
    context.tell(kind, format!("fence/{device}"), text);
    outcome
}

/// Whether this server may register with its devices: its present incarnation is accepted, and nobody
/// asks for it to be fenced. One that is being fenced must not undo that.
fn may_come_in(context: &Context, registry: &Registry) -> bool {
    let (me, mine) = (context.me(), *context.incarnation.borrow());
    let accepted = registry.presence(me).is_some_and(|p| p.up && p.incarnation == mine);
    accepted && (is_back(context, registry) || !is_withheld(registry, me))
}

/// Whether this server was fenced in an earlier life, and is back.
fn is_back(context: &Context, registry: &Registry) -> bool {
    let back = |duty: &Duty| matches!(duty, Duty::Return { .. });
    duties(registry, context.me(), false).iter().any(back)
}

/// Registers this server with its devices and, where it was fenced, says that it is back.
async fn come_in(context: &Arc<Context>, devices: &[FenceName]) -> Result<(), String> {
    let me = context.me().clone();
    // As a quorum has it now: what was applied here last may be from before it was fenced.
    let registry = read(context).await.map_err(|error| format!("{me} is not let in again yet: {error}"))?;
    if !may_come_in(context, &registry) {
        return Err(format!("{me} is not let in: it shall be fenced, or is not up"));
    }
    for device in devices {
        let registered = act(context, device, FenceAction::On, &me).await;
        registered.map_err(|why| format!("TSK-1737: {me} is not registered with {device}: {why}"))?;
    }
    if is_back(context, &registry) {
        let author = Author::Server(me.clone());
        let lift = Command::FenceLifted { server: me.clone() };
        match propose(context, author, lift, None, Vec::new()).await {
            Ok(_) => context.tell("fence-lifted", format!("server/{me}"), format!("{me} is let in again")),
            Err(RegistryError::Refused(_)) => {} // it has been, already
            Err(error) => return Err(format!("{me} is not let in again yet: {error}")),
        }
    }
    Ok(())
}

fn list(devices: &[FenceName]) -> String {
    devices.iter().map(FenceName::as_str).collect::<Vec<_>>().join(" and ")
}

/// Fences `server` now, without the registry, whose quorum may be gone with it: what breaks a tie of
/// two (R19). Only devices that prove the server off count. The lighter side waits first. Answers the
/// devices that confirmed, which the caller records in the registry afterwards.
///
/// # Errors
/// Why nothing is confirmed.
pub async fn fence_now(context: &Arc<Context>, server: &ServerName) -> Result<Vec<FenceName>, String> {
    let registry = context.state();
    let (Some(settings), Some(entry)) = (&registry.settings, registry.servers.get(server)) else {
        return Err(format!("{server} is not known"));
    };
    if server == context.me() {
        return Err("nobody fences itself".into());
    }
    let levels = proving_levels(&settings.value, &entry.config.value.fencing);
    if levels.is_empty() {
        return Err(Unfit::NoProof.to_string());
    }
    let lighter = gives_way(&registry, context.me(), server);
    let mut attempt = Attempt::new(&settings.value, &levels, lighter);
    let mut errors = Vec::new();
    loop {
        match attempt.step() {
            FencingStep::Try { device, after } => {
                tokio::time::sleep(after).await;
                let outcome = act(context, &device, FenceAction::Off, server).await;
                attempt.tried(outcome.is_ok());
                errors.extend(outcome.err().map(|why| format!("{device}: {why}")));
            }
            FencingStep::Confirmed { by } => return Ok(by),
            FencingStep::Exhausted => return Err(errors.join("; ")),
        }
    }
}

/// Asks a device whether it answers, from this server.
///
/// # Errors
/// Why it does not.
pub async fn test_device(context: &Arc<Context>, device: &FenceName) -> Result<(), String> {
    let config = context.config();
    let names = |name: &&ServerName| {
        config.servers.get(*name).is_some_and(|server| server.fencing.iter().flatten().any(|d| d == device))
    };
    // A device is asked in the name of a server that it fences, of another one if there is any.
    let others = config.servers.keys().filter(|name| *name != context.me());
    let target = others.chain([context.me()]).find(names).unwrap_or(context.me()).clone();
    act(context, device, FenceAction::Monitor, &target).await
}

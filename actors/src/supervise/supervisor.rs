//! The one supervisor of this tree. (ractor brings events, not strategies.)

use std::{sync::Arc, time::Duration};

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};

use super::{Child, Intensity, Slot, Started, Window};
use crate::ports::Clock;

/// What happens to the others when one child ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Nothing.
    OneForOne,
    /// All are restarted.
    OneForAll,
    /// Those after it in the table are restarted.
    RestForOne,
}

/// A supervisor's table.
pub struct SupervisorSpec {
    /// Its name, for logs.
    pub name: String,
    /// What one child's end means for the others.
    pub strategy: Strategy,
    /// How often that may happen.
    pub limit: Intensity,
    /// The children, in order of start.
    pub children: Vec<Child>,
    /// For the limit.
    pub clock: Arc<dyn Clock>,
    /// Where the supervisor can be reached, when children come and go.
    pub slot: Option<Slot<SupervisorMsg>>,
}

/// What a supervisor is told.
pub enum SupervisorMsg {
    /// A new child; one of the same name is left as it is.
    Add(Child),
    /// Ends a child and forgets it.
    Remove(String),
    /// Tries again to start a child that did not start.
    Retry(String),
    /// The live tree below.
    Tree(RpcReplyPort<TreeNode>),
}

/// One actor in the live tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeNode {
    /// Its name.
    pub name: String,
    /// Whether it runs.
    pub running: bool,
    /// Its children.
    pub children: Vec<TreeNode>,
}

impl TreeNode {
    /// The tree as indented text.
    #[must_use]
    pub fn render(&self) -> String {
        fn walk(node: &TreeNode, depth: usize, out: &mut String) {
            let mark = if node.running { "" } else { " (not running)" };
            out.push_str(&format!("{}{}{mark}\n", "  ".repeat(depth), node.name));
            for child in &node.children {
                walk(child, depth + 1, out);
            }
        }
        let mut out = String::new();
        walk(self, 0, &mut out);
        out
    }
}

/// The actor.
pub struct Supervisor;

/// Its state.
pub struct State {
    name: String,
    strategy: Strategy,
    limit: Intensity,
    window: Window,
    clock: Arc<dyn Clock>,
    children: Vec<(Child, Option<Started>)>,
}

/// A child that did not start is tried again after this time.
const RETRY: Duration = Duration::from_millis(200);

impl Actor for Supervisor {
    type Msg = SupervisorMsg;
    type State = State;
    type Arguments = SupervisorSpec;

    async fn pre_start(
        &self,
        me: ActorRef<SupervisorMsg>,
        spec: SupervisorSpec,
    ) -> Result<State, ActorProcessingErr> {
        let mut children = Vec::new();
        for child in spec.children {
            let started = (child.start)(me.get_cell()).await?;
            children.push((child, Some(started)));
        }
        if let Some(slot) = spec.slot {
            slot.set(me);
        }
        Ok(State {
            name: spec.name,
            strategy: spec.strategy,
            limit: spec.limit,
            window: Window::default(),
            clock: spec.clock,
            children,
        })
    }

    async fn handle(
        &self,
        me: ActorRef<SupervisorMsg>,
        message: SupervisorMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SupervisorMsg::Add(child) => {
                if !state.children.iter().any(|(known, _)| known.name == child.name) {
                    state.children.push((child, None));
                    let last = state.children.len() - 1;
                    state.start(&me, last).await?;
                }
            }
            SupervisorMsg::Remove(name) => {
                if let Some(at) = state.children.iter().position(|(child, _)| child.name == name) {
                    let (_, started) = state.children.remove(at);
                    if let Some(started) = started {
                        started.cell.stop(None);
                    }
                }
            }
            SupervisorMsg::Retry(name) => {
                let waiting =
                    |(child, started): &(Child, Option<Started>)| child.name == name && started.is_none();
                if let Some(at) = state.children.iter().position(waiting) {
                    state.start(&me, at).await?;
                }
            }
            SupervisorMsg::Tree(reply) => {
                let mut nodes = Vec::new();
                for (child, started) in &state.children {
                    nodes.push(node_of(child, started.as_ref()).await);
                }
                let node = TreeNode { name: state.name.clone(), running: true, children: nodes };
                let _ = reply.send(node); // whoever asked may have gone
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<SupervisorMsg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let (who, why) = match event {
            SupervisionEvent::ActorTerminated(who, _, why) => (who, why.unwrap_or_else(|| "ended".into())),
            SupervisionEvent::ActorFailed(who, why) => (who, why.to_string()),
            _ => return Ok(()),
        };
        state.child_ended(&me, &who, &why).await
    }
}

impl State {
    async fn child_ended(
        &mut self,
        me: &ActorRef<SupervisorMsg>,
        who: &ActorCell,
        why: &str,
    ) -> Result<(), ActorProcessingErr> {
        let is =
            |started: &Option<Started>| started.as_ref().is_some_and(|s| s.cell.get_id() == who.get_id());
        // A child that was removed, or that this supervisor ended itself, is in the table no more.
        let Some(at) = self.children.iter().position(|(_, started)| is(started)) else { return Ok(()) };
        self.children[at].1 = None;
        tracing::warn!(supervisor = %self.name, child = %self.children[at].0.name, why, "restarting a child");
        if !self.window.allows(self.limit, self.clock.now()) {
            let (restarts, within) = (self.limit.restarts, self.limit.within);
            return Err(format!("{}: more than {restarts} restarts within {within:?}", self.name).into());
        }
        let range = match self.strategy {
            Strategy::OneForOne => at..at + 1,
            Strategy::OneForAll => 0..self.children.len(),
            Strategy::RestForOne => at..self.children.len(),
        };
        for index in range.clone().rev() {
            if let Some(started) = self.children[index].1.take() {
                let _ = started.cell.stop_and_wait(None, Some(Duration::from_secs(2))).await;
            }
        }
        for index in range {
            self.start(me, index).await?;
        }
        Ok(())
    }

    async fn start(&mut self, me: &ActorRef<SupervisorMsg>, index: usize) -> Result<(), ActorProcessingErr> {
        let (child, started) = &mut self.children[index];
        match (child.start)(me.get_cell()).await {
            Ok(now) => *started = Some(now),
            Err(error) => {
                tracing::warn!(supervisor = %self.name, child = %child.name, %error, "a child did not start");
                if !self.window.allows(self.limit, self.clock.now()) {
                    return Err(error.into());
                }
                let name = child.name.clone();
                drop(me.send_after(RETRY, move || SupervisorMsg::Retry(name)));
            }
        }
        Ok(())
    }
}

async fn node_of(child: &Child, started: Option<&Started>) -> TreeNode {
    let leaf = TreeNode { name: child.name.clone(), running: started.is_some(), children: Vec::new() };
    let Some(supervisor) = started.and_then(|started| started.supervisor.as_ref()) else { return leaf };
    let asked = supervisor.call(SupervisorMsg::Tree, Some(Duration::from_secs(1))).await;
    match asked {
        Ok(ractor::rpc::CallResult::Success(node)) => TreeNode { name: leaf.name, ..node },
        _ => TreeNode { running: false, ..leaf },
    }
}

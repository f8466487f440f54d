//! The supervisor's strategies and limits, with workers that end when they are told to.

#![allow(clippy::unwrap_used)]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tasuki_core::{
    ids::BootId,
    time::{Timestamp, WallTime},
};
use tokio::{sync::mpsc, time::timeout};

use super::{Child, Intensity, Slot, Strategy, Supervisor, SupervisorMsg, SupervisorSpec};
use crate::ports::Clock;

/// A clock that stands still: every restart is recent.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp(1)
    }

    fn wall(&self) -> WallTime {
        WallTime(1)
    }

    fn boot_id(&self) -> BootId {
        BootId::new("test")
    }
}

/// A worker that says its name when it starts, and fails when it is told to.
struct Worker;

#[derive(Clone)]
struct Arguments {
    name: &'static str,
    slot: Slot<()>,
    started: mpsc::UnboundedSender<&'static str>,
    /// Starts that fail before one succeeds.
    refuse: Arc<Mutex<u32>>,
}

impl Actor for Worker {
    type Msg = ();
    type State = ();
    type Arguments = Arguments;

    async fn pre_start(&self, me: ActorRef<()>, arguments: Arguments) -> Result<(), ActorProcessingErr> {
        {
            let mut refuse = arguments.refuse.lock().unwrap();
            if *refuse > 0 {
                *refuse -= 1;
                return Err("not yet".into());
            }
        }
        arguments.slot.set(me);
        arguments.started.send(arguments.name)?;
        Ok(())
    }

    async fn handle(&self, _: ActorRef<()>, (): (), (): &mut ()) -> Result<(), ActorProcessingErr> {
        Err("told to".into())
    }
}

struct Tree {
    supervisor: ActorRef<SupervisorMsg>,
    ended: tokio::task::JoinHandle<()>,
    started: mpsc::UnboundedReceiver<&'static str>,
    workers: Vec<Arguments>,
}

async fn tree(strategy: Strategy, restarts: usize) -> Tree {
    let (tell, started) = mpsc::unbounded_channel();
    let workers: Vec<Arguments> = ["a", "b", "c"]
        .into_iter()
        .map(|name| Arguments { name, slot: Slot::default(), started: tell.clone(), refuse: Arc::default() })
        .collect();
    let child = |arguments: &Arguments| {
        let arguments = arguments.clone();
        Child::worker(arguments.name, move || (Worker, arguments.clone()))
    };
    let spec = SupervisorSpec {
        name: "test".into(),
        strategy,
        limit: Intensity { restarts, within: Duration::from_secs(1) },
        children: workers.iter().map(child).collect(),
        clock: Arc::new(Still),
        slot: None,
    };
    let (supervisor, ended) = Actor::spawn(None, Supervisor, spec).await.unwrap();
    let mut tree = Tree { supervisor, ended, started, workers };
    assert_eq!(tree.starts(3).await, ["a", "b", "c"], "in the order of the table");
    tree
}

impl Tree {
    async fn starts(&mut self, count: usize) -> Vec<&'static str> {
        let mut names = Vec::new();
        for _ in 0..count {
            names.push(timeout(Duration::from_secs(5), self.started.recv()).await.unwrap().unwrap());
        }
        names
    }

    fn fail(&self, worker: usize) {
        self.workers[worker].slot.cast(());
    }

    async fn render(&self) -> String {
        let asked = self.supervisor.call(SupervisorMsg::Tree, None).await.unwrap();
        asked.unwrap().render()
    }
}

#[tokio::test]
async fn one_for_one_restarts_only_the_one_that_ended() {
    let mut tree = tree(Strategy::OneForOne, 3).await;
    tree.fail(1);
    assert_eq!(tree.starts(1).await, ["b"]);
    assert_eq!(tree.render().await, "test\n  a\n  b\n  c\n");
    assert!(tree.started.try_recv().is_err(), "and nobody else");
}

#[tokio::test]
async fn rest_for_one_restarts_those_after_it_too() {
    let mut tree = tree(Strategy::RestForOne, 3).await;
    tree.fail(1);
    assert_eq!(tree.starts(2).await, ["b", "c"]);
    assert!(tree.started.try_recv().is_err());
}

#[tokio::test]
async fn one_for_all_restarts_all() {
    let mut tree = tree(Strategy::OneForAll, 3).await;
    tree.fail(2);
    assert_eq!(tree.starts(3).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn one_restart_too_many_ends_the_supervisor() {
    let mut tree = tree(Strategy::OneForOne, 2).await;
    for _ in 0..2 {
        tree.fail(0);
        tree.starts(1).await;
    }
    tree.fail(0);
    timeout(Duration::from_secs(5), tree.ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_child_that_does_not_start_is_tried_again() {
    let mut tree = tree(Strategy::OneForOne, 5).await;
    *tree.workers[0].refuse.lock().unwrap() = 1;
    tree.fail(0);
    assert_eq!(tree.starts(1).await, ["a"]);
}

#[tokio::test]
async fn children_come_and_go() {
    let mut tree = tree(Strategy::OneForOne, 3).await;
    let d = Arguments { name: "d", slot: Slot::default(), ..tree.workers[0].clone() };
    for _ in 0..2 {
        // The second is left as it is.
        let d = d.clone();
        tree.supervisor.cast(SupervisorMsg::Add(Child::worker("d", move || (Worker, d.clone())))).unwrap();
    }
    assert_eq!(tree.starts(1).await, ["d"]);
    tree.supervisor.cast(SupervisorMsg::Remove("a".into())).unwrap();
    assert_eq!(tree.render().await, "test\n  b\n  c\n  d\n");
    assert!(tree.started.try_recv().is_err(), "who was removed is not restarted");
}

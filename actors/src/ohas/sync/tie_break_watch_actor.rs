//! Asks the tie-break for its record again and again, so that people are told while both servers
//! are up that it would not answer, and so that there is a connection when it matters.
//!
//! Started by the synchronisation supervisor; owns how often in a row it was not answered. Lost at a
//! restart: that. Nothing is decided here.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tasuki_core::membership::tie_break::Record;

use crate::{
    context::Context, follow::Follow, handle::TieBreakSeen, ohas::registry::register, ports::RegisterError,
};

/// What the watch is told.
#[derive(Debug)]
pub enum WatchMsg {
    /// Time to ask.
    Look,
    /// What was answered, at which place.
    Answered(String, Result<Option<Record>, RegisterError>),
}

/// The actor.
pub struct TieBreakWatchActor;

/// Its state.
pub struct State {
    context: Arc<Context>,
    asks: bool,
    failed: u32,
    _follow: Follow,
}

/// One answer may be late for many reasons.
const FAILURES: u32 = 2;

impl Actor for TieBreakWatchActor {
    type Msg = WatchMsg;
    type State = State;
    type Arguments = Arc<Context>;

    async fn pre_start(
        &self,
        me: ActorRef<WatchMsg>,
        context: Arc<Context>,
    ) -> Result<State, ActorProcessingErr> {
        let follow = Follow::beats(context.timing().detect, me, || WatchMsg::Look);
        Ok(State { context, asks: false, failed: 0, _follow: follow })
    }

    async fn handle(
        &self,
        me: ActorRef<WatchMsg>,
        message: WatchMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            WatchMsg::Look => state.look(&me),
            WatchMsg::Answered(place, answer) => state.answered(place, answer),
        }
        Ok(())
    }
}

impl State {
    fn look(&mut self, me: &ActorRef<WatchMsg>) {
        let Some((name, place)) = register::place(&self.context, &self.context.state()) else {
            self.failed = 0;
            self.see(None);
            return;
        };
        if self.asks {
            return;
        }
        self.asks = true;
        let (context, me) = (self.context.clone(), me.clone());
        tokio::spawn(async move {
            let answer = register::read(&context, &place).await;
            let _ = me.cast(WatchMsg::Answered(name, answer));
        });
    }

    fn answered(&mut self, place: String, answer: Result<Option<Record>, RegisterError>) {
        self.asks = false;
        let before = self.context.tie_break.seen.borrow().clone();
        let was_lost = before.as_ref().is_some_and(|seen| seen.problem.is_some());
        match answer {
            Ok(record) => {
                self.failed = 0;
                if was_lost {
                    self.context.tell("tie-break-heard", "cluster", format!("{place} answers again"));
                }
                self.see(Some(TieBreakSeen {
                    place,
                    record: record.map(|record| record.to_string()),
                    problem: None,
                }));
            }
            Err(error) => {
                self.failed += 1;
                if self.failed < FAILURES {
                    return;
                }
                let problem = error.to_string();
                if !was_lost {
                    let text = format!(
                        "{place} does not help: {problem}; if a server were lost now, the other stops"
                    );
                    self.context.tell("tie-break-lost", "cluster", text);
                }
                self.see(Some(TieBreakSeen { place, record: None, problem: Some(problem) }));
            }
        }
    }

    fn see(&self, seen: Option<TieBreakSeen>) {
        self.context.tie_break.seen.send_if_modified(|old| {
            let changed = *old != seen;
            *old = seen;
            changed
        });
    }
}

//! Waiting for a rebuild or a check, with a bar.

use std::{process::ExitCode, time::Duration};

use tasuki_core::{
    ids::ServerName,
    mirror::{DiskState, LinkState},
};
use tokio::time::{Instant, timeout};

use super::{Client, Ordered, tables, volumes};
use crate::{
    app::{
        AppError,
        error::Exit,
        mirrors::{CopyHere, OrderDone, Verified, VolumeStatus},
    },
    cli::{
        Context,
        args::Waiting,
        wait::{ProgressLine, interrupted},
    },
};

/// Between two looks.
const BEAT: Duration = Duration::from_millis(300);
/// An order takes effect within this: a rebuild that is not seen to begin has ended, or never began.
const BEGINS_WITHIN: Duration = Duration::from_secs(10);

/// What a look came to.
enum Step {
    Done(String),
    Failed(String),
    Underway(String),
    /// Nothing of it is seen.
    Idle,
}

/// How a disk was before an order: a short rebuild can be over before the first look at it.
pub(super) struct Before(Option<VolumeStatus>);

impl Before {
    /// As it is now.
    pub(super) async fn look(client: &mut Client, volume: &str) -> Result<Self, AppError> {
        Ok(Self(volumes(client, Some(volume.to_owned())).await?.into_iter().next()))
    }

    /// Whether a copy that is up to date now was not then, or not all the time: it was put out since,
    /// which began a generation of the data.
    fn was_other(&self, now: &VolumeStatus, copy: &ServerName) -> bool {
        let Self(before) = self;
        before.as_ref().is_some_and(|before| {
            !before.good.contains(copy) || now.generation > before.generation && now.good.contains(copy)
        })
    }
}

/// Until every copy that is rebuilt is up to date.
pub(super) async fn rebuild(
    context: &Context,
    client: &mut Client,
    volume: &str,
    (before, done): (Before, OrderDone),
    wait: Waiting,
) -> Result<ExitCode, AppError> {
    let copies = done.copies.clone();
    let begun =
        |copies: &[ServerName]| copies.iter().map(|copy| copy.as_str()).collect::<Vec<_>>().join(", ");
    let text = format!("{volume} is copied from {} to {}", done.server, begun(&copies));
    let ordered = Ordered { volume: volume.to_owned(), done };
    if wait.no_wait {
        context.out.show(&ordered, |_| text)?;
        return Ok(ExitCode::SUCCESS);
    }
    // Copies that were good before are good until the first block: seen under way, they count.
    let mut moved: Vec<ServerName> = Vec::new();
    let look = |status: &VolumeStatus| rebuilt(status, &before, &copies, &mut moved);
    watch(context, client, volume, wait, look).await
}

fn rebuilt(
    status: &VolumeStatus,
    before: &Before,
    copies: &[ServerName],
    moved: &mut Vec<ServerName>,
) -> Step {
    let mut waiting = false;
    for copy in status.copies.iter().filter(|copy| copies.contains(&copy.server)) {
        let here = match &copy.here {
            Some(here) => here,
            None => return Step::Failed(format!("{} does not answer: {}", copy.server, copy.silent)),
        };
        let underway = matches!(copy.link, LinkState::SyncTarget | LinkState::SyncSource | LinkState::Paused);
        if underway {
            if !moved.contains(&copy.server) {
                moved.push(copy.server.clone());
            }
            let rests = if copy.link == LinkState::Paused { " (it rests)" } else { "" };
            let far = copy.progress.as_ref().map(tables::progress).unwrap_or_default();
            return Step::Underway(format!("{} to {}{rests} {far}", status.name, copy.server));
        }
        match here.disk {
            DiskState::Failed | DiskState::Diskless => {
                return Step::Failed(format!("the copy on {} is {}", copy.server, here.disk));
            }
            DiskState::UpToDate if moved.contains(&copy.server) || before.was_other(status, &copy.server) => {
            }
            _ => waiting = true,
        }
    }
    if waiting { Step::Idle } else { Step::Done(format!("every copy of {} is up to date", status.name)) }
}

/// Until the check has said what it found.
pub(super) async fn verify(
    context: &Context,
    client: &mut Client,
    volume: &str,
    done: OrderDone,
    wait: Waiting,
) -> Result<ExitCode, AppError> {
    let server = done.server.clone();
    let ordered = Ordered { volume: volume.to_owned(), done };
    if wait.no_wait {
        context.out.show(&ordered, |one| format!("{} is compared by {}", one.volume, one.done.server))?;
        return Ok(ExitCode::SUCCESS);
    }
    let look = |status: &VolumeStatus| {
        let here =
            status.copies.iter().find(|copy| copy.server == server).and_then(|copy| copy.here.as_ref());
        match here {
            Some(CopyHere { verified: Some(verified), .. }) => judged(verified),
            Some(here) => {
                let progress = here.peers.iter().find_map(|peer| peer.progress.as_ref());
                progress.map_or(Step::Idle, |far| {
                    Step::Underway(format!("{} {}", status.name, tables::progress(far)))
                })
            }
            None => Step::Failed(format!("{server} does not answer")),
        }
    };
    watch(context, client, volume, wait, look).await
}

fn judged(verified: &Verified) -> Step {
    let verdict = tables::verdict(verified);
    let sound = verified.problem.is_empty() && (verified.different.is_empty() || verified.repaired);
    if sound { Step::Done(verdict) } else { Step::Failed(verdict) }
}

async fn watch(
    context: &Context,
    client: &mut Client,
    volume: &str,
    wait: Waiting,
    mut look: impl FnMut(&VolumeStatus) -> Step,
) -> Result<ExitCode, AppError> {
    let mut line = ProgressLine::new(context.out.json);
    let following = async {
        let mut idle_since = Instant::now();
        loop {
            let found = match volumes(client, Some(volume.to_owned())).await {
                // The node that is asked may be starting again.
                Err(error) if error.exit() == Exit::Unreachable && idle_since.elapsed() < BEGINS_WITHIN => {
                    Vec::new()
                }
                found => found?,
            };
            if let Some(status) = found.into_iter().next() {
                match look(&status) {
                    Step::Done(text) => return Ok((status, text)),
                    Step::Failed(why) => return Err(AppError::Failed(why)),
                    Step::Underway(text) => {
                        idle_since = Instant::now();
                        line.say(&text);
                    }
                    Step::Idle if idle_since.elapsed() >= BEGINS_WITHIN => {
                        return Err(AppError::Failed(format!(
                            "{volume} is not seen under way; `tasuki mirror status {volume}` says how it is"
                        )));
                    }
                    Step::Idle => {}
                }
            }
            tokio::time::sleep(BEAT).await;
        }
    };
    let limited = async {
        match wait.timeout {
            Some(limit) => timeout(limit, following).await.unwrap_or_else(|_| {
                Err(AppError::TookTooLong(format!("{volume} is not done yet after {limit:?}; it goes on")))
            }),
            None => following.await,
        }
    };
    let ended = tokio::select! {
        biased;
        ended = limited => ended,
        _ = tokio::signal::ctrl_c() => {
            context.out.say(&format!("not waiting any longer; it goes on by itself: `tasuki mirror status {volume}`"));
            return Ok(interrupted());
        }
    };
    line.end();
    let (status, text) = ended?;
    context.out.show(&status, |_| text)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_that_nobody_mended_are_a_failure() {
        let clean = Verified { compared: 4096, ..Verified::default() };
        assert!(matches!(judged(&clean), Step::Done(_)));
        let differs = Verified { different: vec![(0, 4096)], ..clean.clone() };
        assert!(matches!(judged(&differs), Step::Failed(_)));
        assert!(matches!(judged(&Verified { repaired: true, ..differs }), Step::Done(_)));
        assert!(matches!(judged(&Verified { problem: "cut".into(), ..clean }), Step::Failed(_)));
    }
}

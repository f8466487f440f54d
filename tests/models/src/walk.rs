//! Walks through a model, breadth first, and says how far it came.

use std::{fmt::Debug, hash::Hash, time::Instant};

use stateright::{Checker, Expectation, HasDiscoveries, Model};

/// What a walk found.
#[derive(Clone, Debug)]
pub struct Walk<Step> {
    /// What was broken, and the shortest way there.
    pub broken: Option<(&'static str, Vec<Step>)>,
    /// Different states.
    pub states: usize,
    /// There are no others within the bounds.
    pub complete: bool,
    /// What was to be reached at least once, and was not.
    pub never: Vec<&'static str>,
}

/// Walks until something is broken, there is nothing left, or so many states were made (the same one
/// several times, if several ways lead to it). Prints one line.
pub fn walk<M>(name: &str, model: M, most: usize) -> Walk<M::Action>
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + Hash + PartialEq + Send + Sync,
{
    let began = Instant::now();
    let kind = |wanted: Expectation| {
        let all = model.properties().into_iter().filter(move |one| one.expectation == wanted);
        all.map(|one| one.name).collect::<Vec<_>>()
    };
    let (always, sometimes) = (kind(Expectation::Always), kind(Expectation::Sometimes));
    let checker = model
        .checker()
        .threads(2)
        .target_state_count(most)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let found = checker.discoveries();
    let never = sometimes.into_iter().filter(|name| !found.contains_key(name)).collect();
    let broken = found.into_iter().find(|(what, _)| always.contains(what));
    let complete = broken.is_none() && checker.state_count() < most;
    println!(
        "{name}: {} {} states, depth {}, {:.1} s: {}",
        if complete { "all" } else { "the first" },
        checker.unique_state_count(),
        checker.max_depth(),
        began.elapsed().as_secs_f64(),
        broken.as_ref().map_or_else(|| "nothing broken".to_owned(), |(what, _)| format!("not \"{what}\"")),
    );
    let broken = broken.map(|(what, path)| (what, path.into_actions()));
    if let Some((_, path)) = &broken {
        println!("    {path:?}");
    }
    Walk { broken, states: checker.unique_state_count(), complete, never }
}

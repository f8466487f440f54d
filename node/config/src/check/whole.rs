//! What only the whole configuration shows: dependencies that could never be met, and server pools
//! that could never be filled. What is wrong is found by the core; here it gets its place in the
//! file.

use std::collections::BTreeMap;

use tasuki_core::config::{
    ClusterConfig,
    dependency_syntax::Side,
    graph::{GraphFault, GraphProblem, Owner, Place, PoolFault, PoolProblem, pool_problems, problems},
};

use crate::{
    draft::{Draft, Name, Placed},
    problem::{Code, Problem},
    source::{Reading, Span},
};

/// Where dependencies and pools stand.
pub(crate) struct Places {
    dependencies: BTreeMap<Place, Span>,
    /// The names of pools, and their `min`.
    pools: BTreeMap<String, (Span, Option<Span>)>,
}

impl Places {
    pub(crate) fn of(draft: &Draft) -> Self {
        let mut dependencies = BTreeMap::new();
        let mut note = |owner: &Owner, side, spans: Vec<Span>| {
            for (index, span) in spans.into_iter().enumerate() {
                dependencies.insert(Place { owner: owner.clone(), side, index }, span);
            }
        };
        for group in &draft.groups {
            let Some(name) = &group.name else { continue };
            let owner = Owner::Group(name.get_ref().as_str().into());
            note(&owner, Side::Start, spans(&group.start));
            note(&owner, Side::Stop, spans(&group.stop));
        }
        for definition in &draft.definitions {
            let Some(name) = &definition.resource.name else { continue };
            let owner = Owner::Resource(name.get_ref().as_str().into());
            note(&owner, Side::Start, spans(&definition.start));
            note(&owner, Side::Stop, spans(&definition.stop));
        }
        let pool = |name: &Name, min: Option<Span>| (name.get_ref().clone(), (name.span(), min));
        let pools = draft.pools.iter();
        let pools = pools
            .filter_map(|one| Some(pool(one.name.as_ref()?, one.min.as_ref().map(|min| min.span()))))
            .collect();
        Self { dependencies, pools }
    }
}

fn spans<T>(placed: &[Placed<T>]) -> Vec<Span> {
    placed.iter().map(|(_, span)| span.clone()).collect()
}

/// Reports what is wrong, and answers what is only doubtful.
pub(crate) fn check(reading: &Reading, places: &Places, config: &ClusterConfig) -> Vec<Problem> {
    for problem in pool_problems(config) {
        pool(reading, places, &problem);
    }
    let mut warnings = Vec::new();
    for found in problems(config) {
        let problem = dependency(reading, places, &found);
        if found.fault.is_warning() {
            warnings.push(problem);
        } else {
            reading.add(problem);
        }
    }
    warnings
}

fn dependency(reading: &Reading, places: &Places, found: &GraphProblem) -> Problem {
    let code = match &found.fault {
        GraphFault::NoResource { .. } | GraphFault::NoType { .. } => Code::UnknownName,
        GraphFault::Circle { .. } => Code::DependencyCycle,
        GraphFault::NeverTogether { .. } | GraphFault::Itself { .. } | GraphFault::Contradiction { .. } => {
            Code::NeverStarts
        }
        GraphFault::Twice { .. } => Code::DuplicateName,
        GraphFault::Disabled { .. } | GraphFault::NoneOfType { .. } => Code::NothingToWaitFor,
        GraphFault::NoReturn { .. } => Code::StaysDown,
    };
    let span = places.dependencies.get(&found.place).cloned().unwrap_or(0..0);
    let problem = reading.problem(code, &span, found.to_string());
    problem
        .found(written(config_word(found), reading, &span))
        .expected(found.fault.expected())
        .remedy(found.fault.remedy())
}

/// The list that a dependency stands in.
fn config_word(found: &GraphProblem) -> &'static str {
    match found.place.side {
        Side::Start => "start_dependencies",
        Side::Stop => "stop_dependencies",
    }
}

fn written(list: &str, reading: &Reading, span: &Span) -> String {
    let text = reading.source.slice(span).unwrap_or_default().trim_matches('"');
    format!("`{text}` in `{list}`")
}

fn pool(reading: &Reading, places: &Places, found: &PoolProblem) {
    let Some((name, min)) = places.pools.get(found.pool.as_str()) else { return };
    let span = match &found.fault {
        PoolFault::Reserved(_) => name,
        PoolFault::MinAboveMax { .. } | PoolFault::TooFew { .. } => min.as_ref().unwrap_or(name),
        // Names that name nothing are reported with those of all other sections.
        PoolFault::NoServer { .. } | PoolFault::Unknown { .. } => return,
    };
    let problem = reading
        .problem(Code::BadPool, span, found.to_string())
        .found(format!("`{}`", reading.source.slice(span).unwrap_or_default().trim_matches('"')))
        .expected(found.fault.expected())
        .remedy(found.fault.remedy());
    reading.add(problem);
}

//! The command line: `tasuki NOUN VERB`. One file a noun. Data goes to stdout, talk to stderr.
//!
//! It holds no knowledge of its own: it calls the node's services, or, for what needs no node, the
//! same functions that the node runs.

pub mod args;
mod certificate;
mod cluster;
mod completion;
mod config;
mod connect;
mod demo_http;
mod event;
mod explain;
pub mod fence;
mod group;
pub mod guard;
pub mod history;
mod local;
mod log;
mod manual;
pub mod mirror;
mod names;
pub mod output;
pub mod plan;
pub mod pool;
mod profile;
mod registry;
pub mod render;
pub mod replay;
mod resource;
mod server;
pub mod type_;
mod versions;
mod vote;
mod wait;
pub mod witness;

use std::process::ExitCode;

use self::{
    args::{Noun, Options},
    output::Output,
};
use crate::app::AppError;

/// What the operator's commands have in common.
struct Context {
    options: Options,
    out: Output,
}

/// Carries out an operator's command and says how the program ends.
#[must_use]
pub fn run(options: Options, noun: Noun) -> ExitCode {
    let out = Output::new(options.json, options.color);
    let context = Context { options, out };
    // One thread: a command line waits for one thing at a time.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return context.out.fail(&AppError::Failed(format!("cannot start: {error}"))),
    };
    let done = runtime.block_on(perform(&context, noun));
    // A lookup of names or a reader that hangs does not keep the program alive.
    runtime.shutdown_background();
    match done {
        Ok(code) => code,
        Err(error) => context.out.fail(&error),
    }
}

async fn perform(context: &Context, noun: Noun) -> Result<ExitCode, AppError> {
    match noun {
        Noun::Cluster(verb) => cluster::perform(context, verb).await?,
        Noun::Group(verb) => return group::perform(context, verb).await,
        Noun::Resource(verb) => return resource::perform(context, verb).await,
        Noun::Type(verb) => type_::perform(context, verb).await?,
        Noun::Pool(verb) => pool::perform(context, verb).await?,
        Noun::Fence(verb) => fence::perform(context, verb).await?,
        Noun::Mirror(verb) => return mirror::perform(context, verb).await,
        Noun::Vote(verb) => vote::perform(context, verb).await?,
        Noun::Server(verb) => server::perform(context, verb).await?,
        Noun::Config(verb) => config::perform(context, verb).await?,
        Noun::Registry(verb) => registry::perform(context, verb).await?,
        Noun::Profile(verb) => profile::perform(context, verb).await?,
        Noun::Event(verb) => event::perform(context, verb).await?,
        Noun::Explain { name } => explain::perform(context, name).await?,
        Noun::Plan(arguments) => plan::perform(context, arguments).await?,
        Noun::History { name, limit } => history::perform(context, name, limit).await?,
        Noun::Replay { id, limit, offline } => replay::perform(context, id, limit, offline).await?,
        Noun::Completion { shell } => completion::perform(shell)?,
        Noun::Manual { to } => manual::perform(&to)?,
        Noun::Names { words } => names::perform(context, &words).await,
        Noun::DemoHttp(arguments) => demo_http::serve(&arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

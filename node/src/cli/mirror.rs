//! `tasuki mirror status | detail | differences | create | rebuild | verify | stop | pause | resume | resize | force`

mod differences;
mod follow;
mod tables;

use std::{
    io::{BufRead as _, IsTerminal as _},
    process::ExitCode,
};

use serde::Serialize;
use tasuki_core::ids::{ServerName, VolumeName};
use tasuki_proto::v1::{self as wire, mirror_admin_client::MirrorAdminClient};
use tonic::transport::Channel;

use super::{
    Context,
    args::MirrorVerb,
    config,
    connect::{answered, unreadable},
};
use crate::{
    app::{
        AppError,
        mirrors::{CONFIRM, Order, OrderDone, VolumeStatus},
    },
    edge::grpc::convert,
};

pub use self::tables::{bytes, detail, status};

type Client = MirrorAdminClient<Channel>;

/// An order that was given.
#[derive(Serialize)]
struct Ordered {
    volume: String,
    #[serde(flatten)]
    done: OrderDone,
}

/// A change of the registry.
#[derive(Serialize)]
struct Changed {
    volume: String,
    server: String,
    revision: u64,
}

pub(super) async fn perform(context: &Context, verb: MirrorVerb) -> Result<ExitCode, AppError> {
    let mut client = Client::new(context.connect().await?);
    match verb {
        MirrorVerb::Status { volume } => {
            let volumes = volumes(&mut client, volume).await?;
            context.out.show(&volumes, |volumes| status(volumes, context.out.color))?;
        }
        MirrorVerb::Detail { volume } => {
            let volumes = volumes(&mut client, Some(volume)).await?;
            context.out.show(&volumes, |volumes| {
                volumes.iter().map(|volume| detail(volume, context.out.color)).collect::<Vec<_>>().join("\n")
            })?;
        }
        MirrorVerb::Differences { volume } => {
            let request = wire::MirrorDifferencesRequest { volume, here: false };
            let answer = client.differences(request).await.map_err(answered)?.into_inner();
            let parts: Vec<_> = answer.parts.into_iter().map(convert::difference_in).collect();
            context.out.show(&parts, |parts| differences::text(parts))?;
        }
        MirrorVerb::Create { volume, group, data_area, metadata_area, keys, edit } => {
            let areas = [("data".to_owned(), data_area), ("metadata".to_owned(), metadata_area)];
            let keys = areas.into_iter().chain(keys).map(|(name, value)| wire::MirrorKey { name, value });
            let request =
                wire::CreateMirrorRequest { volume, group, keys: keys.collect(), dry_run: edit.dry_run };
            let push = client.create(request).await.map_err(answered)?.into_inner();
            config::show_push(context, push)?;
        }
        MirrorVerb::Rebuild { volume, server, full, discard, wait } => {
            let is_discard = discard.is_some();
            let server = discard.or(server).map(ServerName::new);
            let before = follow::Before::look(&mut client, &volume).await?;
            let order = Order::Rebuild { server: server.clone(), full, discard: is_discard };
            let done = match order_of(&mut client, &volume, &order).await {
                // C21: sides that do not differ are copied all the same, if somebody says so.
                Err(AppError::Coded { code, .. })
                    if code == "TSK-1817" && !full && ask(context, &volume)? =>
                {
                    let order = Order::Rebuild { server, full: true, discard: false };
                    order_of(&mut client, &volume, &order).await?
                }
                done => done?,
            };
            return follow::rebuild(context, &mut client, &volume, (before, done), wait).await;
        }
        MirrorVerb::Verify { volume, server, repair, wait } => {
            let order = Order::Verify { server: server.map(ServerName::new), repair };
            let done = order_of(&mut client, &volume, &order).await?;
            return follow::verify(context, &mut client, &volume, done, wait).await;
        }
        MirrorVerb::Stop { volume } => say(context, &mut client, volume, Order::Stop, "ends").await?,
        MirrorVerb::Pause { volume } => say(context, &mut client, volume, Order::Pause, "rests").await?,
        MirrorVerb::Resume { volume } => say(context, &mut client, volume, Order::Resume, "goes on").await?,
        MirrorVerb::Resize { volume } => {
            let done = order_of(&mut client, &volume, &Order::Resize).await?;
            let ordered = Ordered { volume, done };
            context.out.show(&ordered, |one| format!("{} has {} now", one.volume, bytes(one.done.size)))?;
        }
        MirrorVerb::Force { volume, server, confirm } => {
            let confirm = confirm.unwrap_or_default();
            let request =
                wire::ForceMirrorRequest { volume: volume.clone(), server: server.clone(), confirm };
            let revision = client.force(request).await.map_err(answered)?.into_inner().revision;
            let changed = Changed { volume, server, revision };
            context.out.show(&changed, |one| {
                let (volume, server, revision) = (&one.volume, &one.server, one.revision);
                format!("{volume} goes on from the copy on {server}; said in the history as {CONFIRM:?} (revision {revision})")
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn volumes(client: &mut Client, volume: Option<String>) -> Result<Vec<VolumeStatus>, AppError> {
    let request = wire::MirrorStatusRequest { volume: volume.unwrap_or_default() };
    let answer = client.status(request).await.map_err(answered)?.into_inner();
    answer.volumes.into_iter().map(|volume| convert::volume_in(volume).map_err(unreadable)).collect()
}

async fn order_of(client: &mut Client, volume: &str, order: &Order) -> Result<OrderDone, AppError> {
    let request = convert::order_out(&VolumeName::new(volume), order, false);
    Ok(convert::done_in(client.order(request).await.map_err(answered)?.into_inner()))
}

async fn say(
    context: &Context,
    client: &mut Client,
    volume: String,
    order: Order,
    does: &str,
) -> Result<(), AppError> {
    let done = order_of(client, &volume, &order).await?;
    let ordered = Ordered { volume, done };
    context
        .out
        .show(&ordered, |one| format!("what is under way on {} {does} (on {})", one.volume, one.done.server))
}

/// Asks on a terminal; elsewhere nobody is there to answer, and the refusal stands.
fn ask(context: &Context, volume: &str) -> Result<bool, AppError> {
    if context.out.json || !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    context.out.say(&format!("the copies of {volume} do not differ. Copy everything all the same? [y/N]"));
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|error| AppError::Failed(format!("the answer cannot be read: {error}")))?;
    Ok(["y", "yes"].contains(&line.trim().to_lowercase().as_str()))
}

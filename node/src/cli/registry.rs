//! `tasuki registry get | list | history | watch`

use tasuki_proto::v1::{self as wire, registry_client::RegistryClient};

use super::{
    Context,
    args::RegistryVerb,
    connect::{answered, unreadable},
    output::{Cell, table},
    render,
};
use crate::{
    app::{AppError, registry::ItemView},
    edge::grpc::convert,
};

pub(super) async fn perform(context: &Context, verb: RegistryVerb) -> Result<(), AppError> {
    match verb {
        RegistryVerb::Local(verb) => super::local::perform(context, verb),
        RegistryVerb::Get { key } => {
            let mut client = RegistryClient::new(context.connect().await?);
            let answer = client.get(wire::GetKeyRequest { key }).await.map_err(answered)?;
            let item = convert::item_in(answer.into_inner()).map_err(unreadable)?;
            context.out.show(&item, one)
        }
        RegistryVerb::List { prefix } => {
            let mut client = RegistryClient::new(context.connect().await?);
            let answer = client.list(wire::ListKeysRequest { prefix }).await.map_err(answered)?.into_inner();
            let items: Vec<ItemView> = answer
                .items
                .into_iter()
                .map(convert::item_in)
                .collect::<Result<_, _>>()
                .map_err(unreadable)?;
            context.out.show(&items, |items| list(items, answer.revision, context.out.color))
        }
        RegistryVerb::History { prefix, limit } => {
            let mut client = RegistryClient::new(context.connect().await?);
            let answer = client
                .history(wire::HistoryRequest { prefix, limit, name: String::new() })
                .await
                .map_err(answered)?;
            let changes: Vec<_> = answer
                .into_inner()
                .changes
                .into_iter()
                .map(convert::change_in)
                .collect::<Result<_, _>>()
                .map_err(unreadable)?;
            context.out.show(&changes, |changes| {
                changes
                    .iter()
                    .map(|change| render::change(change, context.out.color))
                    .collect::<Vec<_>>()
                    .join("\n")
            })
        }
        RegistryVerb::Watch { prefix, after } => watch(context, prefix, after).await,
    }
}

fn one(item: &ItemView) -> String {
    let value = serde_json::to_string_pretty(&item.value).unwrap_or_default();
    format!("{} (revision {}, {})\n{value}", item.key, item.modified, item.at)
}

fn list(items: &[ItemView], revision: u64, color: bool) -> String {
    let rows: Vec<Vec<Cell>> = items
        .iter()
        .map(|item| {
            vec![item.key.as_str().into(), item.modified.to_string().into(), item.at.to_string().into()]
        })
        .collect();
    format!("{}\nrevision {revision}", table(&["KEY", "REVISION", "CHANGED"], &rows, color))
}

async fn watch(context: &Context, prefix: String, after: Option<u64>) -> Result<(), AppError> {
    let mut client = RegistryClient::new(context.connect_for_stream().await?);
    let request = wire::WatchRegistryRequest { after, prefix };
    let mut changes = client.watch(request).await.map_err(answered)?.into_inner();
    while let Some(message) = changes.message().await.map_err(answered)? {
        if message.gap {
            context.out.say("changes before this one are no longer kept");
        }
        let Some(change) = message.change else { continue };
        let change = convert::change_in(change).map_err(unreadable)?;
        context.out.line(&change, |change| render::change(change, context.out.color))?;
    }
    Err(AppError::Unreachable("the node ended the connection".to_owned()))
}

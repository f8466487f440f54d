//! `tasuki registry local show | backup | list | restore | check | dump`: works on the files of this
//! server, whether its node runs or not.

use serde_json::json;

use super::{Context, args::LocalVerb};
use crate::{
    app::{AppError, wall_now},
    identity::Identity,
    local_registry::{Backup, LocalError, LocalRegistry, backups, location_file, restore},
};

pub(super) fn perform(context: &Context, verb: LocalVerb) -> Result<(), AppError> {
    let data = &context.options.data;
    let identity = Identity::load(data)?;
    let server = identity.server();
    let open = || LocalRegistry::open(data, server, wall_now());
    match verb {
        LocalVerb::Show => {
            let local = open()?;
            let value = json!({
                "place": local.place(),
                "location_file": location_file(data),
                "server": server,
                "resources": local.content().resources.len(),
                "profile": local.content().profile.as_ref().map(|signed| &signed["profile"]["sequence"]),
            });
            context.out.show(&value, |value| {
                let profile = match &value["profile"] {
                    serde_json::Value::Null => "none".to_owned(),
                    number => number.to_string(),
                };
                format!(
                    "local registry of {server}: {}\nlocation file: {}\nresources of the stack: {}\nprofile: {profile}",
                    local.place().display(),
                    location_file(data).display(),
                    local.content().resources.len(),
                )
            })
        }
        LocalVerb::Backup => {
            open()?.backup(data, wall_now())?;
            list(context, &backups(data, server)?)
        }
        LocalVerb::List => list(context, &backups(data, server)?),
        LocalVerb::Restore { file } => {
            let (place, before) = restore(data, server, &file)?;
            context.out.show(&json!({ "place": place, "before": before }), |_| {
                let aside = before.as_ref().map_or_else(String::new, |before| {
                    format!("\nwhat was there before is in {}", before.display())
                });
                format!("{} is restored from {}{aside}", place.display(), file.display())
            })
        }
        LocalVerb::Check => {
            let local = open()?;
            let value = json!({ "place": local.place(), "whole": true });
            context.out.show(&value, |_| format!("{} is whole", local.place().display()))
        }
        LocalVerb::Dump => {
            let local = open()?;
            let text = serde_json::to_string_pretty(local.content()).unwrap_or_default();
            context.out.show(local.content(), |_| text)
        }
        LocalVerb::Add => Err(LocalError::ExactlyOne("added").into()),
        LocalVerb::Delete => Err(LocalError::ExactlyOne("deleted").into()),
        LocalVerb::Multiplex => Err(LocalError::ExactlyOne("multiplexed").into()),
    }
}

fn list(context: &Context, all: &[Backup]) -> Result<(), AppError> {
    context.out.show(&all, |all| all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

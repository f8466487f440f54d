//! `tasuki profile show | verify`

use serde::Serialize;
use serde_json::Value;
use tasuki_core::config::profile::Profile;
use tasuki_proto::v1::{ShowProfileRequest, profile_client::ProfileClient};

use super::{
    Context,
    args::ProfileVerb,
    connect::answered,
    output::{Cell, Style, table},
};
use crate::{
    app::{AppError, wall_now},
    identity::Identity,
    local_registry::LocalRegistry,
    profile::{ProfileError, SignedProfile, profile_file},
};

pub(super) async fn perform(context: &Context, verb: ProfileVerb) -> Result<(), AppError> {
    match verb {
        ProfileVerb::Show => {
            let mut client = ProfileClient::new(context.connect().await?);
            let answer = client.show(ShowProfileRequest {}).await.map_err(answered)?.into_inner();
            let unreadable =
                |error| AppError::Failed(format!("the node has no profile that can be read ({error})"));
            let signed: Value = serde_json::from_str(&answer.signed_json).map_err(unreadable)?;
            let profile: Profile = serde_json::from_value(signed["profile"].clone()).map_err(unreadable)?;
            let by = signed["signed_by"].as_str().unwrap_or_default().to_owned();
            context.out.show(&signed, |_| shown(&profile, &by, context.out.color))
        }
        ProfileVerb::Verify => verify(context),
    }
}

fn shown(profile: &Profile, signed_by: &str, color: bool) -> String {
    let settings = &profile.settings;
    let networks: Vec<Vec<Cell>> = settings
        .networks
        .iter()
        .map(|(name, network)| {
            let uses: Vec<String> =
                network.uses.iter().map(|one| format!("{one:?}").to_lowercase()).collect();
            vec![
                name.as_str().into(),
                format!("{}/{}", network.subnet, network.prefix).into(),
                uses.join(" ").into(),
            ]
        })
        .collect();
    let servers: Vec<Vec<Cell>> = profile
        .servers
        .iter()
        .map(|(name, server)| {
            let addresses = server.addresses.iter().map(|(network, address)| format!("{network}={address}"));
            vec![
                name.as_str().into(),
                server.number.to_string().into(),
                server.domain.clone().unwrap_or_default().into(),
                addresses.collect::<Vec<_>>().join(" ").into(),
            ]
        })
        .collect();
    let paths: Vec<String> = settings.heartbeats.iter().map(|path| path.name().to_string()).collect();
    let files: Vec<String> = settings.votes.files.iter().map(|file| file.display().to_string()).collect();
    let none = |list: Vec<String>| if list.is_empty() { "none".to_owned() } else { list.join(" ") };
    format!(
        "profile {} of cluster {}, signed by {signed_by}\nports {} and {}, detect {} ms\nheartbeats: {}\n\
         voting files: {}\n\n{}\n{}",
        profile.sequence,
        settings.name,
        settings.port,
        settings.heartbeat_port,
        settings.timing.detect.as_millis(),
        none(paths),
        none(files),
        table(&["NETWORK", "SUBNET", "USE"], &networks, color),
        table(&["SERVER", "NUMBER", "DOMAIN", "ADDRESSES"], &servers, color)
    )
}

/// One copy of the profile on this server.
#[derive(Serialize)]
struct Copy {
    place: String,
    sequence: Option<u64>,
    error: Option<String>,
}

/// Looks at the copies on this server; needs no node.
fn verify(context: &Context) -> Result<(), AppError> {
    let data = &context.options.data;
    let identity = Identity::load(data)?;
    let local = LocalRegistry::open(data, identity.server(), wall_now())?;
    let place = local.place().display().to_string();
    let of_local = local.profile().map(|text| SignedProfile::check(&identity, &text, &place)).transpose();
    let copy = |place: String, found: Result<Option<SignedProfile>, ProfileError>| Copy {
        place,
        sequence: found.as_ref().ok().and_then(|one| Some(one.as_ref()?.profile().sequence.0)),
        error: match found {
            Ok(Some(_)) => None,
            Ok(None) => Some("there is none".to_owned()),
            Err(error) => Some(error.to_string()),
        },
    };
    let copies = [
        copy(profile_file(data).display().to_string(), SignedProfile::load(&identity, data)),
        copy(place, of_local),
    ];
    let rows = |copies: &[Copy; 2]| {
        let row = |one: &Copy| {
            vec![
                one.place.as_str().into(),
                one.sequence.map_or_else(|| "-".to_owned(), |number| number.to_string()).into(),
                match &one.error {
                    None => Cell::new("valid", Style::Good),
                    Some(error) => Cell::new(error, Style::Bad),
                },
            ]
        };
        copies.iter().map(row).collect::<Vec<Vec<Cell>>>()
    };
    let valid = copies.iter().any(|one| one.error.is_none());
    context
        .out
        .show(&copies, |copies| table(&["COPY", "PROFILE", "SIGNATURE"], &rows(copies), context.out.color))?;
    if valid {
        return Ok(());
    }
    Err(ProfileError::Untrusted { place: data.display().to_string(), why: "no copy is valid".to_owned() }
        .into())
}

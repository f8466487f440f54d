//! `tasuki fence list | status | test | now | confirm | lift`

use serde::Serialize;
use tasuki_proto::v1::{self as wire, fence_client::FenceClient};

use super::{
    Context,
    args::FenceVerb,
    connect::answered,
    output::{Cell, Style, table},
};
use crate::{
    app::{
        AppError,
        error::Exit,
        fences::{DeviceView, FencingView},
    },
    edge::grpc::convert,
};

/// A change that was accepted.
#[derive(Serialize)]
struct Changed {
    server: String,
    revision: u64,
}

/// What a device answered.
#[derive(Serialize)]
struct Tested {
    device: String,
    answers: bool,
    error: String,
}

pub(super) async fn perform(context: &Context, verb: FenceVerb) -> Result<(), AppError> {
    let mut client = FenceClient::new(context.connect().await?);
    let (changed, server, done) = match verb {
        FenceVerb::List => {
            let answer = client.list(wire::ListFencesRequest {}).await.map_err(answered)?.into_inner();
            let devices: Vec<DeviceView> = answer.devices.into_iter().map(convert::device_in).collect();
            return context.out.show(&devices, |devices| list(devices, context.out.color));
        }
        FenceVerb::Status { server } => {
            let request = wire::FenceStatusRequest { server: server.unwrap_or_default() };
            let answer = client.status(request).await.map_err(answered)?.into_inner();
            let servers: Vec<FencingView> = answer.servers.into_iter().map(convert::fencing_in).collect();
            return context.out.show(&servers, |servers| status(servers, context.out.color));
        }
        FenceVerb::Test { device } => return test(context, &mut client, device).await,
        FenceVerb::Now { server, yes } => {
            let request = wire::FenceNowRequest { server: server.clone(), acknowledged: yes };
            (client.now(request).await, server, "shall be fenced; `tasuki fence status` shows how far it is")
        }
        FenceVerb::Confirm { server, yes } => {
            let request = wire::ConfirmFenceRequest { server: server.clone(), acknowledged: yes };
            (client.confirm(request).await, server, "counts as off: its groups are started elsewhere")
        }
        FenceVerb::Lift { server } => {
            let request = wire::LiftFenceRequest { server: server.clone() };
            (client.lift(request).await, server, "is fenced no more")
        }
    };
    let revision = changed.map_err(answered)?.into_inner().revision;
    let changed = Changed { server, revision };
    context.out.show(&changed, |changed| format!("{} {done} (revision {})", changed.server, changed.revision))
}

async fn test(
    context: &Context,
    client: &mut FenceClient<tonic::transport::Channel>,
    device: String,
) -> Result<(), AppError> {
    let request = wire::TestFenceRequest { device: device.clone() };
    let error = client.test(request).await.map_err(answered)?.into_inner().error;
    if error.is_empty() {
        let tested = Tested { device, answers: true, error };
        return context.out.show(&tested, |tested| format!("{} answers", tested.device));
    }
    Err(AppError::Coded {
        code: "TSK-1736".to_owned(),
        message: format!("fencing device {device} does not answer: {error}"),
        remedy: "correct its address, user or password in its [[fence]], or its program on this server"
            .into(),
        exit: Exit::Failed,
    })
}

/// Devices, a line each.
#[must_use]
pub fn list(devices: &[DeviceView], color: bool) -> String {
    if devices.is_empty() {
        return "no fencing devices are configured".to_owned();
    }
    let rows: Vec<Vec<Cell>> = devices
        .iter()
        .map(|device| {
            let servers = device.servers.iter().map(|server| server.as_str()).collect::<Vec<_>>().join(" ");
            vec![
                device.name.as_str().into(),
                device.kind.as_str().into(),
                if device.proves_off { "yes" } else { "no" }.into(),
                servers.into(),
                device.what.as_str().into(),
                device.comment.as_str().into(),
            ]
        })
        .collect();
    table(&["DEVICE", "KIND", "PROVES OFF", "FENCES", "WITH", "COMMENT"], &rows, color)
}

/// Servers, a line each, and below the tries of those that are not done with.
#[must_use]
pub fn status(servers: &[FencingView], color: bool) -> String {
    let words = |names: &[tasuki_core::ids::FenceName], between: &str| {
        names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(between)
    };
    let rows: Vec<Vec<Cell>> = servers
        .iter()
        .map(|server| {
            let levels: Vec<String> = server.levels.iter().map(|level| words(level, "+")).collect();
            let (state, style) = match server.state.as_str() {
                "none" => ("-".to_owned(), Style::Plain),
                "confirmed" if server.by.is_empty() => ("confirmed by an operator".to_owned(), Style::Warn),
                "confirmed" => (format!("confirmed by {}", words(&server.by, "+")), Style::Warn),
                "lifted" => ("lifted".to_owned(), Style::Plain),
                other => (other.to_owned(), Style::Bad),
            };
            vec![
                server.server.as_str().into(),
                if levels.is_empty() { "-".to_owned() } else { levels.join(", then ") }.into(),
                Cell::new(state, style),
                server.because.as_str().into(),
            ]
        })
        .collect();
    let mut text = table(&["SERVER", "DEVICES", "FENCING", "BECAUSE"], &rows, color);
    for server in servers.iter().filter(|server| !server.tries.is_empty()) {
        text += &format!("\ntries for {}:\n", server.server);
        for one in &server.tries {
            let outcome = one.error.as_deref().unwrap_or("confirmed");
            text += &format!("  {}  {}: {outcome}\n", one.at, one.device);
        }
    }
    text
}

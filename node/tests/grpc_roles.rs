//! Who may call what is what the `.proto` files say: every call of every service, over mutual TLS, with
//! no certificate and with one of each role.

#![allow(clippy::unwrap_used)]

#[path = "grpc/files.rs"]
#[allow(dead_code)]
mod files;
#[path = "grpc/raw.rs"]
mod raw;
mod support;

use std::{net::SocketAddr, time::Duration};

use files::Between as _;
use support::{FakeNode, Registry, app_of};
use tasuki::{
    edge::grpc::{bind_tcp, routes, serve_tcp},
    identity::{Identity, Role, create_cluster},
};
use tasuki_core::registry::{Author, Command};
use tokio_util::sync::CancellationToken;
use tonic::{
    Code,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

/// The real face over TLS before a registry in memory.
async fn served() -> (tempfile::TempDir, SocketAddr, Identity) {
    let data = tempfile::tempdir().unwrap();
    let identity = create_cluster(data.path(), "demo", &"kiki".into(), &[[127, 0, 0, 1].into()]).unwrap();
    let mut registry = Registry::default();
    let lineage = identity.lineage().clone();
    let first =
        Command::Initialise { lineage: lineage.clone(), config: support::config(), founder: "kiki".into() };
    registry.must(Author::Operator("root".into()), None, first);
    registry.start("kiki", 1);
    let app = app_of(FakeNode::new(registry, true), identity.clone());
    let (routes, _) = routes(app, lineage).await.unwrap();
    let listeners = bind_tcp(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    let address = listeners[0].local_addr().unwrap();
    tokio::spawn(serve_tcp(listeners, identity.server_tls(), routes, CancellationToken::new()));
    (data, address, identity)
}

async fn connect(address: SocketAddr, tls: ClientTlsConfig) -> Channel {
    let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap();
    // A call that waits for something has let its caller in.
    endpoint.timeout(Duration::from_secs(20)).tls_config(tls).unwrap().connect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_is_for_the_role_that_its_comment_names() {
    let (_data, address, identity) = served().await;
    let with = |role: Role| {
        let (issued, _) = identity.issue_operator("mei", role, Duration::from_secs(3600)).unwrap();
        connect(address, issued.client_tls(identity.ca_pem(), None))
    };
    let nobody = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(identity.ca_pem()));
    let callers = [
        (None, connect(address, nobody).await),
        (Some(Role::Viewer), with(Role::Viewer).await),
        (Some(Role::Operator), with(Role::Operator).await),
        (Some(Role::Admin), with(Role::Admin).await),
    ];
    let package = files::read();
    let mut wrong = Vec::new();
    let mut calls = 0;
    for file in package.files.iter().filter(|file| !file.between_servers()) {
        for call in &file.calls {
            let path = format!("/tasuki.v1.{}/{}", file.service.as_deref().unwrap(), call.name);
            let words = call.role.as_deref().unwrap();
            let needs = Role::parse(words.split([',', ' ']).next().unwrap());
            for (has, channel) in &callers {
                let status = raw::ask(channel.clone(), &path).await;
                let (code, said) =
                    status.map_or((Code::Ok, String::new()), |it| (it.code(), it.message().to_owned()));
                // `Join` asks for a token instead, and says that an empty one is none.
                let admitted = needs.is_none() || *has >= needs;
                let refused = match code {
                    Code::Unauthenticated => has.is_none() && said.contains("TSK-1631"),
                    Code::PermissionDenied => has.is_some() && said.contains("TSK-1630"),
                    _ => false,
                };
                calls += 1;
                if admitted == refused {
                    wrong.push(format!("{path} is for {words}; with {has:?} it answers {code:?} {said}"));
                }
            }
        }
    }
    println!("{calls} calls");
    assert!(calls > 4 * 70, "{calls}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

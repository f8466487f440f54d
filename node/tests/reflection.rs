//! Any gRPC client can ask a node what it speaks, in both versions of reflection, and how it is.
#![allow(clippy::unwrap_used)]

mod support;

use hyper_util::rt::TokioIo;
use support::{FakeNode, Registry, app};
use tasuki::edge::grpc::{bind_uds, routes, serve_uds};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

async fn node() -> (tempfile::TempDir, Channel) {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("tasuki.sock");
    let app = app(FakeNode::new(Registry::running(), true), Err("nobody".into()));
    let (routes, _) = routes(app, tasuki_core::ids::Lineage::new("l1")).await.unwrap();
    tokio::spawn(serve_uds(bind_uds(&path).unwrap(), routes, CancellationToken::new()));
    let channel = Endpoint::from_static("http://localhost")
        .connect_with_connector(tower::service_fn(move |_| {
            let path = path.clone();
            async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
        }))
        .await
        .unwrap();
    (data, channel)
}

macro_rules! services {
    ($version:ident, $channel:expr) => {{
        use tonic_reflection::pb::$version::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut client = ServerReflectionClient::new($channel);
        let answers = client.server_reflection_info(futures::stream::iter([request])).await;
        let answer = answers.unwrap().into_inner().message().await.unwrap().unwrap();
        let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
            panic!("no list of services")
        };
        list.service.into_iter().map(|service| service.name).collect::<Vec<_>>()
    }};
}

#[tokio::test]
async fn both_versions_of_reflection_list_every_service() {
    let (_data, channel) = node().await;
    for services in [services!(v1, channel.clone()), services!(v1alpha, channel.clone())] {
        for name in ["Cluster", "Group", "Server", "Registry", "Config", "Event", "Join", "Plan", "Decision"]
        {
            assert!(services.contains(&format!("tasuki.v1.{name}")), "{name} in {services:?}");
        }
        assert!(services.contains(&"grpc.health.v1.Health".to_owned()));
    }
}

#[tokio::test]
async fn health_says_that_it_serves() {
    use tonic_health::pb::{
        HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
    };
    let (_data, channel) = node().await;
    for service in ["", "tasuki.v1.Cluster", "tasuki.v1.Event"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = HealthClient::new(channel.clone()).check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
}

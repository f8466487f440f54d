#![allow(clippy::unwrap_used)]

use std::{fs, net::IpAddr, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use tasuki_core::ids::{Incarnation, RaftId, ServerName};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;

use tokio_rustls::rustls::{
    pki_types::{CertificateDer, UnixTime},
    server::danger::ClientCertVerifier,
};

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn found(data: &Path) -> Identity {
    create_cluster(data, "demo", &"kiki".into(), &["10.1.0.1".parse().unwrap()]).unwrap()
}

fn join(founder: &Identity, data: &Path, name: &str) -> Identity {
    let server = ServerName::new(name);
    let token = founder.new_token().unwrap();
    let request = KeyRequest::new(data, &server).unwrap();
    let welcome =
        founder.issue_server(&server, RaftId(2), &[], &request.public_key(), Incarnation(41)).unwrap();
    request.store(welcome, &token).unwrap()
}

fn caller(pem: &str, lineage: &Lineage) -> Result<Caller, IdentityError> {
    caller_from_certificates(&pki::certificates(pem).unwrap(), lineage)
}

#[test]
fn token_text_round_trips() {
    let token = Token::create(&"ab".repeat(32)).unwrap();
    assert_eq!(Token::parse(&format!(" {}\n", token.text())).unwrap(), token);
    assert!(token.is_of(&"ab".repeat(32)));
    assert!(!token.is_of(&"cd".repeat(32)));
    assert!(!token.is_of(""));
    assert_eq!(token.digest(), Token::digest_of(token.secret()));
    assert!(!format!("{token:?}").contains(token.secret()));
}

#[test]
fn token_errors_say_which_part_is_wrong() {
    let (id, secret, authority) = ("0".repeat(16), "1".repeat(32), "2".repeat(32));
    let cases = [
        (String::new(), "four parts"),
        ("hello".into(), "four parts"),
        (format!("tasuki2.{id}.{secret}.{authority}"), "begin with"),
        (format!("tasuki1.{id}x.{secret}.{authority}"), "second part"),
        (format!("tasuki1.{id}.{secret}é.{authority}"), "third part"),
        (format!("tasuki1.{id}.{secret}.ABCDEF"), "fourth part"),
    ];
    for (text, part) in cases {
        let error = Token::parse(&text).unwrap_err();
        assert_eq!(error.code(), "TSK-1107");
        assert!(error.to_string().contains(part), "{text}: {error}");
    }
}

#[test]
fn a_new_cluster_can_be_loaded_again() {
    let data = TempDir::new().unwrap();
    let made = found(data.path());
    let read = Identity::load(data.path()).unwrap();
    assert_eq!(made.facts, read.facts);
    assert_eq!(made.link_key, read.link_key);
    assert_eq!(made.ca_fingerprint(), read.ca_fingerprint());
    assert_eq!(read.raft_id(), FOUNDER);
    assert_eq!(read.lineage().as_str().len(), 32);
    assert!(read.expect(data.path(), Some("demo"), Some(&"kiki".into())).is_ok());
    for entry in fs::read_dir(identity_folder(data.path())).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
    }
    assert!(!format!("{read:?}").contains("PRIVATE"));
}

#[test]
fn a_folder_with_an_identity_is_left_alone() {
    let data = TempDir::new().unwrap();
    let made = found(data.path());
    let error = create_cluster(data.path(), "other", &"lala".into(), &[]).unwrap_err();
    assert_eq!(error.code(), "TSK-1101");
    assert!(error.to_string().contains("server kiki of cluster demo"), "{error}");
    assert_eq!(KeyRequest::new(data.path(), &"lala".into()).err().unwrap().code(), "TSK-1101");
    assert_eq!(Identity::load(data.path()).unwrap().facts, made.facts);
}

#[test]
fn the_folder_of_another_server_or_cluster_is_refused() {
    let data = TempDir::new().unwrap();
    let identity = found(data.path());
    for (cluster, server) in [(Some("other"), None), (None, Some(ServerName::new("lala")))] {
        let error = identity.expect(data.path(), cluster, server.as_ref()).unwrap_err();
        assert_eq!(error.code(), "TSK-1103");
        assert!(error.to_string().contains("server kiki of cluster demo"), "{error}");
    }
}

#[test]
fn no_identity_is_said_so() {
    let data = TempDir::new().unwrap();
    assert_eq!(Identity::load(data.path()).unwrap_err().code(), "TSK-1102");
    assert_eq!(next_incarnation(data.path()).unwrap_err().code(), "TSK-1102");
}

#[test]
fn keys_that_others_may_read_are_refused() {
    let data = TempDir::new().unwrap();
    found(data.path());
    let key = identity_folder(data.path()).join("server.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let error = Identity::load(data.path()).unwrap_err();
    assert_eq!(error.code(), "TSK-1104");
    assert!(error.remedy().contains("chmod 0600"), "{}", error.remedy());
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(identity_folder(data.path()), fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(Identity::load(data.path()).unwrap_err().code(), "TSK-1104");
}

#[test]
fn files_mixed_from_two_folders_are_refused() {
    let (one, two) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    found(one.path());
    let other = found(two.path());
    join(&other, &two.path().join("lala"), "lala");
    for name in ["server.key", "server.pem", "ca.key", "ca.pem", "identity.json", "link.key"] {
        let place = identity_folder(one.path()).join(name);
        let before = fs::read(&place).unwrap();
        fs::copy(identity_folder(two.path()).join(name), &place).unwrap();
        if name == "link.key" {
            fs::write(&place, [0; 31]).unwrap();
        }
        let error = Identity::load(one.path()).unwrap_err();
        assert_eq!(error.code(), "TSK-1105", "{name}: {error}");
        fs::write(&place, before).unwrap();
    }
    assert!(Identity::load(one.path()).is_ok());
    let joined = identity_folder(&two.path().join("lala"));
    fs::copy(identity_folder(two.path()).join("identity.json"), joined.join("identity.json")).unwrap();
    let error = Identity::load(&two.path().join("lala")).unwrap_err();
    assert!(error.to_string().contains("server lala"), "{error}");
}

#[test]
fn incarnations_count_on_whatever_happens() {
    let data = TempDir::new().unwrap();
    let founder = found(data.path());
    assert_eq!(next_incarnation(data.path()).unwrap(), Incarnation(1));
    // A crash while the next one was being written.
    fs::write(identity_folder(data.path()).join(".incarnation.new"), "9").unwrap();
    assert_eq!(next_incarnation(data.path()).unwrap(), Incarnation(2));
    fs::write(identity_folder(data.path()).join("incarnation"), "many").unwrap();
    assert_eq!(next_incarnation(data.path()).unwrap_err().code(), "TSK-1105");
    // A server that comes back with an empty folder goes on above what the others remember.
    join(&founder, &data.path().join("lala"), "lala");
    assert_eq!(next_incarnation(&data.path().join("lala")).unwrap(), Incarnation(42));
}

#[test]
fn a_joined_server_shares_what_the_cluster_shares() {
    let data = TempDir::new().unwrap();
    let founder = found(data.path());
    let folder = data.path().join("lala");
    join(&founder, &folder, "lala");
    let joined = Identity::load(&folder).unwrap();
    assert_eq!((joined.raft_id(), joined.lineage()), (RaftId(2), founder.lineage()));
    assert_eq!(joined.link_key(), founder.link_key());
    assert_eq!(joined.ca_fingerprint(), founder.ca_fingerprint());
    // It can let the next one in.
    let third = join(&joined, &data.path().join("mimi"), "mimi");
    assert_eq!(third.ca_fingerprint(), founder.ca_fingerprint());
}

#[test]
fn an_answer_of_another_cluster_is_not_kept() {
    let data = TempDir::new().unwrap();
    let founder = found(&data.path().join("one"));
    let other = found(&data.path().join("two"));
    let server = ServerName::new("lala");
    let request = KeyRequest::new(&data.path().join("lala"), &server).unwrap();
    let welcome = other.issue_server(&server, RaftId(2), &[], &request.public_key(), Incarnation(0)).unwrap();
    let error = request.store(welcome, &founder.new_token().unwrap()).unwrap_err();
    assert_eq!(error.code(), "TSK-1108");
    assert_eq!(Identity::load(&data.path().join("lala")).unwrap_err().code(), "TSK-1102");
    let refused = founder.issue_server(&server, RaftId(2), &[], b"no key", Incarnation(0));
    assert!(refused.is_err());
}

#[test]
fn certificates_say_who_holds_them() {
    let data = TempDir::new().unwrap();
    let identity = found(data.path());
    let lineage = identity.lineage();
    assert_eq!(caller(&identity.pki.server_pem, lineage).unwrap(), Caller::Server("kiki".into()));
    for role in [Role::Admin, Role::Operator, Role::Viewer] {
        let issued = identity.issue_operator("aoi", role, DAY).unwrap().0;
        let expected = Caller::Operator { name: "aoi".into(), role };
        assert_eq!(caller(&issued.certificate, lineage).unwrap(), expected);
    }
    assert_eq!(caller_from_certificates(&[], lineage).unwrap(), Caller::Anonymous);
    // The authority's own certificate is nobody's.
    assert_eq!(caller(identity.ca_pem(), lineage).unwrap_err().code(), "TSK-1111");
    let error = caller(&identity.pki.server_pem, &"0".repeat(32).as_str().into()).unwrap_err();
    assert_eq!(error.code(), "TSK-1111");
    assert!(error.to_string().contains(lineage.as_str()), "{error}");
    let nonsense = CertificateDer::from(vec![0x30, 0x03, 1, 2, 3]);
    assert_eq!(caller_from_certificates(&[nonsense], lineage).unwrap_err().code(), "TSK-1111");
}

#[test]
fn names_that_would_mean_something_else_are_refused() {
    let data = TempDir::new().unwrap();
    let identity = found(data.path());
    for name in ["", "a.b", "a b", "-a", "a-", "kiki.server.tasuki", "ä", &"x".repeat(64)] {
        assert_eq!(
            identity.issue_operator(name, Role::Viewer, DAY).err().unwrap().code(),
            "TSK-1106",
            "{name}"
        );
        let request = KeyRequest::new(&data.path().join("new"), &name.into());
        assert_eq!(request.err().unwrap().code(), "TSK-1106", "{name}");
    }
    for name in ["a", "Kiki-2", "db_1", "7"] {
        let joined = join(&identity, &data.path().join(format!("of-{name}")), name);
        assert_eq!(caller(&joined.pki.server_pem, joined.lineage()).unwrap(), Caller::Server(name.into()));
    }
}

/// A TLS server of `identity` that serves nothing; stops with the test.
async fn serve(identity: &Identity) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (_, health) = tonic_health::server::health_reporter();
    let server = tonic::transport::Server::builder().tls_config(identity.server_tls()).unwrap();
    let mut server = server;
    tokio::spawn(server.add_service(health).serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

#[test]
fn a_certificate_is_handed_out_in_a_folder_of_its_own() {
    let data = TempDir::new().unwrap();
    let identity = found(data.path());
    let folder = data.path().join("for/mei");
    let end = identity.hand_out(&folder, "mei", Role::Viewer, DAY).unwrap();
    let mode = |name: &str| fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("mei.key")), (0o700, 0o600));
    assert_eq!(fs::read_to_string(folder.join("ca.pem")).unwrap(), identity.ca_pem());
    let pem = fs::read_to_string(folder.join("mei.pem")).unwrap();
    let expected = Caller::Operator { name: "mei".into(), role: Role::Viewer };
    assert_eq!(caller(&pem, identity.lineage()).unwrap(), expected);
    // What is there is never replaced.
    let again = identity.hand_out(&folder, "aoi", Role::Admin, DAY).unwrap_err();
    assert_eq!(again.code(), "TSK-1120", "{again}");
    assert!(!folder.join("aoi.pem").exists());
    for taken in ["ca", "server"] {
        let refused = identity.hand_out(&data.path().join(taken), taken, Role::Admin, DAY).unwrap_err();
        assert_eq!(refused.code(), "TSK-1106", "{refused}");
        assert!(!data.path().join(taken).exists());
    }
    // The end is on a whole second, and not beyond the longest.
    assert_eq!(end.0 % 1000, 0);
    let far = identity.issue_operator("aoi", Role::Viewer, Duration::MAX).unwrap().1;
    assert!(far.0 - end.0 < u64::try_from(pki::LONGEST.as_millis()).unwrap());
}

#[test]
fn a_witness_cannot_sign() {
    let data = TempDir::new().unwrap();
    let mut identity = found(data.path());
    identity.pki.ca_key.clear();
    let error = identity.hand_out(&data.path().join("mei"), "mei", Role::Viewer, DAY).unwrap_err();
    assert_eq!(error.code(), "TSK-1119");
    assert!(!data.path().join("mei").exists());
}

const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_token_recognises_its_cluster_before_the_secret_is_sent() {
    let data = TempDir::new().unwrap();
    let identity = found(&data.path().join("one"));
    let other = found(&data.path().join("two"));
    let address = serve(&identity).await;
    let authority = verify_authority(address, &identity.new_token().unwrap(), PATIENCE).await.unwrap();
    assert_eq!(authority.server, ServerName::new("kiki"));
    // Over that authority the second connection works, whatever address it goes to.
    let endpoint = tonic::transport::Endpoint::from_shared(format!("https://{address}")).unwrap();
    let channel = endpoint.tls_config(authority.client_tls()).unwrap().connect().await.unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    health.check(tonic_health::pb::HealthCheckRequest::default()).await.unwrap();

    let error = verify_authority(address, &other.new_token().unwrap(), PATIENCE).await.unwrap_err();
    assert_eq!(error.code(), "TSK-1108", "{error}");
}

#[tokio::test]
async fn an_operator_cannot_pass_for_a_server_before_a_token() {
    let data = TempDir::new().unwrap();
    let mut identity = found(data.path());
    let token = identity.new_token().unwrap();
    let operator = identity.issue_operator("aoi", Role::Viewer, DAY).unwrap().0;
    identity.pki.server_pem = operator.certificate;
    identity.pki.server_key = operator.key;
    let error = verify_authority(serve(&identity).await, &token, PATIENCE).await.unwrap_err();
    assert_eq!(error.code(), "TSK-1108", "{error}");
}

/// What a call with these credentials to `address` comes to.
async fn health_with(
    address: std::net::SocketAddr,
    ca_pem: &str,
    credentials: &Credentials,
) -> Result<(), String> {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("https://{address}")).unwrap();
    let endpoint = endpoint.tls_config(credentials.client_tls(ca_pem, None)).unwrap();
    let said = |error: &(dyn std::error::Error + 'static)| explain_tls(error).unwrap_or(error.to_string());
    let channel = endpoint.connect().await.map_err(|error| said(&error))?;
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let request = tonic_health::pb::HealthCheckRequest::default();
    health.check(request).await.map(drop).map_err(|error| said(&error))
}

#[test]
fn exports_are_for_servers_and_administrators_of_this_registry() {
    let data = TempDir::new().unwrap();
    let (identity, other) = (found(&data.path().join("one")), found(&data.path().join("other")));
    let clients = identity.export_clients().unwrap();
    let may = |pem: &str| {
        let chain = pki::certificates(pem).unwrap();
        clients.verify_client_cert(&chain[0], &chain[1..], UnixTime::now()).is_ok()
    };
    assert!(may(&identity.pki.server_pem));
    assert!(!may(&other.pki.server_pem));
    for (role, expected) in [(Role::Viewer, false), (Role::Operator, false), (Role::Admin, true)] {
        assert_eq!(
            may(&identity.issue_operator("aoi", role, DAY).unwrap().0.certificate),
            expected,
            "{role}"
        );
        assert!(!may(&other.issue_operator("aoi", role, DAY).unwrap().0.certificate), "another {role}");
    }
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_refused() {
    let data = TempDir::new().unwrap();
    let identity = found(data.path());
    let address = serve(&identity).await;
    let (good, _) = identity.issue_operator("mei", Role::Viewer, DAY).unwrap();
    health_with(address, identity.ca_pem(), &good).await.unwrap();
    let facts = &identity.facts;
    let yesterday = WallTime(pki::from_now(Duration::ZERO).0 - 86_400_000);
    let ended = identity.pki.issue_operator(&facts.cluster, &facts.lineage, "mei", Role::Viewer, yesterday);
    let why = health_with(address, identity.ca_pem(), &ended.unwrap()).await.unwrap_err();
    assert!(why.contains("our certificate has expired"), "{why}");
}

#[tokio::test]
async fn a_copied_authority_certificate_is_not_enough() {
    // Anybody may read the authority's certificate off the wire and send it along.
    let data = TempDir::new().unwrap();
    let identity = found(&data.path().join("one"));
    let mut other = found(&data.path().join("two"));
    other.pki.server_pem =
        other.pki.server_pem.replace(&other.pki.ca_pem, "") + &other.pki.ca_pem + identity.ca_pem();
    let error =
        verify_authority(serve(&other).await, &identity.new_token().unwrap(), PATIENCE).await.unwrap_err();
    assert_eq!(error.code(), "TSK-1108", "{error}");
}

#[tokio::test]
async fn nobody_there_is_not_another_cluster() {
    let data = TempDir::new().unwrap();
    let token = found(data.path()).new_token().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Bound, but it never answers.
    let error = verify_authority(address, &token, Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.code(), "TSK-1109", "{error}");
    drop(listener);
    let error = verify_authority(address, &token, PATIENCE).await.unwrap_err();
    assert_eq!(error.code(), "TSK-1109", "{error}");
}

#[test]
fn certificates_hold_the_configured_addresses() {
    let data = TempDir::new().unwrap();
    let identity = found(data.path());
    let chain = pki::certificates(&identity.pki.server_pem).unwrap();
    let parsed = webpki::EndEntityCert::try_from(&chain[0]).unwrap();
    for address in ["10.1.0.1", "127.0.0.1", "::1"] {
        let address: IpAddr = address.parse().unwrap();
        parsed.verify_is_valid_for_subject_name(&address.into()).unwrap();
    }
    let other: IpAddr = "10.1.0.2".parse().unwrap();
    assert!(parsed.verify_is_valid_for_subject_name(&other.into()).is_err());
}

#[test]
fn every_code_has_its_page() {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors");
    let sources = [include_str!("error.rs"), include_str!("../edge/peer/link_socket.rs")].concat();
    let codes: Vec<&str> = sources.match_indices("TSK-").map(|(at, _)| &sources[at..at + 8]).collect();
    assert!(codes.len() > 14);
    for code in codes {
        assert!(pages.join(code).with_extension("md").exists(), "docs/errors/{code}.md is missing");
    }
}

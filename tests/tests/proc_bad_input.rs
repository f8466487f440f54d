//! Mistakes that only whole processes can meet: each gets one clear error with place, reason and
//! remedy, and changes nothing.

#![allow(clippy::unwrap_used)]

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, path::Path, process::Output, time::Duration};

use tasuki_tests::{
    hosts::{await_some, await_true},
    process::{Trio, content, succeeded, tasuki, web},
};

/// What a command said when it refused.
#[track_caller]
fn refused(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "it did not refuse: {}", String::from_utf8_lossy(&output.stdout));
    println!("{said}");
    said
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

fn trio() -> (Trio, String) {
    let trio = Trio::new().unwrap();
    let config = trio.subnet.config("ours", &web(trio.subnet).unwrap());
    (trio, config)
}

#[test]
fn a_port_in_use_is_named_and_the_node_comes_up_when_it_is_free() {
    let (mut trio, config) = trio();
    let file = trio.file("cluster.toml", &config).unwrap();
    let kiki = &mut trio.servers[0];
    succeeded(&kiki.tasuki(&["cluster", "init", "--config", &file, "--server", "kiki"]).unwrap()).unwrap();
    let place = std::net::SocketAddr::new(trio.subnet.address(0), 29001);
    let other = TcpListener::bind(place).unwrap();
    kiki.start().unwrap();
    await_true("error", || Ok(kiki.log().contains("TSK-1680"))).unwrap();
    let log = kiki.log();
    let line = log.lines().find(|line| line.contains("TSK-1680")).unwrap();
    println!("{line}");
    says(line, &[&place.to_string(), "in use", "stop it, or choose another port"]);
    assert!(!kiki.data().join("registry.made").exists(), "nothing was made");
    drop(other);
    trio.token("lala").unwrap();
}

#[test]
fn a_folder_of_another_server_is_left_as_it_is() {
    let (mut trio, config) = trio();
    trio.found(&config).unwrap();
    let token = trio.token("lala").unwrap();
    let member = trio.subnet.address(0).to_string();
    let file = trio.file("cluster.toml", &config).unwrap();
    let join = ["cluster", "join", &member, "--token", &token, "--server", "lala"];

    // kiki's folder cannot become lala's, nor be made anew.
    let identity = trio.servers[0].data().join("identity");
    let before = content(&identity).unwrap();
    for words in [&join[..], &["cluster", "init", "--config", &file, "--server", "kiki"]] {
        let said = refused(&trio.servers[0].tasuki(words).unwrap());
        says(&said, &["TSK-11", "already holds the identity of", "kiki"]);
    }
    assert!(content(&identity).unwrap() == before, "nothing has changed");

    // A second guard on the folder of a running one.
    let said = refused(&trio.servers[0].tasuki(&["guard", "--no-power"]).unwrap());
    let pid = trio.servers[0].guard().unwrap().to_string();
    says(&said, &["TSK-1501", &pid, &trio.servers[0].data().display().to_string()]);

    // The token was not used up by any of this.
    succeeded(&trio.servers[1].tasuki(&join).unwrap()).unwrap();

    // lala's identity over kiki's registry: the store says whose it is.
    trio.servers[0].stop().unwrap();
    let (kiki, lala) = (trio.servers[0].data().to_owned(), trio.servers[1].data().to_owned());
    copy(&kiki.join("registry"), &lala.join("registry"));
    fs::copy(kiki.join("registry.made"), lala.join("registry.made")).unwrap();
    trio.servers[1].start().unwrap();
    let lala = &trio.servers[1];
    await_true("error", || Ok(lala.log().contains("TSK-12"))).unwrap();
    let log = lala.log();
    let line = log.lines().find(|line| line.contains("TSK-12")).unwrap();
    println!("{line}");
    says(line, &["TSK-1203", "belongs to", &lala.data().display().to_string()]);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

#[test]
fn tokens_serve_once_and_expire() {
    let (mut trio, config) = trio();
    trio.found(&config).unwrap();
    let member = trio.subnet.address(0).to_string();
    let join = |server: usize, token: &str| {
        let name = trio.servers[server].name();
        trio.servers[server]
            .tasuki(&["cluster", "join", &member, "--token", token, "--server", name])
            .unwrap()
    };
    let joined = |server: usize| {
        let status = trio.calls.status(trio.servers[0].data()).unwrap();
        status.servers[server].state != i32::from(tasuki_proto::v1::ServerState::NotJoined)
    };

    let token = trio.calls.token(trio.servers[0].data(), "").unwrap();
    succeeded(&join(1, &token)).unwrap();
    let said = refused(&join(2, &token));
    says(&said, &["TSK-1", "used", "tasuki cluster token"]);
    assert!(!trio.servers[2].data().join("identity/server.pem").exists(), "nothing was kept");
    assert!(!joined(2));

    let words = ["--json", "cluster", "token", "--server", "mimi", "--expires", "1s"];
    let answer = succeeded(&trio.servers[0].tasuki(&words).unwrap()).unwrap();
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let expires = answer["expires"].as_u64().unwrap();
    await_true("end of the token", || Ok(now_ms() > expires)).unwrap();
    let said = refused(&join(2, answer["token"].as_str().unwrap()));
    says(&said, &["TSK-1", "expired", "tasuki cluster token"]);

    // For another server, and one that is none.
    let token = trio.calls.token(trio.servers[0].data(), "lala").unwrap();
    says(&refused(&join(2, &token)), &["TSK-1", "issued for another server"]);
    says(&refused(&join(2, "no-token")), &["TSK-1", "not a join token"]);
}

fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

#[test]
fn who_has_no_certificate_of_this_cluster_gets_nothing() {
    let (mut trio, config) = trio();
    trio.found(&config).unwrap();
    let member = trio.subnet.address(0).to_string();
    let nowhere = trio.folder().join("nowhere");
    let status = |identity: &Path| {
        let identity = identity.display().to_string();
        tasuki(&nowhere, &["--address", &member, "--identity", &identity, "cluster", "status"]).unwrap()
    };

    let ours = trio.servers[0].data().join("identity");
    succeeded(&status(&ours)).unwrap();

    // Another cluster's administrator.
    let other = trio.file("other.toml", &config.replace("\"ours\"", "\"theirs\"")).unwrap();
    let folder = trio.folder().join("theirs");
    succeeded(&tasuki(&folder, &["cluster", "init", "--config", &other, "--server", "kiki"]).unwrap())
        .unwrap();
    let said = refused(&status(&folder.join("identity")));
    says(&said, &["TSK-1", "another cluster", &member]);
    // The same with our authority's certificate: now it is the server that refuses.
    fs::copy(ours.join("ca.pem"), folder.join("identity/ca.pem")).unwrap();
    // It may close the connection before its reason is heard.
    let said = refused(&status(&folder.join("identity")));
    says(&said, &["TSK-1622"]);
    assert!(
        said.contains("another cluster") || said.contains("broken pipe") || said.contains("in time"),
        "{said}"
    );

    // No certificate at all: the command line sees that by itself.
    let poor = trio.folder().join("poor");
    fs::create_dir(&poor).unwrap();
    fs::copy(ours.join("ca.pem"), poor.join("ca.pem")).unwrap();
    says(&refused(&status(&poor)), &["TSK-1", "client certificate"]);
    // And so does a server, of a client that does not.
    let said = trio.calls.block_on(without_certificate(&ours, &member)).unwrap_err();
    println!("{said}");
    assert_eq!(said.code(), tonic::Code::Unauthenticated);
    says(said.message(), &["certificate"]);
}

async fn without_certificate(identity: &Path, member: &str) -> Result<(), tonic::Status> {
    use tasuki_proto::v1::{ClusterStatusRequest, cluster_client::ClusterClient};
    use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
    let ca = Certificate::from_pem(fs::read_to_string(identity.join("ca.pem")).unwrap());
    let endpoint = Endpoint::from_shared(format!("https://{member}:29001")).unwrap();
    let endpoint = endpoint.tls_config(ClientTlsConfig::new().ca_certificate(ca)).unwrap();
    let mut client = ClusterClient::new(endpoint.connect().await.unwrap());
    client.status(ClusterStatusRequest {}).await.map(drop)
}

#[test]
fn a_second_cluster_on_the_same_network_disturbs_nobody() {
    let (mut trio, config) = trio();
    trio.found_all(&config).unwrap();
    let before = trio.calls.status(trio.servers[1].data()).unwrap();

    // It has taken lala's address for its own lala, and beats there.
    let address = trio.subnet.public(40).to_string();
    let theirs = config
        .replace("\"ours\"", "\"theirs\"")
        .replace(&format!("\"{}\"", trio.subnet.address(0)), &format!("\"{address}\""))
        .replace(".1.1\"", ".1.40\"")
        .replace(&trio.subnet.floating().to_string(), &trio.subnet.public(140).to_string());
    let file = trio.file("theirs.toml", &theirs).unwrap();
    let mut other = tasuki_tests::process::Server::new("kiki", trio.folder().join("theirs"));
    succeeded(&other.tasuki(&["cluster", "init", "--config", &file, "--server", "kiki"]).unwrap()).unwrap();
    other.start().unwrap();
    await_some("a second cluster", || Ok(trio.calls.status(other.data()).ok().filter(|it| it.confirmed)))
        .unwrap();

    // It cannot be joined with our token, nor ours with one of theirs.
    let token = trio.calls.token(trio.servers[0].data(), "").unwrap();
    let third = trio.folder().join("third");
    let said = refused(
        &tasuki(&third, &["cluster", "join", &address, "--token", &token, "--server", "mimi"]).unwrap(),
    );
    says(&said, &["TSK-1", "not of the cluster that issued this token"]);
    assert!(!third.join("identity/server.pem").exists());

    std::thread::sleep(Duration::from_secs(2));
    trio.await_whole().unwrap();
    let after = trio.calls.status(trio.servers[1].data()).unwrap();
    assert_eq!((after.lineage, after.term, after.leader), (before.lineage, before.term, before.leader));
    let incarnations = |status: &[tasuki_proto::v1::ServerStatus]| -> Vec<u64> {
        status.iter().map(|server| server.incarnation).collect()
    };
    assert_eq!(incarnations(&after.servers), incarnations(&before.servers));
    let theirs = trio.calls.status(other.data()).unwrap();
    assert_eq!(theirs.cluster, "theirs");
    assert!(
        theirs.servers.iter().filter(|server| server.name != "kiki").all(
            |server| server.silent || server.state == i32::from(tasuki_proto::v1::ServerState::NotJoined)
        )
    );
}

#[test]
fn scripts_that_cannot_run_are_found_before_anything_changes() {
    let (mut trio, config) = trio();
    trio.found_all(&config).unwrap();
    let script = |start: &str| {
        format!("{config}\n[[group.resource]]\nname = \"more\"\ntype = \"exec\"\nstart = \"{start}\"\n")
    };
    let revision = || trio.calls.status(trio.servers[0].data()).unwrap().revision;
    let before = revision();

    let missing = trio.folder().join("missing.sh").display().to_string();
    let plain = trio.file("plain.sh", "#!/bin/sh\n").unwrap();
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o644)).unwrap();
    for (start, reason) in [(&missing, "No such file"), (&plain, "not executable")] {
        let file = trio.file("more.toml", &script(start)).unwrap();
        for words in [["config", "check", &file], ["config", "push", &file]] {
            let said = refused(&trio.servers[0].tasuki(&words).unwrap());
            says(&said, &["TSK-1016", reason, start, "remedy", "`start` of resource more (group demo)"]);
        }
    }
    assert_eq!(revision(), before, "nothing was changed");
}

#[test]
fn a_configuration_is_pushed_to_all_or_to_none() {
    let (mut trio, config) = trio();
    trio.found_all(&config).unwrap();
    let revision = || trio.calls.status(trio.servers[0].data()).unwrap().revision;
    let before = revision();

    let bad = trio.file("bad.toml", &config.replace("detect = ", "detct = ")).unwrap();
    let said = refused(&trio.servers[0].tasuki(&["config", "push", &bad]).unwrap());
    says(&said, &["TSK-10", "bad.toml:3", "detct", "detect"]);
    assert_eq!(revision(), before);

    let good = trio.file("good.toml", &config.replace("detect = \"3s\"", "detect = \"2s\"")).unwrap();
    let pushed = succeeded(&trio.servers[1].tasuki(&["config", "push", &good]).unwrap()).unwrap();
    println!("{pushed}");
    says(&pushed, &["kiki", "lala", "mimi"]);

    // Without one of them: said, and it catches up.
    trio.servers[2].stop().unwrap();
    let pushed =
        succeeded(&trio.servers[0].tasuki(&["config", "push", &bad_to_good(&trio, &config)]).unwrap())
            .unwrap();
    println!("{pushed}");
    let line = pushed.lines().find(|line| line.contains("mimi")).unwrap().to_lowercase();
    assert!(
        line.contains("unreachable")
            || line.contains("could not be asked")
            || line.contains("cannot be reached"),
        "{line}"
    );
    trio.servers[2].start().unwrap();
    trio.await_whole().unwrap();
    let shown = succeeded(&trio.servers[2].tasuki(&["config", "show"]).unwrap()).unwrap();
    says(&shown, &["detect = \"1500ms\""]);
}

fn bad_to_good(trio: &Trio, config: &str) -> String {
    trio.file("better.toml", &config.replace("detect = \"3s\"", "detect = \"1500ms\"")).unwrap()
}

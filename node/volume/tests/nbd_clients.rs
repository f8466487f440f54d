//! The NBD export, as programs of others see it: libnbd, QEMU and fio.

#![allow(clippy::unwrap_used)]

#[path = "support/memory.rs"]
mod memory;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Output},
    sync::{Arc, atomic::Ordering::SeqCst},
};

use memory::Memory;
use tasuki_volume::export::{Export, Offer};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};

const MIB: usize = 1024 * 1024;

/// A volume in memory, exported on a unix socket.
struct Bench {
    runtime: Runtime,
    folder: TempDir,
    memory: Memory,
    export: Option<Export>,
}

impl Bench {
    /// `None`: skipped, and said so.
    fn new(size: usize, programs: &[&str]) -> Option<Self> {
        let there =
            |program: &&str| Command::new("which").arg(program).output().is_ok_and(|it| it.status.success());
        if let Some(missing) = programs.iter().find(|program| !there(program)) {
            eprintln!("skipped, because {missing} is missing");
            return None;
        }
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let folder = TempDir::new().unwrap();
        let socket = folder.path().join("data.sock");
        let (memory, export) = runtime.block_on(async {
            let (memory, door) = Memory::serve(size);
            (memory, Export::unix(&socket, Offer::new("data", door)).unwrap())
        });
        Some(Self { runtime, folder, memory, export: Some(export) })
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("data.sock")
    }

    fn uri(&self) -> String {
        format!("nbd+unix:///data?socket={}", self.socket().display())
    }
}

fn good(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// A Python that knows libnbd: `nbdsh` takes the first one there is. `None`: skipped, and said so.
fn shell() -> Option<Command> {
    let python = ["python3", "/usr/bin/python3"].into_iter().find(|python| {
        Command::new(python).args(["-c", "import nbd"]).output().is_ok_and(|it| it.status.success())
    });
    if python.is_none() {
        eprintln!("skipped, because libnbd's Python module is missing");
    }
    python.map(Command::new)
}

/// A connected client `h`, and what it does.
fn script(bench: &Bench, what: &str) -> [String; 2] {
    ["-c".to_owned(), format!("import nbd\nh = nbd.NBD()\nh.connect_uri('{}')\n{what}", bench.uri())]
}

fn said(output: Output) -> String {
    String::from_utf8(output.stdout).unwrap()
}

fn noise(size: usize) -> Vec<u8> {
    let mut seed = 9_u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    };
    (0..size).map(|_| next()).collect()
}

#[test]
fn only_root_reaches_the_socket_and_it_goes_with_the_export() {
    let Some(mut bench) = Bench::new(MIB, &[]) else { return };
    assert_eq!(fs::metadata(bench.socket()).unwrap().permissions().mode() & 0o777, 0o600);
    bench.runtime.block_on(bench.export.take().unwrap().close());
    assert!(!bench.socket().exists());
}

#[test]
fn libnbd_sees_what_the_export_can_do() {
    let Some(bench) = Bench::new(10 * MIB, &["nbdinfo"]) else { return };
    let told = said(good(Command::new("nbdinfo").arg(bench.uri())));
    for line in [
        "export-size: 10485760",
        "can_flush: true",
        "can_fua: true",
        "can_trim: true",
        "can_zero: true",
        "can_multi_conn: true",
        "is_read_only: false",
        "block_size_minimum: 1",
        "block_size_maximum: 33554432",
        "protocol: newstyle-fixed without TLS, using structured packets",
    ] {
        assert!(told.contains(line), "{line} is missing in\n{told}");
    }
    let listed = said(good(Command::new("nbdinfo").args(["--list", "--json"]).arg(bench.uri())));
    assert!(listed.contains("\"export-name\": \"data\""), "{listed}");
    let other = format!("nbd+unix:///nothing?socket={}", bench.socket().display());
    assert!(!Command::new("nbdinfo").arg(other).output().unwrap().status.success());
}

#[test]
fn what_was_copied_in_comes_out_again_over_many_connections() {
    let Some(bench) = Bench::new(48 * MIB, &["nbdcopy"]) else { return };
    let (there, back) = (bench.folder.path().join("there"), bench.folder.path().join("back"));
    let content = noise(48 * MIB);
    fs::write(&there, &content).unwrap();
    good(Command::new("nbdcopy").args(["--connections=4", "--flush"]).arg(&there).arg(bench.uri()));
    assert!(bench.memory.counts.flushes.load(SeqCst) > 0);
    assert!(*bench.memory.bytes() == content);
    good(Command::new("nbdcopy").args(["--connections=4"]).arg(bench.uri()).arg(&back));
    assert!(fs::read(&back).unwrap() == content);
}

#[test]
fn qemu_writes_zeroes_trims_flushes_and_finds_its_patterns() {
    let Some(bench) = Bench::new(16 * MIB, &["qemu-io", "qemu-img"]) else { return };
    let commands = [
        "write -P 0x5a 0 1M",
        "write -f -P 0x5b 1M 64k",
        "write -z 2M 1M",
        "write -z -u 3M 1M",
        "discard 4M 1M",
        "write -P 7 513 1000",
        "flush",
        "read -P 7 513 1000",
        "read -P 0x5b 1M 64k",
        "read -P 0 2M 3M",
        "aio_write -P 1 8M 4M",
        "aio_write -P 2 12M 4M",
        "aio_flush",
        "read -P 1 8M 4M",
        "read -P 2 12M 4M",
    ];
    let mut program = Command::new("qemu-io");
    program.args(["-f", "raw"]);
    for command in commands {
        program.args(["-c", command]);
    }
    let told = said(good(program.arg(bench.uri())));
    assert!(!told.contains("failed"), "{told}");
    let counts = &bench.memory.counts;
    assert!(
        counts.durable.load(SeqCst) > 0 && counts.zeroes.load(SeqCst) > 0 && counts.trims.load(SeqCst) > 0
    );
    let image = bench.folder.path().join("image");
    good(Command::new("qemu-img").args(["convert", "-f", "raw", "-O", "raw"]).arg(bench.uri()).arg(&image));
    assert!(fs::read(image).unwrap() == *bench.memory.bytes());
}

#[test]
fn commands_that_make_no_sense_are_refused_one_by_one() {
    let (Some(bench), Some(mut python)) = (Bench::new(MIB, &[]), shell()) else { return };
    let what = r#"
import errno
def refused(number, what):
    try:
        what()
    except nbd.Error as error:
        assert error.errnum == number, (number, error.errnum)
    else:
        raise Exception("was not refused")
h.set_strict_mode(0)
end = h.get_size()
refused(errno.EINVAL, lambda: h.pread(512, end))
refused(errno.EINVAL, lambda: h.pread(512, end - 1))
refused(errno.EINVAL, lambda: h.pread(512, 2**63))
refused(errno.ENOSPC, lambda: h.pwrite(b"x" * 512, end - 511))
refused(errno.ENOSPC, lambda: h.zero(512, end))
refused(errno.EINVAL, lambda: h.trim(512, end))
refused(errno.EINVAL, lambda: h.cache(512, 0))
h.pwrite(b"still here", 100)
assert h.pread(10, 100) == b"still here"
h.pwrite(b"y" * 512, end - 512, nbd.CMD_FLAG_FUA)
h.flush()
"#;
    good(python.args(script(&bench, what)));
    assert_eq!(bench.memory.counts.durable.load(SeqCst), 1);
}

#[test]
fn a_failing_volume_answers_with_an_error() {
    let (Some(bench), Some(mut python)) = (Bench::new(MIB, &[]), shell()) else { return };
    bench.memory.fail();
    let what = r#"
for what in (lambda: h.pread(512, 0), lambda: h.pwrite(b"x" * 512, 0), lambda: h.flush(), lambda: h.trim(512, 0)):
    try:
        what()
    except nbd.Error as error:
        assert error.errnum == 5, error.errnum
    else:
        raise Exception("did not fail")
"#;
    good(python.args(script(&bench, what)));
}

#[test]
fn closing_answers_what_is_under_way_first() {
    let (Some(mut bench), Some(mut python)) = (Bench::new(MIB, &[]), shell()) else { return };
    bench.memory.freeze(true);
    let mut client = python.args(script(&bench, "h.pwrite(b'x' * 512, 0)")).spawn().unwrap();
    bench.runtime.block_on(async {
        while bench.memory.waiting() == 0 {
            assert!(client.try_wait().unwrap().is_none(), "it waits for its answer");
            tokio::task::yield_now().await;
        }
        let closing = tokio::spawn(bench.export.take().unwrap().close());
        bench.memory.freeze(false);
        closing.await.unwrap();
    });
    assert!(client.wait().unwrap().success());
    assert_eq!(bench.memory.bytes()[..512], [b'x'; 512]);
}

#[test]
fn fio_finds_what_it_wrote_with_many_requests_under_way() {
    let Some(bench) = Bench::new(32 * MIB, &["fio"]) else { return };
    if !said(good(Command::new("fio").arg("--enghelp"))).contains("nbd") {
        eprintln!("skipped, because this fio does not speak NBD");
        return;
    }
    good(
        Command::new("fio")
            .current_dir(bench.folder.path())
            .args(["--name=check", "--ioengine=nbd", "--rw=randwrite", "--bsrange=512-64k", "--size=32m"])
            .args(["--iodepth=32", "--verify=crc32c", "--verify_fatal=1", "--fsync=100", "--bs_unaligned"])
            .arg(format!("--uri={}", bench.uri())),
    );
}

/// An authority, and certificates for a server and a client, as gnutls wants them in a folder.
fn certificates(folder: &std::path::Path) -> Arc<ServerConfig> {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_certificate = authority.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::from_params(&authority, &authority_key);
    let issue = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &issuer).unwrap(), key)
    };
    let (server, server_key) = issue("localhost");
    let (client, client_key) = issue("client");
    fs::write(folder.join("ca-cert.pem"), authority_certificate.pem()).unwrap();
    fs::write(folder.join("client-cert.pem"), client.pem()).unwrap();
    fs::write(folder.join("client-key.pem"), client_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority_certificate.der().to_vec())).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![CertificateDer::from(server.der().to_vec())],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(server_key.serialize_der())),
        )
        .unwrap();
    Arc::new(config)
}

#[test]
fn over_tcp_nothing_is_told_before_tls_stands() {
    let Some(bench) = Bench::new(MIB, &["nbdinfo", "nbdcopy"]) else { return };
    let folder = bench.folder.path().join("keys");
    fs::create_dir(&folder).unwrap();
    let tls = certificates(&folder);
    let (memory, export) = bench.runtime.block_on(async {
        let (memory, door) = Memory::serve(4 * MIB);
        (memory, Export::tcp("127.0.0.1:0".parse().unwrap(), Offer::new("data", door), tls).await.unwrap())
    });
    let port = export.address().unwrap().port();
    let clear = Command::new("nbdinfo").arg(format!("nbd://localhost:{port}/data")).output().unwrap();
    assert!(!clear.status.success());
    assert!(!String::from_utf8_lossy(&clear.stdout).contains("export-size"));
    let uri = format!("nbds://localhost:{port}/data?tls-certificates={}", folder.display());
    let told = said(good(Command::new("nbdinfo").arg(&uri)));
    assert!(told.contains("with TLS") && told.contains("export-size: 4194304"), "{told}");
    let (there, content) = (folder.join("there"), noise(4 * MIB));
    fs::write(&there, &content).unwrap();
    good(Command::new("nbdcopy").arg(&there).arg(&uri));
    assert!(*memory.bytes() == content);
    // Without a certificate of the cluster's authority there is no TLS.
    fs::remove_file(folder.join("client-cert.pem")).unwrap();
    fs::remove_file(folder.join("client-key.pem")).unwrap();
    assert!(!Command::new("nbdinfo").arg(&uri).output().unwrap().status.success());
}

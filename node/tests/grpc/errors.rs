//! Which status which error has: asked of the program itself, with one error of each kind.

use std::{collections::BTreeMap, fmt::Write as _};

use tasuki::app::{AppError, Role, error::Kind};
use tasuki_core::{
    ids::Revision,
    registry::{Key, Refusal, command::TokenRefusal},
};
use tonic::Code;

/// What callers meet, in the order of gRPC's numbers; each with what it means and whether to ask again.
const MEANINGS: [(Code, &str, &str); 10] = [
    (Code::Unknown, "It may have happened or not: the leader was lost on the way.", "look first"),
    (
        Code::InvalidArgument,
        "The request makes no sense, or a configuration has mistakes; `problems` has each.",
        "no",
    ),
    (Code::DeadlineExceeded, "It goes on, and took longer than was waited for.", "look first"),
    (Code::NotFound, "There is no such server, group, resource, volume or key.", "no"),
    (Code::PermissionDenied, "The certificate's role is too small, or a token is not good.", "no"),
    (Code::Aborted, "What it was decided on has changed meanwhile.", "yes"),
    (
        Code::FailedPrecondition,
        "In conflict with what is: it runs there already, may not run there, is being moved, …",
        "when that has changed",
    ),
    (Code::Internal, "A file, a disk or a program failed on the server.", "no"),
    (
        Code::Unavailable,
        "No quorum, so nobody leads: nothing was changed. Or nobody answers.",
        "yes, at other servers too",
    ),
    (Code::Unauthenticated, "No certificate of this cluster was shown.", "no"),
];

/// One of each kind that a call can end with.
fn samples() -> Vec<AppError> {
    let refused = [
        Refusal::NoSuchServer("kiki".into()),
        Refusal::NoSuchGroup("web".into()),
        Refusal::AlreadyRuns { group: "web".into(), server: "kiki".into() },
        Refusal::NotRunning("web".into()),
        Refusal::Busy("web".into()),
        Refusal::NotAllowed { group: "web".into(), server: "kiki".into() },
        Refusal::NowhereToGo("web".into()),
        Refusal::ServerDown("kiki".into()),
        Refusal::StopsOthers { group: "web".into(), dependents: Vec::new() },
        Refusal::MovedOn { key: Key::Settings, then: Revision(1), now: Revision(2) },
        Refusal::Token(TokenRefusal::Unknown),
        Refusal::NoSuchVolume("data".into()),
        Refusal::NotGood { volume: "data".into(), server: "kiki".into() },
    ];
    let text = || "x".to_owned();
    let mut all: Vec<AppError> = refused.into_iter().map(AppError::Refused).collect();
    all.extend([
        AppError::Invalid(text()),
        AppError::Config(Vec::new()),
        AppError::ConfigElsewhere(text()),
        AppError::NotAcknowledged("cluster shutdown"),
        AppError::NotFound { kind: Kind::Server, name: text() },
        AppError::NotFound { kind: Kind::Group, name: text() },
        AppError::NotFound { kind: Kind::Key, name: text() },
        AppError::NoQuorum(text()),
        AppError::Unclear(text()),
        AppError::Unreachable(text()),
        AppError::TookTooLong(text()),
        AppError::Failed(text()),
        AppError::File(text()),
        AppError::PermissionDenied { who: text(), has: Role::Viewer, needs: Role::Operator },
        AppError::Unauthenticated(text()),
    ]);
    all
}

/// The part of the page about errors.
pub fn table() -> String {
    let mut codes: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for error in samples() {
        codes.entry(error.grpc() as i32).or_default().push(error.code().to_owned());
    }
    let mut text = String::from(
        "## Errors\n\nEvery error of a node has a status of gRPC, a sentence with its code and what to do \
         about it, and in its details (`grpc-status-details-bin`, a `google.rpc.Status`) an \
         [ErrorDetail](#errordetail) with the same in parts. Go by the code, `TSK-nnnn`: it stays; \
         [each has a page](errors/README.md). These are the usual ones:\n\n\
         | status | what it means | ask again? | codes |\n|---|---|---|---|\n",
    );
    for (code, meaning, again) in MEANINGS {
        let mut codes = codes.remove(&(code as i32)).unwrap_or_default();
        codes.sort();
        codes.dedup();
        assert!(!codes.is_empty(), "no error has the status {code:?}");
        let links: Vec<String> = codes.iter().map(|code| format!("[{code}](errors/{code}.md)")).collect();
        writeln!(text, "| {} | {meaning} | {again} | {} |", shouted(code), links.join(" ")).unwrap();
    }
    assert!(codes.is_empty(), "statuses that the page does not explain: {codes:?}");
    text.push_str(
        "\nErrors without details are the connection's own: a certificate of another cluster or one that has \
         ended (`remote error: tls: …`, [TSK-1111](errors/TSK-1111.md); clients in Go do not show one of another \
         cluster at all, and are told `UNAUTHENTICATED`), an address where nobody listens, a \
         server that is not the one that was called, a call that an older version does not know \
         (`UNIMPLEMENTED`).\n\nSome as grpcurl shows them:\n\n",
    );
    text.push_str(EXAMPLES);
    text
}

/// As they are in `tests/tests/proc_grpcurl.rs`.
const EXAMPLES: &str = include_str!("../../../tests/golden/grpcurl_errors.txt");

fn shouted(code: Code) -> String {
    let mut text = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.extend(letter.to_uppercase());
    }
    format!("`{text}`")
}

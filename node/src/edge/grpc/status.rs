//! Errors on the wire: a `google.rpc.Status` with an [`wire::ErrorDetail`] in its details, which
//! any gRPC client can read, and back.

use prost::Message;
use tasuki_proto::v1 as wire;
use tonic::{Code, Status};

use super::{convert, serve::chain};
use crate::{
    app::{
        AppError,
        error::{Exit, Problem},
    },
    identity::explain_tls,
};

const DETAIL_TYPE: &str = "type.googleapis.com/tasuki.v1.ErrorDetail";

/// `google.rpc.Status`, which `grpc-status-details-bin` holds by convention.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// An error as a gRPC status.
#[must_use]
pub fn to_status(error: &AppError) -> Status {
    let problems: &[Problem] = if let AppError::Config(problems) = error { problems } else { &[] };
    let detail = wire::ErrorDetail {
        code: error.code().to_owned(),
        message: error.to_string(),
        remedy: error.remedy().to_owned(),
        problems: problems.iter().cloned().map(convert::problem_out).collect(),
    };
    let grpc = error.grpc();
    let text = format!("{error} ({}); {}", error.code(), error.remedy());
    let details = RpcStatus {
        code: grpc as i32,
        // The same as outside: clients (Python's `rpc_status`) refuse details that say something else.
        message: text.clone(),
        details: vec![Any { type_url: DETAIL_TYPE.to_owned(), value: detail.encode_to_vec() }],
    };
    Status::with_details(grpc, text, details.encode_to_vec().into())
}

/// A gRPC status as the error that made it; what has no detail of ours is the transport's.
#[must_use]
pub fn from_status(status: &Status) -> AppError {
    let Some(detail) = detail_of(status) else {
        return match status.code() {
            Code::Unimplemented => {
                AppError::Failed("the node does not know this call: it runs another version".to_owned())
            }
            Code::DeadlineExceeded | Code::Cancelled => {
                AppError::Unreachable("the node did not answer in time".to_owned())
            }
            // TLS 1.3 refuses a client after the connection is made: then it is the call that fails.
            _ => AppError::Unreachable(match explain_tls(status) {
                Some(why) => format!("the connection to the node failed: {why}"),
                None => format!("the connection to the node failed: {}", chain(status)),
            }),
        };
    };
    if !detail.problems.is_empty() {
        return AppError::Config(detail.problems.into_iter().map(convert::problem_in).collect());
    }
    AppError::Coded {
        code: detail.code,
        message: detail.message,
        remedy: detail.remedy,
        exit: exit_of(status.code()),
    }
}

fn detail_of(status: &Status) -> Option<wire::ErrorDetail> {
    let details = RpcStatus::decode(status.details()).ok()?.details;
    let ours = details.into_iter().find(|any| any.type_url == DETAIL_TYPE)?;
    wire::ErrorDetail::decode(ours.value.as_slice()).ok()
}

fn exit_of(code: Code) -> Exit {
    match code {
        Code::InvalidArgument => Exit::Usage,
        Code::NotFound => Exit::NotFound,
        Code::FailedPrecondition | Code::Aborted => Exit::Refused,
        Code::Unavailable | Code::Unknown => Exit::Unreachable,
        Code::PermissionDenied | Code::Unauthenticated => Exit::PermissionDenied,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tasuki_core::registry::Refusal;

    use super::*;

    #[test]
    fn an_error_keeps_its_code_remedy_and_exit_over_the_wire() {
        for error in [
            AppError::Invalid("x".into()),
            AppError::Refused(Refusal::NoSuchGroup("web".into())),
            AppError::Refused(Refusal::Busy("web".into())),
            AppError::NoQuorum("1 of 3".into()),
            AppError::Unclear("leader lost".into()),
            AppError::Unauthenticated("no certificate".into()),
        ] {
            let status = to_status(&error);
            let inside = RpcStatus::decode(status.details()).unwrap();
            assert_eq!((inside.message.as_str(), inside.code), (status.message(), status.code() as i32));
            let back = from_status(&status);
            assert_eq!(back.code(), error.code());
            assert_eq!(back.remedy(), error.remedy());
            assert_eq!(back.to_string(), error.to_string());
            assert_eq!(back.exit(), error.exit(), "{error}");
        }
    }

    #[test]
    fn a_refused_configuration_keeps_each_mistake() {
        let problem = Problem { code: "TSK-1003".into(), line: 3, column: 1, ..Problem::default() };
        let error = AppError::Config(vec![problem]);
        assert_eq!(from_status(&to_status(&error)), error);
    }

    #[test]
    fn a_broken_connection_is_unreachable() {
        let error = from_status(&Status::unavailable("connection reset"));
        assert_eq!(error.exit(), Exit::Unreachable);
    }
}

//! `tasuki cluster certificate`

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::span;
use crate::identity::Role;

/// `tasuki cluster certificate`
#[derive(Debug, Args)]
pub struct CertificateArgs {
    /// Who gets it: the name that `tasuki history` shows
    pub name: String,
    /// What they may do
    #[arg(long, value_enum)]
    pub role: RoleArg,
    /// A new folder for ca.pem, NAME.pem and NAME.key
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// How long it is good for, like 12h or 90d; ten years at most. It cannot be revoked
    #[arg(long, value_name = "SPAN", value_parser = span, default_value = "90d")]
    pub expires: Duration,
}

/// What the holder of a certificate may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleArg {
    /// Read
    Viewer,
    /// Read; start, stop and move groups, shut servers down
    Operator,
    /// Everything, the configuration and tokens too
    Admin,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Viewer => Self::Viewer,
            RoleArg::Operator => Self::Operator,
            RoleArg::Admin => Self::Admin,
        }
    }
}

//! `tasuki cluster certificate`: signs with the authority's key of this server, so it needs no node,
//! and nobody but who may read that key can do it.

use serde_json::json;

use super::{Context, args::CertificateArgs};
use crate::{
    app::AppError,
    identity::{Identity, Role},
};

/// Makes the certificate in a folder of its own.
pub(super) fn perform(context: &Context, arguments: &CertificateArgs) -> Result<(), AppError> {
    let CertificateArgs { name, role, out, expires } = arguments;
    let role = Role::from(*role);
    let identity = Identity::load(&context.options.data)?;
    let ends = identity.hand_out(out, name, role, *expires)?;
    let value = json!({
        "cluster": identity.cluster(),
        "name": name,
        "role": role.to_string(),
        "expires": ends,
        "folder": out,
    });
    context.out.show(&value, |_| {
        let folder = out.display();
        format!(
            "{name} may call cluster {} as {role} until {ends}, with what is in {folder}:\n\n  \
             tasuki --address ADDRESS --identity {folder} cluster status\n  \
             grpcurl -cacert {folder}/ca.pem -cert {folder}/{name}.pem -key {folder}/{name}.key \
             ADDRESS:29001 tasuki.v1.Cluster/Status\n\n\
             Give it to nobody else: it cannot be revoked.",
            identity.cluster(),
        )
    })
}

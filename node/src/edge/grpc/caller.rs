//! Who makes a call, as the service layer knows callers.

use tasuki_core::ids::Lineage;
use tonic::Request;

use crate::{
    app::{AppError, Caller, Role},
    identity::{self, caller_of},
};

/// Turns connections into callers.
#[derive(Clone, Debug)]
pub struct Gate {
    lineage: Lineage,
    own_uid: u32,
}

impl Gate {
    /// For the registry of this lineage. On the local socket, root and the user that runs the node
    /// are administrators; everybody else is refused.
    #[must_use]
    pub fn new(lineage: Lineage) -> Self {
        Self { lineage, own_uid: nix::unistd::getuid().as_raw() }
    }

    /// Who makes this call.
    ///
    /// # Errors
    /// A certificate of another cluster, or a local user who has no business here.
    pub fn caller<T>(&self, request: &Request<T>) -> Result<Caller, AppError> {
        let caller = caller_of(request.extensions(), &self.lineage)?;
        let is_server = matches!(caller, identity::Caller::Server(_));
        let admitted = self.admit(caller)?;
        // A server has checked who asks before it passes the question on.
        let for_whom = is_server.then(|| behalf_of(request)).flatten();
        Ok(for_whom.unwrap_or(admitted))
    }

    fn admit(&self, caller: identity::Caller) -> Result<Caller, AppError> {
        Ok(match caller {
            // Servers ask each other what an operator may read; what they change, they change
            // through the registry and not through this face.
            identity::Caller::Server(server) => {
                Caller { name: format!("server {server}"), role: Role::Viewer }
            }
            identity::Caller::Operator { name, role } => Caller {
                name,
                role: match role {
                    identity::Role::Viewer => Role::Viewer,
                    identity::Role::Operator => Role::Operator,
                    identity::Role::Admin => Role::Admin,
                },
            },
            identity::Caller::Local { uid, user } if uid == 0 || uid == self.own_uid => {
                Caller { name: user, role: Role::Admin }
            }
            identity::Caller::Local { user, .. } => {
                return Err(AppError::PermissionDenied { who: user, has: Role::Nobody, needs: Role::Admin });
            }
            identity::Caller::Anonymous => Caller { name: "somebody".to_owned(), role: Role::Nobody },
        })
    }
}

/// Whose question it is that a server passes on: their name, hexadecimal, and their role.
const BEHALF_NAME: &str = "tasuki-behalf-name";
const BEHALF_ROLE: &str = "tasuki-behalf-role";

/// A call to another server in the name of the caller who made one here. Only servers are believed.
#[must_use]
pub fn on_behalf<T>(mut request: Request<T>, by: &Caller) -> Request<T> {
    let name: String = by.name.bytes().map(|byte| format!("{byte:02x}")).collect();
    for (key, value) in [(BEHALF_NAME, name), (BEHALF_ROLE, by.role.word().to_owned())] {
        if let Ok(value) = value.parse() {
            request.metadata_mut().insert(key, value);
        }
    }
    request
}

fn behalf_of<T>(request: &Request<T>) -> Option<Caller> {
    let text = |key| request.metadata().get(key)?.to_str().ok();
    let (name, role) = (text(BEHALF_NAME)?, text(BEHALF_ROLE)?);
    let role = [Role::Viewer, Role::Operator, Role::Admin].into_iter().find(|known| known.word() == role)?;
    let digits = (0..name.len()).step_by(2).map(|at| u8::from_str_radix(name.get(at..at + 2)?, 16).ok());
    let name = String::from_utf8(digits.collect::<Option<_>>()?).ok()?;
    Some(Caller { name, role })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_local_socket_is_for_root_and_the_nodes_own_user() {
        let gate = Gate { lineage: Lineage::new("l"), own_uid: 71 };
        let local = |uid| gate.admit(identity::Caller::Local { uid, user: format!("u{uid}") });
        assert_eq!(local(0).unwrap().role, Role::Admin);
        assert_eq!(local(71).unwrap().role, Role::Admin);
        assert!(matches!(local(1000), Err(AppError::PermissionDenied { .. })));
    }

    #[test]
    fn a_server_passes_on_who_asked() {
        let by = Caller { name: "aoi ü".into(), role: Role::Operator };
        assert_eq!(behalf_of(&on_behalf(Request::new(()), &by)), Some(by));
        assert_eq!(behalf_of(&Request::new(())), None);
        let mut odd = on_behalf(Request::new(()), &Caller { name: "x".into(), role: Role::Admin });
        odd.metadata_mut().insert(BEHALF_ROLE, "king".parse().unwrap());
        assert_eq!(behalf_of(&odd), None);
    }

    #[test]
    fn servers_read_and_people_have_the_role_in_their_certificate() {
        let gate = Gate { lineage: Lineage::new("l"), own_uid: 0 };
        let server = gate.admit(identity::Caller::Server("kiki".into())).unwrap();
        assert_eq!((server.name.as_str(), server.role), ("server kiki", Role::Viewer));
        let person = identity::Caller::Operator { name: "aoi".into(), role: identity::Role::Operator };
        assert_eq!(gate.admit(person).unwrap().role, Role::Operator);
        assert_eq!(gate.admit(identity::Caller::Anonymous).unwrap().role, Role::Nobody);
    }
}

//! Who asks, and what they may.

use super::AppError;

/// What a caller may do; each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Nothing but join.
    Nobody,
    /// Read.
    Viewer,
    /// Start, stop and move groups, shut servers down.
    Operator,
    /// Change the configuration, issue tokens.
    Admin,
}

impl Role {
    /// The role as a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// Who asks, as the edge has authenticated them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name that the audit trail shows.
    pub name: String,
    /// What they may do.
    pub role: Role,
}

impl Caller {
    /// Lets the caller pass who has at least this role.
    ///
    /// # Errors
    /// `TSK-1630` for everybody else, `TSK-1631` for those who did not say who they are.
    pub fn must_be(&self, least: Role) -> Result<(), AppError> {
        if self.role >= least {
            return Ok(());
        }
        if self.role == Role::Nobody {
            return Err(AppError::Unauthenticated("this call needs a client certificate".to_owned()));
        }
        Err(AppError::PermissionDenied { who: self.name.clone(), has: self.role, needs: least })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_what_those_before_it_may() {
        let roles = [Role::Viewer, Role::Operator, Role::Admin];
        for (has_at, has) in roles.into_iter().enumerate() {
            let caller = Caller { name: "ada".into(), role: has };
            for (needs_at, needs) in roles.into_iter().enumerate() {
                assert_eq!(caller.must_be(needs).is_ok(), has_at >= needs_at, "{has:?} for {needs:?}");
            }
        }
        let nobody = Caller { name: "?".into(), role: Role::Nobody };
        assert!(matches!(nobody.must_be(Role::Viewer), Err(AppError::Unauthenticated(_))));
    }
}

//! Join tokens: `tasuki1.<id>.<secret>.<authority>`.
//!
//! The id finds the token in the registry, which keeps only a digest of the secret. The last part
//! is the beginning of the authority's fingerprint: with it, the joining server knows whom it is
//! talking to before it sends the secret.

use std::fmt;

use super::{IdentityError, pki};

const PREFIX: &str = "tasuki1";
/// Hexadecimal digits of each part: 64, 128 and 128 bits.
const ID: usize = 16;
const SECRET: usize = 32;
const AUTHORITY: usize = 32;

/// A join token. Its text is shown once; `Debug` hides the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Finds it in the registry.
    pub id: String,
    secret: String,
    authority: String,
}

impl Token {
    pub(super) fn create(fingerprint: &str) -> Result<Self, IdentityError> {
        Ok(Self {
            id: pki::hex(&pki::random::<{ ID / 2 }>()?),
            secret: pki::hex(&pki::random::<{ SECRET / 2 }>()?),
            authority: fingerprint.chars().take(AUTHORITY).collect(),
        })
    }

    /// Reads a token's text; space around it does not matter.
    ///
    /// # Errors
    /// Says which part is wrong.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        let refuse = |why| Err(IdentityError::TokenForm(why));
        let parts: Vec<&str> = text.trim().split('.').collect();
        let [prefix, id, secret, authority] = parts[..] else {
            return refuse("it must have four parts, separated by dots");
        };
        if prefix != PREFIX {
            return refuse("it does not begin with `tasuki1.`");
        }
        let fits = |part: &str, length| {
            part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        if !fits(id, ID) {
            return refuse("its second part (the id) must be 16 hexadecimal digits");
        }
        if !fits(secret, SECRET) {
            return refuse("its third part (the secret) must be 32 hexadecimal digits");
        }
        if !fits(authority, AUTHORITY) {
            return refuse("its fourth part (the authority) must be 32 hexadecimal digits");
        }
        Ok(Self { id: id.into(), secret: secret.into(), authority: authority.into() })
    }

    /// The whole text, for the operator. Shows the secret.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{PREFIX}.{}.{}.{}", self.id, self.secret, self.authority)
    }

    /// The secret, for the server that has been verified.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// SHA-256 of the secret in hexadecimal: what the registry keeps.
    #[must_use]
    pub fn digest(&self) -> String {
        Self::digest_of(&self.secret)
    }

    /// The digest of a secret that was presented.
    #[must_use]
    pub fn digest_of(secret: &str) -> String {
        pki::sha256_hex(secret.as_bytes())
    }

    /// Whether an authority with this fingerprint issued the token.
    #[must_use]
    pub fn is_of(&self, fingerprint: &str) -> bool {
        fingerprint.len() >= AUTHORITY && fingerprint.starts_with(&self.authority)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("id", &self.id).finish_non_exhaustive()
    }
}

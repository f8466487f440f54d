//! How a server gets its place in the cluster.

use super::Change;
use crate::{
    config::ClusterConfig,
    ids::{Incarnation, Revision, ServerName},
    registry::{
        Author, Key, Refusal,
        command::TokenRefusal,
        state::{Presence, ServerMode, Token},
    },
    time::WallTime,
};

impl Change<'_> {
    pub(super) fn issue_token(
        &mut self,
        id: &str,
        digest: &str,
        server: Option<&ServerName>,
        expires: WallTime,
    ) -> Result<(), Refusal> {
        if let Some(server) = server
            && !self.state.servers.contains_key(server)
        {
            return Err(Refusal::NoSuchServer(server.clone()));
        }
        // An id that comes again would make a used token fresh.
        if self.state.tokens.contains_key(id) {
            return Err(Refusal::Token(TokenRefusal::Used));
        }
        let token = Token { digest: digest.to_owned(), server: server.cloned(), expires, used_by: None };
        let item = self.fresh(token, Key::Token(id.to_owned()));
        self.state.tokens.insert(id.to_owned(), item);
        Ok(())
    }

    pub(super) fn join(&mut self, token: &str, digest: &str, server: &ServerName) -> Result<(), Refusal> {
        if !self.state.servers.contains_key(server) {
            return Err(Refusal::NoSuchServer(server.clone()));
        }
        let known = self.state.tokens.get(token).ok_or(Refusal::Token(TokenRefusal::Unknown))?;
        let known = &known.value;
        if known.digest != digest {
            return Err(Refusal::Token(TokenRefusal::Unknown));
        }
        if known.used_by.is_some() {
            return Err(Refusal::Token(TokenRefusal::Used));
        }
        if self.at > known.expires {
            return Err(Refusal::Token(TokenRefusal::Expired));
        }
        if known.server.as_ref().is_some_and(|only| only != server) {
            return Err(Refusal::Token(TokenRefusal::OtherServer));
        }
        let used = Token { used_by: Some(server.clone()), ..known.clone() };
        let item = self.renewed(used, Key::Token(token.to_owned()), |s| s.tokens.get(token));
        self.state.tokens.insert(token.to_owned(), item);
        self.admit(server);
        Ok(())
    }

    /// Takes a server out that is down: its store's place in Raft is given up, and the configuration
    /// is one without it, both at once.
    pub(super) fn remove_server(
        &mut self,
        server: &ServerName,
        config: &ClusterConfig,
        author: &Author,
    ) -> Result<(), Refusal> {
        let entry = self.state.servers.get(server).ok_or_else(|| Refusal::NoSuchServer(server.clone()))?;
        if entry.presence.as_ref().is_some_and(|presence| presence.value.up) {
            return Err(Refusal::StillUp(server.clone()));
        }
        // R13: what it owned may still run there, until somebody has said that it does not.
        if let Some((group, _)) = self.state.owned_by(server).next() {
            return Err(Refusal::StillOwned { group: group.clone(), owner: server.clone() });
        }
        self.may_leave_out(config, Some(server))?;
        self.touched(Key::Presence(server.clone()));
        if let Some(entry) = self.state.servers.get_mut(server) {
            (entry.presence, entry.fencing) = (None, None);
        }
        self.set_config(config, author);
        Ok(())
    }

    /// Gives a server its place. One that joined before and lost its store gets a new Raft id
    /// (R23); what its old incarnation owned stays owned until that one is gone.
    pub(super) fn admit(&mut self, server: &ServerName) {
        self.state.last_raft_id = self.state.last_raft_id.next();
        let raft_id = self.state.last_raft_id;
        let before = self.state.presence(server).cloned();
        let presence = before.map_or(
            Presence {
                raft_id,
                incarnation: Incarnation(0),
                started: Revision(0),
                boot: None,
                up: false,
                mode: ServerMode::Active,
                down_because: None,
                watchdog: None,
                speaks: None,
            },
            |before| Presence { raft_id, speaks: None, ..before },
        );
        let key = Key::Presence(server.clone());
        let item = self.renewed(presence, key, |s| s.servers.get(server)?.presence.as_ref());
        if let Some(entry) = self.state.servers.get_mut(server) {
            entry.presence = Some(item);
        }
        self.raft_id = Some(raft_id);
    }
}

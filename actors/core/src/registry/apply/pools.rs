//! Which server is in which server pool: a decision of the leader, kept as a fact.

use std::collections::BTreeMap;

use super::Change;
use crate::{
    config::{
        PoolConfig,
        pool::{FREE, GENERIC},
    },
    ids::{PoolName, ServerName},
    placement::pools::{generic_servers, takes},
    registry::{Key, Refusal},
};

impl Change<'_> {
    pub(super) fn fill_pools(&mut self, members: &BTreeMap<ServerName, PoolName>) -> Result<(), Refusal> {
        let generic = generic_servers(self.state);
        let mut sizes: BTreeMap<&PoolName, u32> = BTreeMap::new();
        for (server, name) in members {
            self.presence(server)?;
            let fits = if name.as_str() == GENERIC {
                generic.contains(server)
            } else if name.as_str() == FREE {
                !generic.contains(server)
            } else {
                let pool = self.pool(name)?;
                let size = sizes.entry(name).or_default();
                *size += 1;
                if let Some(max) = pool.max.filter(|max| *size > *max) {
                    return Err(Refusal::PoolFull { pool: name.clone(), max });
                }
                takes(pool, server) && !generic.contains(server)
            };
            if !fits {
                return Err(Refusal::NotForPool { pool: name.clone(), server: server.clone() });
            }
        }
        // Whoever is in Free is not named.
        let members: BTreeMap<_, _> = members
            .iter()
            .filter(|(_, pool)| pool.as_str() != FREE)
            .map(|(s, p)| (s.clone(), p.clone()))
            .collect();
        if self.state.pool_members.as_ref().is_none_or(|known| known.value != members) {
            let item = self.renewed(members, Key::PoolMembers, |s| s.pool_members.as_ref());
            self.state.pool_members = Some(item);
        }
        Ok(())
    }

    fn pool(&self, name: &PoolName) -> Result<&PoolConfig, Refusal> {
        let pool = self.state.pools.get(name).ok_or_else(|| Refusal::NoSuchPool(name.clone()))?;
        Ok(&pool.value)
    }
}

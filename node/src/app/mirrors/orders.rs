//! What operators ask of mirrored disks.

use serde::{Deserialize, Serialize};
use tasuki_actors::ohas::mirrors::MirrorError;
use tasuki_core::{
    config::GroupConfig,
    ids::{GroupName, Revision, ServerName, VolumeName},
    mirror::{DiskState, state::Wish},
    registry::{Command, Key, State, mirror::VolumeCommand},
};

use super::{CopyHere, coded, disk_of, failed, place_of};
use crate::app::{App, AppError, Caller, Role, config::Push, error::Exit};

/// What has to be typed before data may be lost.
pub const CONFIRM: &str = "may lose data";

/// An order to the data path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Bring copies up to date.
    Rebuild {
        /// Only this server's.
        server: Option<ServerName>,
        /// All of it, and not only what differs.
        full: bool,
        /// Also over data that only that copy has.
        discard: bool,
    },
    /// Compare the copies.
    Verify {
        /// Only with this server's.
        server: Option<ServerName>,
        /// What differs is copied.
        repair: bool,
    },
    /// End what is under way.
    Stop,
    /// Let a resync rest.
    Pause,
    /// Let it go on.
    Resume,
    /// As large as the data areas allow now.
    Resize,
    /// To the server of a copy, whoever has the disk open: what is under the copy had failed, and is in
    /// order again.
    Mend,
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderDone {
    /// Who does it.
    pub server: ServerName,
    /// The copies that it is about.
    pub copies: Vec<ServerName>,
    /// The size now, in bytes; of a resize only.
    pub size: u64,
}

impl App {
    /// Has the server that has the disk open carry out an order; with `here` only this one.
    ///
    /// # Errors
    /// Not allowed, no such disk, nobody has it open, or why the server does not do it.
    pub async fn mirror_order(
        &self,
        by: &Caller,
        volume: &VolumeName,
        order: Order,
        here: bool,
    ) -> Result<OrderDone, AppError> {
        by.must_be(Role::Operator)?;
        let state = self.applied();
        let (group_name, group) = disk_of(&state, volume)?;
        if order == Order::Mend {
            return self.mend_here(volume).await;
        }
        let facts = state.volumes.get(volume).map(|item| &item.value).filter(|facts| state.is_open(facts));
        let owner = facts.and_then(|facts| facts.owner.clone());
        let Some(owner) = owner else {
            return Err(cannot(
                format!("no server has {volume} open"),
                &format!("start its group first: `tasuki group start {group_name}`"),
            ));
        };
        if owner == self.node.status().server {
            return self.order_here(by, &state, volume, &group, order, owner).await;
        }
        if here {
            let remedy = "`tasuki mirror status` shows who has it open now; try again";
            return Err(cannot(
                format!("{owner} has {volume} open, and was asked through another server"),
                remedy,
            ));
        }
        let (addresses, port) = place_of(&state, &owner);
        self.fleet.mirror_order_there(&owner, &addresses, port, by, volume, &order).await
    }

    async fn mend_here(&self, volume: &VolumeName) -> Result<OrderDone, AppError> {
        let server = self.node.status().server;
        let Some(mirrors) = &self.mirrors else {
            let why = format!("{server} keeps no copy of {volume}");
            return Err(cannot(why, "`tasuki mirror status` shows who does"));
        };
        mirrors.mend(volume).await.map_err(failed)?;
        Ok(OrderDone { copies: vec![server.clone()], server, size: 0 })
    }

    /// Who has a copy whose disk has failed puts it to use again, before everything is copied to it.
    async fn mend_failed(
        &self,
        by: &Caller,
        state: &State,
        volume: &VolumeName,
        copy: &ServerName,
    ) -> Result<(), AppError> {
        let said = self.copies_of(by, state, copy).await.unwrap_or_default();
        let is_failed = |here: &CopyHere| here.volume == *volume && here.disk == DiskState::Failed;
        if said.iter().any(is_failed) {
            let (addresses, port) = place_of(state, copy);
            self.fleet.mirror_order_there(copy, &addresses, port, by, volume, &Order::Mend).await?;
        }
        Ok(())
    }

    async fn order_here(
        &self,
        by: &Caller,
        state: &State,
        volume: &VolumeName,
        group: &GroupConfig,
        order: Order,
        me: ServerName,
    ) -> Result<OrderDone, AppError> {
        let mirrors = self.mirrors.as_ref().ok_or_else(|| {
            cannot(format!("this server keeps no copy of {volume}"), "`tasuki mirror status` shows who does")
        })?;
        let good = state.volumes.get(volume).map(|item| item.value.good.clone()).unwrap_or_default();
        let peers = || group.servers.iter().filter(|server| **server != me);
        let chosen = |only: Option<&ServerName>| -> Result<Vec<ServerName>, AppError> {
            match only {
                Some(server) if peers().any(|peer| peer == server) => Ok(vec![server.clone()]),
                Some(server) => Err(cannot(
                    format!("{server} keeps no other copy of {volume} than the one that is open"),
                    "`tasuki mirror status` shows the servers with copies",
                )),
                None => Ok(peers().cloned().collect()),
            }
        };
        let mut done = OrderDone { server: me.clone(), copies: Vec::new(), size: 0 };
        match order {
            Order::Rebuild { server, full, discard } => {
                let failed_here = mirrors.list().into_iter().any(|own| {
                    own.volume == *volume
                        && own.disk == DiskState::Failed
                        && server.as_ref().is_none_or(|it| *it == me)
                });
                if failed_here {
                    return Err(failed(MirrorError::OpenHere(volume.clone())));
                }
                let mut copies = chosen(server.as_ref())?;
                copies.retain(|copy| full || discard || !good.contains(copy));
                if let Some(copy) = copies.iter().find(|copy| !discard && mirrors.is_apart(volume, copy)) {
                    return Err(coded(
                        "TSK-1805",
                        format!(
                            "the copies of {volume} here and on {copy} each have data that the other lacks"
                        ),
                        &format!(
                            "`tasuki mirror differences {volume}` says what; then --discard {copy} copies over \
                             what only {copy} has, after saving it aside there"
                        ),
                        Exit::Refused,
                    ));
                }
                if copies.is_empty() {
                    return Err(coded(
                        "TSK-1817",
                        format!("the copies of {volume} do not differ"),
                        "nothing needs to be done; --full copies everything all the same",
                        Exit::Refused,
                    ));
                }
                for peer in &copies {
                    self.mend_failed(by, state, volume, peer).await?;
                    let wish = Wish::Rebuild { peer: peer.clone(), full, discard };
                    mirrors.wish(volume, wish).map_err(failed)?;
                }
                done.copies = copies;
            }
            Order::Verify { server, repair } => {
                let mut copies = chosen(server.as_ref())?;
                copies.retain(|copy| good.contains(copy));
                let Some(peer) = copies.first().cloned() else {
                    let why = format!("no other copy of {volume} is up to date: there is nothing to compare");
                    return Err(cannot(why, "let the resync end first, or see `tasuki mirror rebuild`"));
                };
                mirrors.verify(volume, &peer, repair).map_err(failed)?;
                done.copies = vec![peer];
            }
            Order::Stop => mirrors.stop(volume).map_err(failed)?,
            Order::Pause => mirrors.wish(volume, Wish::Pause).map_err(failed)?,
            Order::Resume => mirrors.wish(volume, Wish::Resume).map_err(failed)?,
            Order::Resize => done.size = mirrors.resize(volume).await.map_err(failed)?,
            Order::Mend => return self.mend_here(volume).await,
        }
        Ok(done)
    }

    /// Adds a mirrored disk to a group.
    ///
    /// # Errors
    /// Not allowed, mistakes, a server's refusal, no quorum.
    pub async fn mirror_create(
        &self,
        by: &Caller,
        volume: &VolumeName,
        group: &GroupName,
        keys: Vec<(String, String)>,
        dry_run: bool,
    ) -> Result<Push, AppError> {
        let mut all = vec![("type".to_owned(), "mirror_disk".to_owned())];
        all.extend(keys);
        let there = |_: &State| Ok(());
        self.edit(by, dry_run, there, |config| {
            tasuki_config::edit_member_add(config, group.as_str(), volume.as_str(), &all, "mirror create")
        })
        .await
    }

    /// Lets a copy be the good one, whatever the others have: an operator's word, kept in the history.
    ///
    /// # Errors
    /// Not allowed, not confirmed, no such disk or copy, open somewhere, no quorum.
    pub async fn mirror_force(
        &self,
        by: &Caller,
        volume: &VolumeName,
        server: &ServerName,
        confirm: &str,
    ) -> Result<Revision, AppError> {
        by.must_be(Role::Admin)?;
        let state = self.node.read().await?;
        let (_, group) = disk_of(&state, volume)?;
        if !group.servers.contains(server) {
            let remedy = "`tasuki mirror status` shows the servers with copies";
            return Err(cannot(format!("{server} keeps no copy of {volume}"), remedy));
        }
        if confirm != CONFIRM {
            return Err(coded(
                "TSK-1816",
                format!("going on from the copy on {server} may lose what was acknowledged since"),
                &format!("if you mean it, say --confirm \"{CONFIRM}\""),
                Exit::Refused,
            ));
        }
        let key = Key::Volume(volume.clone());
        let read = vec![(key.clone(), state.revision_of(&key))];
        let command = Command::Volume {
            volume: volume.clone(),
            command: VolumeCommand::Force { server: server.clone() },
        };
        Ok(self.propose_on(by, command, read).await?.revision)
    }
}

fn cannot(message: String, remedy: &str) -> AppError {
    coded("TSK-1818", message, remedy, Exit::Refused)
}

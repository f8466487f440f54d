//! Opening the copy here, and opening it anew where its settings or places have changed.

use std::{sync::Arc, time::Duration};

use tasuki_core::{
    ids::Lineage,
    mirror::{
        Role,
        state::{Action, Mirror},
    },
};

use super::{
    super::{Configured, desk::Events, handle::MirrorError, orders::Orders, places_of, watch},
    MirrorMsg, Phase, State,
};
use crate::{
    ports::volumes::{OpenedVolume, VolumeError, VolumeOrder, VolumePath},
    propose::read,
};

/// After a copy could not be opened.
const OPEN_AGAIN: Duration = Duration::from_secs(2);
/// Who waits for an opening is told after so many that failed.
const TRIES: u32 = 3;

impl State {
    /// What an earlier life of this actor opened stays open.
    pub(super) fn adopt_or_open(&mut self) {
        let open = self.desk.inner().open.clone();
        match open {
            Some((path, events)) => {
                let was_primary = path.view().role == Role::Primary;
                self.begin(events);
                if was_primary && self.desk.inner().wanted.is_none() {
                    self.phase = Phase::Closing; // it was being closed
                    self.perform(Action::Demoted);
                }
                self.reconcile();
                self.mend();
            }
            None => self.open(),
        }
    }

    /// Opens the copy, beside the actor. Whether it may be a new one is what the registry says now, not
    /// what was applied here last (R23, R25).
    pub(super) fn open(&mut self) {
        let Some(config) = &self.config else { return };
        if let Some(before) = self.opening.take() {
            before.abort();
        }
        let (context, me, volume) = (self.context.clone(), self.me.clone(), self.volume.clone());
        let (disk, peers) = (config.disk.clone(), config.rules.peers.clone());
        self.mends = {
            let mut inner = self.desk.inner();
            inner.opened_as = Some(config.clone());
            !inner.mending.is_empty()
        };
        let mends = self.mends;
        let at = places_of(&self.context.config(), &disk, self.context.me());
        self.opened_at.clone_from(&at);
        self.opening = Some(tokio::spawn(async move {
            let registry = loop {
                match read(&context).await {
                    Ok(registry) if registry.lineage.is_some() => break registry,
                    _ => tokio::time::sleep(context.timing().beat).await,
                }
            };
            let facts = registry.volumes.get(&volume);
            let may_be_new = facts.is_none_or(|item| !item.value.good.contains(context.me()));
            let order = VolumeOrder {
                volume,
                config: disk,
                server: context.me().clone(),
                peers,
                at,
                lineage: registry.lineage.clone().unwrap_or_else(|| Lineage::new("")),
                may_be_new,
                start_over: mends && may_be_new,
            };
            let opened = context.ports.volumes.open(order).await;
            let _gone = me.cast(MirrorMsg::Opened(opened));
        }));
    }

    pub(super) fn opened(&mut self, opened: Result<OpenedVolume, VolumeError>) {
        self.opening = None;
        match opened {
            Ok(opened) => {
                if !self.desk.keep(opened) {
                    return;
                }
                self.tries = 0;
                let open = self.desk.inner().open.clone();
                if let Some((path, events)) = open {
                    let mended = path.view().failed.is_none();
                    if mended || self.mends {
                        self.desk.inner().answer_mending(|| {
                            if mended { Ok(()) } else { Err(MirrorError::CountedOn(self.volume.clone())) }
                        });
                    }
                    self.begin(events);
                    self.mend(); // asked for while it was being opened
                }
                self.open_anew(); // the settings may have changed meanwhile
            }
            Err(error) => {
                let why = error.to_string();
                // What was open before may need a moment to let go of its areas.
                self.tries += 1;
                if self.tries >= TRIES {
                    let volume = &self.volume;
                    self.desk.inner().answer_mending(|| {
                        Err(MirrorError::NotOpen { volume: volume.clone(), why: why.clone() })
                    });
                }
                if self.desk.refuse(&why) {
                    self.tell("mirror-not-open", format!("TSK-1808: the copy here is not open: {why}"));
                }
                let me = self.me.clone();
                self.opening = Some(tokio::spawn(async move {
                    tokio::time::sleep(OPEN_AGAIN).await;
                    let _gone = me.cast(MirrorMsg::OpenAgain);
                }));
            }
        }
        self.reconcile();
    }

    /// The copy is open: a machine for it, and ears for its data path.
    pub(super) fn begin(&mut self, events: Events) {
        let (Some(path), Some(config)) = (self.desk.path(), &self.config) else { return };
        self.machine = Some(Mirror::new(config.rules.clone(), Some(path.copy())));
        if let Some(before) = self.watching.replace(watch::watch(path.clone(), self.me.clone())) {
            before.abort();
        }
        self.orders = Some(Orders::to(path, self.me.clone()));
        self.remembers = false;
        let me = self.me.clone();
        if let Some(before) = self.listening.take() {
            before.abort();
        }
        self.listening = Some(tokio::spawn(async move {
            let mut events = events.lock().await;
            while let Some(event) = events.recv().await {
                if me.cast(MirrorMsg::Path(event)).is_err() {
                    return;
                }
            }
        }));
        self.registry();
    }

    /// Other settings: the machine goes by them from now on. Other areas are opened when nobody has
    /// the volume open.
    pub(super) fn configure(&mut self, config: Configured) {
        if let Some(machine) = &mut self.machine {
            machine.rules = config.rules.clone();
        }
        self.config = Some(config);
        self.open_anew();
    }

    /// Where the copy was opened with other settings than there are now, and nobody has the volume open
    /// here, it is opened anew.
    pub(super) fn open_anew(&mut self) {
        let Some(config) = self.config.clone().filter(|_| self.phase == Phase::Closed) else { return };
        let open = {
            let mut inner = self.desk.inner();
            let at = places_of(&self.context.config(), &config.disk, self.context.me());
            let as_before = inner.opened_as.as_ref() == Some(&config) && at == self.opened_at;
            if inner.open.is_none() || as_before {
                return;
            }
            inner.open.take()
        };
        (self.machine, self.orders) = (None, None);
        self.close_and_open(open.map(|(path, _)| path));
    }

    pub(super) fn close_and_open(&mut self, open: Option<Arc<dyn VolumePath>>) {
        let Some(path) = open else { return };
        if let Some(watching) = self.watching.take() {
            watching.abort(); // it holds the path too
        }
        let me = self.me.clone();
        self.opening = Some(tokio::spawn(async move {
            path.close().await;
            drop(path); // and with it its hold on the areas
            let _gone = me.cast(MirrorMsg::OpenAgain);
        }));
    }

    /// A peer that is called is called where it is now; the own copy is opened anew where nobody has the
    /// volume open here.
    pub(super) fn follow_addresses(&mut self) {
        let (Some(path), Some(disk)) = (self.desk.path(), self.config.as_ref().map(|it| it.disk.clone()))
        else {
            return;
        };
        let config = self.context.config();
        for (peer, (at, epoch)) in &mut self.called {
            let now = places_of(&config, &disk, peer);
            if now != *at {
                tracing::info!(volume = %self.volume, %peer, at = ?now, "the peer has another address");
                path.connect(peer, &now, *epoch);
                *at = now;
            }
        }
        self.open_anew();
    }
}

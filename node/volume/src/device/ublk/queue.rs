//! Answers the requests of a ublk device. The kernel ties a queue to the thread that first asked it for
//! requests: this runs on one thread from beginning to end.

use std::{fs::File, io, sync::Arc};

use bytes::Bytes;
use rustix::{buffer::spare_capacity, io::Errno};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{
    ring::{Descriptors, Ring},
    words::{COMMIT_AND_FETCH, DEPTH, Described, FETCH, command, data_at},
};
use crate::{
    block::{BlockError, Door},
    device::{flusher, polled},
    export::ask::{Ask, ask},
};

/// Serves a device's one queue until the device is stopped. `ready` becomes true when the kernel may
/// start it; `ended` says why it is over.
pub(super) async fn serve(
    device: Arc<File>,
    door: Door,
    ready: watch::Sender<bool>,
    ended: watch::Sender<Option<String>>,
) {
    flusher::this_thread_writes_back();
    let why = match answer_all(device, door, &ready).await {
        Ok(()) => "it was stopped".to_owned(),
        Err(error) => error.to_string(),
    };
    ended.send_replace(Some(why));
}

async fn answer_all(device: Arc<File>, door: Door, ready: &watch::Sender<bool>) -> io::Result<()> {
    let mut ring = Ring::new(u32::from(DEPTH) * 2)?;
    let news = polled::readable(ring.waitable()?)?;
    let descriptors = Descriptors::map(&device, DEPTH)?;
    for tag in 0..DEPTH {
        ring.push(&device, FETCH, command(tag, 0), u64::from(tag))?;
    }
    ring.submit()?;
    ready.send_replace(true);
    let (done, mut answers) = mpsc::unbounded_channel::<(u16, i32)>();
    let mut tasks = JoinSet::new();
    let mut fetching = usize::from(DEPTH);
    let mut waiting = Vec::new();
    while fetching > 0 || !tasks.is_empty() {
        tokio::select! {
            there = news.ready(polled::NEWS) => there?.clear_ready(),
            _ = answers.recv_many(&mut waiting, usize::from(DEPTH)) => {
                for (tag, result) in waiting.drain(..) {
                    ring.push(&device, COMMIT_AND_FETCH, command(tag, result), u64::from(tag))?;
                    fetching += 1;
                }
                ring.submit()?;
            }
        }
        for (number, result) in ring.done() {
            fetching -= 1;
            // Anything but zero: there will be no more requests under this tag.
            if result != 0 {
                continue;
            }
            let tag = u16::try_from(number).map_err(io::Error::other)?;
            let Some(described) = descriptors.read(tag) else { continue };
            let (device, door, done) = (device.clone(), door.clone(), done.clone());
            tasks.spawn(async move {
                let result = perform(&device, &door, tag, described).await;
                // Who takes answers is gone: so is the device.
                let _gone = done.send((tag, result));
            });
        }
        while tasks.try_join_next().is_some() {}
    }
    Ok(())
}

/// Asks the volume; the result as the kernel wants it.
async fn perform(device: &File, door: &Door, tag: u16, described: Described) -> i32 {
    let Described { operation, durable, keeps_space, offset, length } = described;
    let short = u32::try_from(length);
    let what = match (operation, short) {
        (Described::READ, Ok(length)) => Ask::Read { offset, length },
        (Described::WRITE, Ok(length)) => match take(device, tag, length as usize) {
            Ok(data) => Ask::Write { offset, data, durable },
            Err(error) => return -error.raw_os_error(),
        },
        (Described::FLUSH, _) => Ask::Flush,
        (Described::DISCARD, _) => Ask::Trim { offset, length, durable },
        (Described::WRITE_ZEROES, _) => Ask::Zero { offset, length, may_trim: !keeps_space, durable },
        _ => return -Errno::OPNOTSUPP.raw_os_error(),
    };
    match ask(door, what).await {
        Ok(data) if operation == Described::READ => match give(device, tag, &data) {
            Ok(()) => data.len() as i32,
            Err(error) => -error.raw_os_error(),
        },
        Ok(_) if operation == Described::WRITE => length as i32,
        Ok(_) => 0,
        Err(BlockError::NoSpace) => -Errno::NOSPC.raw_os_error(),
        Err(BlockError::Invalid) => -Errno::INVAL.raw_os_error(),
        Err(BlockError::Io | BlockError::Closing) => -Errno::IO.raw_os_error(),
    }
}

/// Copies a write's data out of the kernel.
fn take(device: &File, tag: u16, length: usize) -> Result<Bytes, Errno> {
    let mut data = Vec::with_capacity(length);
    while data.len() < length {
        let at = data_at(tag) + data.len() as u64;
        if rustix::io::pread(device, spare_capacity(&mut data), at)? == 0 {
            return Err(Errno::IO);
        }
    }
    data.truncate(length);
    Ok(Bytes::from(data))
}

/// Copies a read's data into the kernel.
fn give(device: &File, tag: u16, data: &[u8]) -> Result<(), Errno> {
    let mut given = 0;
    while given < data.len() {
        match rustix::io::pwrite(device, &data[given..], data_at(tag) + given as u64)? {
            0 => return Err(Errno::IO),
            more => given += more,
        }
    }
    Ok(())
}

//! Serves a file as a block device: for trying a way to one, and for the tests in virtual machines.
//!
//! `volume_device ublk|nbd|loop FILE FOLDER RUN`, then orders on standard input: `detach` takes the device
//! away in order and ends if nobody uses it, `cut` takes it away at once and ends.

use std::{
    error::Error,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    sync::Arc,
    thread,
};

use bytes::Bytes;
use tasuki_core::config::DeviceBackend;
use tasuki_volume::{
    block::{BlockError, Door, Request},
    device::{Device, Order},
};
use tokio::sync::{mpsc, oneshot};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [way, file, folder, run] = &words[..] else {
        return Err("usage: volume_device ublk|nbd|loop FILE FOLDER RUN".into());
    };
    let backend = match way.as_str() {
        "ublk" => DeviceBackend::Ublk,
        "nbd" => DeviceBackend::Nbd,
        "loop" => DeviceBackend::Loop,
        other => return Err(format!("{other} is no way to a device").into()),
    };
    let file = OpenOptions::new().read(true).write(true).open(file)?;
    let (requests, asked) = mpsc::channel(128);
    let door = Door { size: file.metadata()?.len(), block: 4096, requests };
    tokio::spawn(answer(Arc::new(file), asked));
    let order = Order {
        name: "data".to_owned(),
        backend: Some(backend),
        door,
        link: None,
        folder: folder.into(),
        run: run.into(),
    };
    let mut device = Device::attach(order).await?;
    println!("{} is {}", device.path().display(), device.node().display());
    let (orders, mut ordered) = mpsc::unbounded_channel();
    thread::spawn(move || io::stdin().lines().map_while(Result::ok).try_for_each(|order| orders.send(order)));
    while let Some(order) = ordered.recv().await {
        match order.as_str() {
            "detach" => match device.detach().await {
                Ok(()) => return Ok(()),
                Err(error) => println!("{error}"),
            },
            "cut" => {
                device.cut().await;
                return Ok(());
            }
            other => println!("{other} is no order"),
        }
    }
    Ok(())
}

async fn answer(file: Arc<File>, mut asked: mpsc::Receiver<Request>) {
    while let Some(request) = asked.recv().await {
        match request {
            Request::Read { offset, length, answer } => {
                let mut data = vec![0; length as usize];
                let read = file.read_exact_at(&mut data, offset).map(|()| Bytes::from(data));
                say(answer, read);
            }
            Request::Write { offset, data, durable, answer } => {
                say(answer, file.write_all_at(&data, offset).and_then(|()| synced(&file, durable)));
            }
            Request::Flush { answer } => say(answer, synced(&file, true)),
            Request::Trim { offset, length, durable, answer }
            | Request::Zero { offset, length, durable, answer, .. } => {
                let zeroed = zero(&file, offset, length).and_then(|()| synced(&file, durable));
                say(answer, zeroed);
            }
        }
    }
}

fn synced(file: &File, wished: bool) -> io::Result<()> {
    if wished { file.sync_data() } else { Ok(()) }
}

fn zero(file: &File, mut offset: u64, mut length: u64) -> io::Result<()> {
    static ZEROES: [u8; 65536] = [0; 65536];
    while length > 0 {
        let now = length.min(ZEROES.len() as u64);
        file.write_all_at(&ZEROES[..now as usize], offset)?;
        offset += now;
        length -= now;
    }
    Ok(())
}

/// Who asked may be gone.
fn say<T>(answer: oneshot::Sender<Result<T, BlockError>>, done: io::Result<T>) {
    let _gone = answer.send(done.map_err(|_| BlockError::Io));
}

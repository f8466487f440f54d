//! A volume of two copies as a device of the kernel. Its peer is another process on this machine. Orders on
//! standard input: `detach` takes the device away in order, if nobody uses it, and closes the volume; `cut`
//! stands down.

use std::{io, net::SocketAddr, path::Path, thread};

use tasuki_core::config::DeviceBackend;
use tasuki_volume::device::{Device, Order};
use tokio::sync::{mpsc, watch};

use crate::{
    apart::{Driver, Here, PORT, Peer, begin, options},
    write::GENERATIONS,
};

pub fn run(way: &str, (meta, data): (&Path, &Path), epoch: u64) {
    let backend = match way {
        "ublk" => DeviceBackend::Ublk,
        "nbd" => DeviceBackend::Nbd,
        other => panic!("{other} is no way to a device"),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let here = Here { meta, data, server: "kiki", peer: "lala" };
        let (volume, events) = begin(&here, options(0, 32 << 20), PORT + 1).await;
        let driver = Driver {
            me: "kiki".into(),
            peer: "lala".into(),
            at: SocketAddr::from(([127, 0, 0, 1], PORT)),
            epoch,
            generation: epoch * GENERATIONS,
            volume: volume.clone(),
            good: watch::channel(false).0,
            again: false,
        };
        let mut good = driver.good.subscribe();
        driver.open(events, if epoch == 1 { Peer::Blank } else { Peer::Good }).await;
        let order = Order {
            name: "data".to_owned(),
            backend: Some(backend),
            door: volume.door(),
            link: None,
            folder: "/dev/tasuki".into(),
            run: "/run/tasuki".into(),
        };
        let mut device = Device::attach(order).await.unwrap();
        println!("MARK {} is {}", device.path().display(), device.node().display());
        let (tell, mut orders) = mpsc::unbounded_channel();
        thread::spawn(move || io::stdin().lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        while let Some(order) = orders.recv().await {
            match order.as_str() {
                "detach" => match device.detach().await {
                    Ok(()) => {
                        good.wait_for(|good| *good).await.unwrap();
                        volume.quiet().await.unwrap();
                        volume.become_secondary().await.unwrap();
                        println!("MARK closed");
                        return;
                    }
                    Err(error) => println!("MARK {error}"),
                },
                "cut" => {
                    // R34: first what waits for the volume fails, and then there is nothing to wait for.
                    volume.fail_io();
                    device.cut().await;
                    return;
                }
                other => println!("{other} is no order"),
            }
        }
    });
}

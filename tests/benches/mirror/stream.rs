//! One write and flush after the other, without an export: what the stream between two servers costs.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::FileExt,
    thread,
    time::Instant,
};

use bytes::Bytes;

use crate::{
    BLOCK, Bench, STREAM_LEVEL,
    pair::{Pair, Way, flush, write},
    place,
};

impl Bench {
    pub fn stream_level(&self) {
        let block = [7; BLOCK];
        let mut table = self.table(STREAM_LEVEL, "1/s").cold(&self.folder);
        let (one, other) = (self.open("raw"), self.open("raw2"));
        table.line("two files side by side", || {
            let (ask, asked) = std::sync::mpsc::channel::<u64>();
            let (tell, told) = std::sync::mpsc::channel();
            let second = thread::spawn(move || {
                for at in asked {
                    other.write_all_at(&[7; BLOCK], place(at)).unwrap();
                    other.sync_data().unwrap();
                    tell.send(()).unwrap();
                }
            });
            let rate = self.count(|at| {
                ask.send(at).unwrap();
                one.write_all_at(&block, place(at)).unwrap();
                one.sync_data().unwrap();
                told.recv().unwrap();
            });
            drop(ask);
            second.join().unwrap();
            rate
        });
        table.line("one file", || {
            let file = self.open("raw");
            self.count(|at| {
                file.write_all_at(&block, place(at)).unwrap();
                file.sync_data().unwrap();
            })
        });
        table.line("own file and one behind plain TCP", || self.plain_tcp());
        for (name, way) in
            [("mirrored volume, gRPC with TLS", Way::Tls), ("mirrored volume, plain TCP", Way::Plain)]
        {
            let pair = Pair::new(self, Some(way));
            table.line(name, || self.one_after_the_other(&pair));
        }
        println!();
    }

    fn plain_tcp(&self) -> f64 {
        let (own, far) = (self.open("raw"), self.open("raw2"));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            let mut bytes = [0; 8 + BLOCK];
            while stream.read_exact(&mut bytes).is_ok() {
                let at = u64::from_le_bytes(bytes[..8].try_into().unwrap());
                far.write_all_at(&bytes[8..], at).unwrap();
                far.sync_data().unwrap();
                stream.write_all(&[1]).unwrap();
            }
        });
        let mut stream = TcpStream::connect(at).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut bytes = [7; 8 + BLOCK];
        let rate = self.count(|at| {
            bytes[..8].copy_from_slice(&place(at).to_le_bytes());
            stream.write_all(&bytes).unwrap();
            own.write_all_at(&bytes[8..], place(at)).unwrap();
            own.sync_data().unwrap();
            stream.read_exact(&mut [0]).unwrap();
        });
        drop(stream);
        server.join().unwrap();
        rate
    }

    fn one_after_the_other(&self, pair: &Pair) -> f64 {
        let time = self.time;
        pair.run(move |door| async move {
            let began = Instant::now();
            let mut at = 0;
            while began.elapsed() < time {
                write(&door, place(at), Bytes::from_static(&[7; BLOCK])).await.unwrap();
                flush(&door).await.unwrap();
                at += 1;
            }
            at as f64 / began.elapsed().as_secs_f64()
        })
    }
}

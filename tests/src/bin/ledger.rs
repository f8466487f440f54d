//! A service for tests of mirrored disks: `ledger FILE ADDRESS` answers at port 8080 of the address.
//! Every line that it is sent is added to the file and synced before it is sent back: what a client
//! got back may never be missing.

use std::{
    env,
    fs::OpenOptions,
    io::{self, BufRead as _, BufReader, Write as _},
    net::TcpListener,
};

fn main() -> io::Result<()> {
    let mut words = env::args().skip(1);
    let (Some(file), Some(address)) = (words.next(), words.next()) else {
        return Err(io::Error::other("ledger FILE ADDRESS"));
    };
    let mut ledger = OpenOptions::new().create(true).append(true).open(file)?;
    let listener = TcpListener::bind((address.as_str(), 8080))?;
    // One after the other: a test has one client.
    for stream in listener.incoming() {
        let mut stream = stream?;
        let mut line = String::new();
        if BufReader::new(stream.try_clone()?).read_line(&mut line).is_err() || !line.ends_with('\n') {
            continue; // a client that gave up
        }
        ledger.write_all(line.as_bytes())?;
        ledger.sync_all()?;
        // Whoever has gone meanwhile does not count it as acknowledged.
        let _gone = stream.write_all(line.as_bytes());
    }
    Ok(())
}

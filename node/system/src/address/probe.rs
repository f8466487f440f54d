//! Asks the link whether another machine has the address, before it is added (RFC 5227, RFC 4862
//! in a hurry: three probes 10 ms apart, since the link is local and a clean move has 100 ms).

use std::{io, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{
    HeldAddress,
    error::AddressError,
    find_link,
    frame::{Mac, Sighting},
    netlink::{Link, Netlink},
    packet::{Listener, PacketSocket, close_elsewhere},
    plan,
};

const PROBES: u32 = 3;
const BETWEEN_PROBES: Duration = Duration::from_millis(10);
/// How long after the last probe an answer is still waited for.
const LAST_ANSWER: Duration = Duration::from_millis(20);

/// Fails with [`AddressError::Duplicate`] when another machine answers for the address, or is about
/// to take it. Takes about 40 ms; nothing for loopback and for links without neighbours.
///
/// # Errors
/// Also when the interface is unusable, or probing is not permitted.
pub async fn probe_duplicate(held: &HeldAddress) -> Result<(), AddressError> {
    if held.loopback {
        return Ok(());
    }
    let mut netlink = Netlink::open()?;
    let link = find_link(&mut netlink, &held.device)?;
    plan::usable(&link)?;
    let own = own_macs(&netlink.links()?);
    let Some(socket) = PacketSocket::open(&link, held.address)? else { return Ok(()) };
    let kernel = |error| AddressError::kernel("probe for duplicates of the address", error);
    let listener = Listener::new(socket)?;

    let start = Instant::now();
    for probe in 1..=PROBES {
        listener.socket.probe().map_err(kernel)?;
        let mut until = start + BETWEEN_PROBES * probe;
        if probe == PROBES {
            until += LAST_ANSWER - BETWEEN_PROBES;
        }
        let heard = match timeout_at(until, stranger(&listener, &own)).await {
            Ok(heard) => Some(heard.map_err(kernel)?),
            // On a busy machine the time may be over before this task ran: what has arrived counts.
            Err(_) => stranger_waiting(&listener.socket, &own).map_err(kernel)?,
        };
        if let Some(mac) = heard {
            return Err(AddressError::Duplicate { address: held.address, mac, device: held.device.clone() });
        }
    }
    close_elsewhere(listener);
    Ok(())
}

/// The hardware addresses of this machine: with bonds, bridges and VLANs one frame may leave by
/// another interface than the one asked.
pub(super) fn own_macs(links: &[Link]) -> Vec<Mac> {
    links.iter().filter_map(|link| link.mac).collect()
}

/// Waits for a sighting that does not come from this machine.
async fn stranger(listener: &Listener, own: &[Mac]) -> io::Result<Mac> {
    loop {
        let (Sighting::Claimed(mac) | Sighting::Probed(mac)) = listener.hear().await?;
        if !own.contains(&mac) {
            return Ok(mac);
        }
    }
}

/// Reads what is waiting, up to the first sighting of a stranger.
fn stranger_waiting(socket: &PacketSocket, own: &[Mac]) -> io::Result<Option<Mac>> {
    loop {
        match socket.hear() {
            Ok(Sighting::Claimed(mac) | Sighting::Probed(mac)) if !own.contains(&mac) => {
                return Ok(Some(mac));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

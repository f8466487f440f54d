//! Floating addresses: found their interface, checked for duplicates, added, announced,
//! watched, removed. Directly over netlink and packet sockets; no other program is called.
//!
//! The order in which a caller uses it:
//!
//! 1. [`plan`] chooses the interface and refuses an address that the server has already.
//! 2. [`probe_duplicate`] asks the link whether anybody answers for it (about 40 ms).
//! 3. The caller *records* the [`HeldAddress`] where the guard finds it: from here on it counts as
//!    Tasuki's, whatever dies.
//! 4. [`acquire`] adds and announces it. It refuses an address that is there (then the record is
//!    taken back: the address is somebody else's).
//! 5. [`watch`] repeats the announcement, and reports what happens to the address.
//! 6. [`release`], or in the guard [`remove_now`], removes exactly what was recorded.
//!
//! A restarted node finds its records, asks [`is_present`] and calls [`watch`] again: nothing is
//! removed or added (R6). Loopback addresses pass through all steps and change nothing.
//!
//! All functions but the probe and the watch are synchronous and take well below a millisecond,
//! unless another program keeps the kernel's network configuration locked.

mod error;
mod frame;
mod netlink;
mod packet;
mod plan;
mod probe;
mod subnet;
mod watch;

use std::{io, net::IpAddr};

use serde::{Deserialize, Serialize};

pub use self::{
    error::{AddressError, DeviceState, Loss},
    frame::Mac,
    probe::probe_duplicate,
    watch::{Watch, WatchOptions, watch},
};
use self::{
    netlink::{Configured, Link, Netlink},
    packet::PacketSocket,
};

/// A floating address as configured for this server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressSpec {
    /// The address.
    pub address: IpAddr,
    /// Its prefix length, in bits.
    pub prefix: u8,
    /// The interface; the one that carries the subnet when not given.
    pub device: Option<String>,
}

/// A floating address on its interface: what is recorded, and what is removed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HeldAddress {
    /// The address.
    pub address: IpAddr,
    /// Its prefix length, in bits.
    pub prefix: u8,
    /// The interface.
    pub device: String,
    /// A loopback address: every machine has it, so it is never added, announced or removed.
    #[serde(default)]
    pub loopback: bool,
}

/// Chooses the interface for an address. Changes nothing.
///
/// # Errors
/// When no usable interface fits, when the address can be no host's, and when this machine has it
/// already: that one is never taken over.
pub fn plan(spec: &AddressSpec) -> Result<HeldAddress, AddressError> {
    let mut netlink = Netlink::open()?;
    plan::choose(spec, &netlink.links()?, &netlink.addresses()?)
}

/// Adds the address to its interface and announces it.
///
/// # Errors
/// [`AddressError::AlreadyConfigured`] when it is there: it is not Tasuki's then, or it is and
/// [`is_present`] was not asked first. On every error nothing was added.
pub fn acquire(held: &HeldAddress) -> Result<(), AddressError> {
    if held.loopback {
        return Ok(());
    }
    let mut netlink = Netlink::open()?;
    let link = find_link(&mut netlink, &held.device)?;
    plan::usable(&link)?;
    // Before the address is added: without the right to announce it, it must not be taken.
    let socket = PacketSocket::open(&link, held.address)?;
    netlink.add(link.index, held.address, held.prefix).map_err(|error| refused(held, error))?;
    if let Some(socket) = socket {
        if let Err(error) = socket.announce() {
            // The watch repeats it.
            tracing::warn!(address = %held.address, device = held.device, %error, "first announcement failed");
        }
        packet::close_elsewhere(socket);
    }
    Ok(())
}

/// Announces an address that is held, once. [`watch`] does it by itself.
///
/// # Errors
/// When the interface is gone or unusable.
pub fn announce(held: &HeldAddress) -> Result<(), AddressError> {
    if held.loopback {
        return Ok(());
    }
    let link = find_link(&mut Netlink::open()?, &held.device)?;
    match PacketSocket::open(&link, held.address)? {
        Some(socket) => {
            let sent = socket.announce();
            packet::close_elsewhere(socket);
            sent.map_err(|error| AddressError::kernel("announce the address", error))
        }
        None => Ok(()),
    }
}

/// Whether the address is on its interface, with the prefix it was given. Always so for a
/// loopback address: only the caller's record says whether that one is held.
///
/// # Errors
/// When the kernel cannot be asked.
pub fn is_present(held: &HeldAddress) -> Result<bool, AddressError> {
    if held.loopback {
        return Ok(true);
    }
    let mut netlink = Netlink::open()?;
    let links = netlink.links()?;
    let addresses = netlink.addresses()?;
    Ok(find_held(held, &links, &addresses).is_some())
}

/// Removes an address; one that is not there (any more) is fine.
///
/// # Errors
/// When the kernel does not remove it.
pub fn release(held: &HeldAddress) -> Result<(), AddressError> {
    remove_now(std::slice::from_ref(held))
}

/// Removes these addresses, and nothing else; those that are not there are fine. Synchronous and
/// without allocation of threads or tasks, for the guard.
///
/// # Errors
/// The first one met, after all have been tried.
pub fn remove_now(held: &[HeldAddress]) -> Result<(), AddressError> {
    if held.iter().all(|one| one.loopback) {
        return Ok(());
    }
    let mut netlink = Netlink::open()?;
    let links = netlink.links()?;
    let addresses = netlink.addresses()?;
    let mut outcome = Ok(());
    for one in held.iter().filter(|one| !one.loopback) {
        if let Some(found) = find_held(one, &links, &addresses) {
            outcome = outcome.and(remove_one(&mut netlink, found, &addresses));
        }
    }
    outcome
}

/// Whether the interface is up and has a carrier.
///
/// # Errors
/// When there is no such interface.
pub fn carrier(device: &str) -> Result<bool, AddressError> {
    let link = find_link(&mut Netlink::open()?, device)?;
    Ok(link.up && link.carrier)
}

fn remove_one(netlink: &mut Netlink, found: &Configured, before: &[Configured]) -> Result<(), AddressError> {
    match netlink.delete(found.index, found.address, found.prefix) {
        Ok(()) => {}
        Err(error) if matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::NotFound) => {}
        Err(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => {}
        Err(error) => return Err(AddressError::kernel("remove the address", error)),
    }
    // When the floating address was the first of its IPv4 subnet, the kernel takes later ones away
    // with it. They are not ours: they come back.
    let dependent = before.iter().filter(|other| {
        !found.secondary
            && other.secondary
            && other.index == found.index
            && other.prefix == found.prefix
            && subnet::same_subnet(other.address, found.address, found.prefix)
    });
    for other in dependent {
        match netlink.add(other.index, other.address, other.prefix) {
            Ok(()) => {
                tracing::info!(address = %other.address, "put back what left with the floating address")
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(AddressError::kernel("put back the server's own address", error)),
        }
    }
    Ok(())
}

fn find_link(netlink: &mut Netlink, device: &str) -> Result<Link, AddressError> {
    netlink.links()?.into_iter().find(|link| link.name == device).ok_or_else(|| {
        AddressError::DeviceUnusable { device: device.to_owned(), state: DeviceState::Missing }
    })
}

fn find_held<'a>(held: &HeldAddress, links: &[Link], addresses: &'a [Configured]) -> Option<&'a Configured> {
    let index = links.iter().find(|link| link.name == held.device)?.index;
    addresses
        .iter()
        .find(|one| one.index == index && one.address == held.address && one.prefix == held.prefix)
}

fn refused(held: &HeldAddress, error: io::Error) -> AddressError {
    match error.raw_os_error() {
        Some(nix::libc::EEXIST) => {
            AddressError::AlreadyConfigured { address: held.address, device: held.device.clone() }
        }
        Some(nix::libc::EACCES) if held.address.is_ipv6() => AddressError::Unsuitable {
            address: held.address,
            prefix: held.prefix,
            reason: "IPv6 is switched off on its interface",
        },
        _ => AddressError::kernel("add the address", error),
    }
}

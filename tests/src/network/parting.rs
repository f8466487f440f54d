//! Who hears whom: the switches lose every frame from one server to another, in one direction, on
//! both networks, from one moment on. The link stays, and the client is heard by all. Frames are
//! known by their sender's hardware address, so announcements of floating addresses are lost too.
//! Needs nftables.

use std::{
    io::{self, Write},
    process::{Command, Stdio},
};

use super::{Lab, Machine, Network, port};

/// Frames from the first server do not reach the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unheard {
    /// Who speaks.
    pub from: usize,
    /// Who does not hear it.
    pub to: usize,
}

impl Lab {
    /// Why frames cannot be lost by their sender here, if so.
    #[must_use]
    pub fn impossible_to_part() -> Option<String> {
        if let Some(why) = Self::impossible() {
            return Some(why);
        }
        if Command::new("nft").arg("--version").output().is_err() {
            return Some("`nft` is missing (nftables)".to_owned());
        }
        let tried = Machine::switch_on(None).and_then(|machine| {
            machine.ip("link add port0 type veth peer name port1\n")?;
            nft(&machine, &format!("{AFRESH}{}", chain("port0", &[hardware_address(0, Network::Public)])))
        });
        tried.err().map(|error| format!("this machine's kernel cannot lose frames by their sender: {error}"))
    }

    /// From now on exactly these pairs are cut, all at one moment; nothing mends everything.
    ///
    /// # Errors
    /// When one of the servers is off.
    pub fn part(&self, unheard: &[Unheard]) -> io::Result<()> {
        let mut lines = AFRESH.to_owned();
        for network in Network::ALL {
            for to in 0..self.size() {
                let senders: Vec<String> = unheard
                    .iter()
                    .filter(|cut| cut.to == to)
                    .map(|cut| hardware_address(cut.from, network))
                    .collect();
                if senders.is_empty() {
                    continue;
                }
                let power = self.power(to);
                if power.machine.is_none() {
                    return Err(self.is_off(to));
                }
                lines += &chain(&port(to, network, power.boots), &senders);
            }
        }
        nft(&self.hub, &lines)
    }
}

/// One transaction with what follows: there is no moment without the table.
const AFRESH: &str = "add table netdev cut\ndelete table netdev cut\nadd table netdev cut\n";

/// The hardware address of a server on a network, over all its boots.
pub(super) fn hardware_address(server: usize, network: Network) -> String {
    format!("02:77:00:00:{:02x}:{:02x}", network as u8, server + 1)
}

fn chain(port: &str, senders: &[String]) -> String {
    let senders = senders.join(", ");
    format!(
        "add chain netdev cut {port} {{ type filter hook egress device {port} priority 0; }}\n\
         add rule netdev cut {port} ether saddr {{ {senders} }} drop\n"
    )
}

fn nft(machine: &Machine, lines: &str) -> io::Result<()> {
    let mut child = Command::new("nsenter")
        .args(["--net", "--target", &machine.init().to_string(), "--", "nft", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(lines.as_bytes())?;
    }
    let done = child.wait_with_output()?;
    match done.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("nft: {}", String::from_utf8_lossy(&done.stderr).trim()))),
    }
}

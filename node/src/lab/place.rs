//! Which loopback addresses and ports a lab uses, and the cluster configuration that says so.

use std::{
    fmt::Write as _,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::Path,
};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use super::{
    error::LabError,
    state::{NETWORKS, Place, SERVERS},
};

/// Second numbers of addresses that are tried.
const OCTETS: std::ops::RangeInclusive<u8> = 77..=126;
/// How many other ports are tried when every address has something on the usual ones.
const PORT_STEPS: u16 = 10;
const PORT: u16 = 29001;
const SERVICE_PORT: u16 = 8080;
/// Between one lab's ports and the next one tried.
const PORT_STEP: u16 = 10;
/// On 127.OCTET.0.1: held by a lab for as long as it lives, so that two that start at one time do
/// not choose the same addresses.
const RESERVATION_PORT: u16 = 29000;

/// A lab's addresses, for as long as this lives.
#[derive(Debug)]
pub(super) struct Reservation {
    pub(super) place: Place,
    _held: TcpListener,
}

/// Finds addresses and ports on which nobody listens.
pub(super) fn reserve() -> Result<Reservation, LabError> {
    let mut last = String::new();
    for step in 0..PORT_STEPS {
        for octet in OCTETS {
            let reservation = SocketAddr::from((Ipv4Addr::new(127, octet, 0, 1), RESERVATION_PORT));
            let held = match TcpListener::bind(reservation) {
                Ok(held) => held,
                Err(error) => {
                    last = format!("{reservation}: {error}");
                    continue;
                }
            };
            let place = Place { octet, port: PORT + step * PORT_STEP, service_port: SERVICE_PORT + step };
            match all_free(place) {
                Ok(()) => return Ok(Reservation { place, _held: held }),
                Err(why) => last = why,
            }
        }
    }
    Err(LabError::NoPlace(last))
}

fn all_free(place: Place) -> Result<(), String> {
    let told = |at: SocketAddr| move |error: io::Error| format!("{at}: {error}");
    for (_, network) in NETWORKS {
        for server in 0..SERVERS.len() {
            let address = IpAddr::from(place.address(network, server));
            let node = SocketAddr::new(address, place.port);
            free(node).map_err(told(node))?;
            let beats = SocketAddr::new(address, place.port + 1);
            UdpSocket::bind(beats).map_err(told(beats))?;
        }
    }
    free(place.service()).map_err(told(place.service()))
}

/// As a node binds: connections of before are no obstacle.
fn free(at: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&at.into())?;
    // Only listening collides with another listener that allows reuse.
    socket.listen(1)
}

/// The cluster's configuration. `program` is this one.
pub(super) fn configuration(place: Place, program: &Path) -> String {
    let Place { octet, port, .. } = place;
    let service = place.service();
    let mut text = format!(
        "# The lab's cluster. Change it, then: tasuki --data DIR/kiki config push THIS_FILE\n\n\
         [cluster]\nname = \"lab\"\ndetect = \"1s\"\nport = {port}\nheartbeat_port = {}\n",
        port + 1
    );
    for (name, number) in NETWORKS {
        let _ = write!(
            text,
            "\n[[network]]\nname = \"{name}\"\nsubnet = \"127.{octet}.{number}.0/24\"\nuse = \"{name}\"\n"
        );
    }
    for (index, server) in SERVERS.iter().enumerate() {
        let addresses =
            NETWORKS.map(|(name, number)| format!("{name} = \"{}\"", place.address(number, index)));
        let _ =
            write!(text, "\n[[server]]\nname = \"{server}\"\naddresses = {{ {} }}\n", addresses.join(", "));
    }
    for (name, _) in NETWORKS {
        let _ = write!(text, "\n[[heartbeat]]\nkind = \"lan\"\nnetwork = \"{name}\"\n");
    }
    // A JSON text is a TOML text.
    let quoted = |text: &str| Value::from(text).to_string();
    let servers = SERVERS.map(quoted).join(", ");
    let command = [&program.display().to_string(), "__demo-http", "--listen", &service.to_string()];
    let _ = write!(
        text,
        "\n[[group]]\nname = \"demo\"\nservers = [{servers}]\n\
         \n[[group.resource]]\nname = \"address\"\ntype = \"floating_ip\"\naddress = \"{}\"\n\
         \n[[group.resource]]\nname = \"web\"\ntype = \"exec\"\nstart = [{}]\nwait = false\n\
         on_start_failure = {{ retries = 5, failovers = 1, final = \"none\" }}\n",
        service.ip(),
        command.map(quoted).join(", ")
    );
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_configuration_is_a_right_one() {
        let place = Place { octet: 78, port: 29011, service_port: 8081 };
        let text = configuration(place, Path::new("/opt/my \"tools\"/tasuki"));
        let config = tasuki_config::parse(&text, "cluster.toml").map_err(|e| e.to_string()).unwrap().config;
        assert_eq!((config.settings.port, config.settings.heartbeat_port), (29011, 29012));
        assert_eq!(config.servers.len(), 3);
        assert_eq!(config.groups[&"demo".into()].servers.len(), 3);
        assert!(tasuki_config::to_toml(&config).contains("127.78.2.100"));
    }

    #[test]
    fn two_labs_have_different_addresses() {
        let one = reserve().unwrap();
        let other = reserve().unwrap();
        assert_ne!(one.place.octet, other.place.octet);
        assert!(all_free(other.place).is_ok());
        let _service = TcpListener::bind(other.place.service()).unwrap();
        assert!(all_free(other.place).unwrap_err().contains(&other.place.service().to_string()));
    }
}

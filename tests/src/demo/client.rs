//! A small program that connects to an address, or sends to it.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    process::ExitCode,
    time::Duration,
};

/// Connects or sends, and waits for an answer.
pub(crate) fn main(protocol: &str, address: &str, port: &str) -> ExitCode {
    let parsed = (address.parse::<IpAddr>(), port.parse::<u16>());
    let (Ok(address), Ok(port)) = parsed else {
        eprintln!("client: `{address}` and `{port}` are no address and port");
        return ExitCode::from(2);
    };
    let to = SocketAddr::from((address, port));
    let result = match protocol {
        "tcp" => connect(to),
        _ => send(to),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("client: {to}: {error}");
            ExitCode::from(1)
        }
    }
}

fn connect(to: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"hello\n")?;
    let mut answer = [0; 3];
    stream.read_exact(&mut answer)
}

fn send(to: SocketAddr) -> io::Result<()> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.send_to(b"hello\n", to)?;
    socket.recv(&mut [0; 16]).map(drop)
}

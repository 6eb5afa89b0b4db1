//! Where the agent writes events, and where it can be asked.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use crate::{
    diagnostic::{code, quoted},
    document::Span,
    lowering::Lowering,
    model::{Field, Scalar},
    pattern,
};

/// The Unix socket by which the agent is asked where the configuration names none.
pub const DEFAULT_CONTROL: &str = "/run/ringfence/control.sock";

/// Bytes of the longest path of a Unix socket: `sun_path` (unix(7)) without its NUL.
const MAX_SOCKET_BYTES: usize = 107;

/// Where events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Events {
    /// To a folder, in a file a day.
    Folder(PathBuf),
    /// To the standard output.
    StandardOutput,
}

/// Where metrics are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metrics {
    /// On an address, which is on loopback.
    Address(SocketAddr),
    /// On a Unix socket.
    Socket(PathBuf),
}

/// Where events go.
pub(super) fn events(field: &Option<Field<String>>, lowering: &mut Lowering<'_>) -> Option<Events> {
    let (field, text) = field.as_ref().and_then(|field| Some((field, field.value.as_ref()?)))?;
    if text == "-" {
        return Some(Events::StandardOutput);
    }
    absolute(&field.span, text, "/var/log/ringfence", lowering).map(Events::Folder)
}

/// The Unix socket by which the agent is asked; `None` when it cannot be used.
pub(super) fn control(
    field: &Option<Field<String>>,
    lowering: &mut Lowering<'_>,
) -> Option<PathBuf> {
    match field {
        None => Some(DEFAULT_CONTROL.into()),
        Some(field) => socket(&field.span, field.value.as_ref()?, DEFAULT_CONTROL, lowering),
    }
}

/// Where metrics are served.
pub(super) fn metrics(
    field: &Option<Field<Scalar>>,
    lowering: &mut Lowering<'_>,
) -> Option<Metrics> {
    let (field, value) = field.as_ref().and_then(|field| Some((field, field.value.as_ref()?)))?;
    if let Scalar::Text(path) = value
        && path.starts_with('/')
    {
        let path = socket(&field.span, path, "/run/ringfence/metrics.sock", lowering)?;
        return Some(Metrics::Socket(path));
    }
    match address(value) {
        Ok(address) => Some(Metrics::Address(address)),
        Err((message, help)) => {
            lowering.error(code::BAD_LISTENER, &field.span, message, &help);
            None
        }
    }
}

/// The address on loopback that a value is, or what is wrong and what to write.
fn address(value: &Scalar) -> Result<SocketAddr, (String, String)> {
    const PORT: u16 = 9464;
    let text = match value {
        Scalar::Text(text) => text,
        Scalar::Number(number) => {
            let port = number.whole().and_then(|port| u16::try_from(port).ok());
            let port = port.filter(|port| *port > 0).unwrap_or(PORT);
            let message = "the address is missing".to_owned();
            return Err((message, format!("write `127.0.0.1:{port}`")));
        }
    };
    let shown = quoted(text);
    let Ok(address) = text.parse::<SocketAddr>() else {
        return Err(match (text.parse::<IpAddr>(), text.rsplit_once(':')) {
            (Ok(IpAddr::V4(ip)), _) => {
                (format!("{shown} has no port"), format!("write `{ip}:{PORT}`"))
            }
            (Ok(IpAddr::V6(ip)), _) => {
                (format!("{shown} has no port"), format!("write `\"[{ip}]:{PORT}\"`"))
            }
            (Err(_), Some(("localhost" | "", port))) if port.parse::<u16>().is_ok() => {
                (format!("{shown} has no address"), format!("write `127.0.0.1:{port}`"))
            }
            _ => (
                format!("{shown} is neither an address with a port nor an absolute path"),
                format!("write `127.0.0.1:{PORT}`, or `/run/ringfence/metrics.sock`"),
            ),
        });
    };
    if !address.ip().to_canonical().is_loopback() {
        let message = format!("{shown} can be reached from other machines");
        let help = "metrics are served on loopback only, as on `127.0.0.1:9464`; let what collects \
                    them run on this machine";
        return Err((message, help.to_owned()));
    }
    if address.port() == 0 {
        let message = format!("{shown} has no port: 0 stands for any");
        return Err((message, format!("write `{}`", SocketAddr::new(address.ip(), PORT))));
    }
    Ok(address)
}

/// The path of a Unix socket.
fn socket(span: &Span, text: &str, example: &str, lowering: &mut Lowering<'_>) -> Option<PathBuf> {
    if text.len() > MAX_SOCKET_BYTES {
        let message = format!("the path of a Unix socket has at most {MAX_SOCKET_BYTES} bytes");
        lowering.error(code::OUT_OF_RANGE, span, message, &format!("write `{example}`"));
        return None;
    }
    absolute(span, text, example, lowering)
}

/// A path that does not depend on where the agent was started.
fn absolute(
    span: &Span,
    text: &str,
    example: &str,
    lowering: &mut Lowering<'_>,
) -> Option<PathBuf> {
    if !text.starts_with('/') {
        let message = format!("the path {} is not absolute", quoted(text));
        let help = format!("write it from the root on, as `{example}`");
        lowering.error(code::RELATIVE_PATH, span, message, &help);
        return None;
    }
    if !pattern::is_usable(text) || text == "/" {
        let message = format!("the path {} cannot be used", quoted(text));
        let help =
            format!("write it without `//`, `.`, `..` and a slash at the end, as `{example}`");
        lowering.error(code::ABNORMAL_PATH, span, message, &help);
        return None;
    }
    Some(text.into())
}

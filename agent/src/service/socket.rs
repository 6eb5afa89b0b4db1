//! Unix sockets that only their owner can connect to.

use std::{
    fs, io,
    os::unix::{
        fs::{DirBuilderExt as _, FileTypeExt as _},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    fs::{Mode, fchmod},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with},
};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// The path of a socket, which goes when this does.
#[derive(Debug)]
pub(super) struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        // The next agent makes another.
        let _ = fs::remove_file(&self.0);
    }
}

/// Listens at a path, with mode 0600. A folder that is not there is made, with mode 0700.
///
/// # Errors
///
/// When the socket cannot be made, and when something else than a socket is at the path.
pub(super) fn listen_at(path: &Path) -> Result<(UnixListener, Place)> {
    make(path).with_context(|| path.display().to_string())
}

fn make(path: &Path) -> Result<(UnixListener, Place)> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    // Left by an agent that was killed: there is one agent on a machine, and this is it.
    match fs::symlink_metadata(path) {
        Ok(found) => {
            ensure!(found.file_type().is_socket(), "there is something else than a socket");
            fs::remove_file(path)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // The file gets the mode of the socket (unix_bind_bsd): it is never another's to connect to.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    let place = Place(path.to_owned());
    listen(&socket, BACKLOG)?;
    Ok((socket.into(), place))
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::PermissionsExt as _, net::UnixStream};

    use super::*;

    #[test]
    fn only_the_owner_can_connect_and_the_path_goes_with_the_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/a.sock");
        let (listener, place) = listen_at(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        let _stream = UnixStream::connect(&path).unwrap();
        assert!(listener.accept().is_ok());
        drop(place);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_agent_left_is_replaced_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(UnixStream::connect(&path).is_err());
        let (_listener, _place) = listen_at(&path).unwrap();
        assert!(UnixStream::connect(&path).is_ok());

        let file = folder.path().join("file");
        fs::write(&file, "kept").unwrap();
        let error = format!("{:#}", listen_at(&file).unwrap_err());
        assert!(error.contains("something else than a socket"), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
    }
}

//! A thread that reads the terminal and passes on what it decodes.

use std::{
    fs::File,
    io::{self, ErrorKind, IsTerminal as _, Read as _},
    os::fd::AsFd as _,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use tokio::sync::mpsc::UnboundedSender;

use super::decode::{Decoded, Decoder};
use crate::message::{Exit, Msg};

/// How long what begins with an escape may take to go on, over a slow line.
const KEY: u16 = 25;
/// SIGHUP.
const HUP: i32 = 1;

/// Says that the thread panicked: a dashboard that hears no keys must end.
struct Broken(UnboundedSender<Msg>);

impl Drop for Broken {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.0.send(Msg::Broken);
        }
    }
}

/// Reads the terminal in a thread of its own, which ends with the terminal. `asked` says that the
/// terminal was, or will be, asked for its background.
pub(crate) fn listen(to: UnboundedSender<Msg>, asked: bool) -> io::Result<()> {
    let stdin = io::stdin();
    let mut tty = match stdin.is_terminal() {
        true => File::from(stdin.as_fd().try_clone_to_owned()?),
        false => File::open("/dev/tty")?,
    };
    let mut decoder = Decoder::new(asked);
    let listen = move || {
        let _broken = Broken(to.clone());
        let mut buffer = [0; 4_096];
        let mut found = Vec::new();
        loop {
            fail::fail_point!("tui-keys");
            let wait = match decoder.waits() {
                false => PollTimeout::NONE,
                true => PollTimeout::from(KEY),
            };
            match poll(&mut [PollFd::new(tty.as_fd(), PollFlags::POLLIN)], wait) {
                Err(Errno::EINTR) => continue,
                Ok(0) => decoder.flush(&mut found),
                // whether the terminal is gone is said by reading it
                Ok(_) | Err(_) => match tty.read(&mut buffer) {
                    Ok(count @ 1..) => decoder.feed(&buffer[..count], &mut found),
                    Err(wrong) if matches!(wrong.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
                    Ok(0) | Err(_) => {
                        // that is what SIGHUP says too
                        let _ = to.send(Msg::Stop(Exit::Signal(HUP)));
                        return;
                    }
                },
            }
            for one in found.drain(..) {
                let msg = match one {
                    Decoded::Input(input) => Msg::Input(input),
                    Decoded::Background(light) => Msg::Background(light),
                };
                if to.send(msg).is_err() {
                    return;
                }
            }
        }
    };
    std::thread::Builder::new().name("bursar-keys".to_owned()).spawn(listen).map(drop)
}

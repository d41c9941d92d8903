//! Descriptors and the events that happen to them: the rows of the table in `descriptors.rs`, with what poll(2) reports
//! on Linux.

use std::{
    any::Any,
    fs::File,
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    ptr,
};

use co_wrapper_runtime::Interest;

use super::common::BOUND;

/// What has to stay open after the event.
type Kept = Box<dyn Any + Send>;

/// A descriptor, and what makes the event happen.
type Made = (OwnedFd, Box<dyn FnOnce() -> Kept + Send>);

/// One descriptor, an event, and whether it makes a handler run.
pub struct Row {
    /// For messages.
    pub name: String,
    pub fd: OwnedFd,
    pub interest: Interest,
    /// Makes the event happen, and returns when the kernel shows it.
    pub happens: Box<dyn FnOnce() -> Kept + Send>,
    pub runs: Runs,
}

/// When a handler runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// When the event has happened, not before.
    Then,
    Never,
    /// Before the event too.
    Always,
}
use Runs::{Always, Never, Then};

struct Event {
    name: &'static str,
    make: fn() -> Made,
    /// In the order of [`INTERESTS`].
    runs: [Runs; 5],
}

const INTERESTS: [(&str, Interest); 5] = [
    ("READABLE", Interest::READABLE),
    ("WRITABLE", Interest::WRITABLE),
    ("READABLE | WRITABLE", Interest::READABLE.add(Interest::WRITABLE)),
    ("ERROR", Interest::ERROR),
    ("PRIORITY", Interest::PRIORITY),
];

const EVENTS: [Event; 13] = [
    Event { name: "a socket gets data", make: data, runs: [Then, Never, Then, Never, Never] },
    Event { name: "a full socket gets room", make: room, runs: [Never, Then, Then, Never, Never] },
    Event { name: "a socket's peer hangs up", make: hang_up, runs: [Then, Then, Then, Then, Then] },
    Event { name: "a socket's peer has no more to say", make: half_close, runs: [Then, Never, Then, Never, Never] },
    Event { name: "a connection is reset", make: reset, runs: [Then, Always, Always, Then, Then] },
    Event { name: "a connection gets urgent data", make: urgent, runs: [Never, Always, Always, Never, Then] },
    Event { name: "a pipe gets data", make: pipe_data, runs: [Then, Never, Then, Never, Never] },
    Event { name: "a pipe's writer goes", make: pipe_end, runs: [Then, Then, Then, Then, Then] },
    Event { name: "a full pipe's reader goes", make: pipe_broken, runs: [Then, Then, Then, Then, Then] },
    Event { name: "a listener gets a connection", make: connection, runs: [Then, Never, Then, Never, Never] },
    Event { name: "an eventfd is written", make: eventfd, runs: [Then, Always, Always, Never, Never] },
    Event { name: "a terminal is closed", make: terminal, runs: [Then, Always, Always, Then, Then] },
    Event { name: "a regular file is written", make: file, runs: [Always, Always, Always, Never, Never] },
];

/// The whole table, made anew.
pub fn rows() -> impl Iterator<Item = Row> {
    EVENTS.iter().flat_map(|event| {
        INTERESTS.iter().zip(event.runs).map(|((interest_name, interest), runs)| {
            let (fd, happens) = (event.make)();
            Row { name: format!("{}: {interest_name}", event.name), fd, interest: *interest, happens, runs }
        })
    })
}

fn wait_for(fd: BorrowedFd<'_>, events: i16) {
    let mut asked = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    // SAFETY: one `pollfd`, which is there.
    assert_eq!(unsafe { libc::poll(&mut asked, 1, BOUND.as_millis() as i32) }, 1, "the event does not come");
}

fn copy(fd: impl AsFd) -> OwnedFd {
    fd.as_fd().try_clone_to_owned().unwrap()
}

fn check(result: i32) -> i32 {
    assert!(result >= 0, "{}", io::Error::last_os_error());
    result
}

/// Two sockets, of which the first has no room for more.
fn full() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    while (&ours).write(&[0; 4096]).is_ok() {}
    ours.set_nonblocking(false).unwrap();
    (ours, theirs)
}

fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (ours, listener.accept().unwrap().0)
}

fn data() -> Made {
    let (ours, theirs) = full();
    let write = move || {
        (&theirs).write_all(b"x").unwrap();
        Box::new(theirs) as Kept
    };
    (ours.into(), Box::new(write))
}

fn room() -> Made {
    let (ours, theirs) = full();
    let read = move || {
        theirs.set_nonblocking(true).unwrap();
        while (&theirs).read(&mut [0; 4096]).is_ok() {}
        Box::new(theirs) as Kept
    };
    (ours.into(), Box::new(read))
}

fn hang_up() -> Made {
    let (ours, theirs) = full();
    let drops = move || {
        drop(theirs);
        Box::new(()) as Kept
    };
    (ours.into(), Box::new(drops))
}

fn half_close() -> Made {
    let (ours, theirs) = full();
    let shuts = move || {
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        Box::new(theirs) as Kept
    };
    (ours.into(), Box::new(shuts))
}

fn reset() -> Made {
    let (ours, theirs) = connected();
    let seen = copy(&ours);
    let resets = move || {
        let now = libc::linger { l_onoff: 1, l_linger: 0 };
        let (size, now) = (size_of_val(&now) as _, ptr::from_ref(&now).cast());
        // SAFETY: `now` is there, and of that size.
        check(unsafe { libc::setsockopt(theirs.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, now, size) });
        drop(theirs);
        wait_for(seen.as_fd(), 0);
        Box::new(()) as Kept
    };
    (ours.into(), Box::new(resets))
}

fn urgent() -> Made {
    let (ours, theirs) = connected();
    let seen = copy(&ours);
    let sends = move || {
        // SAFETY: one byte, which is there.
        check(unsafe { libc::send(theirs.as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB) } as i32);
        wait_for(seen.as_fd(), libc::POLLPRI);
        Box::new(theirs) as Kept
    };
    (ours.into(), Box::new(sends))
}

fn pipe_data() -> Made {
    let (reader, mut writer) = io::pipe().unwrap();
    let write = move || {
        writer.write_all(b"x").unwrap();
        Box::new(writer) as Kept
    };
    (reader.into(), Box::new(write))
}

fn pipe_end() -> Made {
    let (reader, writer) = io::pipe().unwrap();
    let drops = move || {
        drop(writer);
        Box::new(()) as Kept
    };
    (reader.into(), Box::new(drops))
}

fn pipe_broken() -> Made {
    let (reader, mut writer) = io::pipe().unwrap();
    // SAFETY: asks for a number.
    let size = check(unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_GETPIPE_SZ) });
    writer.write_all(&vec![0; size as usize]).unwrap();
    let drops = move || {
        drop(reader);
        Box::new(()) as Kept
    };
    (writer.into(), Box::new(drops))
}

fn connection() -> Made {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let seen = copy(&listener);
    let connects = move || {
        let stream = TcpStream::connect(address).unwrap();
        wait_for(seen.as_fd(), libc::POLLIN);
        Box::new(stream) as Kept
    };
    (listener.into(), Box::new(connects))
}

fn eventfd() -> Made {
    // SAFETY: a new descriptor, nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(check(libc::eventfd(0, libc::EFD_CLOEXEC))) };
    let mut writer = File::from(copy(&fd));
    let write = move || {
        writer.write_all(&1_u64.to_ne_bytes()).unwrap();
        Box::new(writer) as Kept
    };
    (fd, Box::new(write))
}

fn terminal() -> Made {
    let (mut ours, mut theirs) = (-1, -1);
    // SAFETY: two places for new descriptors, which are nobody else's; the rest is optional.
    let (ours, theirs) = unsafe {
        check(libc::openpty(&mut ours, &mut theirs, ptr::null_mut(), ptr::null(), ptr::null()));
        (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs))
    };
    let drops = move || {
        drop(theirs);
        Box::new(()) as Kept
    };
    (ours, Box::new(drops))
}

fn file() -> Made {
    // SAFETY: a new descriptor, nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(check(libc::memfd_create(c"watched".as_ptr(), libc::MFD_CLOEXEC))) };
    let mut writer = File::from(copy(&fd));
    let write = move || {
        writer.write_all(b"x").unwrap();
        Box::new(writer) as Kept
    };
    (fd, Box::new(write))
}

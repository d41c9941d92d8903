//! Copies a disk to standard output. Ctrl-C ends it wherever it waits: also when an NBD server has stopped answering, and a
//! read or the connection itself is stuck.
//!
//!     cargo run --example nbd_cat -- 'nbd+unix:///img?socket=/run/nbd.sock' >disk.img
//!
//! The driver is that of `blockdev.rs`, whose mark says `interrupt`. The handler of SIGINT does one thing: it interrupts the
//! main thread. That ends the call in which this waits, and if it waits in none, the loop sees it. A second Ctrl-C ends the
//! process if the first one has not been heeded yet, for example because whoever reads standard output does not.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::{env, mem, process::ExitCode, ptr};

use co_wrapper::interrupt::{self, Handle, Interrupted};

#[path = "blockdev.rs"]
#[allow(dead_code, reason = "its `main`")]
pub mod blockdev;

use blockdev::Disk;

const CHUNK: usize = 1 << 20;

/// Copies the disk, and counts the bytes in `done`.
fn copy(url: &str, out: &mut impl Write, done: &mut u64) -> io::Result<()> {
    // The first `?` is for the interrupt, the second for what the disk says.
    let disk = Disk::open_blocking_interruptible(url)??;
    let mut buf = vec![0; CHUNK];
    while *done < disk.size {
        let len = (disk.size - *done).min(CHUNK as u64) as usize;
        // A read that need not wait, as of a file in the page cache, is not interrupted.
        if interrupt::take() {
            return Err(Interrupted.into());
        }
        disk.read_blocking_interruptible(*done, &mut buf[..len])??;
        out.write_all(&buf[..len])?;
        *done += len as u64;
    }
    out.flush()
}

static MAIN: OnceLock<Handle> = OnceLock::new();

extern "C" fn on_sigint(_: libc::c_int) {
    let Some(main) = MAIN.get() else { return };
    if main.is_pending() {
        // SAFETY: it may be called in a handler, and does not return.
        unsafe { libc::_exit(130) }
    }
    main.interrupt();
}

fn handle_sigint() -> io::Result<()> {
    MAIN.get_or_init(Handle::current);
    // SAFETY: a `sigaction` of zeroes is a valid one. The handler calls only what may be called in a handler.
    let result = unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = on_sigint as extern "C" fn(libc::c_int) as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(libc::SIGINT, &action, ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn main() -> ExitCode {
    let Some(url) = env::args().nth(1) else {
        eprintln!("nbd_cat: no disk; give a path or an NBD URL");
        return ExitCode::from(2);
    };
    let mut done = 0;
    let copied = handle_sigint().and_then(|()| copy(&url, &mut io::stdout().lock(), &mut done));
    let Err(error) = copied else { return ExitCode::SUCCESS };
    eprintln!("nbd_cat: {url}: {error} after {done} bytes");
    ExitCode::from(if error.get_ref().is_some_and(|error| error.is::<Interrupted>()) { 130 } else { 1 })
}

//! The example `examples/nbd_cat.rs` and Ctrl-C: it ends wherever it waits.

#![cfg(all(unix, feature = "tokio"))]

mod image;
mod program;

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{LazyLock, mpsc},
    thread,
    time::Instant,
};

use co_wrapper_test_support::{BOUND, Guard, ms};
use image::{Image, SIZE, text};
use program::built;

static NBD_CAT: LazyLock<PathBuf> = LazyLock::new(|| built("nbd_cat"));

/// The program, and what it says as it runs. Its hang reports tell when it is stuck.
struct Run {
    child: Guard,
    /// Each line of its stderr.
    err: mpsc::Receiver<String>,
    /// What it writes. It cannot run far ahead of the test, because both this and its pipe are small.
    out: mpsc::Receiver<Vec<u8>>,
}

impl Run {
    fn new(url: &str) -> Self {
        Run::reporting(url, "0.2")
    }

    /// Hang reports come after so many seconds.
    fn reporting(url: &str, seconds: &str) -> Self {
        let mut command = Command::new(&*NBD_CAT);
        command.arg(url).env("CO_WRAPPER_HANG_SECS", seconds).stdin(Stdio::null());
        let mut child: Child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stderr, mut stdout) = (child.stderr.take().unwrap(), child.stdout.take().unwrap());
        let ((lines, err), (bytes, out)) = (mpsc::channel(), mpsc::sync_channel(1));
        thread::spawn(move || BufReader::new(stderr).lines().try_for_each(|line| lines.send(line.unwrap())));
        thread::spawn(move || {
            let mut buf = vec![0; 1 << 16];
            while let Ok(len @ 1..) = stdout.read(&mut buf) {
                let _ = bytes.send(buf[..len].to_vec());
            }
        });
        Run { child: Guard(child), err, out }
    }

    /// Waits until a hang report names this call. Returns how much it wrote until then.
    fn is_stuck_in(&self, call: &str) -> usize {
        let (mut written, deadline) = (0, Instant::now() + BOUND);
        while !self.err.try_iter().any(|line| line.contains(call)) {
            assert!(Instant::now() < deadline, "not stuck in `{call}`");
            written += self.out.recv_timeout(ms(10)).map_or(0, |bytes| bytes.len());
        }
        written
    }

    fn interrupt(&self) {
        kill(self.child.0.id(), libc::SIGINT);
    }

    /// Its status, what it says at its end, and what it has written. A hang report may come at the same moment.
    fn ended(mut self) -> (ExitStatus, String, Vec<u8>) {
        let (mut said, mut written) = (String::new(), Vec::new());
        // Both end with the program.
        loop {
            match self.out.recv_timeout(BOUND) {
                Ok(bytes) => written.extend(bytes),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("it does not end"),
            }
        }
        while let Ok(line) = self.err.recv_timeout(BOUND) {
            if !said.starts_with("nbd_cat: ") {
                said = line;
            }
        }
        (self.child.0.wait().unwrap(), said, written)
    }
}

fn kill(process: u32, signal: libc::c_int) {
    // SAFETY: it has not been waited for, so the number is still its own.
    assert_eq!(unsafe { libc::kill(process as libc::pid_t, signal) }, 0);
}

/// Catches: a handler that breaks what is not interrupted.
#[test]
fn it_copies() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let bytes: Vec<u8> = (0..3_000_001_u32).map(|at| (at / 7) as u8).collect();
    fs::write(file.path(), &bytes).unwrap();
    // It says nothing at all, however long a busy machine takes.
    let (status, said, written) = Run::reporting(text(file.path()), "3600").ended();
    assert!(status.success() && said.is_empty() && written == bytes, "{status}: {said}");
}

/// Catches: a call that waits on, in its read, because nothing wakes it.
#[test]
fn i04_ctrl_c_ends_a_read_of_a_server_that_has_stopped() {
    let Some(image) = Image::create() else { return };
    image.fill();
    let (server, url) = image.serve_unix("--cache=writeback");
    let run = Run::new(&format!("{url}&timeout=3600"));
    let first = run.out.recv_timeout(BOUND).unwrap();
    kill(server.0.id(), libc::SIGSTOP);
    let more = run.is_stuck_in("read_blocking_interruptible");
    run.interrupt();
    let (status, said, written) = run.ended();
    assert_eq!(status.code(), Some(130), "{said}");
    let read = first.len() + more + written.len();
    assert!(said.ends_with(&format!("the call was interrupted after {read} bytes")), "{said}, read {read}");
    assert!(read as u64 > 0 && (read as u64) < SIZE);
}

/// Catches: one that ends only reads.
#[test]
fn i04_ctrl_c_ends_a_connection_to_a_server_that_never_speaks() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let run = Run::new(&format!("nbd://{}/img?timeout=3600", silent.local_addr().unwrap()));
    run.is_stuck_in("open_blocking_interruptible");
    run.interrupt();
    let (status, said, written) = run.ended();
    assert_eq!(status.code(), Some(130), "{said}");
    assert!(said.ends_with("the call was interrupted after 0 bytes") && written.is_empty(), "{said}");
}

/// A file is read without waiting, so no call is interrupted; the loop sees it.
///
/// Catches: an interrupt that a ready call takes without ending for it.
#[test]
fn i02_ctrl_c_ends_a_loop_of_calls_that_do_not_wait() {
    let file = tempfile::NamedTempFile::new().unwrap();
    // Larger than any disk that could be copied within the test's bounds, and all holes.
    file.as_file().set_len(1 << 42).unwrap();
    let run = Run::new(text(file.path()));
    run.out.recv_timeout(BOUND).unwrap();
    run.interrupt();
    while run.out.recv_timeout(BOUND).is_ok() {}
    let (status, said, _) = run.ended();
    assert_eq!(status.code(), Some(130), "{said}");
    assert!(said.contains("the call was interrupted after"), "{said}");
}

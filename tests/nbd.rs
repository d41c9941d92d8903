//! The block driver of `examples/blockdev.rs` against servers that misbehave, each a thread here on a real socket.

#![cfg(feature = "tokio")]

#[path = "../examples/blockdev.rs"]
#[allow(dead_code, reason = "its `main`")]
mod blockdev;
mod program;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::{fs, io, pin::pin, thread, time::Duration};

use blockdev::Disk;
use co_wrapper_test_support::within_bounds;
use program::assert_one_line;

const READ: u16 = 0;
const WRITE: u16 = 1;
const DISCONNECT: u16 = 2;
const FLUSH: u16 = 3;
const TRIM: u16 = 4;
/// Has flags, flush, trim.
const FLAGS: u16 = 0b10_0101;
const SIZE: u64 = 64 << 20;

/// One connection, seen from the server.
struct Peer<S>(S);

struct Request {
    command: u16,
    cookie: u64,
    off: u64,
    len: usize,
    data: Vec<u8>,
}

impl<S: Read + Write> Peer<S> {
    fn send(&mut self, parts: &[&[u8]]) {
        let _ = self.0.write_all(&parts.concat()); // the client may have left, which is then the point of the test
    }

    fn receive<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// The greeting, up to the client's NBD_OPT_GO; returns the export that it wants.
    fn greet(&mut self) -> String {
        self.send(&[b"NBDMAGICIHAVEOPT", &[0, 3]]);
        assert_eq!(self.receive(), [0, 0, 0, 3], "fixed newstyle, no zeroes");
        assert_eq!(&self.receive::<12>(), b"IHAVEOPT\0\0\0\x07");
        let mut data = vec![0; u32::from_be_bytes(self.receive()) as usize];
        self.0.read_exact(&mut data).unwrap();
        let (name, wanted) = data[4..].split_at(u32::from_be_bytes(data[..4].try_into().unwrap()) as usize);
        assert_eq!(wanted, [0, 1, 0, 3]);
        String::from_utf8(name.to_owned()).unwrap()
    }

    fn option_reply(&mut self, kind: u32, body: &[u8]) {
        let len = body.len() as u32;
        let head = [&0x0003_e889_0455_65a9_u64.to_be_bytes()[..], &7_u32.to_be_bytes(), &kind.to_be_bytes()];
        self.send(&[&head.concat(), &len.to_be_bytes(), body]);
    }

    fn export(&mut self, size: u64, flags: u16) {
        self.option_reply(3, &[&[0, 0], &size.to_be_bytes()[..], &flags.to_be_bytes()].concat());
    }

    fn blocks(&mut self, min: u32, max: u32) {
        self.option_reply(3, &[&[0, 3], &[min, min, max].map(u32::to_be_bytes).concat()[..]].concat());
    }

    /// The whole negotiation, as a good server does it.
    fn negotiate(&mut self) {
        self.greet();
        self.export(SIZE, FLAGS);
        self.option_reply(1, &[]);
    }

    fn request(&mut self) -> Request {
        let head: [u8; 28] = self.receive();
        let be = |range: std::ops::Range<usize>| head[range].iter().fold(0, |n, &byte| n << 8 | u64::from(byte));
        assert_eq!(be(0..6), 0x2560_9513_0000, "a request's magic, and no flags");
        let (command, len) = (be(6..8) as u16, be(24..28) as usize);
        let mut data = vec![0; if command == WRITE { len } else { 0 }];
        self.0.read_exact(&mut data).unwrap();
        Request { command, cookie: be(8..16), off: be(16..24), len, data }
    }

    fn reply(&mut self, cookie: u64, error: u32, data: &[u8]) {
        self.send(&[&0x6744_6698_u32.to_be_bytes(), &error.to_be_bytes(), &cookie.to_be_bytes(), data]);
    }

    /// Answers a read with what [`pattern`] has there.
    fn answer(&mut self, request: &Request) {
        assert_eq!(request.command, READ);
        self.reply(request.cookie, 0, &pattern(request.off, request.len));
    }

    fn assert_disconnect(&mut self) {
        assert_eq!(self.request().command, DISCONNECT);
    }
}

/// A disk's content that tells where it was read.
fn pattern(off: u64, len: usize) -> Vec<u8> {
    (off..off + len as u64).map(|at| (at / 512 * 7 + at) as u8).collect()
}

/// Serves one connection with `script`, under a free port. Join the thread to hear of the script's assertions.
fn serve(script: impl FnOnce(&mut Peer<TcpStream>) + Send + 'static) -> (String, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nbd://{}/img?{PATIENT}", listener.local_addr().unwrap());
    let thread = thread::spawn(move || script(&mut Peer(listener.accept().unwrap().0)));
    (url, thread)
}

/// A [`Disk`] on such a server.
fn disk(script: impl FnOnce(&mut Peer<TcpStream>) + Send + 'static) -> (Disk, thread::JoinHandle<()>) {
    let (url, thread) = serve(|peer| {
        peer.negotiate();
        script(peer);
    });
    (Disk::open_blocking(&url).unwrap(), thread)
}

fn read(disk: &Disk, off: u64) -> io::Result<()> {
    let mut buf = [0; 4096];
    disk.read_blocking(off, &mut buf)?;
    assert_eq!(buf, pattern(off, 4096)[..], "the data of another place");
    Ok(())
}

/// An executor that knows nothing of tokio.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let (mut future, waker) = (pin!(future), Waker::from(Arc::new(Unpark(thread::current()))));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

type Script = fn(&mut Peer<TcpStream>);

/// For a server that answers, as soon as a busy machine lets it.
const PATIENT: &str = "timeout=60";

/// The same URL for a server that answers with the cause, or falls silent and is given up on after so many seconds.
fn for_cause(url: &str, cause: &str, seconds: u32) -> String {
    if cause.contains("timed out") { impatient(url, seconds) } else { url.to_owned() }
}

fn impatient(url: &str, seconds: u32) -> String {
    url.replace(PATIENT, &format!("timeout={seconds}"))
}

/// Holds the connection open until the client gives up.
fn say_nothing(peer: &mut Peer<TcpStream>) {
    let _ = io::copy(&mut peer.0, &mut io::sink());
}

#[test]
fn a_server_that_cannot_be_opened_is_one_error() {
    let cases: [(Script, &str); 13] = [
        (|peer| peer.send(&[b"HTTP/1.1 400 Bad Request\r\n\r\n"]), "not a newstyle NBD server"),
        (|peer| peer.send(&[b"NBDMAGIC\0\0\x42\x02\x81\x86\x12\x53"]), "not a newstyle NBD server"),
        (|peer| peer.send(&[b"NBDMAG"]), "the server hung up"),
        (say_nothing, "timed out"),
        (
            |peer| {
                peer.greet();
                say_nothing(peer);
            },
            "timed out",
        ),
        (
            |peer| {
                let name = peer.greet();
                peer.option_reply(0x8000_0006, format!("no export\n'{name}'").as_bytes());
            },
            r#"the server refuses export "img": error 6, "no export\n'img'""#,
        ),
        (
            |peer| {
                peer.greet();
                peer.send(&[&[7; 20]]);
            },
            "garbage in reply to NBD_OPT_GO",
        ),
        (
            |peer| {
                peer.greet();
                let head = [&0x0003_e889_0455_65a9_u64.to_be_bytes()[..], &[0, 0, 0, 7, 0, 0, 0, 3]].concat();
                peer.send(&[&head, &u32::MAX.to_be_bytes()]); // and no such body
                say_nothing(peer);
            },
            "garbage in reply to NBD_OPT_GO",
        ),
        (
            |peer| {
                peer.greet();
                peer.option_reply(3, &[0, 0, 1]); // a size of one byte
            },
            "garbage in reply to NBD_OPT_GO",
        ),
        (
            |peer| {
                peer.greet();
                peer.export(u64::MAX, FLAGS);
                peer.option_reply(1, &[]);
            },
            "impossible size 18446744073709551615",
        ),
        (
            |peer| {
                peer.greet();
                peer.option_reply(1, &[]); // before it has told the size
            },
            "impossible size",
        ),
        (
            |peer| {
                peer.greet();
                peer.export(SIZE, FLAGS);
                peer.blocks(0, 0);
                peer.option_reply(1, &[]);
            },
            "blocks of 0 to 0",
        ),
        (
            |peer| {
                peer.greet();
                peer.export(SIZE, FLAGS);
                peer.blocks(1 << 31, u32::MAX);
                peer.option_reply(1, &[]);
            },
            "blocks of 2147483648",
        ),
    ];
    for (script, cause) in cases {
        let (url, server) = serve(script);
        let url = for_cause(&url, cause, 1);
        let error = within_bounds(move || Disk::open_blocking(&url).err().unwrap().to_string());
        assert!(error.contains(cause), "{error:?} lacks {cause:?}");
        server.join().unwrap();
        let (url, server) = serve(script);
        assert_one_line(&for_cause(&url, cause, 1), cause);
        server.join().unwrap();
    }
}

#[test]
fn a_connection_that_fails_answers_every_call_with_the_cause() {
    let cases: [(Script, ErrorKind, &str); 5] = [
        (|peer| peer.send(&[&[7; 4], &[0; 12]]), ErrorKind::InvalidData, "a reply to no request: magic 0x7070707"),
        (|peer| peer.reply(99, 0, &[]), ErrorKind::InvalidData, "a reply to no request: magic 0x67446698, cookie 0x63"),
        (|peer| peer.reply(0, 0, &[0; 100]), ErrorKind::ConnectionAborted, "the server hung up"), // mid-reply
        (|_| {}, ErrorKind::ConnectionAborted, "the server hung up"),
        (say_nothing, ErrorKind::TimedOut, "timed out"),
    ];
    for (script, kind, cause) in cases {
        let start = move |peer: &mut Peer<TcpStream>| {
            peer.negotiate();
            peer.request();
            peer.request();
            script(peer);
        };
        let (url, server) = serve(start);
        let url = for_cause(&url, cause, 2);
        let errors = within_bounds(move || {
            let disk = Disk::open_blocking(&url).unwrap();
            let outstanding = thread::scope(|s| {
                [4096, 8192]
                    .map(|off| {
                        s.spawn({
                            let disk = &disk;
                            move || read(disk, off)
                        })
                    })
                    .map(|t| t.join().unwrap())
            });
            let [first, second] = outstanding;
            [first, second, read(&disk, 0), disk.flush_blocking()].map(Result::unwrap_err)
        });
        for error in &errors {
            assert!(error.kind() == kind && error.to_string().contains(cause), "{error:?} lacks {cause:?}");
        }
        assert!(errors[0].to_string().starts_with("Read of 4096 bytes at 4096: "), "{}", errors[0]);
        server.join().unwrap();
    }
}

#[test]
fn a_server_that_fails_while_the_example_reads_is_one_line() {
    let cases: [(Script, &str); 4] = [
        (|peer| peer.reply(0, 0, &[0; 100]), "Read of 1048576 bytes at 0: the server hung up"),
        (|peer| peer.reply(0, 5, &[]), "Read of 1048576 bytes at 0: Input/output error"),
        (|peer| peer.reply(1, 0, &[]), "a reply to no request"),
        (say_nothing, "Read of 1048576 bytes at 0: timed out"),
    ];
    for (script, cause) in cases {
        let (url, server) = serve(move |peer| {
            peer.negotiate();
            peer.request();
            script(peer);
        });
        assert_one_line(&for_cause(&url, cause, 2), cause);
        server.join().unwrap();
    }
}

#[test]
fn bad_input_without_a_server_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let name = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let deaf = tokio::net::TcpSocket::new_v4().unwrap(); // it has a port, and does not listen
    deaf.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    drop(UnixListener::bind(name("dead.sock")).unwrap());
    assert_one_line(&name("missing"), "No such file or directory");
    assert_one_line(folder.path().to_str().unwrap(), "Is a directory");
    assert_one_line(&format!("nbd://{}/", deaf.local_addr().unwrap()), "Connection refused");
    assert_one_line(&format!("nbd+unix:///?socket={}", name("dead.sock")), "Connection refused");
    assert_one_line(&format!("nbd+unix:///?socket={}", name("missing")), "No such file or directory");
    assert_one_line("nbds://localhost/", "not nbd://host:port/export");
    for args in [&["a", "b"][..], &["two\nlines"]] {
        let (success, out, err) = program::example(args);
        assert!(!success && out.is_empty() && err.lines().count() == 1, "{out}{err}");
    }
}

#[test]
fn a_file_that_shrinks_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(8192).unwrap();
    let disk = Disk::open_blocking(file.path().to_str().unwrap()).unwrap();
    file.as_file().set_len(5000).unwrap();
    disk.read_blocking(0, &mut [0; 4096]).unwrap();
    assert_eq!(disk.read_blocking(4096, &mut [0; 4096]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn an_error_reply_spares_the_connection() {
    let (disk, server) = disk(|peer| {
        for error in [1, 5, 12, 28, 1234] {
            let request = peer.request();
            peer.reply(request.cookie, error, &[]);
        }
        let request = peer.request();
        peer.answer(&request);
        peer.assert_disconnect();
    });
    let errors = [(); 5].map(|()| read(&disk, 0).unwrap_err());
    assert_eq!(errors.each_ref().map(io::Error::kind)[..1], [ErrorKind::PermissionDenied]);
    assert_eq!(errors[3].kind(), ErrorKind::StorageFull);
    assert!(errors[1].to_string().contains("Input/output error"), "{}", errors[1]);
    read(&disk, 512).unwrap();
    drop(disk);
    server.join().unwrap();
}

#[test]
fn replies_are_matched_whatever_their_order() {
    let (disk, server) = disk(|peer| {
        let mut requests: Vec<_> = (0..16).map(|_| peer.request()).collect(); // all in flight at once
        requests.reverse();
        requests.iter().for_each(|request| peer.answer(request));
    });
    thread::scope(|s| {
        for thread in 0..16 {
            let disk = &disk;
            s.spawn(move || read(disk, thread * 4096).unwrap());
        }
    });
    server.join().unwrap();
}

#[test]
fn a_slow_server_is_not_taken_for_a_silent_one() {
    // A machine that is too busy for the shortest timeout has a longer one.
    let is_waited_for = |seconds: u32| {
        let (url, server) = serve(move |peer| {
            peer.negotiate();
            for _ in 0..15 {
                let request = peer.request();
                // Its disk is slow: all together take longer than the timeout, and none does.
                thread::sleep(Duration::from_secs(seconds.into()) / 10);
                peer.answer(&request);
            }
        });
        let disk = Disk::open_blocking(&impatient(&url, seconds))?;
        (0..15).try_for_each(|_| read(&disk, 0))?;
        server.join().unwrap();
        io::Result::Ok(())
    };
    is_waited_for(1).or_else(|_| is_waited_for(8)).or_else(|_| is_waited_for(30)).unwrap();
}

#[test]
fn a_cancelled_read_loses_nothing() {
    let (events, mut happened) = tokio::sync::mpsc::unbounded_channel();
    let (go_on, wait) = mpsc::channel();
    let (disk, server) = disk(move |peer| {
        let request = peer.request();
        peer.send(&[&0x6744_6698_u32.to_be_bytes(), &[0; 4], &request.cookie.to_be_bytes()[..3]]);
        events.send(()).unwrap(); // half a reply's header is on its way
        wait.recv().unwrap(); // the caller has gone
        peer.send(&[&request.cookie.to_be_bytes()[3..], &pattern(request.off, request.len)]);
        for _ in 0..2 {
            let request = peer.request();
            peer.answer(&request);
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut buf = [0; 4096];
        tokio::select! {
            _ = disk.read(0, &mut buf) => panic!("half a reply is none"),
            _ = happened.recv() => {}
        }
    });
    drop(runtime); // the thread, the executor, all that was waiting has gone
    go_on.send(()).unwrap();
    within_bounds(move || {
        read(&disk, 4096).unwrap();
        read(&disk, 8192).unwrap();
    });
    server.join().unwrap();
}

#[test]
fn a_cancelled_write_is_sent_whole_or_not_at_all() {
    const LEN: usize = 16 << 20; // more than sockets buffer
    let (go_on, wait) = mpsc::channel();
    let (events, mut happened) = tokio::sync::mpsc::unbounded_channel();
    let (disk, server) = disk(move |peer| {
        let head: [u8; 1000] = peer.receive(); // half a request: the rest waits for this end to read
        assert_eq!(head[6..8], WRITE.to_be_bytes());
        events.send(()).unwrap();
        wait.recv().unwrap();
        let mut rest = vec![0; 28 + LEN - 1000];
        peer.0.read_exact(&mut rest).unwrap();
        assert!([&head[28..], &rest].concat().iter().all(|byte| *byte == 0xab));
        peer.reply(u64::from_be_bytes(head[8..16].try_into().unwrap()), 0, &[]);
        let request = peer.request();
        peer.answer(&request);
        peer.assert_disconnect();
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let data = vec![0xab; LEN];
        tokio::select! {
            _ = disk.write(0, &data) => panic!("nothing has confirmed it"),
            _ = happened.recv() => {}
        }
    });
    go_on.send(()).unwrap();
    within_bounds(move || read(&disk, 4096).unwrap());
    server.join().unwrap();
}

#[test]
fn requests_respect_the_servers_limits() {
    let (url, server) = serve(|peer| {
        peer.greet();
        peer.option_reply(3, b"\0\x01the name, which nobody asked for");
        peer.export(SIZE, FLAGS);
        peer.blocks(512, 4096 + 100); // which are eight blocks
        peer.option_reply(1, &[]);
        for (off, len) in [(512, 4096), (4608, 4096), (8704, 1024)] {
            let request = peer.request();
            assert_eq!((request.off, request.len), (off, len));
            peer.answer(&request);
        }
        for (off, len) in [(0, 4096), (4096, 512)] {
            let request = peer.request();
            assert_eq!((request.command, request.off, request.data), (WRITE, off, pattern(off, len)));
            peer.reply(request.cookie, 0, &[]);
        }
        let (flush, trim) = (peer.request(), peer);
        assert_eq!((flush.command, flush.off, flush.len), (FLUSH, 0, 0));
        trim.reply(flush.cookie, 0, &[]);
        let request = trim.request();
        assert_eq!((request.command, request.off, request.len), (TRIM, 512, 1024));
        trim.reply(request.cookie, 0, &[]);
        trim.assert_disconnect();
    });
    let disk = Disk::open_blocking(&url).unwrap();
    let mut buf = [0; 9216];
    disk.read_blocking(512, &mut buf).unwrap();
    assert_eq!(buf, pattern(512, 9216)[..]);
    disk.write_blocking(0, &pattern(0, 4608)).unwrap();
    disk.flush_blocking().unwrap();
    disk.trim_blocking(512, 1024).unwrap();
    drop(disk);
    server.join().unwrap();
}

#[test]
fn what_the_server_cannot_do_is_not_sent() {
    let (url, server) = serve(|peer| {
        peer.greet();
        peer.export(SIZE, 0b11); // has flags, read-only; neither flush nor trim
        peer.blocks(512, 4096);
        peer.option_reply(1, &[]);
        peer.assert_disconnect();
    });
    let disk = Disk::open_blocking(&url).unwrap();
    let refused = |result: io::Result<()>| result.unwrap_err().to_string();
    assert_eq!(
        refused(disk.read_blocking(SIZE, &mut [0; 512])),
        "Read of 512 bytes at 67108864: past the end of the disk"
    );
    assert!(refused(disk.read_blocking(u64::MAX - 511, &mut [0; 1024])).contains("past the end"));
    assert!(refused(disk.read_blocking(1, &mut [0; 512])).contains("not aligned"));
    assert!(refused(disk.read_blocking(0, &mut [0; 511])).contains("not aligned"));
    assert!(refused(disk.write_blocking(0, &[0; 512])).contains("read-only"));
    assert!(refused(disk.trim_blocking(0, 512)).contains("read-only"));
    disk.flush_blocking().unwrap(); // not offered: nothing to do
    disk.read_blocking(SIZE, &mut []).unwrap();
    drop(disk);
    server.join().unwrap();
}

#[test]
fn a_disk_outlives_the_runtime_that_opened_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, pattern(0, 8192)).unwrap();
    let (url, server) = serve(|peer| {
        peer.negotiate();
        for _ in 0..3 {
            let request = peer.request();
            peer.answer(&request);
        }
    });
    for url in [url, file.path().to_str().unwrap().to_owned()] {
        within_bounds(move || {
            let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let disk = runtime().block_on(Disk::open(&url)).unwrap();
            read(&disk, 0).unwrap();
            let mut buf = [0; 512];
            runtime().block_on(disk.read(512, &mut buf)).unwrap();
            block_on(disk.read(512, &mut buf)).unwrap();
            assert_eq!(buf, pattern(512, 512)[..]);
        });
    }
    server.join().unwrap();
}

#[test]
fn the_demo_reads_alike_everywhere() {
    let (success, out, err) = program::example(&[]);
    assert!(success && err.is_empty(), "{out}{err}");
    assert!(out.contains("type 83:    24576 sectors from 8192") && out.contains("coroutine"), "{out}");
}

#[test]
fn the_lines_of_the_readme_run() -> io::Result<()> {
    let (url, server) = serve(|peer| {
        peer.negotiate();
        for _ in 0..2 {
            let request = peer.request();
            peer.answer(&request);
        }
    });
    let mut boot = [0; 512];
    let disk = Disk::open_blocking(&url)?; // no runtime to build
    thread::scope(|s| s.spawn(|| disk.read_blocking(0, &mut boot)).join().unwrap())?; // any thread
    tokio::runtime::Runtime::new()?.block_on(disk.read(512, &mut boot))?; // and still async
    assert_eq!(boot, pattern(512, 512)[..]);
    server.join().unwrap();
    Ok(())
}

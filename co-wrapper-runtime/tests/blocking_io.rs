//! `blocking::Io`: std's readers and writers over tokio's and `futures`' ones, beside std's own over the same script.
#![cfg(all(not(loom), feature = "tokio", feature = "futures-io"))]

mod common;

use std::{
    collections::VecDeque,
    fmt::Debug,
    io::{self, BufRead, BufReader, Cursor, ErrorKind, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write},
    panic::Location,
    pin::Pin,
    sync::mpsc,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use co_wrapper_runtime::{AioContext, block_on, blocking::Io, hang, in_coroutine};
use common::*;
use tokio::net::{TcpListener, TcpStream};

/// What one call of a reader or writer does.
#[derive(Clone, Copy, Debug)]
enum Does {
    /// Reads or takes at most so many bytes.
    Moves(usize),
    /// Waits first, which blocking code does not see.
    Waits,
    Fails(ErrorKind),
}

use Does::{Fails, Moves, Waits};

/// A reader and writer that does as it is told, then no more; async in two ways, and blocking.
#[derive(Clone, Default)]
struct Script {
    steps: VecDeque<Does>,
    read: u8,
    written: Vec<u8>,
    flushed: Vec<usize>,
}

impl Script {
    fn new(steps: &[Does]) -> Self {
        Self { steps: steps.iter().copied().collect(), ..Self::default() }
    }

    /// What comes next; `Moves(0)` at the end.
    fn step(&mut self) -> Does {
        self.steps.pop_front().unwrap_or(Moves(0))
    }

    /// The same for who waits by himself.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        assert!(in_coroutine());
        match self.step() {
            Waits => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Moves(len) => Poll::Ready(Ok(len)),
            Fails(kind) => Poll::Ready(Err(kind.into())),
        }
    }

    fn step_done(&mut self) -> io::Result<usize> {
        loop {
            match self.step() {
                Waits => {}
                Moves(len) => break Ok(len),
                Fails(kind) => break Err(kind.into()),
            }
        }
    }

    fn fill(&mut self, bufs: &mut [&mut [u8]], len: usize) -> usize {
        let bytes = bufs.iter_mut().flat_map(|buf| buf.iter_mut()).take(len);
        bytes.fold(0, |read, byte| {
            self.read = self.read.wrapping_add(1);
            *byte = self.read;
            read + 1
        })
    }

    fn keep(&mut self, bufs: &[&[u8]], len: usize) -> usize {
        let before = self.written.len();
        self.written.extend(bufs.iter().flat_map(|buf| buf.iter()).take(len));
        self.written.len() - before
    }
}

impl Read for Script {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.step_done()?;
        Ok(self.fill(&mut [buf], len))
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let len = self.step_done()?;
        Ok(self.fill(&mut bufs.iter_mut().map(|buf| &mut **buf).collect::<Vec<_>>(), len))
    }
}

impl Write for Script {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let len = self.step_done()?;
        Ok(self.keep(&[data], len))
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        let len = self.step_done()?;
        Ok(self.keep(&data.iter().map(|data| &**data).collect::<Vec<_>>(), len))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.step_done().map(|_| self.flushed.push(self.written.len()))
    }
}

impl tokio::io::AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_step(cx).map_ok(|len| {
            let mut bytes = vec![0; buf.remaining()];
            let read = self.fill(&mut [&mut bytes], len);
            buf.put_slice(&bytes[..read]);
        })
    }
}

impl futures::AsyncRead for Script {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_step(cx).map_ok(|len| self.fill(&mut [buf], len))
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut bufs: Vec<_> = bufs.iter_mut().map(|buf| &mut **buf).collect();
        self.poll_step(cx).map_ok(|len| self.fill(&mut bufs, len))
    }
}

/// The two async traits differ in one name.
macro_rules! writes {
    ($tokio_or_futures:path, $end:ident) => {
        impl $tokio_or_futures for Script {
            fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
                self.poll_step(cx).map_ok(|len| self.keep(&[data], len))
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                data: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                let data: Vec<_> = data.iter().map(|data| &**data).collect();
                self.poll_step(cx).map_ok(|len| self.keep(&data, len))
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_step(cx).map_ok(|_| {
                    let written = self.written.len();
                    self.flushed.push(written);
                })
            }

            fn $end(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_step(cx).map_ok(|_| self.flushed.push(usize::MAX))
            }
        }
    };
}

writes!(tokio::io::AsyncWrite, poll_shutdown);
writes!(futures::AsyncWrite, poll_close);

const SCRIPTS: &[&[Does]] = &[
    &[],
    &[Moves(100)],
    &[Waits, Moves(100)],
    &[Moves(1), Moves(2), Moves(3), Waits, Moves(100), Waits],
    &[Moves(7), Waits, Waits, Moves(2), Moves(0), Moves(50)],
    &[Waits, Fails(ErrorKind::Interrupted), Moves(3), Fails(ErrorKind::Interrupted), Waits, Moves(100)],
    &[Moves(4), Waits, Fails(ErrorKind::ConnectionReset), Moves(9)],
    &[Fails(ErrorKind::WouldBlock), Moves(100)],
    &[Fails(ErrorKind::TimedOut)],
    &[Moves(4), Fails(ErrorKind::Interrupted), Fails(ErrorKind::Other)],
    &[Moves(33); 10],
];

/// What a function of a reader or writer gave.
type Gave = Result<(u64, Vec<u8>), ErrorKind>;

fn kind<T>(result: io::Result<T>, give: impl FnOnce(T) -> (u64, Vec<u8>)) -> Gave {
    result.map(give).map_err(|error| error.kind())
}

/// Catches: bytes that are lost or given twice over a wait, an error of another kind, an end that is not one, an
/// interruption that is not std's to handle.
#[test]
fn reading_gives_what_stds_reader_gives() {
    type Reads = fn(&mut dyn Read) -> Gave;
    let functions: &[(&str, Reads)] = &[
        ("read", |from| {
            let mut buf = [0; 10];
            kind(from.read(&mut buf), |len| (len as u64, buf.to_vec()))
        }),
        ("read into nothing", |from| kind(from.read(&mut []), |len| (len as u64, Vec::new()))),
        ("read_exact", |from| {
            let mut buf = [0; 12];
            let read = from.read_exact(&mut buf);
            kind(read, |()| (12, buf.to_vec()))
        }),
        ("read_to_end", |from| {
            let mut buf = vec![9];
            kind(from.read_to_end(&mut buf), |len| (len as u64, buf))
        }),
        ("read_to_string", |from| {
            let mut text = String::new();
            kind(from.take(20).read_to_string(&mut text), |len| (len as u64, text.into()))
        }),
        ("bytes", |from| {
            kind(BufReader::with_capacity(1, from).bytes().take(5).collect(), |bytes: Vec<u8>| (5, bytes))
        }),
        ("copy", |from| {
            let mut to = Vec::new();
            kind(io::copy(from, &mut to), |len| (len, to))
        }),
        ("lines", |from| {
            let mut lines = Vec::new();
            kind(BufReader::with_capacity(3, from).read_until(b'\t', &mut lines), |len| (len as u64, lines))
        }),
    ];
    within_bounds(move || {
        for script in SCRIPTS {
            for (name, function) in functions {
                let new = || Script::new(script);
                let (mut std, mut tokio, mut futures) = (new(), Io::new(new()), Io::futures(new()));
                for call in 0..4 {
                    let gave = function(&mut std);
                    assert_eq!(function(&mut tokio), gave, "tokio's, {name}, call {call} of {script:?}");
                    assert_eq!(function(&mut futures), gave, "futures', {name}, call {call} of {script:?}");
                }
            }
        }
    });
}

/// Catches: a vectored read that fills one buffer only, where the reader fills all.
#[test]
fn vectored_reads_reach_the_reader() {
    fn read(mut from: impl Read) -> (usize, [u8; 2], [u8; 6]) {
        let (mut first, mut second) = ([0; 2], [0; 6]);
        let read = from.read_vectored(&mut [
            IoSliceMut::new(&mut []),
            IoSliceMut::new(&mut first),
            IoSliceMut::new(&mut second),
        ]);
        (read.unwrap(), first, second)
    }
    within_bounds(|| {
        let new = || Script::new(&[Waits, Moves(5)]);
        let all = (5, [1, 2], [3, 4, 5, 0, 0, 0]);
        assert_eq!(read(new()), all);
        assert_eq!(read(Io::futures(new())), all);
        // Tokio's readers have none, and do as std's that have none.
        assert_eq!(read(Io::new(new())), (2, [1, 2], [0; 6]));
    });
}

/// Catches: bytes that are written twice, a count that is not the writer's, a refusal that is taken for success.
#[test]
fn writing_gives_what_stds_writer_gives() {
    type Writes = fn(&mut dyn Write) -> Gave;
    let functions: &[(&str, Writes)] = &[
        ("write", |to| kind(to.write(b"0123456789"), |len| (len as u64, Vec::new()))),
        ("write nothing", |to| kind(to.write(b""), |len| (len as u64, Vec::new()))),
        ("write_all", |to| kind(to.write_all(b"0123456789"), |()| (0, Vec::new()))),
        ("write_vectored", |to| {
            let data = [&b""[..], b"012", b"", b"3456789"].map(IoSlice::new);
            kind(to.write_vectored(&data), |len| (len as u64, Vec::new()))
        }),
        ("write!", |to| kind(write!(to, "text-{:03}", 7), |()| (0, Vec::new()))),
        ("flush", |to| kind(to.flush(), |()| (0, Vec::new()))),
        ("copy", |to| kind(io::copy(&mut &b"some more"[..], to), |len| (len, Vec::new()))),
    ];
    within_bounds(move || {
        for script in SCRIPTS {
            for (name, function) in functions {
                let new = || Script::new(script);
                let (mut std, mut tokio, mut futures) = (new(), Io::new(new()), Io::futures(new()));
                for call in 0..4 {
                    let gave = function(&mut std);
                    assert_eq!(function(&mut tokio), gave, "tokio's, {name}, call {call} of {script:?}");
                    assert_eq!(function(&mut futures), gave, "futures', {name}, call {call} of {script:?}");
                }
                for ours in [tokio.into_inner(), futures.into_inner()] {
                    assert_eq!((&ours.written, &ours.flushed), (&std.written, &std.flushed), "{name} of {script:?}");
                }
            }
        }
    });
}

/// Catches: an end that is a flush only.
#[test]
fn shutdown_ends_the_writer() {
    within_bounds(|| {
        let (mut tokio, mut futures) = (Io::new(Script::new(&[Waits])), Io::futures(Script::new(&[Waits])));
        tokio.shutdown().unwrap();
        futures.shutdown().unwrap();
        assert_eq!(
            (&tokio.get_ref().flushed[..], &futures.get_ref().flushed[..]),
            (&[usize::MAX][..], &[usize::MAX][..])
        );
    });
}

/// Catches: a position that is not std's.
#[test]
fn seeking_gives_what_stds_cursor_gives() {
    fn run(mut on: impl Seek + BufRead, seeks: &[SeekFrom]) -> Vec<Gave> {
        let one = |seek: &SeekFrom| {
            let moved = kind(on.seek(*seek), |position| (position, Vec::new()));
            let mut two = [0; 2];
            let read = kind(on.read(&mut two), |len| (len as u64, two.to_vec()));
            let place = kind(on.stream_position(), |position| (position, Vec::new()));
            [moved, read, place]
        };
        let mut gave: Vec<Gave> = seeks.iter().flat_map(one).collect();
        gave.push(kind(on.rewind().and_then(|()| on.seek_relative(3)), |()| (0, Vec::new())));
        gave.push(kind(on.lines().collect(), |lines: Vec<String>| (lines.len() as u64, lines.concat().into())));
        gave
    }
    within_bounds(|| {
        let bytes = b"one\ntwo\n\nthree";
        let seeks = [
            SeekFrom::Start(3),
            SeekFrom::Current(2),
            SeekFrom::Current(-100),
            SeekFrom::End(-3),
            SeekFrom::End(5),
            SeekFrom::Current(-6),
            SeekFrom::End(i64::MIN),
            SeekFrom::Start(0),
        ];
        let std = run(Cursor::new(bytes), &seeks);
        assert_eq!(run(Io::new(Cursor::new(bytes)), &seeks), std, "tokio's");
        assert_eq!(run(Io::futures(futures::io::Cursor::new(bytes)), &seeks), std, "futures'");
        // Buffered below.
        assert_eq!(run(BufReader::new(Io::new(Cursor::new(bytes))), &seeks), std, "std's over tokio's");
        assert_eq!(run(Io::new(tokio::io::BufReader::new(Cursor::new(bytes))), &seeks), std, "tokio's own");
        let own = futures::io::BufReader::new(futures::io::Cursor::new(bytes));
        assert_eq!(run(Io::futures(own), &seeks), std, "futures' own");
    });
}

/// Catches: a file that is somewhere else than its reader thinks, after any order of reads, writes and seeks.
#[test]
fn a_file_of_tokios_does_what_one_of_stds_does() {
    within_bounds(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(name);
        let mut options = std::fs::File::options();
        options.create(true).read(true).write(true).truncate(true);
        let mut std = options.open(path("std")).unwrap();
        let mut ours = Io::new(tokio::fs::File::from_std(options.open(path("ours")).unwrap()));
        let mut rng = fastrand::Rng::with_seed(18);
        for step in 0..300 {
            let (len, way) = (rng.usize(..5000), rng.u8(..6));
            let to = match rng.u8(..3) {
                0 => SeekFrom::Start(rng.u64(..20_000)),
                1 => SeekFrom::End(rng.i64(-3000..3000)),
                _ => SeekFrom::Current(rng.i64(-3000..3000)),
            };
            let run = |on: &mut dyn ReadWriteSeek| {
                let mut buf = vec![step as u8; len];
                match way {
                    0 | 1 => kind(on.seek(to), |position| (position, Vec::new())),
                    2 | 3 => kind(on.write_all(&buf), |()| (0, Vec::new())),
                    4 => kind(on.read_exact(&mut buf).and_then(|()| on.stream_position()), |at| (at, buf)),
                    _ => kind(on.flush().and_then(|()| on.stream_position()), |at| (at, Vec::new())),
                }
            };
            assert_eq!(run(&mut ours), run(&mut std), "step {step}: {way}, {len} bytes, {to:?}");
            if way == 4 {
                // How far a read that failed came is not defined.
                ours.rewind().and_then(|()| std.rewind()).unwrap();
            }
        }
        ours.flush().unwrap();
        assert!(std::fs::read(path("ours")).unwrap() == std::fs::read(path("std")).unwrap());
    });
}

trait ReadWriteSeek: Read + Write + Seek {}
impl<T: Read + Write + Seek> ReadWriteSeek for T {}

/// Catches: bytes that are shown twice or never, and a wait for bytes that are there.
#[test]
fn buffered_reading_gives_what_stds_gives() {
    fn run(mut on: impl BufRead) -> Vec<Gave> {
        let mut gave = Vec::new();
        for amount in [0, 1, 2, 0, 100, 3, 100, 100, 100] {
            let shown = on.fill_buf().map(<[u8]>::to_vec);
            if let Ok(shown) = &shown {
                on.consume(amount.min(shown.len()));
            }
            gave.push(kind(shown, |shown| (0, shown)));
        }
        let mut rest = Vec::new();
        gave.push(kind(on.read_until(11, &mut rest), |len| (len as u64, rest)));
        gave
    }
    within_bounds(|| {
        for script in SCRIPTS {
            for capacity in [1, 4, 100] {
                let new = || Script::new(script);
                let std = run(BufReader::with_capacity(capacity, new()));
                let tokio = run(Io::new(tokio::io::BufReader::with_capacity(capacity, new())));
                assert_eq!(tokio, std, "tokio's, {capacity} of {script:?}");
                let futures = run(Io::futures(futures::io::BufReader::with_capacity(capacity, new())));
                assert_eq!(futures, std, "futures', {capacity} of {script:?}");
            }
        }
    });
}

/// Catches: a reader that shows bytes and then none, which panics or hangs.
#[test]
fn a_buffered_reader_that_takes_its_bytes_back_is_an_error() {
    struct Fickle(bool);
    impl tokio::io::AsyncRead for Fickle {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut tokio::io::ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
    impl tokio::io::AsyncBufRead for Fickle {
        fn poll_fill_buf(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
            let this = self.get_mut();
            this.0 = !this.0;
            if this.0 { Poll::Ready(Ok(b"bytes")) } else { Poll::Pending }
        }
        fn consume(self: Pin<&mut Self>, _: usize) {}
    }
    within_bounds(|| {
        let error = Io::new(Fickle(false)).fill_buf().unwrap_err();
        assert_eq!(error.to_string(), "poll_fill_buf: had bytes in its buffer, and then waited for some");
    });
}

/// Catches: a socket that works in some places only; a wait that stops the thread's contexts or the host's tasks.
#[test]
fn a01_a_socket_is_read_and_written_wherever_a_call_may_be_made() {
    within_bounds(|| {
        let listener = block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let echo = thread::spawn(move || {
            let mut socket = BufReader::new(Io::new(block_on(listener.accept()).unwrap().0));
            let mut line = String::new();
            while socket.read_line(&mut line).unwrap() > 0 {
                socket.get_mut().write_all(line.to_uppercase().as_bytes()).unwrap();
                line.clear();
            }
        });
        let mut socket = BufReader::new(Io::new(block_on(TcpStream::connect(address)).unwrap()));
        let mut ask = |word: &str| {
            socket.get_mut().write_all(word.as_bytes()).unwrap();
            let mut line = String::new();
            socket.read_line(&mut line).unwrap();
            line
        };
        assert_eq!(ask("thread\n"), "THREAD\n");
        assert_eq!(block_on(async { ask("coroutine\n") }), "COROUTINE\n");
        let ctx = AioContext::new().unwrap();
        ctx.block_on(async { assert_eq!(ask("context\n"), "CONTEXT\n") });
        let host = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        assert_eq!(host.block_on(async { ask("host\n") }), "HOST\n");
        let current = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(current.block_on(async { ask("current\n") }), "CURRENT\n");
        socket.get_mut().shutdown().unwrap();
        echo.join().unwrap();
    });
}

/// Catches: a timeout that is not one in std's words, that takes bytes with it, or that outlives its call.
#[test]
fn w10_a_call_that_timed_out_has_read_nothing() {
    within_bounds(|| {
        let (here, there) = tokio::io::duplex(4);
        let (mut here, mut there) = (Io::new(here), Io::new(there));
        let mut buf = [0; 8];
        here.set_timeout(Some(Duration::from_millis(1)));
        for _ in 0..2 {
            let error = here.read(&mut buf).unwrap_err();
            assert_eq!(
                (error.kind(), error.to_string().as_str()),
                (ErrorKind::TimedOut, "the call took longer than 1ms")
            );
        }
        there.write_all(b"four").unwrap();
        // It is full.
        there.set_timeout(Some(Duration::ZERO));
        assert_eq!(there.write(b"more").unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(here.read(&mut buf).unwrap(), 4);
        assert_eq!(&buf[..4], b"four");
        there.set_timeout(None);
        let later = thread::spawn(move || there.write_all(b"later"));
        here.set_timeout(Some(Duration::MAX));
        let mut text = String::new();
        here.read_to_string(&mut text).unwrap();
        assert_eq!(text, "later");
        later.join().unwrap().unwrap();
    });
}

/// A seek that goes on after its call gave up.
#[derive(Default)]
struct SlowSeek {
    started: Vec<SeekFrom>,
    completed: usize,
    waiting: Option<Waker>,
    open: bool,
}

impl tokio::io::AsyncSeek for SlowSeek {
    fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        assert_eq!(self.started.len(), self.completed, "tokio: a seek is in progress");
        self.started.push(to);
        Ok(())
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        if self.completed < self.started.len() && !self.open {
            self.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.completed = self.started.len();
        Poll::Ready(Ok(self.completed as u64))
    }
}

/// Catches: a seek that begins while another one, whose call gave up, is in progress.
#[test]
fn w10_a_seek_waits_for_one_that_timed_out() {
    within_bounds(|| {
        let mut io = Io::new(SlowSeek::default());
        io.set_timeout(Some(Duration::ZERO));
        assert_eq!(io.seek(SeekFrom::Start(1)).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(io.seek(SeekFrom::Start(2)).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(io.get_ref().started, [SeekFrom::Start(1)]);
        io.get_mut().open = true;
        assert_eq!(io.seek(SeekFrom::Start(3)).unwrap(), 2);
        assert_eq!(io.get_ref().started, [SeekFrom::Start(1), SeekFrom::Start(3)]);
    });
}

/// Catches: a report of a place within std, or of a call that does not say what it is.
#[test]
fn hang_reports_name_the_function_and_where_it_was_made() {
    let (made, place) = mpsc::channel();
    let (here, there) = tokio::io::duplex(4);
    let reading = thread::Builder::new().name("reading".into()).spawn(move || {
        let (mut io, line) = (Io::new(here), line!());
        made.send(line).unwrap();
        io.read_to_end(&mut Vec::new()).unwrap();
    });
    let line = place.recv().unwrap();
    let shown = within_bounds(|| {
        loop {
            let report = hang::report();
            if let Some(call) = report.calls().iter().find(|call| call.thread() == "`reading`") {
                break (call.name().to_owned(), call.site().file(), call.site().line());
            }
            thread::sleep(Duration::from_millis(1));
        }
    });
    assert_eq!(shown, ("blocking::Io::read".to_owned(), Location::caller().file(), line));
    drop(there);
    reading.unwrap().join().unwrap();
}

/// Catches: a panic that leaves the call on the stack.
#[test]
fn w05_a_panic_of_the_reader_reaches_the_caller() {
    struct Panics;
    impl futures::AsyncRead for Panics {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
            panic!("in the reader");
        }
    }
    within_bounds(|| {
        let mut io = Io::futures(Panics);
        assert_eq!(panic_of(|| io.read(&mut [0])), "in the reader");
        assert!(!in_coroutine());
        assert_eq!(block_on(async { 7 }), 7);
    });
}

/// Catches: an `Io` that is not `Send` with its reader, or wants a name for the kind of it.
#[test]
fn its_second_parameter_need_not_be_named() {
    fn is_send<T: Send + Debug>(_: T) {}
    struct Holds(Io<Cursor<Vec<u8>>>);
    let mut holds = Holds(Io::new(Cursor::new(vec![1, 2])));
    holds.0.get_mut().set_position(1);
    let mut byte = [0];
    holds.0.read_exact(&mut byte).unwrap();
    assert_eq!((byte, holds.0.get_ref().position()), ([2], 2));
    is_send(holds.0);
}

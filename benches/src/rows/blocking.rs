//! Streams as iterators, and async readers as std's: what `blocking::Iter` and `blocking::Io` add to what they are over.

use std::{
    future::poll_fn,
    hint::black_box,
    io::{Cursor, Read, Write},
    os::unix::net::UnixStream,
    pin::Pin,
};

use co_wrapper::{
    AioContext, block_on,
    blocking::{Io, Iter},
};
use smol::stream::{Stream as _, repeat};
use tokio::io::AsyncReadExt;

use super::{Limit, Row, Run, tokio_runtime};
use co_wrapper_bench::{
    drivers::poll_once,
    measure::{Measured, Role, Side, times},
};

pub fn rows() -> Vec<Row> {
    vec![
        Row::time("item of a ready stream", items).within(Limit::Value(30.0)),
        Row::time("item of a ready stream, in an entered context", items_entered).within(Limit::Value(10.0)),
        Row::time("read of 4 KiB from memory", from_memory).within(Limit::Of(1.0, "tokio handle")),
        Row::time("write and read of 4 KiB, a socket", from_a_socket).within(Limit::Of(1.15, "std")),
    ]
}

const SIZE: usize = 4096;

fn peers_of_items<'a>() -> Vec<Side<'a>> {
    vec![
        Side::repeated(Role::Peer, "futures-executor", |n| {
            let mut items = futures_executor::block_on_stream(repeat(7));
            times(n, || black_box(&mut items).next());
        }),
        Side::repeated(Role::Peer, "smol", |n| {
            let mut items = smol::stream::block_on(repeat(7));
            times(n, || black_box(&mut items).next());
        }),
        Side::repeated(Role::Floor, "bare poll", |n| {
            let mut items = repeat(7);
            times(n, || poll_once(poll_fn(|cx| Pin::new(black_box(&mut items)).poll_next(cx))));
        }),
    ]
}

fn ours_of_items(n: u64) {
    let mut items = Iter::new(repeat(7));
    times(n, || black_box(&mut items).next());
}

fn items(run: Run<'_>) -> Vec<Measured> {
    // The process's first call starts the reactor.
    ours_of_items(1);
    let mut sides = vec![Side::repeated(Role::Ours, "ours", ours_of_items)];
    sides.extend(peers_of_items());
    run.sides(sides)
}

fn items_entered(run: Run<'_>) -> Vec<Measured> {
    let context = AioContext::new().expect("descriptors for the reactor");
    let mut sides = vec![Side::repeated(Role::Ours, "ours", |n| {
        let _guard = context.enter();
        ours_of_items(n);
    })];
    sides.extend(peers_of_items());
    run.sides(sides)
}

fn from_memory(run: Run<'_>) -> Vec<Measured> {
    const WORKS: &str = "it is there";
    let runtime = tokio_runtime(1);
    let handle = runtime.handle().clone();
    let memory = || Cursor::new(vec![7; SIZE]);
    let bufs: [_; 4] = std::array::from_fn(|_| [0; SIZE]);
    let [mut a, mut b, mut c, mut d] = bufs;
    let (mut tokio, mut futures) = (Io::new(memory()), Io::futures(smol::io::Cursor::new(vec![7; SIZE])));
    let (mut std, mut on_handle) = (memory(), memory());
    // The process's first call starts the reactor.
    tokio.read_exact(&mut a).expect(WORKS);
    run.sides(vec![
        Side::repeated(Role::Ours, "ours", |n| {
            times(n, || {
                tokio.get_mut().set_position(0);
                tokio.read(black_box(&mut a)).expect(WORKS)
            });
        }),
        Side::repeated(Role::Shown, "futures' reader", |n| {
            times(n, || {
                futures.get_mut().set_position(0);
                futures.read(black_box(&mut b)).expect(WORKS)
            });
        }),
        Side::repeated(Role::Peer, "tokio handle", |n| {
            times(n, || {
                on_handle.set_position(0);
                handle.block_on(AsyncReadExt::read(&mut on_handle, black_box(&mut c))).expect(WORKS)
            });
        }),
        Side::repeated(Role::Floor, "std", |n| {
            times(n, || {
                std.set_position(0);
                Read::read(&mut std, black_box(&mut d)).expect(WORKS)
            });
        }),
    ])
}

fn from_a_socket(run: Run<'_>) -> Vec<Measured> {
    const WORKS: &str = "both ends are there";
    let runtime = tokio_runtime(1);
    let pair = || UnixStream::pair().expect("descriptors");
    let on_tokio = |stream: UnixStream| {
        stream.set_nonblocking(true).expect("a socket can be so");
        tokio::net::UnixStream::from_std(stream).expect("a reactor")
    };
    let ((mut a, there), (mut b, mut bare), (mut c, foreign)) = (pair(), pair(), pair());
    let mut ours = Io::new(block_on(async { on_tokio(there) }));
    let mut on_runtime = runtime.block_on(async { on_tokio(foreign) });
    let bufs: [_; 3] = std::array::from_fn(|_| [7; SIZE]);
    let [mut ours_buf, mut bare_buf, mut runtime_buf] = bufs;
    run.sides(vec![
        Side::timed(Role::Ours, "ours", || {
            a.write_all(&ours_buf).and_then(|()| ours.read_exact(&mut ours_buf)).expect(WORKS);
        }),
        Side::timed(Role::Peer, "std", || {
            b.write_all(&bare_buf).and_then(|()| bare.read_exact(&mut bare_buf)).expect(WORKS);
        }),
        Side::timed(Role::Peer, "tokio runtime", || {
            c.write_all(&runtime_buf).expect(WORKS);
            runtime.block_on(on_runtime.read_exact(&mut runtime_buf)).expect(WORKS);
        }),
    ])
}

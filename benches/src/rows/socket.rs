//! A round trip of 4 KiB over a Unix socket to a thread that echoes.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    thread,
    time::Duration,
};

use async_io::Async;
use co_wrapper::{AioContext, co_wrapper};
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Limit, Row, Run, tokio_current_thread, tokio_runtime};
use co_wrapper_bench::measure::{Measured, Role, Side};

pub fn rows() -> Vec<Row> {
    vec![
        Row::time("socket round trip, parked", |run| round_trips(run, Duration::ZERO))
            .within(Limit::Of(1.15, "std, blocking")),
        Row::time("socket round trip, spinning", |run| round_trips(run, Duration::from_micros(200)))
            .within(Limit::Of(1.0, "std, blocking")),
    ]
}

const SIZE: usize = 4096;

/// One end; the other is echoed by a thread that ends with this end.
fn echoed() -> UnixStream {
    let (ours, mut theirs) = UnixStream::pair().expect("descriptors");
    thread::spawn(move || {
        let mut buf = [0; SIZE];
        while theirs.read_exact(&mut buf).and_then(|()| theirs.write_all(&buf)).is_ok() {}
    });
    ours
}

/// A connection of a driver on tokio.
struct Connection(tokio::net::UnixStream);

impl Connection {
    #[co_wrapper(name = open)]
    async fn co_open(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self(tokio::net::UnixStream::from_std(stream)?))
    }

    #[co_wrapper]
    async fn nbd_co_exchange(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.0.write_all(buf).await?;
        self.0.read_exact(buf).await?;
        Ok(())
    }
}

fn round_trips(run: Run<'_>, spin_max: Duration) -> Vec<Measured> {
    const WORKS: &str = "the echo is there";
    let (runtime, current) = (tokio_runtime(1), tokio_current_thread());
    let context = AioContext::builder().spin_max(spin_max).build().expect("descriptors for the reactor");
    let mut ours = Connection::open(echoed()).expect(WORKS);
    let mut on_runtime = runtime.block_on(Connection::co_open(echoed())).expect(WORKS);
    let mut on_current = current.block_on(Connection::co_open(echoed())).expect(WORKS);
    let mut on_smol = Async::new(echoed()).expect(WORKS);
    let mut bare = echoed();
    let bufs: [_; 5] = std::array::from_fn(|_| [7; SIZE]);
    let [mut a, mut b, mut c, mut d, mut e] = bufs;
    run.sides(vec![
        Side::timed(Role::Ours, "ours", || {
            let _guard = context.enter();
            ours.nbd_exchange(&mut a).expect(WORKS);
        }),
        Side::timed(Role::Peer, "std, blocking", || {
            bare.write_all(&b).and_then(|()| bare.read_exact(&mut b)).expect(WORKS);
        }),
        Side::timed(Role::Peer, "tokio runtime", || runtime.block_on(on_runtime.nbd_co_exchange(&mut c)).expect(WORKS)),
        Side::timed(Role::Peer, "tokio current-thread", || {
            current.block_on(on_current.nbd_co_exchange(&mut d)).expect(WORKS);
        }),
        Side::timed(Role::Peer, "smol", || {
            smol::block_on(async {
                on_smol.write_all(&e).await?;
                on_smol.read_exact(&mut e).await
            })
            .expect(WORKS);
        }),
    ])
}

//! A read of imago's null storage, through its own blocking interface and through ours.

use std::io;

use imago::{FormatAccess, SyncFormatAccess, io_buffers::IoVectorMut, null::Null, raw::Raw};

use super::{Limit, Row, Run};
use co_wrapper_bench::{
    drivers::poll_once,
    measure::{Measured, Role, Side, times},
};

co_wrapper::declare! {
    /// As in `examples/imago_sync.rs`.
    impl Blocking for FormatAccess<Null> {
        fn read_blocking<'a>(&'a self, buf: impl Into<IoVectorMut<'a>>, off: u64) -> io::Result<()> = read;
    }
}

pub fn rows() -> Vec<Row> {
    vec![Row::time("null read through imago", reads).within(Limit::Of(0.6, "SyncFormatAccess"))]
}

fn reads(run: Run<'_>) -> Vec<Measured> {
    let image = || Raw::open_image_sync(Null::new(1 << 30), false).expect("it is always there");
    let theirs = SyncFormatAccess::new(image()).expect("descriptors for a runtime");
    let ours = FormatAccess::new(image());
    let [mut a, mut b, mut c, mut d] = [[0_u8; 512]; 4];
    let entered = co_wrapper::AioContext::new().expect("descriptors for the reactor");
    const WORKS: &str = "reading nothing works";
    run.sides(vec![
        Side::repeated(Role::Ours, "ours", |n| times(n, || ours.read_blocking(&mut a[..], 0).expect(WORKS))),
        Side::repeated(Role::Shown, "ours, entered", |n| {
            let _guard = entered.enter();
            times(n, || ours.read_blocking(&mut d[..], 0).expect(WORKS));
        }),
        Side::repeated(Role::Peer, "SyncFormatAccess", |n| {
            times(n, || theirs.read(&mut b[..], 0).expect(WORKS));
        }),
        Side::repeated(Role::Floor, "bare poll", |n| times(n, || poll_once(ours.read(&mut c[..], 0)).expect(WORKS))),
    ])
}

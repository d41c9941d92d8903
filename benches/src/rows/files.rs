//! Files: 4 KiB that the page cache has, beside the bare system call; and reads past it, 32 in flight.

use std::{
    fs,
    io::IoSliceMut,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::PathBuf,
    time::Instant,
};

use co_wrapper::file::{File, OpenOptions};
use futures_util::{
    StreamExt,
    stream::{self, FuturesUnordered},
};

use super::{Limit, Row, Run, tokio_runtime};
use co_wrapper_bench::measure::{Measured, Role, Side, times};

const BLOCK: usize = 4096;
/// More than the processor's caches have.
const BLOCKS: u64 = 32_768;
const IN_FLIGHT: usize = 32;
const WORKS: &str = "the image is there, and as long as it was made";

pub fn rows() -> Vec<Row> {
    vec![
        Row::time("cached read of 4 KiB", cached_reads).within(Limit::Of(1.1, "pread")),
        Row::time("cached read of 4 KiB, awaited, 32 deep", reads_in_flight).within(Limit::Of(1.35, "pread")),
        Row::time("write of 4 KiB", writes).within(Limit::Of(1.1, "pwrite")),
        Row::time("read of 4 KiB past the page cache, 32 in flight", direct_reads),
    ]
}

/// An image of some MiB that the page cache has; removed when it is dropped.
struct Image(PathBuf);

impl Image {
    fn new() -> Self {
        let name = format!("co-wrapper-bench-{}.raw", std::process::id());
        let path = std::env::current_exe().expect("this program").with_file_name(name);
        // In small writes, as an image comes about: the page cache has it in small pieces then.
        let file = fs::File::create(&path).expect("this program's folder can be written to");
        let write =
            |at| file.write_all_at(&[7; BLOCK], at * BLOCK as u64).expect("room for an image beside this program");
        (0..BLOCKS).for_each(write);
        Self(path)
    }

    fn std(&self) -> fs::File {
        fs::OpenOptions::new().read(true).write(true).open(&self.0).expect(WORKS)
    }

    fn ours(&self, options: &mut OpenOptions) -> File {
        options.open_blocking(&self.0).expect(WORKS)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The next block's offset: all of them, not one after the other.
fn next(at: &mut u64) -> u64 {
    *at = (*at + 1021) % BLOCKS;
    *at * BLOCK as u64
}

fn cached_reads(run: Run<'_>) -> Vec<Measured> {
    let image = Image::new();
    let (std, ours) = (image.std(), image.ours(&mut File::options()));
    let [mut a, mut b, mut c, mut d] = [[0; BLOCK]; 4];
    let [mut at, mut to, mut by, mut with] = [0; 4];
    run.sides(vec![
        Side::repeated(Role::Ours, "ours, blocking", |n| {
            times(n, || ours.read_at_blocking(&mut a, next(&mut at)).expect(WORKS));
        }),
        Side::repeated(Role::Shown, "ours, block_on", |n| {
            times(n, || co_wrapper::block_on(ours.read_at(&mut c, next(&mut by))).expect(WORKS));
        }),
        Side::repeated(Role::Peer, "pread", |n| times(n, || std.read_exact_at(&mut b, next(&mut to)).expect(WORKS))),
        #[cfg(target_os = "linux")]
        Side::repeated(Role::Floor, "preadv2", |n| {
            use rustix::io::{ReadWriteFlags, preadv2};
            times(n, || {
                let read = preadv2(&std, &mut [IoSliceMut::new(&mut d)], next(&mut with), ReadWriteFlags::NOWAIT);
                assert_eq!(read, Ok(BLOCK));
            });
        }),
    ])
}

fn reads_in_flight(run: Run<'_>) -> Vec<Measured> {
    let image = Image::new();
    let (std, ours) = (image.std(), image.ours(&mut File::options()));
    let mut b = [0; BLOCK];
    let [mut at, mut to] = [0; 2];
    run.sides(vec![
        Side::repeated(Role::Ours, "ours, awaited", |n| {
            co_wrapper::block_on(async {
                let mut bufs = vec![[0; BLOCK]; IN_FLIGHT];
                let ours = &ours;
                let read = async |buf: &mut [u8; BLOCK], at| ours.read_at(buf, at).await.expect(WORKS);
                for _ in 0..n.div_ceil(IN_FLIGHT as u64) {
                    let mut reads: FuturesUnordered<_> = bufs.iter_mut().map(|buf| read(buf, next(&mut at))).collect();
                    while reads.next().await.is_some() {}
                }
            });
        }),
        Side::repeated(Role::Peer, "pread", |n| {
            let n = n.next_multiple_of(IN_FLIGHT as u64);
            times(n, || std.read_exact_at(&mut b, next(&mut to)).expect(WORKS));
        }),
    ])
}

fn writes(run: Run<'_>) -> Vec<Measured> {
    let image = Image::new();
    let (std, ours) = (image.std(), image.ours(File::options().write(true).inline(true)));
    let elsewhere = image.ours(File::options().write(true));
    let bytes = [9; BLOCK];
    let [mut at, mut to, mut by] = [0; 3];
    run.sides(vec![
        Side::repeated(Role::Ours, "ours, inline", |n| {
            times(n, || ours.write_at_blocking(&bytes, next(&mut at)).expect(WORKS));
        }),
        Side::timed(Role::Shown, "ours, elsewhere", || {
            elsewhere.write_at_blocking(&bytes, next(&mut by)).expect(WORKS);
        }),
        Side::repeated(Role::Peer, "pwrite", |n| times(n, || std.write_all_at(&bytes, next(&mut to)).expect(WORKS))),
    ])
}

fn direct_reads(run: Run<'_>) -> Vec<Measured> {
    const READS: usize = 256;
    let image = Image::new();
    image.std().sync_all().expect(WORKS);
    let direct = File::options().direct(true).alignment(BLOCK as u32, BLOCK as u32).open_blocking(&image.0);
    // Some file systems have none.
    let Ok(ours) = direct else { return Vec::new() };
    let mut at = 0;
    let runtime = tokio_runtime(2);
    let std = std::sync::Arc::new(
        fs::OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&image.0).expect(WORKS),
    );
    let each = |start: Instant| start.elapsed() / READS as u32;
    let mut to = 0;
    run.sides(vec![
        Side::each(Role::Ours, "ours", || {
            let start = Instant::now();
            let reads = stream::iter(0..READS)
                .map(|_| ours.read_at_owned(vec![0; BLOCK], next(&mut at)))
                .buffer_unordered(IN_FLIGHT)
                .for_each(async |(read, _)| read.expect(WORKS));
            co_wrapper::block_on(reads);
            each(start)
        }),
        Side::each(Role::Peer, "spawn_blocking", || {
            let start = Instant::now();
            let reads = stream::iter(0..READS)
                .map(|_| {
                    let (file, at) = (std.clone(), next(&mut to));
                    tokio::task::spawn_blocking(move || {
                        let mut buf = vec![0; 2 * BLOCK];
                        let start = buf.as_ptr().align_offset(BLOCK);
                        file.read_exact_at(&mut buf[start..][..BLOCK], at).expect(WORKS);
                        buf
                    })
                })
                .buffer_unordered(IN_FLIGHT)
                .for_each(async |read| drop(read.expect("it does not panic")));
            runtime.block_on(reads);
            each(start)
        }),
    ])
}

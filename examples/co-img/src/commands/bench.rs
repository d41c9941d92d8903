//! `bench`: so many requests, so many at a time.

use std::time::Instant;

use clap::Args;
use co_wrapper::co_wrapper;
use futures::stream;
use tokio::task::unconstrained;

use crate::backend::{BlockBackend, blk_co_pread, blk_co_pwrite, blk_flush};
use crate::cli::{cache, format, print};
use crate::driver::Cache;
use crate::error::{Doing, Error, Result, refused};
use crate::in_flight::InFlight;
use crate::name::{ImageName, parse_size};
use crate::open::{Access, ImageFormat, blk_open_as};
use crate::progress::{self, Progress};
use crate::target::Orderly;

#[derive(Args)]
pub struct Options {
    /// How many requests
    #[arg(short, default_value_t = 75000)]
    count: u64,
    /// How many of them at a time
    #[arg(short, default_value_t = 64)]
    depth: usize,
    /// Of how many bytes each
    #[arg(short, default_value = "4096", value_name = "SIZE")]
    size: String,
    /// Write instead of read, zeroes: what the image had is lost
    #[arg(short)]
    write: bool,
    /// none, writeback, writethrough, directsync or unsafe
    #[arg(short = 't', value_parser = cache, default_value = "writeback", value_name = "CACHE")]
    cache: Cache,
    /// The image's format, else what it looks like
    #[arg(short, value_parser = format, value_name = "FMT")]
    format: Option<ImageFormat>,
    /// Read it also while another program writes to it
    #[arg(short = 'U', long)]
    force_share: bool,
    #[arg(value_name = "IMG")]
    image: ImageName,
}

/// What requests in flight may take together, in bytes: 256 MiB would be too much.
const MOST: u64 = 128 << 20;
/// What one takes beside its data, at most.
const BESIDE: u64 = 4096;

pub fn run(options: &Options) -> Result<()> {
    let failed = |why: String| Error::new(Doing::Parse, &options.image, refused(why));
    let size = parse_size(&options.size).map_err(Error::at(Doing::Parse, &options.image))?;
    let depth = options.depth;
    if size == 0 || depth == 0 || options.count == 0 {
        return Err(failed("-c, -d and -s must not be 0".into()));
    }
    if size.saturating_add(BESIDE).saturating_mul(depth as u64) > MOST {
        return Err(failed(format!(
            "{depth} requests of {size} bytes at a time, and {BESIDE} beside each, are more than {MOST} bytes"
        )));
    }
    if options.write && options.force_share {
        return Err(failed("-U is for reading".into()));
    }
    let (writable, shared) = (options.write, options.force_share);
    let access = Access { writable, shared, cache: options.cache, ..Access::default() };
    let blk = blk_open_as(&options.image, options.format, access)?;
    if blk.end() < size {
        return Err(failed(format!("it is smaller than a request of {size} bytes")));
    }
    let kind = if options.write { "write" } else { "read" };
    print(&format!(
        "Sending {} {kind} requests, {size} bytes each, {depth} in parallel (starting at offset 0, step size {size})\n",
        options.count
    ))?;
    let progress = progress::of_requests("bench", options.count);
    let orderly = Orderly::begin(options.write && !blk.is_raw());
    let begun = Instant::now();
    let done = img_bench(&blk, options, size, &progress);
    let took = begun.elapsed().as_secs_f64();
    progress.finish_and_clear();
    done?;
    if options.write {
        blk_flush(&blk).map_err(Error::at(Doing::Flush, &options.image))?;
    }
    drop(blk);
    orderly.finish();
    print(&format!("Run completed in {took:.3} seconds.\n"))
}

#[co_wrapper(expect_long)]
async fn img_co_bench(blk: &BlockBackend, options: &Options, size: u64, progress: &Progress) -> Result<()> {
    let slots = blk.end() / size; // the requests go round
    let in_flight = &InFlight::default();
    let requests = (0..options.count).map(|n| n % slots * size).map(|at| async move {
        let mut buf = vec![0; size as usize];
        match options.write {
            false => {
                let read = in_flight.unless_stopped(blk_co_pread(blk, at, &mut buf));
                let Some(read) = read.await else { return Ok(()) };
                read.map_err(Error::at(Doing::Read, &options.image))?;
            }
            true => blk_co_pwrite(blk, at, &buf, false).await.map_err(Error::at(Doing::Write, &options.image))?,
        }
        progress.inc(1);
        Ok(())
    });
    // Below a host's runtime its budget would run out in the first poll; a stream of futures is then woken through wakers
    // of its own, which the host keeps back until we return.
    let requests = stream::iter(requests.map(Ok));
    unconstrained(in_flight.run(requests, options.depth)).await
}

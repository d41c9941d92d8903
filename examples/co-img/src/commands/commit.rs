//! `commit`: what an image has is written into what it is based on, and the image is emptied.

use clap::Args;
use co_wrapper::co_wrapper;
use futures::stream::{self, TryStreamExt};
use tokio::task::unconstrained;

use crate::backend::{
    BlockBackend, blk_co_block_status, blk_co_pread, blk_co_pwrite, blk_co_pwrite_zeroes, blk_flush, blk_make_empty,
    blk_truncate,
};
use crate::cli::{format, print};
use crate::error::{Doing, Error, Result, refused};
use crate::in_flight::InFlight;
use crate::name::{ImageName, Name};
use crate::open::{Access, ImageFormat, blk_inspect, blk_open_at, parse};
use crate::progress::{self, Progress};
use crate::target::{Orderly, is_interrupted};

#[derive(Args)]
pub struct Options {
    /// The image's format, else what it looks like
    #[arg(short, value_parser = format, value_name = "FMT")]
    format: Option<ImageFormat>,
    /// What it is based on: nothing further down
    #[arg(short, value_name = "BASE")]
    base: Option<String>,
    /// Do not empty the image
    #[arg(short = 'd')]
    keep: bool,
    /// Show how far it is
    #[arg(short)]
    progress: bool,
    /// Say nothing but errors
    #[arg(short)]
    quiet: bool,
    #[arg(value_name = "IMG")]
    image: ImageName,
}

/// So much is copied at a time, and so many such pieces are in flight.
const WINDOW: u64 = 2 << 20;
const IN_FLIGHT: usize = 8;

pub fn run(options: &Options) -> Result<()> {
    let failed = |why: String| Error::new(Doing::Open, &options.image, refused(why));
    let (name, format) =
        parse(options.image.as_ref(), options.format).map_err(Error::at(Doing::Open, &options.image))?;
    let top = blk_inspect(&name, format, true)?;
    let Some((backing, found)) = top.below() else { return Err(failed("it is not based on another image".into())) };
    let (base, base_format) = found.map_err(Error::at(Doing::Open, backing))?;
    if options
        .base
        .as_deref()
        .is_some_and(|wanted| wanted != backing && Name::parse(wanted).ok().as_ref() != Some(&base))
    {
        return Err(failed(format!("it is based on '{backing}', and nothing is committed to what is further down")));
    }
    let access = Access { writable: true, resizes: true, ..Access::default() };
    let mut base = blk_open_at(base, backing, base_format, access)?;
    // The base is held already, to be written to.
    let access = Access { below_is_held: true, ..access };
    let mut top = blk_open_at(name, &options.image.to_string(), format, access)?;
    let orderly = Orderly::begin(true);
    let done = commit(options, &mut top, &mut base);
    drop((top, base));
    orderly.finish();
    done?;
    print(if options.quiet { "" } else { "Image committed.\n" })
}

fn commit(options: &Options, top: &mut BlockBackend, base: &mut BlockBackend) -> Result<()> {
    if base.end() < top.end() {
        blk_truncate(base, top.end()).map_err(Error::at(Doing::Write, base.name()))?;
    }
    let progress = progress::of_bytes("commit", top.end(), options.progress);
    let done = img_commit(&Commit { top, base, progress: &progress });
    progress.finish_and_clear();
    done?;
    blk_flush(base).map_err(Error::at(Doing::Flush, base.name()))?;
    // Only when what it has is safe elsewhere.
    if !options.keep && options.base.is_none() && !is_interrupted() {
        blk_make_empty(top).and_then(|()| blk_flush(top)).map_err(Error::at(Doing::Write, top.name()))?;
    }
    Ok(())
}

struct Commit<'a> {
    top: &'a BlockBackend,
    base: &'a BlockBackend,
    progress: &'a Progress,
}

/// Copies all that the topmost image has itself.
#[co_wrapper(expect_long)]
async fn img_co_commit(commit: &Commit<'_>) -> Result<()> {
    let end = commit.top.end();
    let pieces = stream::try_unfold(0, |at| async move {
        if at >= end {
            return Ok(None);
        }
        let status =
            blk_co_block_status(commit.top, at, end - at).await.map_err(Error::at(Doing::Map, commit.top.name()))?;
        let own = status.present && status.depth == 0;
        let length = if own && !status.zero { status.length.min(WINDOW - at % WINDOW) } else { status.length };
        let length = length.min(end - at);
        Ok::<_, Error>(Some(((at, length, own, status.zero), at + length)))
    });
    let in_flight = &InFlight::default();
    let pieces = pieces.map_ok(|(at, length, own, zero)| async move {
        let written = Error::at(Doing::Write, commit.base.name());
        match (own, zero) {
            (false, _) => {}
            (true, true) => blk_co_pwrite_zeroes(commit.base, at, length).await.map_err(written)?,
            (true, false) => {
                let mut buf = vec![0; length as usize];
                let read = blk_co_pread(commit.top, at, &mut buf);
                let Some(read) = in_flight.unless_stopped(read).await else { return Ok(()) };
                read.map_err(Error::at(Doing::Read, commit.top.name()))?;
                blk_co_pwrite(commit.base, at, &buf, false).await.map_err(written)?;
            }
        }
        commit.progress.inc(length);
        Ok(())
    });
    let copying = in_flight.run(pieces, IN_FLIGHT);
    // Below a host's runtime its budget would run out in the first poll; a stream of futures is then woken through wakers
    // of its own, which the host keeps back until we return.
    unconstrained(copying).await
}

//! `compare`: whether two images have the same content.

use std::pin::pin;

use clap::Args;
use co_wrapper::co_wrapper;
use futures::future::try_join;
use futures::stream::{self, TryStreamExt};
use tokio::task::unconstrained;

use crate::backend::{BlockBackend, blk_co_block_status, blk_co_pread, blk_getlength};
use crate::cli::{format, print};
use crate::error::{Doing, Error, Result};
use crate::name::ImageName;
use crate::open::{Access, ImageFormat, blk_open_as};
use crate::progress::{self, Progress};

#[derive(Args)]
pub struct Options {
    /// The first image's format, else what it looks like
    #[arg(short, value_parser = format, value_name = "FMT")]
    format: Option<ImageFormat>,
    /// The second image's format
    #[arg(short = 'F', value_parser = format, value_name = "FMT")]
    second_format: Option<ImageFormat>,
    /// Show how far it is
    #[arg(short)]
    progress: bool,
    /// Read them also while another program writes to them
    #[arg(short = 'U', long)]
    force_share: bool,
    #[arg(value_name = "A")]
    a: ImageName,
    #[arg(value_name = "B")]
    b: ImageName,
}

/// So much is compared at a time, and so many such pieces are in flight.
const WINDOW: u64 = 2 << 20;
const IN_FLIGHT: usize = 4;

/// The exit code: 0 the same, 1 not. A longer image is the same if what it has more is zeroes.
pub fn run(options: &Options) -> Result<u8> {
    let access = Access { shared: options.force_share, ..Access::default() };
    let a = blk_open_as(&options.a, options.format, access)?;
    let b = blk_open_as(&options.b, options.second_format, access)?;
    let length = |blk: &BlockBackend| blk_getlength(blk).map_err(Error::at(Doing::Open, blk.name()));
    let (a_length, b_length) = (length(&a)?, length(&b)?);
    let progress = progress::of_bytes("compare", a_length.max(b_length), options.progress);
    let found = img_compare(&Both { a: (&a, a_length), b: (&b, b_length), progress: &progress });
    progress.finish_and_clear();
    let mut text = String::new();
    if a_length != b_length {
        text += "Warning: Image size mismatch!\n";
    }
    let (verdict, code) = match found? {
        None => ("Images are identical.\n".to_owned(), 0),
        Some(at) => (format!("Content mismatch at offset {at}!\n"), 1),
    };
    print(&(text + &verdict))?;
    Ok(code)
}

struct Both<'a> {
    a: (&'a BlockBackend, u64),
    b: (&'a BlockBackend, u64),
    progress: &'a Progress,
}

/// Where the first difference is, if there is one.
#[co_wrapper(expect_long)]
async fn img_co_compare(both: &Both<'_>) -> Result<Option<u64>> {
    let end = both.a.1.max(both.b.1);
    let pieces = stream::try_unfold(0, |at| async move {
        if at >= end {
            return Ok(None);
        }
        let (a, b) = try_join(zeroes(both.a, at), zeroes(both.b, at)).await?;
        // As far as both have zeroes there is nothing to read.
        let same = a.min(b);
        let length = if same > 0 { same.min(end - at) } else { (WINDOW - at % WINDOW).min(end - at) };
        Ok::<_, Error>(Some(((at, length, same > 0), at + length)))
    });
    let found = pieces
        .map_ok(|(at, length, same)| async move {
            let differs = if same { None } else { first_difference(both, at, length).await? };
            both.progress.inc(length);
            Ok(differs)
        })
        .try_buffered(IN_FLIGHT);
    let mut found = pin!(found);
    let searching = async {
        while let Some(differs) = found.try_next().await? {
            if differs.is_some() {
                return Ok(differs);
            }
        }
        Ok(None)
    };
    // Below a host's runtime its budget would run out in the first poll; a stream of futures is then woken through wakers
    // of its own, which the host keeps back until we return.
    unconstrained(searching).await
}

/// For how long there are zeroes at `at`; past its end an image has nothing else.
async fn zeroes((blk, length): (&BlockBackend, u64), at: u64) -> Result<u64> {
    if at >= length {
        return Ok(u64::MAX);
    }
    let status = blk_co_block_status(blk, at, length - at).await.map_err(Error::at(Doing::Map, blk.name()))?;
    match status.zero {
        true if at + status.length == length => Ok(u64::MAX),
        true => Ok(status.length),
        false => Ok(0),
    }
}

async fn first_difference(both: &Both<'_>, at: u64, length: u64) -> Result<Option<u64>> {
    let read = async |(blk, end): (&BlockBackend, u64)| {
        let mut buf = vec![0; length as usize];
        let there = end.saturating_sub(at).min(length) as usize;
        blk_co_pread(blk, at.min(end), &mut buf[..there]).await.map_err(Error::at(Doing::Read, blk.name()))?;
        Ok::<_, Error>(buf)
    };
    let (a, b) = try_join(read(both.a), read(both.b)).await?;
    let differs = if a == b { None } else { a.iter().zip(&b).position(|(a, b)| a != b) };
    Ok(differs.map(|place| at + place as u64))
}

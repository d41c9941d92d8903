//! `resize`: an image made longer, by zeroes, or shorter.

use clap::Args;

use crate::backend::{blk_flush, blk_truncate};
use crate::cli::{format, print};
use crate::error::{Doing, Error, Result, refused};
use crate::name::{ImageName, MOST, parse_size};
use crate::open::{Access, ImageFormat, blk_open_as};
use crate::target::Orderly;

#[derive(Args)]
pub struct Options {
    /// The image's format, else what it looks like
    #[arg(short, value_parser = format, value_name = "FMT")]
    format: Option<ImageFormat>,
    /// Make it shorter: what is behind the new end is lost
    #[arg(long)]
    shrink: bool,
    /// Say nothing but errors
    #[arg(short)]
    quiet: bool,
    #[arg(value_name = "IMG")]
    image: ImageName,
    /// Absolute, or with + or - from what it has
    #[arg(value_name = "SIZE", allow_hyphen_values = true)]
    size: String,
}

pub fn run(options: &Options) -> Result<()> {
    let failed = |why: String| Error::new(Doing::Write, &options.image, refused(why));
    let (sign, digits) = match options.size.split_at_checked(1) {
        Some((sign @ ("+" | "-"), digits)) => (sign, digits),
        _ => ("", &*options.size),
    };
    let by = parse_size(digits).map_err(Error::at(Doing::Parse, &options.size))?;
    let access = Access { writable: true, resizes: true, ..Access::default() };
    let mut blk = blk_open_as(&options.image, options.format, access)?;
    let old = blk.end();
    let size = match sign {
        "+" => old.checked_add(by),
        "-" => old.checked_sub(by),
        _ => Some(by),
    };
    let size = size.filter(|size| *size > 0).ok_or_else(|| failed("the new size must be positive".into()))?;
    if size > MOST {
        return Err(failed(format!("{size} bytes are more than an image can have")));
    }
    if !blk.is_raw() && !size.is_multiple_of(512) {
        return Err(failed(format!("the new size, {size}, must be a multiple of 512")));
    }
    if size < old && !options.shrink {
        return Err(failed(format!("it has {old} bytes, and what is behind {size} would be lost; --shrink does it")));
    }
    let orderly = Orderly::begin(!blk.is_raw());
    let done = blk_truncate(&mut blk, size).and_then(|()| blk_flush(&blk));
    drop(blk);
    orderly.finish();
    done.map_err(Error::at(Doing::Write, &options.image))?;
    print(if options.quiet { "" } else { "Image resized.\n" })
}

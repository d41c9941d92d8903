//! `convert`: from one format, or place, to another. The options, and the image that is written, a new one or one that is
//! there. How its content is copied is in `convert/copy.rs`.

mod copy;

use std::sync::Mutex;

use clap::Args;

use self::copy::{Copy, WINDOW};
use crate::backend::{BlockBackend, blk_block_status, blk_flush, blk_getlength, blk_settle};
use crate::cli::{cache, cluster_size, format};
use crate::driver::{Cache, Identity};
use crate::error::{Doing, Error, Result, refused};
use crate::in_flight::InFlight;
use crate::name::{ImageName, Name, parse_size};
use crate::open::{
    Access, ImageFormat, Layer, NewImage, blk_create, blk_locate, blk_lock_target, blk_open, blk_open_as, blk_open_at,
    blk_open_target, one_format,
};
use crate::progress;
use crate::target::{Orderly, Target};

#[derive(Args)]
pub struct Options {
    /// The source's format, else what it looks like
    #[arg(short, value_parser = format, value_name = "FMT")]
    format: Option<ImageFormat>,
    /// The target's format
    #[arg(short = 'O', value_parser = format, value_name = "FMT", default_value = "raw")]
    output_format: ImageFormat,
    /// cluster_size=N, of qcow2
    #[arg(short, value_name = "OPTION")]
    options: Vec<String>,
    /// What the target is to be based on; a relative path begins where the target is. Then only what the source has itself is
    /// copied, and not what it is based on
    #[arg(short = 'B', value_name = "BACKING")]
    backing: Option<String>,
    /// That one's format
    #[arg(short = 'F', value_parser = format, value_name = "FMT")]
    backing_format: Option<ImageFormat>,
    /// So many zeroes in a row are left out; 0 writes all of them
    #[arg(short = 'S', default_value = "4k", value_name = "SIZE")]
    sparse: String,
    /// Show how far it is
    #[arg(short)]
    progress: bool,
    /// Refused: imago writes no compressed clusters
    #[arg(short)]
    compress: bool,
    /// Write into the image that is there, which keeps its size and its options
    #[arg(short = 'n')]
    existing: bool,
    /// Read the source also while another program writes to it
    #[arg(short = 'U', long)]
    force_share: bool,
    /// The target's cache mode: none, writeback, writethrough, directsync or unsafe, which is the only one that does not make
    /// it durable
    #[arg(short = 't', value_parser = cache, default_value = "writeback", value_name = "CACHE")]
    cache: Cache,
    /// The source's cache mode
    #[arg(short = 'T', value_parser = cache, default_value = "writeback", value_name = "CACHE")]
    source_cache: Cache,
    #[arg(value_name = "SRC")]
    source: ImageName,
    /// Without -n a file is replaced when all is written; a device or an export is written in place
    #[arg(value_name = "DST")]
    target: ImageName,
}

/// What `-S` may be at most, as in qemu-img.
const MOST_SPARSE: u64 = 16 << 20;
/// Zeroes of a raw image are looked for in pieces of this size; of a qcow2 image, in clusters.
const GRAIN: u64 = 4096;

pub fn run(options: &Options) -> Result<()> {
    let cluster_size = cluster_size(&options.options, options.output_format)?;
    if options.compress {
        return Err(Error::new(Doing::Parse, "-c", refused("no compressed clusters are written here; qemu-img does")));
    }
    let sparse = parse_size(&options.sparse).map_err(Error::at(Doing::Parse, "-S"))?;
    if !sparse.is_multiple_of(512) || sparse > MOST_SPARSE {
        return Err(Error::new(Doing::Parse, "-S", refused(format!("not a multiple of 512 of at most {MOST_SPARSE}"))));
    }
    let backing = backing(options)?;
    let access = Access { steady: true, shared: options.force_share, cache: options.source_cache, ..Access::default() };
    let from = blk_open_as(&options.source, options.format, access)?;
    let size = blk_getlength(&from).map_err(Error::at(Doing::Read, &options.source))?;
    if options.existing {
        return into_existing(options, &from, sparse);
    }
    let most = || most_data(&from, cluster_size.unwrap_or(65536));
    let new = NewImage { format: options.output_format, size, cluster_size, backing };
    let durable = !options.cache.unsafe_flush();
    Target::write(&options.target, durable, most, |target| into_new(options, &from, new.clone(), sparse, target))
}

/// Makes an image in `target`, and copies `from` into it.
fn into_new(options: &Options, from: &BlockBackend, mut new: NewImage, sparse: u64, target: &Target) -> Result<()> {
    let fresh = target.is_file();
    // An export or a device is as long as it is, and that need not be in whole sectors, of which qcow2 images are.
    if !fresh && options.output_format == ImageFormat::Raw {
        new.size = from.end();
    }
    let driver = blk_open_target(target.name(), &new, options.cache)?;
    if from.layers.iter().any(|layer| layer.needs(driver.identity().as_ref())) {
        return Err(written_over(options));
    }
    let place = target.overwritten(&driver);
    if target.is_in_place() {
        loses_nothing(options, from, &below(&new, target)?, place.as_ref())?;
    }
    blk_lock_target(&driver, target.name())?;
    target.begin();
    let mut to = blk_create(driver, target.name(), &new, options.cache)?;
    if new.backing.is_some() {
        // Again, with what it is based on, of which clusters that are written in part have the rest. Nothing that nobody waits
        // for may be under way before that: it would hold the file open, and so its lock.
        blk_flush(&to).map_err(Error::at(Doing::Flush, target.name()))?;
        drop(to);
        let access = Access { writable: true, cache: options.cache, ..Access::default() };
        to = blk_open_at(target.name().clone(), &target.name().to_string(), Some(ImageFormat::Qcow2), access)?;
    }
    if !target.is_in_place() {
        // What it is based on is opened once only: it may be behind a server that serves one connection.
        loses_nothing(options, from, &to.layers[1..], place.as_ref())?;
    }
    to.write_back_early();
    let blank = new.backing.is_none() && (fresh || options.output_format == ImageFormat::Qcow2);
    let end = if blank { from.end() } else { end(from, &to)? };
    let progress = progress::of_bytes("convert", end, options.progress);
    let copy = Copy {
        from,
        to: &to,
        end,
        blank,
        own: new.backing.is_some(),
        sparse,
        window: window(from, new.cluster_size),
        grain: match options.output_format {
            ImageFormat::Raw => GRAIN.min(sparse.max(512)),
            ImageFormat::Qcow2 => new.cluster_size.unwrap_or(65536),
        },
        progress: &progress,
        taken: Mutex::default(),
        page_cache: is_page_cache(&to, options.cache),
        in_flight: InFlight::default(),
    };
    let copied = copy.run();
    progress.finish_and_clear();
    let copied = copied.and_then(|()| blk_flush(&to).map_err(Error::at(Doing::Flush, target.name())));
    if copied.is_err() {
        blk_settle(&to); // they would go on filling the disk, which the target may be written to once more
    }
    copied
}

/// What the new image is to be based on, before there is one.
fn below(new: &NewImage, target: &Target) -> Result<Vec<Layer>> {
    let Some((backing, format)) = &new.backing else { return Ok(Vec::new()) };
    let found = target.name().relative(backing).and_then(|found| one_format(found, Some(*format)));
    let (found, format) = found.map_err(Error::at(Doing::Open, backing))?;
    Ok(blk_open_at(found, backing, format, Access::default())?.layers)
}

/// Refuses to replace what the new image is to be based on, and what the source is made of. The source itself may be
/// replaced: it is read to its end before that.
fn loses_nothing(options: &Options, from: &BlockBackend, below: &[Layer], place: Option<&Identity>) -> Result<()> {
    let failed = |why: &str| Error::new(Doing::Create, &options.target, refused(why));
    if below.iter().any(|layer| layer.needs(place)) {
        return Err(failed("it would be based on itself"));
    }
    let mut layers = from.layers.iter().skip_while(|layer| layer.is_at(place));
    match layers.any(|layer| layer.needs(place)) {
        true => Err(failed("the source is based on it, or has its data there")),
        false => Ok(()),
    }
}

/// How much of a target that has content is written to: a source's last sector whole, as it is read, if there is room for it.
fn end(from: &BlockBackend, to: &BlockBackend) -> Result<u64> {
    Ok(blk_getlength(from).map_err(Error::at(Doing::Read, from.name()))?.min(to.end()))
}

/// How much is copied at a time: see [`WINDOW`].
fn window(from: &BlockBackend, target: Option<u64>) -> u64 {
    let sources = from.layers.iter().filter_map(|layer| Some(layer.header.as_ref()?.cluster_size));
    sources.chain(target).fold(WINDOW, u64::max)
}

/// Whether a write ends when the page cache has it.
fn is_page_cache(to: &BlockBackend, cache: Cache) -> bool {
    matches!(to.layers[0].place, Name::Path(_)) && !cache.waits_for_the_disk()
}

/// `-B` and `-F`.
fn backing(options: &Options) -> Result<Option<(String, ImageFormat)>> {
    let bad = |why: &str| Error::new(Doing::Parse, "-B", refused(why));
    match (&options.backing, options.backing_format) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(bad("-F says the format of nothing, without -B")),
        (Some(_), _) if options.output_format == ImageFormat::Raw => Err(bad("a raw image is based on nothing")),
        (Some(_), None) => Err(bad("it needs -F: who guesses a format lets the image's content decide")),
        (Some(backing), Some(format)) => Ok(Some((backing.clone(), format))),
    }
}

fn written_over(options: &Options) -> Error {
    Error::new(Doing::Open, &options.target, refused("it would be written over while it is read"))
}

/// What an image of all its data takes at most, in clusters of so many bytes.
fn most_data(from: &BlockBackend, cluster_size: u64) -> Result<u64> {
    let (mut at, mut bytes) = (0, 0);
    while at < from.end() {
        let status = blk_block_status(from, at, from.end() - at).map_err(Error::at(Doing::Map, from.name()))?;
        if !status.zero {
            // Whole clusters at both ends.
            bytes += (at + status.length).next_multiple_of(cluster_size) - at / cluster_size * cluster_size;
        }
        at += status.length;
    }
    // And tables: an entry of 8 bytes for each cluster, a count of 2, and a few clusters for those of the tables.
    Ok(bytes + bytes / cluster_size * 10 + 8 * cluster_size)
}

/// `-n`: the image that is there is written to in place.
fn into_existing(options: &Options, from: &BlockBackend, sparse: u64) -> Result<()> {
    let failed = |why: String| Error::new(Doing::Open, &options.target, refused(why));
    if !options.options.is_empty() || options.backing.is_some() {
        return Err(failed("-o and -B are for a new image, and -n makes none".into()));
    }
    let place = blk_locate(&options.target)?;
    if from.layers.iter().any(|layer| layer.needs(place.as_ref())) {
        return Err(written_over(options));
    }
    let to = blk_open(&options.target, Some(options.output_format), true, options.cache)?;
    if from.layers.iter().any(|layer| layer.needs(to.layers[0].data.as_ref())) {
        return Err(written_over(options));
    }
    if to.end() < from.end() {
        return Err(failed(format!("its {} bytes are too few for {}", to.end(), from.end())));
    }
    let orderly = Orderly::begin(!to.is_raw());
    let target = Target::existing(&options.target)?;
    target.begin();
    let end = end(from, &to)?;
    let progress = progress::of_bytes("convert", end, options.progress);
    let grain = GRAIN.min(sparse.max(512));
    let window = window(from, to.layers[0].header.as_ref().map(|header| header.cluster_size));
    let copied = Copy {
        from,
        to: &to,
        end,
        blank: false,
        own: false,
        sparse,
        window,
        grain,
        progress: &progress,
        taken: Mutex::default(),
        page_cache: is_page_cache(&to, options.cache),
        in_flight: InFlight::default(),
    }
    .run();
    progress.finish_and_clear();
    let copied = copied.and_then(|()| blk_flush(&to).map_err(Error::at(Doing::Flush, to.name())));
    drop(to);
    orderly.finish();
    copied.map_err(|error| target.blame(error))?;
    target.commit()
}

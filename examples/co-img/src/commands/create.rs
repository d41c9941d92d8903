//! `create`: an empty image.

use clap::Args;

use crate::backend::{blk_flush, blk_getlength};
use crate::cli::{cluster_size, format, print};
use crate::driver::Cache;
use crate::error::{Doing, Error, Result, refused};
use crate::name::{ImageName, MOST, Name, parse_size};
use crate::open::{
    Access, ImageFormat, NewImage, blk_create, blk_lock_target, blk_open_at, blk_open_target, one_format,
};
use crate::target::Target;

#[derive(Args)]
pub struct Options {
    /// The new image's format
    #[arg(short, value_parser = format, value_name = "FMT", default_value = "raw")]
    format: ImageFormat,
    /// What it is to be based on; a relative path begins where the new image is
    #[arg(short, value_name = "BACKING")]
    backing: Option<String>,
    /// That one's format
    #[arg(short = 'F', value_parser = format, value_name = "FMT")]
    backing_format: Option<ImageFormat>,
    /// cluster_size=N, of qcow2
    #[arg(short, value_name = "OPTION")]
    options: Vec<String>,
    #[arg(value_name = "IMG")]
    image: ImageName,
    /// Else that of what it is based on
    #[arg(value_name = "SIZE")]
    size: Option<String>,
}

pub fn run(options: &Options) -> Result<()> {
    let failed = |why: &str| Error::new(Doing::Create, &options.image, refused(why));
    let cluster_size = cluster_size(&options.options, options.format)?;
    let size = options.size.as_deref().map(parse_size).transpose();
    let mut size = size.map_err(Error::at(Doing::Create, &options.image))?;
    let mut below = Vec::new();
    let backing = match (&options.backing, options.backing_format) {
        (None, None) => None,
        (None, Some(_)) => return Err(failed("-F says the format of nothing, without -b")),
        (Some(_), _) if options.format == ImageFormat::Raw => return Err(failed("a raw image is based on nothing")),
        (Some(_), None) => return Err(failed("-b needs -F: who guesses a format lets the image's content decide")),
        (Some(backing), Some(format)) => {
            let named = |cause| Error::new(Doing::Open, backing, cause);
            let found = Name::parse(&options.image).and_then(|image| image.relative(backing)).map_err(&named)?;
            let (found, format) = one_format(found, Some(format)).map_err(&named)?;
            let format = format.unwrap_or(ImageFormat::Raw);
            let blk = blk_open_at(found, backing, Some(format), Access::default())?;
            if size.is_none() {
                size = Some(blk_getlength(&blk).map_err(Error::at(Doing::Open, backing))?);
            }
            below = blk.layers;
            Some((backing.clone(), format))
        }
    };
    let Some(size) = size.and_then(|size| size.checked_next_multiple_of(512)).filter(|size| *size <= MOST) else {
        return Err(failed(if size.is_some() { "it is too big" } else { "it needs a size" }));
    };
    let target = Target::new(&options.image)?;
    let new = NewImage { format: options.format, size, cluster_size, backing };
    let driver = blk_open_target(target.name(), &new, Cache::Writeback).map_err(|error| target.blame(error))?;
    let place = target.overwritten(&driver);
    if below.iter().any(|layer| layer.needs(place.as_ref())) {
        return Err(failed("it would be based on itself"));
    }
    blk_lock_target(&driver, target.name()).map_err(|error| target.blame(error))?;
    target.begin();
    let created = blk_create(driver, target.name(), &new, Cache::Writeback)
        .and_then(|blk| blk_flush(&blk).map_err(Error::at(Doing::Flush, target.name())));
    created.map_err(|error| target.blame(error))?;
    target.commit()?;
    let clusters = match new.format {
        ImageFormat::Raw => String::new(),
        ImageFormat::Qcow2 => format!(" cluster_size={}", new.cluster_size.unwrap_or(65536)),
    };
    let backing = new.backing.map_or(String::new(), |(backing, format)| {
        format!(" backing_file={} backing_fmt={}", backing.replace(char::is_control, " "), format.name())
    });
    let name = options.image.to_string().replace(char::is_control, " ");
    print(&format!("Formatting '{name}', fmt={}{clusters} size={size}{backing}\n", new.format.name()))
}

//! Opening images, with what they are based on, and making new ones.
//!
//! imago could open backing files itself, but then one that is based on itself would be opened until descriptors run
//! out (`qcow2/mod.rs:312`), and images on different drivers could not be told by name. So each image of a chain is
//! opened here, from the top down, and put together from the bottom up.

use std::ffi::OsStr;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use co_wrapper::{co_wrapper, reactor};
use imago::format::gate::DenyImplicitOpenGate;
use imago::qcow2::Qcow2;
use imago::raw::Raw;
use imago::storage::PreallocateMode;
use imago::{FormatAccess, FormatCreateBuilder, FormatDriverBuilder, Storage, StorageExt};

use crate::backend::BlockBackend;
use crate::check::{Checked, check};
use crate::driver::{Cache, Driver, Identity};
use crate::error::{Doing, Error, Result, invalid, refused};
use crate::lock::Locks;
use crate::name::{ImageName, Name};
use crate::qcow2::{Header, MAGIC};

/// The formats that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFormat {
    /// The bytes as they are.
    Raw,
    /// QEMU's copy-on-write format, versions 2 and 3.
    Qcow2,
}

impl ImageFormat {
    /// Understands a format's name.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn parse(text: &str) -> io::Result<Self> {
        match text {
            "raw" | "file" | "host_device" => Ok(ImageFormat::Raw),
            "qcow2" => Ok(ImageFormat::Qcow2),
            _ => Err(refused(format!("the format '{text}' is not raw or qcow2"))),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            ImageFormat::Raw => "raw",
            ImageFormat::Qcow2 => "qcow2",
        }
    }
}

/// One image of a chain.
#[derive(Debug)]
pub struct Layer {
    /// As the user, or the image above, named it.
    pub name: String,
    /// The same, understood.
    pub place: Name,
    /// Its format.
    pub format: ImageFormat,
    /// In bytes.
    pub size: u64,
    /// What it says of itself, if it is a qcow2 image.
    pub header: Option<Header>,
    /// The bytes that it takes on its disk, where that can be known.
    pub allocated: Option<u64>,
    /// The bytes of the file that it is in.
    pub file_size: u64,
    /// The driver's name.
    pub protocol: &'static str,
    /// The name of what it is based on, as it is found from here.
    pub backing: Option<String>,
    pub(crate) preallocated: bool,
    pub(crate) identity: Option<Identity>,
    /// Where the external file with its data is, if that was opened, too.
    pub(crate) data: Option<Identity>,
}

/// An image that nobody would make on purpose.
pub(crate) const MOST_LAYERS: usize = 256;

/// How an image is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Access {
    /// To be written to, and what it is based on is not.
    pub writable: bool,
    /// To be made longer or shorter, too.
    pub resizes: bool,
    /// How it is cached.
    pub cache: Cache,
    /// No other program may write to it meanwhile, even if it is raw.
    pub steady: bool,
    /// What it is based on is held by this program already.
    pub below_is_held: bool,
    /// Whatever other programs do to it meanwhile: `-U`. For images that are read.
    pub shared: bool,
}

/// Opens `name`, of the `format` or of what it looks like.
///
/// # Errors
/// When it, or something that it is based on, cannot be opened, makes no sense, or needs what is not supported; when
/// another program is using it in a way that is in ours.
#[co_wrapper(mixed)]
pub async fn blk_co_open(
    name: &(impl AsRef<OsStr> + ?Sized),
    format: Option<ImageFormat>,
    writable: bool,
    cache: Cache,
) -> Result<BlockBackend> {
    blk_co_open_as(name, format, Access { writable, cache, ..Access::default() }).await
}

/// Like [`blk_open`], with all choices.
///
/// # Errors
/// The same as [`blk_open`].
#[co_wrapper(mixed)]
pub async fn blk_co_open_as(
    name: &(impl AsRef<OsStr> + ?Sized),
    format: Option<ImageFormat>,
    access: Access,
) -> Result<BlockBackend> {
    let name = name.as_ref();
    let (top, format) = parse(name, format).map_err(Error::at(Doing::Open, name.display()))?;
    blk_co_open_at(top, &name.to_string_lossy(), format, access).await
}

/// Like [`blk_open_as`], for a name that is understood already and in errors goes by that other name.
///
/// # Errors
/// The same as [`blk_open`].
#[co_wrapper(mixed)]
pub async fn blk_co_open_at(
    top: Name,
    name: &str,
    format: Option<ImageFormat>,
    access: Access,
) -> Result<BlockBackend> {
    open_chain(top, format, access).await.map_err(|(culprit, cause)| match culprit {
        None => Error::new(Doing::Open, name, cause),
        Some(below) => {
            Error::new(Doing::Open, name, io::Error::new(cause.kind(), format!("backing file '{below}': {cause}")))
        }
    })
}

/// Opens `name` alone, not what it is based on nor the file that has its data, and tells what it says of itself.
///
/// # Errors
/// When it cannot be opened or makes no sense.
#[co_wrapper(mixed)]
pub async fn blk_co_inspect(name: &Name, format: Option<ImageFormat>, shared: bool) -> Result<Layer> {
    let inspect = async {
        let access = Access { shared, ..Access::default() };
        Ok(open_layer(name, format, access, true, &Arc::default()).await?.1)
    };
    inspect.await.map_err(Error::at(Doing::Open, name))
}

/// Checks a qcow2 image; there is nothing to check of others.
///
/// # Errors
/// When it cannot be opened or makes no sense; those of reading.
#[co_wrapper(mixed, expect_long)]
pub async fn blk_co_check(name: &Name, format: Option<ImageFormat>, shared: bool) -> Result<Option<Checked>> {
    let check = async {
        let access = Access { shared, ..Access::default() };
        let (driver, layer) = open_layer(name, format, access, true, &Arc::default()).await?;
        match &layer.header {
            None => Ok(None),
            Some(header) => check(&driver, header).await.map(Some),
        }
    };
    check.await.map_err(Error::at(Doing::Open, name))
}

/// What a name names, and the format if that is said.
pub type Found = (Name, Option<ImageFormat>);

/// What `name` names, and its format, which the name and the user may both say.
pub(crate) fn parse(name: &OsStr, format: Option<ImageFormat>) -> io::Result<Found> {
    one_format(Name::parse_with_format(name)?, format)
}

pub(crate) fn one_format((name, said): Found, format: Option<ImageFormat>) -> io::Result<Found> {
    match (said, format) {
        (Some(said), Some(format)) if said != format => {
            Err(refused(format!("its name says that it is {}, not {}", said.name(), format.name())))
        }
        _ => Ok((name, said.or(format))),
    }
}

/// Opens one image.
async fn open_layer(
    name: &Name,
    format: Option<ImageFormat>,
    access: Access,
    topmost: bool,
    tables: &Arc<AtomicU64>,
) -> io::Result<(Driver, Layer)> {
    // The process's own, so that an image opened in a host's runtime needs that runtime neither alive nor driven.
    let mut driver = Driver::open(name, access.writable, access.cache, &reactor()).await?;
    let found = match format {
        Some(format) => format,
        None => probe(&driver).await?,
    };
    if !access.shared && (topmost || !access.below_is_held) {
        let raw = found == ImageFormat::Raw;
        driver
            .lock(match access.writable {
                true => Locks::writer(access.resizes || !raw),
                false => Locks::reader(raw && topmost && !access.steady),
            })
            .await?;
    }
    let layer = Layer::read(&mut driver, name, found, access.writable, tables).await?;
    Ok((driver, layer))
}

/// An error, and whose it is if not the topmost image's.
type Blame = (Option<String>, io::Error);

async fn open_chain(
    top: Name,
    format: Option<ImageFormat>,
    access: Access,
) -> std::result::Result<BlockBackend, Blame> {
    let tables = Arc::<AtomicU64>::default();
    let (mut layers, mut drivers) = (Vec::<Layer>::new(), Vec::new());
    let (mut next, mut format) = (Some(top), format);
    while let Some(name) = next.take() {
        let blame = |cause| ((!layers.is_empty()).then(|| name.to_string()), cause);
        if layers.len() == MOST_LAYERS {
            return Err(blame(invalid(format!("more than {MOST_LAYERS} images are based on one another"))));
        }
        let topmost = layers.is_empty();
        let access = Access { writable: access.writable && topmost, ..access };
        let (driver, mut layer) = open_layer(&name, format, access, topmost, &tables).await.map_err(blame)?;
        if layers.iter().any(|above| above.is_same(&layer)) {
            return Err(blame(invalid("it is based on itself, a loop")));
        }
        let data = match layer.header.as_ref().and_then(|header| header.data_file.as_deref()) {
            None => None,
            Some(data) => {
                let named =
                    |cause: io::Error| blame(io::Error::new(cause.kind(), format!("data file '{data}': {cause}")));
                let (data, _) =
                    one_format(name.relative(data).map_err(named)?, Some(ImageFormat::Raw)).map_err(named)?;
                let at = data.to_string();
                let named =
                    |cause: io::Error| blame(io::Error::new(cause.kind(), format!("data file '{at}': {cause}")));
                let file = Driver::open(&data, access.writable, access.cache, &reactor()).await.map_err(named)?;
                let locks = if access.writable { Locks::writer(true) } else { Locks::reader(false) };
                if !access.shared && (topmost || !access.below_is_held) {
                    file.lock(locks).await.map_err(named)?;
                }
                layer.data = file.identity();
                Some(file)
            }
        };
        if let Some((backing, found)) = layer.below() {
            let (name, found) = found.map_err(|cause| (Some(backing.to_owned()), cause))?;
            (next, format) = (Some(name), found);
        }
        drivers.push((driver, data));
        layers.push(layer);
    }
    let changes = drivers[0].0.tables();
    let mut image = None;
    for (depth, (driver, data)) in drivers.into_iter().enumerate().rev() {
        let writable = access.writable && depth == 0;
        let blame = |cause| ((depth > 0).then(|| layers[depth].name.clone()), cause);
        image = Some(match layers[depth].format {
            ImageFormat::Raw => {
                driver.hold_raw();
                FormatAccess::new(Raw::open_image(driver, writable).await.map_err(blame)?)
            }
            ImageFormat::Qcow2 => {
                let qcow2 = Qcow2::<Driver>::builder(driver).write(writable).backing(image.take()).data_file(data);
                FormatAccess::new(qcow2.open(DenyImplicitOpenGate::default()).await.map_err(blame)?)
            }
        });
    }
    let image = image.expect("a chain has at least one image");
    let tables = (!access.writable).then_some(tables);
    Ok(BlockBackend { access: image, layers, writethrough: access.cache.writethrough(), tables, changes })
}

impl Layer {
    /// What it is based on, as it says, and what that is from here, and its format if that is known.
    pub fn below(&self) -> Option<(&str, io::Result<Found>)> {
        let header = self.header.as_ref()?;
        let backing = header.backing.as_deref()?;
        let format = header.backing_format.as_deref().map(ImageFormat::parse).transpose();
        let found = format.and_then(|format| one_format(self.place.relative(backing)?, format));
        Some((backing, found))
    }

    /// Whether it is there.
    pub fn is_at(&self, place: Option<&Identity>) -> bool {
        place.is_some() && self.identity.as_ref() == place
    }

    /// Whether it, or its data, is there.
    pub fn needs(&self, place: Option<&Identity>) -> bool {
        self.is_at(place) || place.is_some() && self.data.as_ref() == place
    }

    /// Whether both are in one place.
    pub fn is_same(&self, other: &Layer) -> bool {
        self.is_at(other.identity.as_ref())
    }

    async fn read(
        driver: &mut Driver,
        name: &Name,
        format: ImageFormat,
        writable: bool,
        tables: &Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let header = match format {
            ImageFormat::Raw => None,
            ImageFormat::Qcow2 => Some(Header::read(driver).await?),
        };
        let mut preallocated = false;
        if let Some(header) = &header {
            if writable && (header.dirty || header.corrupt) {
                return Err(refused("it is marked as dirty or corrupt; run qemu-img check -r all"));
            }
            if writable && header.data_file_raw {
                let what = "its data file is kept as a raw image, which is not done here: run qemu-img";
                return Err(io::Error::new(io::ErrorKind::Unsupported, what));
            }
            if writable {
                header.check_refcounts(driver).await?;
                driver.hold_written_qcow2(header).await?;
            } else {
                driver.hold_qcow2(header.cluster_size, tables.clone());
                // What is wrong with refcounts does not matter to who only reads.
                preallocated = header.data_file.is_none() && header.preallocated(driver).await.unwrap_or(false);
            }
        }
        // What cannot be found from here is only an error for who wants to open it.
        let backing = header.as_ref().and_then(|header| header.backing.as_deref());
        let backing = backing.and_then(|backing| name.relative(backing).ok()).map(|(backing, _)| backing.to_string());
        Ok(Layer {
            name: name.to_string(),
            place: name.clone(),
            format,
            size: header.as_ref().map_or(driver.size()?, |header| header.size),
            header,
            allocated: driver.allocated().await?,
            file_size: driver.size()?,
            protocol: driver.kind(),
            backing,
            preallocated,
            identity: driver.identity(),
            data: None,
        })
    }
}

/// What the file looks like. One of a format that QEMU has and we lack is not taken for raw.
async fn probe(driver: &Driver) -> io::Result<ImageFormat> {
    let mut head = [0; 72];
    driver.read(&mut head[..], 0).await?;
    let foreign = [
        (0, &b"KDMV"[..], "vmdk"),
        (0, b"COWD", "vmdk"),
        (0, b"QED\0", "qed"),
        (0, b"QFI\xfb\0\0\0\x01", "qcow"),
        (0, b"Bochs Virtual HD Image", "bochs"),
        (0, b"LUKS\xba\xbe", "luks"),
        (0, b"conectix", "vpc"),
        (0, b"vhdxfile", "vhdx"),
        (0, b"WithoutFreeSpace", "parallels"),
        (0, b"WithouFreSpacExt", "parallels"),
        (64, b"\x7f\x10\xda\xbe", "vdi"),
    ];
    if head.starts_with(&MAGIC) && head[4..8] > [0, 0, 0, 1][..] {
        return Ok(ImageFormat::Qcow2); // of later versions, too: those are refused
    }
    match foreign.iter().find(|(at, magic, _)| head[*at..].starts_with(magic)) {
        Some((_, _, name)) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("it looks like a {name} image, which is not supported; -f raw reads it as it is"),
        )),
        None => Ok(ImageFormat::Raw),
    }
}

/// How a new image is to be.
#[derive(Clone, Debug)]
pub struct NewImage {
    /// Its format.
    pub format: ImageFormat,
    /// In bytes.
    pub size: u64,
    /// Of qcow2 images, in bytes: a power of two from 512 to 2 MiB.
    pub cluster_size: Option<u64>,
    /// What a qcow2 image is to be based on, and that one's format.
    pub backing: Option<(String, ImageFormat)>,
}

/// Opens what an image is to be made in, an empty file or a device or an export that is big enough, and leaves it as it
/// is.
///
/// # Errors
/// Those of the drivers; when it is too small.
#[co_wrapper(mixed)]
pub async fn blk_co_open_target(name: &Name, new: &NewImage, cache: Cache) -> Result<Driver> {
    let open = async {
        let driver = Driver::open(name, true, cache, &reactor()).await?;
        match driver.size()? {
            size if driver.is_fixed() && new.format == ImageFormat::Raw && size < new.size => {
                Err(refused(format!("its {size} bytes are too few for {}", new.size)))
            }
            _ => Ok(driver),
        }
    };
    open.await.map_err(Error::at(Doing::Open, name))
}

/// Keeps others from what an image is to be made in.
///
/// # Errors
/// When another program is using it.
#[co_wrapper(mixed)]
pub async fn blk_co_lock_target(driver: &Driver, name: &Name) -> Result<()> {
    driver.lock(Locks::writer(!driver.is_fixed())).await.map_err(Error::at(Doing::Open, name))
}

/// Where `name` is, if it is anywhere.
///
/// # Errors
/// Those of the drivers.
#[co_wrapper(mixed)]
pub async fn blk_co_locate(name: &ImageName) -> Result<Option<Identity>> {
    let locate = async {
        let (place, _) = Name::parse_with_format(name)?;
        Ok(Driver::open(&place, false, Cache::Writeback, &reactor()).await?.identity())
    };
    locate.await.map_err(Error::at(Doing::Open, name))
}

/// Makes an image in `driver`, of this `name`, and opens it, without what it is based on.
///
/// # Errors
/// Those of the formats and drivers.
#[co_wrapper(mixed)]
pub async fn blk_co_create(driver: Driver, name: &Name, new: &NewImage, cache: Cache) -> Result<BlockBackend> {
    create(driver, name, new, cache).await.map_err(Error::at(Doing::Create, name))
}

async fn create(driver: Driver, name: &Name, new: &NewImage, cache: Cache) -> io::Result<BlockBackend> {
    if !driver.is_fixed() {
        driver.resize(0, PreallocateMode::None).await?; // a file that is written over
    }
    let (protocol, identity) = (driver.kind(), driver.identity());
    let access = match new.format {
        ImageFormat::Raw => {
            if driver.size()? < new.size {
                driver.resize(new.size, PreallocateMode::Zero).await?;
            }
            driver.hold_raw();
            FormatAccess::new(Raw::open_image(driver, true).await?)
        }
        ImageFormat::Qcow2 => {
            let cluster_size = usize::try_from(new.cluster_size.unwrap_or(65536)).unwrap_or(usize::MAX);
            let mut image = Qcow2::<Driver>::create_builder(driver).size(new.size).cluster_size(cluster_size);
            if let Some((backing, format)) = &new.backing {
                image = image.backing(backing.clone(), format.name().into());
            }
            let open = |file| Ok(Qcow2::<Driver>::builder(file).backing(None));
            FormatAccess::new(image.create_open(DenyImplicitOpenGate::default(), open).await?)
        }
    };
    let layer = Layer {
        name: name.to_string(),
        place: name.clone(),
        format: new.format,
        size: new.size,
        header: None,
        allocated: None,
        file_size: 0,
        protocol,
        backing: None,
        preallocated: false,
        identity,
        data: None,
    };
    Ok(BlockBackend { access, layers: vec![layer], writethrough: cache.writethrough(), tables: None, changes: None })
}

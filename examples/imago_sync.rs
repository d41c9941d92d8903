//! A blocking interface for a crate of somebody else's, from outside: every async method of [`imago`]'s `FormatAccess`,
//! which knows nothing of this.
//!
//!     cargo run --release --example imago_sync -- disk.qcow2        # what is in it, and a checksum

use std::{env, io, process::ExitCode};

use imago::file::File;
use imago::format::PreallocateMode;
use imago::io_buffers::{IoVector, IoVectorMut};
use imago::{FormatAccess, FormatDriverBuilder, Mapping, PermissiveImplicitOpenGate, PreparedDataMapping};
use imago::{ShallowMapping, Storage, qcow2::Qcow2};

co_wrapper::declare! {
    /// The blocking half of [`FormatAccess`].
    #[co_wrapper(suffix = "_blocking")]
    pub impl<S: Storage + 'static> Blocking for FormatAccess<S> {
        fn get_shallow_mapping_blocking(&self, off: u64, max: u64) -> io::Result<(ShallowMapping<'_, S>, u64)>;
        fn get_mapping_blocking(&self, off: u64, max: u64) -> io::Result<(Mapping<'_, S>, u64)>;
        fn ensure_data_mapping_blocking(&self, off: u64, len: u64, new: bool) -> io::Result<(&S, u64, u64)>;
        fn prepare_data_mapping_blocking(&self, off: u64, len: u64, new: bool) -> io::Result<PreparedDataMapping<'_, S>>;
        fn commit_data_mapping_blocking(&self, mapping: PreparedDataMapping<'_, S>) -> io::Result<()>;
        fn readv_blocking(&self, buf: IoVectorMut<'_>, off: u64) -> io::Result<()>;
        fn read_blocking<'a>(&'a self, buf: impl Into<IoVectorMut<'a>>, off: u64) -> io::Result<()>;
        fn writev_blocking(&self, buf: IoVector<'_>, off: u64) -> io::Result<()>;
        fn write_blocking<'a>(&'a self, buf: impl Into<IoVector<'a>>, off: u64) -> io::Result<()>;
        fn write_zeroes_blocking(&self, off: u64, len: u64) -> io::Result<()>;
        fn discard_to_zero_blocking(&mut self, off: u64, len: u64) -> io::Result<()>;
        unsafe fn discard_to_zero_unsafe_blocking(&self, off: u64, len: u64) -> io::Result<()>;
        fn discard_to_any_blocking(&mut self, off: u64, len: u64) -> io::Result<()>;
        unsafe fn discard_to_any_unsafe_blocking(&self, off: u64, len: u64) -> io::Result<()>;
        fn discard_to_backing_blocking(&mut self, off: u64, len: u64) -> io::Result<()>;
        unsafe fn discard_to_backing_unsafe_blocking(&self, off: u64, len: u64) -> io::Result<()>;
        fn flush_blocking(&self) -> io::Result<()>;
        fn sync_blocking(&self) -> io::Result<()>;
        unsafe fn invalidate_cache_blocking(&self) -> io::Result<()>;
        fn resize_blocking(&mut self, size: u64, prealloc: PreallocateMode) -> io::Result<()>;
        fn resize_grow_blocking(&self, size: u64, prealloc: PreallocateMode) -> io::Result<()>;
        fn resize_shrink_blocking(&mut self, size: u64) -> io::Result<()>;
    }
}

/// Opens a qcow2 image, with what it is based on.
#[co_wrapper::co_wrapper(name = open_blocking)]
pub async fn open(path: &str, writable: bool) -> io::Result<FormatAccess<File>> {
    let image = Qcow2::<File>::builder_path(path).write(writable);
    Ok(FormatAccess::new(image.open(PermissiveImplicitOpenGate::default()).await?))
}

fn main() -> ExitCode {
    let Some(path) = env::args().nth(1) else {
        eprintln!("usage: imago_sync IMAGE.qcow2");
        return ExitCode::FAILURE;
    };
    match survey(&path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{path}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn survey(path: &str) -> io::Result<()> {
    let image = open_blocking(path, false)?;
    let mut at = 0;
    while at < image.size() {
        let (mapping, len) = image.get_mapping_blocking(at, u64::MAX)?;
        println!("{at:#12x} {len:#12x}  {mapping}");
        at += len.max(1);
    }
    let (mut crc, mut buf) = (crc32fast::Hasher::new(), vec![0; 1 << 20]);
    for off in (0..image.size()).step_by(buf.len()) {
        let len = buf.len().min((image.size() - off) as usize);
        image.read_blocking(&mut buf[..len], off)?;
        crc.update(&buf[..len]);
    }
    println!("  {} bytes, crc32 {:08x}", image.size(), crc.finalize());
    Ok(())
}

//! A partition table and a file system on a disk, by crates that know nothing of async: `gpt` and `fatfs` want
//! `Read + Write + Seek`, and `blocking::Cursor` has them over the block driver of `blockdev.rs`.
//!
//!     cargo run --example format_disk                                          # on a new image
//!     cargo run --example format_disk -- 'nbd+unix:///img?socket=/run/nbd.sock' Cargo.toml README.md
//!
//! With arguments: erases the disk (a path or an NBD URL), and puts the files on it.

use std::io::{self, Read, Write};
use std::{env, fs, path::Path, process::ExitCode};

use co_wrapper::blocking::{Cursor, Partition};
use fatfs::{FileSystem, FormatVolumeOptions, FsOptions, format_volume};
use gpt::{GptConfig, mbr::ProtectiveMBR, partition_types};

#[path = "blockdev.rs"]
#[allow(dead_code, reason = "its `main`")]
pub mod blockdev;

use blockdev::Disk;

const SECTOR: u64 = 512;
/// The partition begins and ends at multiples of so many sectors: of 1 MiB, as everybody has it.
const ALIGNED: u64 = 2048;

/// Writes a table with one partition, as large as can be.
fn partition(disk: &Disk) -> io::Result<()> {
    let sectors = disk.size / SECTOR;
    let mut cursor = Cursor::new(disk);
    let whole = u32::try_from(sectors.saturating_sub(1)).unwrap_or(u32::MAX);
    ProtectiveMBR::with_lb_size(whole).overwrite_lba0(&mut cursor).map_err(io::Error::other)?;
    let mut table = GptConfig::new().writable(true).create_from_device(cursor, None).map_err(io::Error::other)?;
    let end = (table.header().last_usable + 1) / ALIGNED * ALIGNED;
    let len = end.checked_sub(ALIGNED).filter(|len| *len > 0);
    let len = len.ok_or_else(|| io::Error::new(io::ErrorKind::StorageFull, "no room for a partition"))?;
    let added = table.add_partition_at("files", 1, ALIGNED, len, partition_types::BASIC, 0);
    added.and_then(|_| table.write()).map_err(io::Error::other)?.flush()
}

/// The partition that the disk's table lists.
fn find(disk: &Disk) -> io::Result<Partition<&Disk>> {
    let table = GptConfig::new().open_from_device(Cursor::new(disk)).map_err(io::Error::other)?;
    let files = table.partitions().get(&1).ok_or_else(|| io::Error::other("the table lists no partition"))?;
    Partition::new(disk, files.first_lba * SECTOR, (files.last_lba + 1 - files.first_lba) * SECTOR)
}

/// Puts the files on the disk, of which nothing remains.
pub fn fill(disk: &Disk, files: &[(&str, &[u8])]) -> io::Result<()> {
    partition(disk)?;
    let mut cursor = Cursor::new(find(disk)?);
    format_volume(&mut cursor, FormatVolumeOptions::new().volume_label(*b"CO-WRAPPER "))?;
    let system = FileSystem::new(cursor, FsOptions::new())?;
    for (name, content) in files {
        let mut file = system.root_dir().create_file(name)?;
        file.truncate()?;
        file.write_all(content)?;
        file.flush()?;
    }
    system.unmount()?;
    disk.flush_blocking()
}

/// The files on the disk.
pub fn files(disk: &Disk) -> io::Result<Vec<(String, Vec<u8>)>> {
    let system = FileSystem::new(Cursor::new(find(disk)?), FsOptions::new())?;
    let mut files = Vec::new();
    for entry in system.root_dir().iter() {
        let (entry, mut content) = (entry?, Vec::new());
        entry.to_file().read_to_end(&mut content)?;
        files.push((entry.file_name(), content));
    }
    Ok(files)
}

fn run(url: &str, paths: &[String]) -> io::Result<String> {
    let disk = Disk::open_blocking(url)?;
    let mut contents = Vec::new();
    for path in paths {
        let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
        contents.push((name, fs::read(path)?));
    }
    let contents: Vec<_> = contents.iter().map(|(name, content)| (name.as_str(), &content[..])).collect();
    fill(&disk, &contents)?;
    let rows = files(&disk)?.into_iter().map(|(name, content)| format!("  {:8} bytes  {name}\n", content.len()));
    Ok(format!("{url}\n{}", rows.collect::<String>()))
}

fn demo() -> io::Result<String> {
    let folder = tempfile::tempdir()?;
    let [image, text] = ["disk.img", "a text.txt"].map(|name| folder.path().join(name).display().to_string());
    fs::File::create(&image)?.set_len(16 << 20)?;
    fs::write(&text, "written by fatfs, by way of an async block driver\n")?;
    run(&image, &[text])
}

fn main() -> ExitCode {
    let args: Vec<_> = env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    let report = match &args[..] {
        [] => demo(),
        [url, paths @ ..] => run(url, paths),
    };
    match report.and_then(|report| io::stdout().write_all(report.as_bytes())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("format_disk: {}: {cause}", args.first().map_or("demo", String::as_str));
            ExitCode::FAILURE
        }
    }
}

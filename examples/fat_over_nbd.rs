//! A thousand files of a FAT image, read at once on one thread, by code that blocks: the crate `fatfs`, as it is, over the
//! async `Disk` of `blockdev.rs`.
//!
//!     cargo run --release --example fat_over_nbd
//!
//! Each file is opened and read by a coroutine of its own, which is suspended wherever `fatfs` waits for the disk. Beside it
//! the same code runs in tokio's `spawn_blocking`, where each file takes a thread. Both read an image file and an NBD export
//! of it, which `qemu-nbd` serves. Every file is checked.

#[path = "blockdev.rs"]
#[allow(dead_code, reason = "its `main`")]
mod blockdev;

use std::{
    cell::Cell,
    env, fs,
    future::poll_fn,
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use blockdev::Disk;
use co_wrapper::{Coroutine, block_on};
use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};
use futures::future::{FutureExt, join_all};

const FILES: usize = 1_000;
const FILES_OF_A_FOLDER: usize = 50;
const IMAGE: u64 = 64 << 20;
/// What the disk is asked for at once.
const BLOCK: usize = 4 << 10;

/// A position on a disk: what blocking code wants. It keeps the block that was read last.
struct Cursor {
    disk: Arc<Disk>,
    at: u64,
    block: Vec<u8>,
    block_at: Option<u64>,
}

impl Cursor {
    fn new(disk: &Arc<Disk>) -> Self {
        Self { disk: Arc::clone(disk), at: 0, block: vec![0; BLOCK], block_at: None }
    }
}

impl Read for Cursor {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let start = self.at - self.at % BLOCK as u64;
        if self.block_at != Some(start) {
            self.disk.read_blocking(start, &mut self.block)?;
            self.block_at = Some(start);
        }
        let rest = &self.block[(self.at - start) as usize..];
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        self.at += len as u64;
        Ok(len)
    }
}

impl Write for Cursor {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.disk.write_blocking(self.at, data)?;
        self.at += data.len() as u64;
        self.block_at = None;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.disk.flush_blocking()
    }
}

impl Seek for Cursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (from, by) = match to {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::End(by) => (self.disk.size, by),
            SeekFrom::Current(by) => (self.at, by),
        };
        self.at = from.checked_add_signed(by).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

fn name(file: usize) -> String {
    format!("folder {}/file number {file}.bin", file / FILES_OF_A_FOLDER)
}

/// What is in a file: between 1 and 16 KiB.
fn content(file: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(file as u64);
    let len = random.usize(1 << 10..16 << 10);
    (0..len).map(|_| random.u8(..)).collect()
}

/// Writes the files, by blocking calls of a plain thread.
fn make(disk: &Arc<Disk>) -> io::Result<()> {
    fatfs::format_volume(Cursor::new(disk), FormatVolumeOptions::new())?;
    let fs = FileSystem::new(Cursor::new(disk), FsOptions::new())?;
    for file in 0..FILES {
        if file % FILES_OF_A_FOLDER == 0 {
            fs.root_dir().create_dir(&format!("folder {}", file / FILES_OF_A_FOLDER))?;
        }
        fs.root_dir().create_file(&name(file))?.write_all(&content(file))?;
    }
    fs.unmount()
}

/// Reads one file and checks it: blocking code, which knows nothing of coroutines.
fn check(disk: &Arc<Disk>, file: usize) -> io::Result<()> {
    let fs = FileSystem::new(Cursor::new(disk), FsOptions::new().update_accessed_date(false))?;
    let mut read = Vec::new();
    fs.root_dir().open_file(&name(file))?.read_to_end(&mut read)?;
    if read == content(file) { Ok(()) } else { Err(io::Error::other(format!("{} is wrong", name(file)))) }
}

/// All files at once, on this thread. Returns how many were begun before the first had ended.
fn by_coroutines(disk: &Arc<Disk>) -> io::Result<usize> {
    thread_local! {
        static BEGUN: Cell<usize> = const { Cell::new(0) };
        static AT_ONCE: Cell<usize> = const { Cell::new(0) };
    }
    BEGUN.set(0);
    AT_ONCE.set(0);
    let all = (0..FILES).map(|file| {
        let disk = Arc::clone(disk);
        let check = move || {
            BEGUN.set(BEGUN.get() + 1);
            let checked = check(&disk, file);
            AT_ONCE.set(if AT_ONCE.get() == 0 { BEGUN.get() } else { AT_ONCE.get() });
            checked
        };
        // SAFETY: neither `check` nor `fatfs` leaves anything in a thread-local while it reads the disk.
        unsafe { Coroutine::new(check) }
    });
    block_on(join_all(all)).into_iter().collect::<io::Result<()>>()?;
    Ok(AT_ONCE.get())
}

/// One that is dropped while `fatfs` waits in it is unwound. Without unwinding it keeps its stack, and is counted.
fn dropped_while_suspended(disk: &Arc<Disk>) -> io::Result<()> {
    let in_use = Arc::strong_count(disk);
    let held = Arc::clone(disk);
    let waiting = Rc::new(Cell::new(false));
    let begins = Rc::clone(&waiting);
    let waits = move || {
        check(&held, 0)?;
        begins.set(true);
        block_on(std::future::pending::<io::Result<()>>())
    };
    // SAFETY: as above.
    let mut waits = unsafe { Coroutine::new(waits) };
    block_on(poll_fn(|cx| match waits.poll_unpin(cx) {
        Poll::Ready(_) => Poll::Ready(Err(io::Error::other("it waits for ever"))),
        Poll::Pending if waiting.get() => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    }))?;
    drop(waits);
    let kept = usize::from(cfg!(panic = "abort"));
    let right = Coroutine::stacks().kept == kept && Arc::strong_count(disk) == in_use + kept;
    if right { Ok(()) } else { Err(io::Error::other("what a dropped coroutine keeps")) }
}

/// All files at once, each on a thread, as far as tokio has threads.
fn by_spawn_blocking(disk: &Arc<Disk>) -> io::Result<usize> {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(FILES).enable_all().build()?;
    let all = (0..FILES).map(|file| {
        let disk = Arc::clone(disk);
        runtime.spawn_blocking(move || check(&disk, file))
    });
    let all: Vec<_> = all.collect();
    runtime.block_on(join_all(all)).into_iter().try_for_each(|checked| checked.map_err(io::Error::other)?)?;
    Ok(FILES)
}

/// A line of `/proc/self/status`, as a number.
fn status(line: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = text.lines().find_map(|found| found.strip_prefix(line)?.split_whitespace().next()?.parse().ok());
    value.unwrap_or(0)
}

/// Runs `read` and prints its time, and the threads and the memory that it took beside those that were there.
fn measure(what: &str, read: impl FnOnce() -> io::Result<usize>) -> io::Result<()> {
    let (done, threads, memory) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let before = (status("Threads:"), status("VmRSS:"));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Relaxed) {
                // This thread is not counted.
                threads.fetch_max((status("Threads:") - 1).saturating_sub(before.0), Relaxed);
                memory.fetch_max(status("VmRSS:").saturating_sub(before.1), Relaxed);
                thread::sleep(Duration::from_millis(1));
            }
        });
        let start = Instant::now();
        let read = read();
        let time = start.elapsed();
        done.store(true, Relaxed);
        println!("{what}: {FILES} files, {} at once, {time:.1?}", read?);
        Ok::<_, io::Error>(())
    })?;
    println!("    {} threads more, {} KiB of memory more", threads.load(Relaxed), memory.load(Relaxed));
    Ok(())
}

/// A server, which ends with this.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves the image and returns its address. `None` if there is no `qemu-nbd`.
fn serve(image: &Path) -> io::Result<Option<(Server, String)>> {
    let socket = image.with_extension("sock");
    let mut command = Command::new("qemu-nbd");
    command.args(["--format=raw", "--persistent", "--read-only", "--socket"]).arg(&socket).arg(image);
    let server = match command.stdin(Stdio::null()).spawn() {
        Err(error) if error.kind() == io::ErrorKind::NotFound && env::var_os("CO_WRAPPER_REQUIRE_QEMU").is_none() => {
            return Ok(None);
        }
        server => Server(server?),
    };
    let url = format!("nbd+unix:///?socket={}", socket.display());
    // The socket is there before anybody listens to it.
    let deadline = Instant::now() + Duration::from_secs(120);
    while let Err(error) = Disk::open_blocking(&url) {
        if Instant::now() > deadline {
            return Err(io::Error::other(format!("qemu-nbd does not listen: {error}")));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(Some((server, url)))
}

fn run() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let image = folder.path().join("fat.img");
    fs::File::create(&image)?.set_len(IMAGE)?;
    make(&Arc::new(Disk::open_blocking(&image.display().to_string())?))?;
    let server = serve(&image)?;
    let mut disks = vec![("file", image.display().to_string())];
    match &server {
        Some((_, url)) => disks.push(("NBD", url.clone())),
        None => println!("without NBD, because there is no qemu-nbd here"),
    }
    for (medium, url) in disks {
        let disk = Arc::new(Disk::open_blocking(&url)?);
        check(&disk, 0)?;
        measure(&format!("{medium}, coroutines of one thread"), || by_coroutines(&disk))?;
        measure(&format!("{medium}, spawn_blocking"), || by_spawn_blocking(&disk))?;
    }
    dropped_while_suspended(&Arc::new(Disk::open_blocking(&image.display().to_string())?))?;
    let stacks = Coroutine::stacks();
    println!("stacks: {} made, {} freed, {} pooled, {} kept", stacks.made, stacks.freed, stacks.pooled, stacks.kept);
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fat_over_nbd: {error}");
            ExitCode::FAILURE
        }
    }
}

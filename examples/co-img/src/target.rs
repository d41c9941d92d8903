//! What is being written: a file under a temporary name, which takes its place when it is whole; or a device, an
//! export, or a file whose place no other can take, in place. Whatever ends the program leaves no half-made file, and
//! says when something was written in place.

mod place;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::mem::MaybeUninit;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{future, process, ptr, thread};

use co_wrapper::{AioContext, co_wrapper};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::libc;
use nix::unistd::{AccessFlags, eaccess};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, Semaphore};
use tokio::time::sleep;

use crate::driver::{Driver, Identity};
use crate::error::{Doing, Error, Result, refused};
use crate::lock::Locks;
use crate::name::{ImageName, Name};

/// What is half-made right now. Whoever ends the program takes this lock and keeps it.
static HALF_MADE: Mutex<Vec<HalfMade>> = Mutex::new(Vec::new());

#[derive(Clone, PartialEq)]
enum HalfMade {
    File(PathBuf),
    InPlace(String),
}

/// Closed when a signal has asked the program to end: see [`Orderly`].
static STOP: Semaphore = Semaphore::const_new(0);
/// How many images are to be closed in order, and how to hear that none is left.
static ORDERLY: AtomicUsize = AtomicUsize::new(0);
static CLOSED: Notify = Notify::const_new();
/// For so long is waited for them; a second signal ends the program at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// While there is one of these, a signal does not end the program at once. [`interrupted`] tells whoever writes an
/// image to begin no more requests, to flush, and to [`finish`](Orderly::finish).
pub struct Orderly {
    has_tables: bool,
}

impl Orderly {
    /// From here on, if the image has tables: nothing is won by waiting for any other.
    pub fn begin(has_tables: bool) -> Self {
        ORDERLY.fetch_add(usize::from(has_tables), SeqCst);
        Orderly { has_tables }
    }

    /// The image is closed. Does not return when the program has been asked to end.
    pub fn finish(self) {
        drop(self);
        while STOP.is_closed() {
            thread::park();
        }
    }
}

impl Drop for Orderly {
    fn drop(&mut self) {
        ORDERLY.fetch_sub(usize::from(self.has_tables), SeqCst);
        CLOSED.notify_one();
    }
}

/// Whether a signal has asked the program to end.
pub fn is_interrupted() -> bool {
    STOP.is_closed()
}

/// Waits until a signal asks the program to end.
pub async fn interrupted() {
    let _ = STOP.acquire().await; // of which there are none
}

fn half_made() -> MutexGuard<'static, Vec<HalfMade>> {
    HALF_MADE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A target, until [`commit`](Self::commit). Dropped before that, a file is gone.
pub struct Target {
    shown: String,
    /// What to write to.
    name: Name,
    /// Its final place, if it is a file.
    place: Option<PathBuf>,
    /// The file that is there, if it is to be replaced. No other one is.
    replaced: Option<Identity>,
    /// It is a file, and is written in place.
    overwrites: bool,
    half: HalfMade,
    committed: bool,
    /// Whether it is to survive a power cut once it is committed.
    durable: bool,
    /// What is to be replaced, which nobody may begin to write to meanwhile.
    _there: Option<fs::File>,
}

impl Target {
    /// Prepares to write to `name`. What is there stays as it is until [`commit`](Self::commit) if it is a file, unless
    /// another file cannot take its name.
    pub fn new(name: &ImageName) -> Result<Self> {
        Target::prepare(name, None)
    }

    /// Like [`new`](Self::new), in place for this reason.
    fn prepare(name: &ImageName, why_in_place: Option<&'static str>) -> Result<Self> {
        let failed = |cause| Error::new(Doing::Create, name, cause);
        let shown = name.to_string();
        let parsed = Name::parse(name).map_err(failed)?;
        let Name::Path(path) = &parsed else { return Ok(Target::in_place(shown, parsed)) };
        let (place, mode, replaced) = match fs::metadata(path) {
            Ok(there) if there.file_type().is_block_device() => return Ok(Target::in_place(shown, parsed)),
            Ok(there) if there.is_file() => {
                // A rename would ask for the folder's permissions only.
                eaccess(path, AccessFlags::W_OK).map_err(|error| failed(error.into()))?;
                let why = why_in_place.or_else(|| place::why_in_place(path, &there));
                if let Some(why) = why {
                    return Ok(Target::overwriting(shown, parsed, why));
                }
                // A link stays one: what it leads to is replaced. Until then nobody reads more of it than before.
                let replaced = Identity::File((there.dev(), there.ino()));
                (fs::canonicalize(path).map_err(failed)?, 0o600, Some(replaced))
            }
            Ok(there) if there.is_dir() => return Err(failed(io::ErrorKind::IsADirectory.into())),
            Ok(_) => return Err(failed(refused("it is neither a file nor a block device"))),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Err(_) if path.is_symlink() => return Err(failed(refused("it is a link that leads nowhere"))),
            Err(_) => (path.clone(), 0o666, None),
        };
        let there = fs::File::open(&place).ok();
        if let Some(there) = &there {
            Locks::replacer().take(there).map_err(failed)?;
        }
        let file = match temporary(&place, mode) {
            Ok(file) => file,
            Err(error) if place.exists() && place::takes_no_new_file(&error) => {
                return Ok(Target::overwriting(shown, parsed, "its folder takes no new file"));
            }
            Err(error) => return Err(failed(error)),
        };
        let name = Name::Path(file.clone());
        Ok(Target {
            shown,
            name,
            place: Some(place),
            replaced,
            overwrites: false,
            half: HalfMade::File(file),
            committed: false,
            durable: true,
            _there: there,
        })
    }

    /// Has `write` write to `name`, and commits. On a disk that has no room for a second file, but for one of as many
    /// bytes as `most` says, it is written in place. If it need not be `durable`, nothing waits for the disk.
    pub fn write(
        name: &ImageName,
        durable: bool,
        most: impl FnOnce() -> Result<u64>,
        write: impl Fn(&Target) -> Result<()>,
    ) -> Result<()> {
        let mut target = Target::new(name)?;
        target.durable = durable;
        let error = match write(&target) {
            Ok(()) => return target.commit(),
            Err(error) => target.blame(error),
        };
        // How much a user may still write, nobody tells, nor whose what is there counts as: over a quota it stays what it is.
        let full = error.cause.kind() == io::ErrorKind::StorageFull;
        let is_found =
            |place: &PathBuf| target.replaced.is_some() && file_at(place).is_ok_and(|there| there == target.replaced);
        let place = target.place.clone().filter(|place| full && is_found(place));
        if let (Some(_), HalfMade::File(half)) = (&place, &target.half) {
            // Its room is free from here on, also if a thread that has it written back keeps it open a little longer.
            let _ = fs::OpenOptions::new().write(true).truncate(true).open(half);
        }
        drop(target); // and with it the file that was half-made
        let room = place.is_some_and(|place| most().is_ok_and(|most| place::has_room(&place, most)));
        if !room {
            return Err(error);
        }
        let target = Target::prepare(name, Some("the disk has no room for a second file"))?;
        write(&target).map_err(|error| target.blame(error))?;
        target.commit()
    }

    /// For what is written to as it is, and stays there.
    pub fn existing(name: &ImageName) -> Result<Self> {
        let (parsed, _) = Name::parse_with_format(name).map_err(|cause| Error::new(Doing::Open, name, cause))?;
        Ok(Target::in_place(name.to_string(), parsed))
    }

    /// A file that is written over, which is said.
    fn overwriting(shown: String, name: Name, why: &str) -> Self {
        let line = format!("co-img: '{shown}' is written in place: {why}");
        let _ = writeln!(io::stderr(), "{}", line.replace(char::is_control, " "));
        let mut target = Target::in_place(shown, name);
        target.overwrites = true;
        target
    }

    fn in_place(shown: String, name: Name) -> Self {
        Target {
            overwrites: false,
            half: HalfMade::InPlace(shown.clone()),
            shown,
            name,
            place: None,
            replaced: None,
            committed: false,
            durable: true,
            _there: None,
        }
    }

    /// What to write to.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Whether it is a file, which is empty when an image is made in it.
    pub fn is_file(&self) -> bool {
        self.place.is_some() || self.overwrites
    }

    /// Whether what was there before is lost as soon as anything is written, and not only when it is committed.
    pub fn is_in_place(&self) -> bool {
        self.place.is_none()
    }

    /// Where what was there before is lost when an image is made in `driver`, which [`name`](Self::name) is, and committed.
    pub fn overwritten(&self, driver: &Driver) -> Option<Identity> {
        self.replaced.clone().or_else(|| driver.identity())
    }

    /// From here on what is written in place is no longer what it was.
    pub fn begin(&self) {
        if let HalfMade::InPlace(_) = self.half {
            half_made().push(self.half.clone());
        }
    }

    /// Puts `self.name()` right in an error, and says when a target is incomplete.
    pub fn blame(&self, mut error: Error) -> Error {
        if error.name == self.name.to_string() {
            error.name.clone_from(&self.shown);
        }
        if half_made().contains(&self.half) && self.place.is_none() {
            error.incomplete = Some(self.shown.clone());
        }
        error
    }

    /// It is whole: takes its place. Its data must be durable by now, if it is to be.
    pub fn commit(mut self) -> Result<()> {
        let failed = |cause| Error::new(Doing::Create, &self.shown, cause);
        let mut half_made = half_made();
        if let (HalfMade::File(from), Some(place)) = (&self.half, &self.place) {
            let is_there = file_at(place).map_err(failed)?;
            if is_there.is_some() && is_there != self.replaced {
                return Err(failed(meanwhile()));
            }
            if let Ok(there) = fs::metadata(place) {
                // Who may not give files away keeps it.
                let _ = chown(from, Some(there.uid()), Some(there.gid()));
                fs::set_permissions(from, there.permissions()).map_err(failed)?;
            }
            match is_there {
                None => rename_to_nothing(from, place),
                Some(_) if self.durable => fs::rename(from, place),
                Some(_) => rename_without_writing(from, place),
            }
            .map_err(failed)?;
            half_made.retain(|half| *half != self.half);
            drop(half_made);
            self.committed = true;
            if !self.durable {
                return Ok(());
            }
            let folder = folder(place);
            return fs::File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(|cause| Error::new(Doing::Flush, folder.display(), cause));
        }
        half_made.retain(|half| *half != self.half);
        drop(half_made);
        self.committed = true;
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if !self.committed {
            let mut half_made = half_made();
            half_made.retain(|half| *half != self.half);
            if let HalfMade::File(path) = &self.half {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// Which file is at `place`, if there is one.
fn file_at(place: &Path) -> io::Result<Option<Identity>> {
    match fs::symlink_metadata(place) {
        Ok(there) => Ok(Some(Identity::File((there.dev(), there.ino())))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Why something is not replaced that was not there when this began: it may be an image that is being written.
fn meanwhile() -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, "another program has put something else there meanwhile")
}

/// Renames a file to where nothing is, also if that changes just now, as far as the file system has a way to.
fn rename_to_nothing(from: &Path, place: &Path) -> io::Result<()> {
    let renamed = match renameat2(AT_FDCWD, from, AT_FDCWD, place, RenameFlags::RENAME_NOREPLACE) {
        // This file system does not know it.
        Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => link_to_nothing(from, place),
        renamed => renamed.map_err(io::Error::from),
    };
    renamed.map_err(|error| if error.kind() == io::ErrorKind::AlreadyExists { meanwhile() } else { error })
}

/// The same by a second name, which is never given to what is there. Where there are no second names either, the file is
/// renamed if nothing is there a moment before; what else is wrong, that tells too.
fn link_to_nothing(from: &Path, place: &Path) -> io::Result<()> {
    match fs::hard_link(from, place) {
        // It is in its place. If the first name stays, too, that is no reason to say that it is not.
        Ok(()) => {
            let _ = fs::remove_file(from);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        Err(_) if file_at(place)?.is_some() => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(from, place),
    }
}

/// Renames a file that need not be durable. Where a rename replaces a file, ext4 and btrfs begin to write the new one
/// to the disk at once, for programs that forget to sync; where two files change places, they do not.
fn rename_without_writing(from: &Path, place: &Path) -> io::Result<()> {
    let exchange = || renameat2(AT_FDCWD, from, AT_FDCWD, place, RenameFlags::RENAME_EXCHANGE);
    match exchange() {
        // If it has become a directory meanwhile, it stays one.
        Ok(()) => fs::remove_file(from).inspect_err(|_| _ = exchange()),
        // There is nothing to replace, or this file system does not know it; what else is wrong, this tells too.
        Err(_) => fs::rename(from, place),
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A new file in the folder that `path` is to be in, for a rename does not leave a file system. It is made under the
/// lock: no signal comes between its making and its being known.
fn temporary(path: &Path, mode: u32) -> io::Result<PathBuf> {
    if path.file_name().is_none() {
        return Err(refused("it is no name for a file"));
    }
    let mut half_made = half_made();
    for attempt in 0..1000 {
        // No longer than any name may be, whatever the target's is.
        let hidden = format!(".co-img-{}-{attempt}", process::id());
        let candidate = folder(path).join(hidden);
        match fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&candidate) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(_) => {
                half_made.push(HalfMade::File(candidate.clone()));
                return Ok(candidate);
            }
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// The signals that ask the program to end, but those that whoever started it has it ignore, as `nohup` does. SIGXFSZ
/// is among what is listened to so that a file grown too big is an error of the write and not the program's end.
struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
    hang_up: Option<Signal>,
    _too_big: Signal,
}

#[co_wrapper]
async fn signals_co_listen() -> io::Result<Signals> {
    let unless_ignored = |kind: SignalKind| match is_ignored(kind) {
        true => Ok(None),
        false => signal(kind).map(Some),
    };
    Ok(Signals {
        interrupt: unless_ignored(SignalKind::interrupt())?,
        terminate: unless_ignored(SignalKind::terminate())?,
        hang_up: unless_ignored(SignalKind::hangup())?,
        _too_big: signal(SignalKind::from_raw(libc::SIGXFSZ))?,
    })
}

fn is_ignored(kind: SignalKind) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without an action to set it only writes the present one, for which there is room; a `sigaction` of
    // zeroes, should it write none, is a valid one.
    let action = unsafe {
        libc::sigaction(kind.as_raw_value(), ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}

/// Waits for one of them, and tells its number.
#[co_wrapper(expect_long)]
async fn signals_co_wait(signals: &mut Signals) -> i32 {
    let wait = async |signal: &mut Option<Signal>| match signal {
        Some(signal) => _ = signal.recv().await,
        None => future::pending().await,
    };
    tokio::select! {
        () = wait(&mut signals.interrupt) => libc::SIGINT,
        () = wait(&mut signals.terminate) => libc::SIGTERM,
        () = wait(&mut signals.hang_up) => libc::SIGHUP,
    }
}

/// Waits for images to be closed in order; for a second signal; or for as long as that may take.
#[co_wrapper(expect_long)]
async fn signals_co_wait_closed(signals: &mut Signals) {
    let closed = async {
        while ORDERLY.load(SeqCst) > 0 {
            CLOSED.notified().await;
        }
    };
    let again = async { signals_co_wait(signals).await };
    tokio::select! {
        () = closed => {}
        _ = again => {}
        () = sleep(PATIENCE) => {}
    }
}

/// Has SIGINT, SIGTERM and SIGHUP remove what is half-made and end the program, whatever its threads are doing; images
/// that are written in place, and have tables, are flushed first.
///
/// # Errors
/// When the reactor cannot be started, signals cannot be watched, or no thread can be had.
pub fn watch_for_interrupts() -> io::Result<()> {
    AioContext::new()?; // starts the reactor, or says why not
    let mut signals = signals_listen()?;
    let watch = move || {
        let number = signals_wait(&mut signals);
        if ORDERLY.load(SeqCst) > 0 {
            STOP.close();
            signals_wait_closed(&mut signals);
        }
        let half_made = half_made(); // and never let go: nothing is begun or renamed any more
        let mut line = String::from("co-img: interrupted");
        for half in half_made.iter() {
            match half {
                HalfMade::File(path) => drop(fs::remove_file(path)),
                HalfMade::InPlace(name) => line += &format!("; '{name}' is incomplete"),
            }
        }
        // In a progress bar's place, if there may be one.
        let clear = if io::stderr().is_terminal() { "\r\x1b[2K" } else { "" };
        // Never let go either: a bar that is still moving would be drawn again below this line, and stay there.
        let mut stderr = io::stderr().lock();
        let _ = writeln!(stderr, "{clear}{}", line.replace(char::is_control, " "));
        process::exit(128 + number);
    };
    thread::Builder::new().name("interrupts".into()).spawn(watch).map(drop)
}

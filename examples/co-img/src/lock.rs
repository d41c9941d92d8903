//! QEMU's locks on an image's file, as `block/file-posix.c` takes them (`raw_apply_lock_bytes`, `raw_check_lock_bytes`), so
//! that two programs of either kind do not write one image, and none reads tables that another changes.
//!
//! For each thing that a program does to an image there is a byte from 100 on, and one from 200 on for what it cannot put
//! up with in others. Who does it holds a shared lock on the first, and finds none on the second; and the other way round.
//! The locks belong to the open file (`F_OFD_SETLK`) and go when it is closed, however the program ends.

use std::fs::File;
use std::io::{self, ErrorKind};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{F_RDLCK, F_UNLCK, F_WRLCK, SEEK_SET, flock};

/// What is done to an image, by QEMU's bits (`BLK_PERM_*`), and what it calls them.
const READ: u8 = 1 << 0;
const WRITE: u8 = 1 << 1;
const RESIZE: u8 = 1 << 3;
const NAMES: [&str; 4] = ["consistent read", "write", "write unchanged", "resize"];
const DONE: i64 = 100;
const REFUSED: i64 = 200;

/// What a program does to an image, and what it does not put up with in others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locks {
    done: u8,
    refused: u8,
}

impl Locks {
    /// For an image that is read, as QEMU has it: others may write to a raw one meanwhile, but not change tables, what other
    /// images are based on, or what is converted.
    pub fn reader(others_may_write: bool) -> Self {
        Locks { done: READ, refused: if others_may_write { 0 } else { WRITE | RESIZE } }
    }

    /// For an image that is written to. QEMU lets two programs write to a raw image; here nobody means that.
    pub fn writer(resizes: bool) -> Self {
        let done = READ | WRITE | if resizes { RESIZE } else { 0 };
        Locks { done, refused: WRITE | RESIZE }
    }

    /// For a file that is going to be replaced by another.
    pub fn replacer() -> Self {
        Locks { done: 0, refused: WRITE }
    }

    /// Takes them, for as long as the file is open. Where the file system has no locks, there are none.
    ///
    /// # Errors
    /// When another program's are in the way; those of `fcntl`.
    pub fn take(self, file: &File) -> io::Result<()> {
        let bytes = || [(DONE, self.done), (REFUSED, self.refused)].into_iter().flat_map(|(at, bits)| each(at, bits));
        for (byte, _) in bytes() {
            match fcntl(file, FcntlArg::F_OFD_SETLK(&lock(F_RDLCK, byte))) {
                Ok(_) => {}
                Err(Errno::EINVAL | Errno::ENOSYS | Errno::ENOLCK | Errno::EOPNOTSUPP) => return Ok(()),
                // An exclusive lock, which QEMU never takes.
                Err(Errno::EAGAIN | Errno::EACCES) => return Err(in_the_way("", byte)),
                Err(error) => return Err(error.into()),
            }
        }
        for (at, bits, shared) in [(REFUSED, self.done, ""), (DONE, self.refused, "shared ")] {
            for (byte, _) in each(at, bits) {
                let mut found = lock(F_WRLCK, byte);
                fcntl(file, FcntlArg::F_OFD_GETLK(&mut found))?;
                if i32::from(found.l_type) != F_UNLCK {
                    return Err(in_the_way(shared, byte));
                }
            }
        }
        Ok(())
    }
}

fn each(at: i64, bits: u8) -> impl Iterator<Item = (i64, u8)> {
    (0..4).map(move |bit| (at + i64::from(bit), bits >> bit & 1)).filter(|(_, set)| *set == 1)
}

fn lock(kind: i32, byte: i64) -> flock {
    flock { l_type: kind as i16, l_whence: SEEK_SET as i16, l_start: byte, l_len: 1, l_pid: 0 }
}

/// In QEMU's words, which people look for.
fn in_the_way(shared: &str, byte: i64) -> io::Error {
    let name = NAMES[(byte % 100) as usize];
    io::Error::new(
        ErrorKind::ResourceBusy,
        format!("Failed to get {shared}\"{name}\" lock: another program is using it"),
    )
}

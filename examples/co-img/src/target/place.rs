//! Whether another file can take a file's place, so that it is replaced when all is written; and if not, why.

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc::O_PATH;
use nix::sys::statfs::{PROC_SUPER_MAGIC, statfs};
use nix::sys::statvfs::statvfs;

use super::folder;

/// As many links in a row as Linux follows.
const MOST_LINKS: usize = 40;

/// Why the file at `path` has to be written in place, if it has to.
pub(super) fn why_in_place(path: &Path, there: &Metadata) -> Option<&'static str> {
    if there.nlink() > 1 {
        return Some("it has other names, hard links");
    }
    if there.nlink() == 0 || is_descriptor(path) {
        return Some("it is an open file of a process");
    }
    let place = fs::canonicalize(path).ok()?;
    (mount(&place)? != mount(folder(&place))?).then_some("it is a mount point")
}

/// Whether the path leads through a process's descriptors, such as `/dev/fd/3`. Who has it open would not see another file.
fn is_descriptor(path: &Path) -> bool {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(folder) = fs::canonicalize(folder(&path)) else { return false };
        if statfs(&folder).is_ok_and(|there| there.filesystem_type() == PROC_SUPER_MAGIC) {
            return true;
        }
        match fs::read_link(&path) {
            Ok(link) => path = folder.join(link),
            Err(_) => return false,
        }
    }
    false
}

/// The number of the mount that it is in.
fn mount(path: &Path) -> Option<u64> {
    let file = OpenOptions::new().read(true).custom_flags(O_PATH).open(path).ok()?;
    let info = fs::read_to_string(PathBuf::from(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))).ok()?;
    info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

/// Whether this is the error of a folder in which no file can be made, or none of so long a path.
pub(super) fn takes_no_new_file(error: &io::Error) -> bool {
    let kinds = [
        ErrorKind::PermissionDenied,
        ErrorKind::ReadOnlyFilesystem,
        ErrorKind::InvalidFilename,
        ErrorKind::StorageFull,
        ErrorKind::QuotaExceeded,
    ];
    kinds.contains(&error.kind())
}

/// Whether the disk has room for so many bytes instead of what is at `place`.
pub(super) fn has_room(place: &Path, bytes: u64) -> bool {
    let there = fs::metadata(place).map_or(0, |there| there.blocks() * 512);
    statvfs(place).is_ok_and(|disk| (disk.blocks_available() * disk.fragment_size()).saturating_add(there) >= bytes)
}

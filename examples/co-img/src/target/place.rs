//! Whether another file can take a file's place, so that it is replaced when all is written; and if not, why.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc::{self, O_PATH};
use nix::sys::statfs::{PROC_SUPER_MAGIC, TMPFS_MAGIC, statfs};
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
    ];
    kinds.contains(&error.kind())
}

/// Whether the disk has room for so many bytes instead of what is at `place`. What that shares with another file or with a
/// snapshot stays taken when it is cut off.
pub(super) fn has_room(place: &Path, bytes: u64) -> bool {
    let freed = match fs::metadata(place) {
        Ok(there) if !may_share(place) => there.blocks() * 512,
        _ => 0,
    };
    statvfs(place).is_ok_and(|disk| (disk.blocks_available() * disk.fragment_size()).saturating_add(freed) >= bytes)
}

/// Linux's `struct fiemap`, with room for one extent.
#[repr(C)]
#[derive(Default)]
struct Map {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    count: u32,
    reserved: u32,
    extent: Extent,
}

#[repr(C)]
#[derive(Default)]
struct Extent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved: [u64; 2],
    flags: u32,
    reserved_too: [u32; 3],
}

/// `_IOWR('f', 11, struct fiemap)`, whose size there is that without extents.
const FIEMAP: libc::Ioctl = (3 << 30 | 32 << 16 | (b'f' as u32) << 8 | 11) as libc::Ioctl;
const LAST: u32 = 1;
const SHARED: u32 = 0x2000;

/// Whether a file may have blocks in common with another one, or with a snapshot. Where nobody can tell it may, but in memory.
fn may_share(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return true };
    let mut start = 0;
    loop {
        let mut map = Map { start, length: u64::MAX - start, count: 1, ..Map::default() };
        // SAFETY: the descriptor is open, and the call writes to the map alone, which has room for the one extent that it asks for.
        if unsafe { libc::ioctl(file.as_raw_fd(), FIEMAP, &raw mut map) } != 0 {
            return !statfs(path).is_ok_and(|there| there.filesystem_type() == TMPFS_MAGIC);
        }
        if map.mapped == 0 || map.extent.length == 0 {
            return false;
        }
        if map.extent.flags & SHARED != 0 {
            return true;
        }
        if map.extent.flags & LAST != 0 {
            return false;
        }
        start = map.extent.logical.saturating_add(map.extent.length);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::FileExt;

    use nix::sys::statfs::EXT4_SUPER_MAGIC;

    use super::*;

    /// `_IOW(0x94, 9, int)`
    const FICLONE: libc::Ioctl = (1 << 30 | 4 << 16 | 0x94 << 8 | 9) as libc::Ioctl;

    #[test]
    fn what_is_shared_with_another_file_is_not_counted_as_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let magic = statfs(folder.path()).unwrap().filesystem_type();
        for (name, pieces) in [("empty", 0), ("whole", 1), ("scattered", 5)] {
            let file =
                File::create_new(path(name)).and_then(|_| OpenOptions::new().read(true).write(true).open(path(name)));
            let file = file.unwrap();
            (0..pieces).for_each(|piece| file.write_all_at(&[1; 65536], piece << 20).unwrap());
            file.sync_all().unwrap();
            if magic == EXT4_SUPER_MAGIC || magic == TMPFS_MAGIC {
                assert!(!may_share(&path(name)), "{name}");
                let disk = statvfs(folder.path()).unwrap();
                let free = disk.blocks_available() * disk.fragment_size();
                assert!(has_room(&path(name), free / 2) && !has_room(&path(name), free * 2), "{name}");
            }
            let clone = File::create(path("clone")).unwrap();
            // SAFETY: both descriptors are open.
            if unsafe { libc::ioctl(clone.as_raw_fd(), FICLONE, file.as_raw_fd()) } == 0 {
                clone.sync_all().unwrap();
                assert_eq!((may_share(&path(name)), may_share(&path("clone"))), (pieces > 0, pieces > 0), "{name}");
            } else {
                let _ = writeln!(io::stderr(), "not tried: files that share blocks, which there are none of here"); // past the capture
            }
        }
        assert!(may_share(Path::new("/proc/self/stat")), "where nobody can tell");
        assert!(may_share(&path("none")));
    }
}

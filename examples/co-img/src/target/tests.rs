//! What other programs do to a target's place while it is written; and what file systems lack that it takes its place by.

use std::ffi::OsString;
use std::os::unix::fs::symlink;

use nix::libc::c_long;

use super::*;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Nothing,
    File,
    /// One that leads to a file.
    Link,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Other {
    DoesNothing,
    /// Goes on to write what was there.
    Writes,
    /// Makes a file, where another may be.
    Makes,
    MakesFolder,
    MakesLink,
    Removes,
}

impl Other {
    /// Does that to `place`, in whose folder it may make files.
    fn act(self, place: &Path) {
        let theirs = place.with_file_name("theirs");
        if matches!(self, Other::MakesFolder | Other::MakesLink | Other::Removes) {
            let _ = fs::remove_file(place); // if there is one
        }
        match self {
            Other::DoesNothing | Other::Removes => {}
            Other::Writes => fs::write(place, "theirs").unwrap(),
            Other::Makes => {
                fs::write(&theirs, "theirs").unwrap();
                fs::rename(&theirs, place).unwrap();
            }
            Other::MakesFolder => fs::create_dir(place).unwrap(),
            Other::MakesLink => symlink("elsewhere", place).unwrap(),
        }
    }
}

#[test]
fn what_another_program_has_made_meanwhile_is_not_replaced() {
    use Other::{DoesNothing, Makes, MakesFolder, MakesLink, Removes, Writes};
    for durable in [true, false] {
        for (before, other, well) in [
            (Place::Nothing, DoesNothing, true),
            (Place::Nothing, Makes, false),
            (Place::Nothing, MakesFolder, false),
            (Place::Nothing, MakesLink, false),
            (Place::File, DoesNothing, true),
            (Place::File, Writes, true), // in spite of the lock
            (Place::File, Makes, false),
            (Place::File, MakesFolder, false),
            (Place::File, MakesLink, false),
            (Place::File, Removes, true),
            (Place::Link, DoesNothing, true),
            (Place::Link, Makes, false),
            (Place::Link, Removes, true),
        ] {
            let what = format!("{before:?}, {other:?}, durable: {durable}");
            let folder = tempfile::tempdir().unwrap();
            let path = |name: &str| folder.path().join(name);
            fs::write(path("elsewhere"), "elsewhere").unwrap();
            let place = match before {
                Place::Nothing | Place::File => path("out"),
                Place::Link => path("linked"),
            };
            if before != Place::Nothing {
                fs::write(&place, "before").unwrap();
            }
            if before == Place::Link {
                symlink("linked", path("out")).unwrap();
            }
            let name = ImageName::from(OsString::from(path("out")));
            let written = Target::write(
                &name,
                durable,
                || Ok(0),
                |target| {
                    let Name::Path(half) = target.name() else { panic!("{what}: no file") };
                    fs::write(half, "ours").unwrap();
                    other.act(&place);
                    Ok(())
                },
            );
            match written {
                Ok(()) => assert!(well, "{what}: replaced"),
                Err(error) => assert!(!well && error.to_string().contains("meanwhile"), "{what}: {error}"),
            }
            match other {
                MakesFolder => assert!(place.is_dir(), "{what}"),
                MakesLink => assert!(place.is_symlink(), "{what}"),
                _ => assert_eq!(fs::read_to_string(&place).unwrap(), if well { "ours" } else { "theirs" }, "{what}"),
            }
            assert_eq!(fs::read_to_string(path("elsewhere")).unwrap(), "elsewhere", "{what}");
            let mut names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
            assert!(names.all(|name| !name.to_string_lossy().contains("co-img")), "{what}: something is left over");
        }
    }
}

/// Catches: another program's file that is written over where there is no room for a second one.
#[test]
fn only_what_was_there_is_written_in_place_when_the_disk_is_full() {
    use Other::{DoesNothing, Makes, Removes};
    for (before, other, kind, in_place) in [
        (Place::File, DoesNothing, io::ErrorKind::StorageFull, true),
        (Place::File, DoesNothing, io::ErrorKind::QuotaExceeded, false),
        (Place::File, DoesNothing, io::ErrorKind::PermissionDenied, false),
        (Place::File, Makes, io::ErrorKind::StorageFull, false),
        (Place::File, Removes, io::ErrorKind::StorageFull, false),
        (Place::Nothing, DoesNothing, io::ErrorKind::StorageFull, false),
        (Place::Nothing, Makes, io::ErrorKind::StorageFull, false),
    ] {
        let what = format!("{before:?}, {other:?}, {kind}");
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("out");
        if before == Place::File {
            fs::write(&place, "before").unwrap();
        }
        let write = |target: &Target| {
            let Name::Path(file) = target.name() else { panic!("{what}: no file") };
            if *file == place {
                fs::write(file, "ours").unwrap();
                return Ok(());
            }
            other.act(&place);
            Err(Error::new(Doing::Write, file.display(), kind.into()))
        };
        let written = Target::write(&ImageName::from(OsString::from(&place)), true, || Ok(0), write);
        assert_eq!(written.is_ok(), in_place, "{what}");
        assert!(written.err().is_none_or(|error| error.cause.kind() == kind), "{what}");
        let expected = match other {
            _ if in_place => Some("ours"),
            Makes => Some("theirs"),
            DoesNothing if before == Place::File => Some("before"),
            _ => None,
        };
        assert_eq!(fs::read_to_string(&place).ok().as_deref(), expected, "{what}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), usize::from(expected.is_some()), "{what}");
    }
}

/// From here on these system calls of this thread fail with these errors.
fn without(calls: &[(c_long, Errno)]) {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0)]; // the call's number
    for (call, errno) in calls {
        program.push(libc::sock_filter { jf: 1, ..statement(equal, u32::try_from(*call).unwrap()) });
        program.push(statement(libc::BPF_RET, libc::SECCOMP_RET_ERRNO | *errno as u32));
    }
    program.push(statement(libc::BPF_RET, libc::SECCOMP_RET_ALLOW));
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: both pointers, that to the filter and the one in it, are valid for the length of the calls.
    let made = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) == 0
    };
    assert!(made, "{}", io::Error::last_os_error());
}

/// Catches: a file system on which no new file can be made, as those of some virtual machines; one on which another
/// program's file is replaced.
#[test]
fn a_new_file_takes_its_place_whatever_the_file_system_lacks() {
    use Other::{DoesNothing, Makes, MakesFolder, MakesLink};
    #[cfg(target_arch = "x86_64")]
    const UNLINK: c_long = libc::SYS_unlink;
    #[cfg(not(target_arch = "x86_64"))]
    const UNLINK: c_long = libc::SYS_unlinkat;
    let rename = |errno| (libc::SYS_renameat2, errno);
    let link = |errno| (libc::SYS_linkat, errno);
    let remove = |errno| (UNLINK, errno);
    let mut lacking = vec![vec![]];
    for no_replace in [Errno::EINVAL, Errno::ENOSYS, Errno::EOPNOTSUPP] {
        lacking.extend([vec![rename(no_replace)], vec![rename(no_replace), remove(Errno::EACCES)]]);
        for no_links in [Errno::EPERM, Errno::ENOSYS, Errno::EOPNOTSUPP, Errno::EMLINK, Errno::EINVAL] {
            lacking.push(vec![rename(no_replace), link(no_links)]);
        }
    }
    for calls in lacking {
        for other in [DoesNothing, Makes, MakesFolder, MakesLink] {
            let what = format!("{calls:?}, {other:?}");
            let folder = tempfile::tempdir().unwrap();
            let (from, place) = (folder.path().join("from"), folder.path().join("place"));
            fs::write(&from, "ours").unwrap();
            other.act(&place);
            let renamed = thread::scope(|scope| {
                let renaming = scope.spawn(|| {
                    without(&calls);
                    rename_to_nothing(&from, &place)
                });
                renaming.join().unwrap()
            });
            match renamed {
                Ok(()) => assert_eq!(other, DoesNothing, "{what}"),
                Err(error) => {
                    assert!(other != DoesNothing && error.to_string().contains("meanwhile"), "{what}: {error}");
                }
            }
            match other {
                MakesFolder => assert!(place.is_dir(), "{what}"),
                MakesLink => assert!(place.is_symlink(), "{what}"),
                _ => {
                    let expected = if other == DoesNothing { "ours" } else { "theirs" };
                    assert_eq!(fs::read_to_string(&place).unwrap(), expected, "{what}");
                }
            }
            // What has not taken its place stays where it was.
            let keeps_both = calls.iter().any(|(call, _)| *call == UNLINK);
            assert_eq!(from.exists(), other != DoesNothing || keeps_both, "{what}");
        }
    }
}

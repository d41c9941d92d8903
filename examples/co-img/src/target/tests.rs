//! What other programs do to a target's place while it is written.

use std::ffi::OsString;
use std::os::unix::fs::symlink;

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

//! Holds the tables of tests by subject, `tests/README.md` and `co-wrapper-runtime/tests/README.md`, to the files. Each
//! file and folder beside a table is in exactly one of its rows, and each row says what is tested there.

use std::{collections::BTreeSet, fs, path::Path};

#[test]
fn each_test_is_listed_under_one_subject() {
    for folder in ["tests", "co-wrapper-runtime/tests"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut there: BTreeSet<String> = fs::read_dir(&folder).unwrap().map(|entry| name(&entry.unwrap())).collect();
        assert!(there.remove("README.md"), "{} has no table", folder.display());
        let mut subject = "";
        let table = fs::read_to_string(folder.join("README.md")).unwrap();
        for line in table.lines().filter(|line| line.starts_with('|')).skip(2) {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, first, files, what, _] = cells[..] else { panic!("{line}") };
            subject = if first.is_empty() { subject } else { first };
            assert!(!subject.is_empty() && !what.is_empty(), "{line}");
            for file in files.split('`').skip(1).step_by(2) {
                assert!(there.remove(file), "{}/{file} is not there, or listed twice", folder.display());
            }
        }
        assert!(there.is_empty(), "{} does not list {there:?}", folder.display());
    }
}

/// The name of a file, or that of a folder with a `/` at its end, as the tables have it.
fn name(entry: &fs::DirEntry) -> String {
    let name = entry.file_name().into_string().unwrap();
    if entry.file_type().unwrap().is_dir() { name + "/" } else { name }
}

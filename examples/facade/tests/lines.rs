//! Both facades at work, and how many lines they take beside those that are written by hand. Lines without code do not count:
//! comments, documentation, empty ones.

use std::{collections::BTreeMap, env, fs, io, path::PathBuf, process::Command};

use facade::{
    hub::{self, blocking, by_hand},
    opendal,
};
use opendal_core::services::Memory;

/// What is true of both blocking halves of the hub.
macro_rules! use_the_hub {
    ($half:ident) => {{
        let hub = $half::Hub::connect().unwrap();
        assert_eq!(hub.log_in("").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        let hub = hub.log_in("token").unwrap();
        let repo = $half::Repo::open(&hub::Hub::from(hub.clone()), "bert").unwrap();
        repo.upload("config.json", "{}").unwrap();
        repo.upload("weights", vec![1, 2]).unwrap();
        assert_eq!(repo.get("weights").unwrap(), [1, 2]);
        assert!(!repo.exists("vocabulary").unwrap());
        let copy = repo.duplicate("bert-2").unwrap();
        assert!(copy.is_same(&repo).unwrap());
        copy.delete("weights").unwrap();
        assert!(copy.delete("weights").is_err() && !copy.is_same(&repo).unwrap());
        assert_eq!(repo.list().collect::<io::Result<Vec<_>>>().unwrap(), ["config.json", "weights"]);
        assert_eq!(hub.search("bert-").collect::<io::Result<Vec<_>>>().unwrap(), ["bert-2"]);
        assert_eq!(hub.repos().unwrap(), ["bert", "bert-2"]);
        assert_eq!(hub.delete_repo("bert").unwrap(), 2);
    }};
}

#[test]
fn the_hub_answers_the_same_with_marks_and_by_hand() {
    use_the_hub!(blocking);
    use_the_hub!(by_hand);
}

#[test]
fn opendal_s_operator_works_through_declared_methods() {
    let disk = opendal_core::Operator::new(Memory::default()).unwrap().finish();
    let disk = opendal::Operator::from(disk);
    disk.check().unwrap();
    disk.write("a/one", "1").unwrap();
    disk.write("a/two", "22").unwrap();
    assert_eq!(disk.read("a/two").unwrap().to_vec(), b"22");
    assert_eq!((disk.stat("a/one").unwrap().content_length(), disk.exists("a/three").unwrap()), (1, false));
    assert_eq!(disk.lister("a/").unwrap().map(|entry| entry.unwrap().path().to_owned()).collect::<Vec<_>>(), PATHS);
    assert_eq!(disk.list("a/").unwrap().len(), PATHS.len());
    disk.delete_iter(["a/one", "a/two"]).unwrap();
    assert!(!opendal_core::Operator::from(disk).info().name().contains('\n'));
}

const PATHS: [&str; 2] = ["a/one", "a/two"];

/// The lines with code.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with("//"))
}

/// How many lines each public method takes, by its name: those of an item that ends where its indentation does, or in its
/// first line.
fn methods(text: &str) -> BTreeMap<&str, usize> {
    let mut lines = code(text);
    let mut methods = BTreeMap::new();
    while let Some(first) = lines.next() {
        let Some((name, _)) = first.strip_prefix("    pub fn ").and_then(|rest| rest.split_once(['(', '<'])) else {
            continue;
        };
        let is_one_line = first.ends_with(';') || first.ends_with('}');
        let rest = if is_one_line { 0 } else { 1 + lines.by_ref().take_while(|line| *line != "    }").count() };
        methods.insert(name, 1 + rest);
    }
    methods
}

fn here(path: &str) -> String {
    fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn stdout(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The folder of opendal's sources.
fn opendal_core() -> PathBuf {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = String::from_utf8(stdout(Command::new(rustc).arg("-vV"))).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["metadata", "--format-version=1", "--locked", "--offline"]);
    // Of other platforms' packages, a build has fetched nothing.
    cargo.args(["--filter-platform", host]);
    let metadata: serde_json::Value = serde_json::from_slice(&stdout(&mut cargo)).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let core = packages.iter().find(|package| package["name"] == "opendal-core").unwrap();
    PathBuf::from(core["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned()
}

#[test]
fn the_marks_take_fewer_lines() {
    // Of opendal's own, the methods that are declared here, and its `Lister`; of ours the whole file.
    let blocking = opendal_core().join("src/blocking");
    let operator = fs::read_to_string(blocking.join("operator.rs")).unwrap();
    let (by_hand, ours) = (methods(&operator), here("src/opendal.rs"));
    let declared: Vec<&str> = ours.lines().filter_map(|line| line.trim().strip_prefix("pub fn ")).collect();
    let names: Vec<&str> = declared.iter().map(|rest| rest.split(['(', '<']).next().unwrap()).collect();
    let of_methods: usize =
        names.iter().map(|name| by_hand.get(name).unwrap_or_else(|| panic!("opendal has no `{name}`"))).sum();
    let opendal =
        (of_methods + code(&fs::read_to_string(blocking.join("list.rs")).unwrap()).count(), code(&ours).count());

    // Of the hub's half by marks: its module, and the marks.
    let marked = here("src/hub.rs");
    let (_, module) = marked.split_once("pub mod blocking {").unwrap();
    let module = 1 + code(module.split_once("\n}").unwrap().0).count();
    let marks = marked.matches("#[co_wrapper(").count();
    let hub = (code(&here("src/hub/by_hand.rs")).count(), module + marks);

    for (what, (by_hand, ours)) in [("opendal's Operator and Lister", opendal), ("the hub", hub)] {
        println!("{what}: {by_hand} lines by hand, {ours} with co-wrapper");
        assert!(ours < by_hand, "{what}: {ours} lines are no fewer than {by_hand}");
    }
    assert_eq!(names.len(), 24);
}

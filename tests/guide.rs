//! The guide (`src/guide/`) and the README are held to what is true.
//!
//! rustdoc runs every example. What it cannot check is what a wrong program says. So here each program of the guide whose
//! next block is a ```` ```text ```` is run, in a process of its own, and must print that to stderr before it ends or is
//! ended. `UPDATE_EXPECT=1 cargo test --test guide` writes what they printed into the pages.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

mod package;

/// Longer than any program needs on a busy machine.
const BOUND: Duration = Duration::from_secs(120);

/// How many seconds a call waits before the watchdog reports it. A page shows the 30 seconds that a user has. On a busy
/// machine a call may look stuck that has yet to sleep, or be reported before another one has begun. So a program that prints
/// something else than its page shows is run again, with a longer time.
const HANGS_AFTER: [&str; 3] = ["2", "10", "40"];

/// A block of a page: its first line without the backquotes, and what is between.
struct Block<'a> {
    info: &'a str,
    text: &'a str,
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut rest = page;
    while let Some((_, after)) = rest.split_once("\n```") {
        let (info, after) = after.split_once('\n').expect("a line after the backquotes");
        // The end's backquotes may follow at once.
        let end = if after.starts_with("```") { 0 } else { after.find("\n```").expect("the block's end") + 1 };
        blocks.push(Block { info, text: &after[..end] });
        rest = &after[end + "```".len()..];
    }
    blocks
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<PathBuf> {
    let files = fs::read_dir(root().join("src/guide")).unwrap().map(|file| file.unwrap().path());
    let mut pages: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    pages.sort();
    assert!(pages.len() > 10, "{pages:?}");
    pages
}

/// A program of a page, as a module of a package, and what it is to print.
struct Program {
    page: PathBuf,
    module: String,
    source: String,
    /// The line that the page shows, for each line of the source.
    shown: Vec<usize>,
    printed: String,
}

impl Program {
    fn new(page: &Path, module: String, code: &str, printed: &str) -> Self {
        let has_main = code.contains("fn main()");
        let (mut source, mut shown) = (String::new(), Vec::new());
        if !has_main {
            source +=
                if code.contains("(())") { "pub fn main() -> std::io::Result<()> {\n" } else { "pub fn main() {\n" };
            shown.push(0);
        }
        let mut line = 0;
        for text in code.lines() {
            let hidden = text == "#" || text.starts_with("# ");
            line += usize::from(!hidden);
            shown.push(line);
            let text = if hidden { text[1..].trim_start() } else { text };
            source += if text.starts_with("fn main()") || text.starts_with("async fn main()") { "pub " } else { "" };
            source += text;
            source.push('\n');
        }
        if !has_main {
            source.push_str("}\n");
        }
        Self { page: page.to_owned(), module, source, shown, printed: printed.to_owned() }
    }

    /// What it prints to stderr: with the shortest time after which a hang is reported that makes it print what the page
    /// shows, or with the longest.
    fn run(&self, executable: &Path) -> String {
        let times = if updates() { &HANGS_AFTER[..1] } else { &HANGS_AFTER };
        let mut printed = String::new();
        for hangs_after in times {
            printed = self.run_once(executable, hangs_after);
            if starts_with(&printed, &self.printed) {
                break;
            }
        }
        printed
    }

    /// What it prints to stderr, up to what the page shows, or to its end. Ends it then.
    fn run_once(&self, executable: &Path, hangs_after: &str) -> String {
        let mut child = Command::new(executable)
            .arg(&self.module)
            .env("CO_WRAPPER_HANG_SECS", hangs_after)
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (line, lines) = mpsc::channel();
        let reader = thread::spawn(move || {
            // The test may have seen enough.
            stderr.lines().map_while(Result::ok).all(|text| line.send(text).is_ok())
        });
        let deadline = Instant::now() + BOUND;
        let mut printed = String::new();
        // With `UPDATE_EXPECT` nobody knows how much is to come: until it has been silent for a while.
        let patience = |printed: &str| if updates() && !printed.is_empty() { Duration::from_secs(6) } else { BOUND };
        while !starts_with(&printed, &self.printed) {
            if !updates() && !printed.is_empty() && !starts_with(&self.printed, &printed) {
                break; // something else already
            }
            let left = deadline.saturating_duration_since(Instant::now()).min(patience(&printed));
            let Ok(text) = lines.recv_timeout(left) else { break };
            if !text.starts_with("note: run with `RUST_BACKTRACE") && !text.is_empty() {
                printed += &self.placed(&text);
                printed.push('\n');
            }
        }
        drop(lines);
        let _ = child.kill();
        child.wait().unwrap();
        reader.join().unwrap();
        printed
    }

    /// The line with places as in a program of the reader's, and no numbers that differ from run to run.
    fn placed(&self, text: &str) -> String {
        let indent = text[..text.len() - text.trim_start().len()].to_owned();
        // This repository's path may have a space in it.
        let text = text.replace(root().to_str().unwrap(), "");
        let words = text.split_whitespace().filter_map(|word| {
            let own = format!("src/{}.rs:", self.module);
            if let Some((before, rest)) = word.split_once(&own) {
                let (line, rest) = rest.split_once(':').expect("a column");
                let shown = self.shown[line.parse::<usize>().unwrap() - 1];
                return Some(format!("{before}src/main.rs:{shown}:{rest}"));
            }
            if word.contains(".rs:") {
                return Some("…:".to_owned()); // where in our own sources, which is no matter of the page's
            }
            let bare = word.trim_matches(['(', ')', ',', ':', ';', '.']);
            if word.starts_with('(') && word.ends_with(')') && bare.parse::<u32>().is_ok() {
                return None; // a thread's number, which newer versions of std print
            }
            let number = bare.trim_end_matches(['m', 's', 'µ']);
            if number.len() < bare.len() && number.parse::<f64>().is_ok() {
                return Some(word.replace(bare, "30.0s"));
            }
            Some(word.replace(&self.module, "main"))
        });
        format!("{indent}{}", words.collect::<Vec<_>>().join(" "))
    }
}

fn updates() -> bool {
    env::var_os("UPDATE_EXPECT").is_some()
}

/// Whether these are the first words, but for what differs from run to run: how often something was polled, and whether a
/// report met a thread asleep or in one of the polls that it makes unasked above another scheduler.
fn starts_with(printed: &str, shown: &str) -> bool {
    fn asleep(text: &str) -> String {
        text.replace("(serving its contexts,", "(parked,").replace("(polling,", "(parked,")
    }
    fn words(text: &str) -> Vec<&str> {
        let words: Vec<_> = text.split_whitespace().collect();
        let counts = |index: usize| words.get(index + 1).is_some_and(|next| next.starts_with("polls"));
        words.iter().enumerate().filter(|(index, _)| !counts(*index)).map(|(_, word)| *word).collect()
    }
    !shown.trim().is_empty() && words(&asleep(printed)).starts_with(&words(&asleep(shown)))
}

/// Breaks lines that are too long to be read.
fn wrapped(text: &str) -> String {
    const WIDTH: usize = 116;
    let mut wrapped = String::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let mut width = 0;
        for (index, word) in line.split_whitespace().enumerate() {
            if index == 0 {
                wrapped += &" ".repeat(indent);
                width = indent;
            } else if width + 1 + word.chars().count() > WIDTH {
                wrapped.push('\n');
                wrapped += &" ".repeat(indent + 4);
                width = indent + 4;
            } else {
                wrapped.push(' ');
                width += 1;
            }
            wrapped += word;
            width += word.chars().count();
        }
        wrapped.push('\n');
    }
    wrapped
}

#[test]
fn programs_print_what_the_pages_show() {
    let mut programs = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for pair in blocks(&text).windows(2) {
            if pair[1].info == "text" && ["", "should_panic", "no_run"].contains(&pair[0].info) {
                programs.push(Program::new(&page, format!("p{}", programs.len()), pair[0].text, pair[1].text));
            }
        }
    }
    assert!(!programs.is_empty());
    let folder = package::folder("guide");
    let mut main = String::from("#![allow(unused)]\n");
    let mut calls = String::new();
    for program in &programs {
        fs::write(folder.join(format!("src/{}.rs", program.module)), &program.source).unwrap();
        main += &format!("mod {};\n", program.module);
        calls += &format!("        {0:?} => drop({0}::main()),\n", program.module);
    }
    main += &format!(
        "fn main() {{\n    match std::env::args().nth(1).unwrap().as_str() {{\n{calls}        _ => {{}}\n    }}\n}}\n"
    );
    fs::write(folder.join("src/main.rs"), main).unwrap();
    let manifest = format!(
        "[package]\nname = \"guide\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n{}",
        package::run()
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    let output = package::cargo("build", &folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let executable = package::target().join("debug/guide");
    // Side by side, for those that hang are waited for.
    let printed: Vec<String> = thread::scope(|scope| {
        let executable = &executable;
        let runs: Vec<_> = programs.iter().map(|program| scope.spawn(move || program.run(executable))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let mut wrong = String::new();
    for (program, printed) in programs.iter().zip(printed) {
        if starts_with(&printed, &program.printed) {
            continue;
        }
        let page = program.page.file_name().unwrap().to_string_lossy();
        wrong += &format!("{page} shows\n{}but it prints\n{printed}\n", program.printed);
        if updates() {
            let text = fs::read_to_string(&program.page).unwrap();
            // The first: those of earlier programs have been replaced.
            let shown = format!("\n```text\n{}```", program.printed);
            let text = text.replacen(&shown, &format!("\n```text\n{}```", wrapped(&printed)), 1);
            fs::write(&program.page, text).unwrap();
        }
    }
    assert!(updates() || wrong.is_empty(), "{wrong}");
}

/// What the compiler says of a wrong program is shown as the macros' own tests have it.
#[test]
fn compile_errors_are_those_of_the_ui_tests() {
    let mut said = String::new();
    for folder in ["tests/ui", "tests/ui/rustc"] {
        for file in fs::read_dir(root().join(folder)).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|end| end == "stderr" || end == "expect") {
                said += &fs::read_to_string(path).unwrap();
            }
        }
    }
    let mut found = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for pair in
            blocks(&text).windows(2).filter(|pair| pair[0].info.contains("compile_fail") && pair[1].info == "text")
        {
            let error = pair[1].text.lines().next().unwrap();
            assert!(said.contains(error), "{}: no test of the macros' errors has `{error}`", page.display());
            found += 1;
        }
    }
    assert!(found > 0);
}

/// The README's program is that of the first page of the documentation, where rustdoc runs them.
#[test]
fn the_readme_and_the_first_page_show_one_program() {
    let first = fs::read_to_string(root().join("src/front.md")).unwrap();
    let shown: Vec<String> = blocks(&first).iter().map(|block| without_hidden(block.text)).collect();
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let programs = blocks(&readme);
    let programs: Vec<_> = programs.iter().filter(|block| ["rust", "toml"].contains(&block.info)).collect();
    assert_eq!(programs.len(), 2, "the dependencies and the program");
    for program in programs {
        assert!(shown.iter().any(|shown| shown == program.text), "the first page has not\n{}", program.text);
    }
    assert!(readme.lines().count() <= 120, "the README is one screen, and the rest has pages of its own");
}

fn without_hidden(code: &str) -> String {
    let lines = code.lines().filter(|line| *line != "#" && !line.starts_with("# "));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Who depends on `co-wrapper` cannot write `use co_wrapper_runtime::…`, so no example of what it re-exports does.
#[test]
fn the_runtimes_examples_are_for_users_of_the_facade() {
    let mut folders = vec![root().join("co-wrapper-runtime/src")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            for (index, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
                let is_documentation = ["///", "//!"].iter().any(|start| line.trim_start().starts_with(start));
                assert!(!is_documentation || !line.contains("co_wrapper_runtime"), "{}:{}", path.display(), index + 1);
            }
        }
    }
    assert!(files > 20);
}

/// Links to files of this repository lead to files.
#[test]
fn links_lead_somewhere() {
    let mut files = vec![root().join("README.md"), root().join("examples/co-img/README.md")];
    files.extend(fs::read_dir(root().join("docs")).unwrap().map(|file| file.unwrap().path()));
    files.push(root().join("src/guide/called_from.md"));
    for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "md")) {
        let text = fs::read_to_string(file).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            let path = link.split('#').next().unwrap();
            if !path.is_empty() && !link.contains("://") && !link.starts_with("mod@") && !link.contains("::") {
                assert!(file.parent().unwrap().join(path).exists(), "{}: {link}", file.display());
            }
        }
    }
}

//! `cargo co-check`: finds plain blocking twins that async code can reach, in the LLVM IR of a debug build.
//!
//! cargo checks the packages with this program as the rustc wrapper ([`wrapper`], [`compile`]). This program then reads
//! the IR ([`ir`]) and joins its modules ([`program`]). It follows every body that runs in coroutine context, with what
//! is known of values ([`follow`], [`instruction`], [`call`], [`memory`], [`context`], [`arithmetic`]), and builds a
//! call graph ([`graph`]). It searches that graph for paths to plain twins ([`search`]), leaves out those that a
//! comment allows ([`allow`]), and reports the others ([`report`]). The same graph says which guards are alive across a
//! call ([`guards`]).

mod allow;
mod arguments;
mod arithmetic;
mod call;
mod compile;
mod context;
mod follow;
mod graph;
mod guards;
mod instruction;
mod ir;
mod memory;
mod names;
mod program;
mod report;
mod search;
mod tables;
mod wrapper;

use arguments::{Arguments, Asked};
use compile::Failed;
use report::{Level, Report};
use std::{collections::HashSet, env, ffi::OsString, fs, process::ExitCode, thread, time::Instant};

/// Functions are followed into each other.
const STACK: usize = 512 << 20;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    if env::var_os(wrapper::PACKAGES).is_some() && !arguments.is_empty() {
        return wrapper::run(&arguments).into();
    }
    let words = arguments.iter().map(|word| word.to_string_lossy().into_owned());
    // cargo gives the name of the subcommand first.
    let words: Vec<String> =
        words.enumerate().filter(|(at, word)| *at > 0 || word != "co-check").map(|(_, word)| word).collect();
    match arguments::parse(words) {
        Err(wrong) => {
            eprintln!("error: {wrong}; see `cargo co-check --help`");
            1.into()
        }
        Ok(Asked::Help) => {
            println!("{}", arguments::HELP);
            ExitCode::SUCCESS
        }
        Ok(Asked::Version) => {
            println!("cargo-co-check {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Ok(Asked::Check(arguments)) => {
            let checking = thread::Builder::new().stack_size(STACK).spawn(move || check(&arguments));
            match checking.map(thread::JoinHandle::join) {
                Ok(Ok(code)) => code.into(),
                _ => 101.into(),
            }
        }
    }
}

fn check(arguments: &Arguments) -> u8 {
    let compiled = match compile::compile(arguments) {
        Ok(compiled) => compiled,
        Err(Failed::Told) => return 101,
        Err(Failed::Because(why)) => {
            eprintln!("error: {why}");
            return 101;
        }
    };
    if compiled.is_empty() {
        eprintln!("co-check: nothing that was checked depends on co-wrapper");
        return 0;
    }
    let begun = Instant::now();
    let own: HashSet<String> = compiled.iter().map(|compiled| compiled.krate.clone()).collect();
    let mut program = program::Program::new(own);
    for file in &compiled {
        match fs::read(&file.ir) {
            Ok(text) => program.add(ir::Module::parse(&String::from_utf8_lossy(&text))),
            Err(error) => {
                eprintln!("error: {}: {error}", file.ir.display());
                return 101;
            }
        }
    }
    program.finish(arguments.all);
    let (plain, mixed) = (program.count(false), program.count(true));
    if plain + mixed == 0 {
        if let Some(user) = compiled.iter().find(|compiled| compile::uses_macros(compiled)) {
            eprintln!(
                "error: crate `{}` uses co-wrapper's macros, and no twin was found in what rustc wrote; nothing was checked",
                user.krate
            );
            return 101;
        }
        eprintln!("co-check: no twin is there, and no macro that writes one");
        return 0;
    }
    let mut comments = allow::Comments::default();
    let mut follower = follow::Follower::new(program);
    let mut findings = search::Search::new(&mut follower, &mut comments, arguments.all).findings();
    findings.extend(guards::findings(&mut follower, &mut comments, arguments.all));
    let program = &follower.program;
    search::sort(&mut findings, program);
    let report = Report::new(program, arguments.color.as_deref());
    let mut counts = [0; 3];
    let mut is_denied = false;
    let mut left_out = 0;
    for finding in &findings {
        let level = report::level(finding);
        if level == Level::Note && !arguments.all {
            left_out += 1;
            continue;
        }
        counts[level as usize] += 1;
        is_denied |= level.is_denied(arguments.deny);
        println!("{}", if arguments.json { report.json(finding) } else { report.text(finding) });
    }
    for (file, line) in &comments.without_reason {
        eprintln!("warning: {file}:{line}: `co-check: allow` gives no reason, and allows nothing");
    }
    let bodies = program.items.iter().filter(|item| item.is_root).count();
    eprintln!(
        "co-check: {} errors, {} warnings, {} notes{}; {bodies} async bodies, {plain} plain twins, {mixed} mixed; {:.1} s",
        counts[Level::Error as usize],
        counts[Level::Warning as usize],
        counts[Level::Note as usize],
        if left_out > 0 { format!(" ({left_out} more with --all)") } else { String::new() },
        begun.elapsed().as_secs_f32()
    );
    if is_denied { 101 } else { 0 }
}

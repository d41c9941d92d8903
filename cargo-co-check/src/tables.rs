//! What is known by name: where chains end, what blocks, and what allocates. The test below
//! holds the names of co-wrapper's runtime to its sources.

use crate::{
    names,
    program::{Item, Origin},
};

/// The runtime's crate.
pub const RUNTIME: &str = "co_wrapper_runtime";

/// A twin calls one of these, all in the runtime's module `call`, with a `&'static Wrapper` that says its name, that of the
/// async fn, and whether it is `mixed`.
pub const POLLS: [&str; 6] = [
    "poll_co",
    "poll_co_timeout",
    "poll_co_interruptible",
    "poll_co_in",
    "poll_co_in_timeout",
    "poll_co_in_interruptible",
];

/// Whether the caller is in coroutine context. In the code that is analysed it is.
pub const ASKS: [&str; 1] = ["in_coroutine"];

/// What is handed to these functions of the runtime runs later: not in the caller's coroutine. Bottom halves, handlers and
/// blocking functions for coroutines run outside coroutine context; tasks are roots of their own; in a coroutine with a
/// stack of its own a plain twin suspends.
pub const LATER: [&str; 10] = [
    "bh",
    "schedule_bh",
    "fd_handler",
    "no_co",
    "no_co_read",
    "no_co_write",
    "in_main",
    "spawn",
    "spawn_local",
    "spawn_coroutine",
];

/// Files of the runtime that are all about what runs later.
pub const LATER_MODULES: [&str; 4] = [
    "co_wrapper_runtime::call::no_co",
    "co_wrapper_runtime::graph::no_co",
    "co_wrapper_runtime::coroutine::",
    "co_wrapper_runtime::context::bottom_half",
];

/// The runtime's other functions that poll what they are given, or call it in their caller's context.
pub const FOR_US: [&str; 6] =
    ["block_on", "block_on_until", "spawn", "spawn_local", "poll_while", "poll_while_timeout"];

/// Functions of the runtime that call the closure which they are given, at once and in their caller's context: the condition of
/// `poll_while`. They are not generic, so they are compiled with the runtime, whose code is not read.
pub const CALLS: [&str; 2] = ["decide", "poll_while_suspended"];

/// Functions of the runtime that block and may not be called in coroutine context, as twins: their paths, and what to write there.
pub const BLOCKING: [(&str, &str); 4] = [
    ("<co_wrapper_runtime::graph::lock::GraphLock>::write", "a #[no_co_wrapper(bdrv_wrlock)]"),
    ("co_wrapper_runtime::graph::write", "a #[no_co_wrapper(bdrv_wrlock)]"),
    ("<co_wrapper_runtime::graph::drain::Drain>::drained_begin", "co_drained_begin"),
    ("<co_wrapper_runtime::graph::drain::Drain>::drained", "co_drained"),
];

/// Functions of the runtime that take the graph's write lock.
pub const WRITES: [&str; 3] = [
    "<co_wrapper_runtime::graph::lock::GraphLock>::write",
    "co_wrapper_runtime::graph::write",
    "co_wrapper_runtime::graph::no_co::no_co_write",
];

/// The read guard of the graph lock.
pub const GRAPH_GUARD: &str = "co_wrapper_runtime::graph::guard::GraphRead";

/// The guards of std's locks.
pub const STD_GUARDS: [&str; 3] = ["mutex::MutexGuard<", "rwlock::RwLockReadGuard<", "rwlock::RwLockWriteGuard<"];

/// Where what is handed over runs on another thread: crate, function.
const ELSEWHERE: [(&str, &str); 17] = [
    ("std", "spawn"),
    ("std", "spawn_unchecked"),
    ("std", "spawn_unchecked_"),
    ("std", "spawn_scoped"),
    ("std", "set_hook"),
    ("tokio", "spawn_blocking"),
    ("tokio", "spawn_blocking_on"),
    ("tokio", "spawn_blocking_inner"),
    ("blocking", "unblock"),
    ("rayon_core", "spawn"),
    ("rayon_core", "spawn_fifo"),
    ("rayon_core", "join"),
    ("rayon_core", "install"),
    ("rayon_core", "scope"),
    ("async_std", "spawn_blocking"),
    ("threadpool", "execute"),
    ("crossbeam_utils", "spawn"),
];

/// Whether what is handed to this function is called elsewhere or later.
pub fn ends_a_chain(item: &Item) -> bool {
    let last = item.last.as_str();
    match item.origin {
        Origin::Runtime => {
            let plain = names::plain(&item.name);
            LATER.contains(&last) || LATER_MODULES.iter().any(|module| plain.contains(module))
        }
        _ => ELSEWHERE.contains(&(&item.krate, last)) || is_foreign_spawn(item),
    }
}

/// Another executor's task is no coroutine of ours.
pub fn is_foreign_spawn(item: &Item) -> bool {
    item.origin == Origin::Foreign && item.krate != "async_task" && item.last.starts_with("spawn")
}

/// What polls the futures that it is given in coroutine context.
pub fn polls_for_us(item: &Item) -> bool {
    let last = item.last.as_str();
    item.origin == Origin::Runtime && (FOR_US.contains(&last) || POLLS.contains(&last))
}

/// Whether this calls what it is given before it returns, and keeps none of it.
pub fn calls_at_once(item: &Item) -> bool {
    match item.origin {
        Origin::Std => true,
        Origin::Runtime => CALLS.contains(&item.last.as_str()),
        _ => false,
    }
}

/// Returns memory that nothing else points to.
pub fn allocates(item: &Item) -> bool {
    let last = item.last.as_str();
    matches!(last, "__rust_alloc" | "__rust_alloc_zeroed")
        || matches!(last, "exchange_malloc" | "box_new_uninit") && item.origin == Origin::Std
}

/// Neither keeps nor changes what it is given.
pub fn only_looks(item: &Item) -> bool {
    matches!(
        item.last.as_str(),
        "__rust_dealloc" | "__rust_no_alloc_shim_is_unstable" | "__rust_no_alloc_shim_is_unstable_v2"
    )
}

/// A destructor that drops nothing for some values: that of an enum, and that of a counted pointer, of which only the last one
/// drops what it points to. That of a future has a branch for each of its states.
pub fn may_drop_nothing(item: &Item) -> bool {
    let is_counted = item.origin == Origin::Std
        && item.last == "drop"
        && ["<alloc::sync::Arc<", "<alloc::rc::Rc<"].iter().any(|counted| item.name.starts_with(counted));
    is_counted || names::dropped(&item.name).is_some_and(|of| !of.starts_with('[') && !of.ends_with('}'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    fn sources(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, text);
            } else {
                *text += &fs::read_to_string(path).unwrap();
            }
        }
    }

    /// Catches: a function, file or constant of the runtime that has another name or shape than the analysis looks for. It would
    /// find nothing then, and say so of every package.
    #[test]
    fn the_runtime_has_the_names_that_are_looked_for() {
        let runtime = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("co-wrapper-runtime/src");
        let mut all = String::new();
        sources(&runtime, &mut all);
        let mut call = String::new();
        sources(&runtime.join("call"), &mut call);
        let defines =
            |text: &str, name: &str| text.contains(&format!("fn {name}<")) || text.contains(&format!("fn {name}("));
        for name in POLLS.into_iter().chain(ASKS) {
            assert!(defines(&call, name), "call/ has no `fn {name}`");
        }
        let has_coroutines = runtime.join("coroutine").exists();
        for name in
            LATER.into_iter().chain(FOR_US).chain(CALLS).filter(|name| *name != "spawn_coroutine" || has_coroutines)
        {
            assert!(defines(&all, name), "no `fn {name}`");
        }
        for module in LATER_MODULES.into_iter().filter(|module| !module.contains("coroutine") || has_coroutines) {
            let path = module.trim_start_matches(RUNTIME).trim_matches(':').replace("::", "/");
            assert!(runtime.join(&path).exists() || runtime.join(path + ".rs").exists(), "no {module}");
        }
        for (path, _) in BLOCKING {
            assert!(defines(&all, path.rsplit("::").next().unwrap()), "no {path}");
        }
        for name in [
            "graph/guard.rs: pub struct GraphRead",
            "graph/lock.rs: pub struct GraphLock",
            "graph/drain.rs: pub struct Drain",
            "graph/no_co.rs: pub fn no_co_write<",
        ] {
            let (file, definition) = name.split_once(": ").unwrap();
            assert!(fs::read_to_string(runtime.join(file)).unwrap().contains(definition), "{name}");
        }
        let wrapper = &all[all.find("pub struct Wrapper {").expect("the constant that twins pass")..];
        let wrapper = &wrapper[..wrapper.find("\n}").unwrap()];
        let fields: Vec<&str> =
            wrapper.lines().map(str::trim).filter(|line| line.starts_with("pub ")).skip(1).collect();
        assert_eq!(fields, ["pub name: &'static str,", "pub target: &'static str,", "pub mixed: bool,"]);
    }
}

//! What is known by name: where chains end, what blocks, and what allocates. The names of co-wrapper's runtime are held to its
//! sources by `tests/names.rs`.

use crate::{
    names,
    program::{Item, Origin},
};

/// The runtime's crate.
pub const RUNTIME: &str = "co_wrapper_runtime";

/// A twin calls one of these, all in the runtime's room `call`, with a `&'static Wrapper` that says its name, that of the
/// async fn, and whether it is `mixed`.
pub const POLLS: [&str; 4] = ["poll_co", "poll_co_timeout", "poll_co_in", "poll_co_in_timeout"];

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
pub const LATER_ROOMS: [&str; 4] = [
    "co_wrapper_runtime::call::no_co",
    "co_wrapper_runtime::graph::no_co",
    "co_wrapper_runtime::coroutine::",
    "co_wrapper_runtime::context::bottom_half",
];

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
            LATER.contains(&last) || LATER_ROOMS.iter().any(|room| plain.contains(room))
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
    let ours = ["block_on", "block_on_until", "spawn", "spawn_for", "spawn_local", "spawn_named", "poll_while"];
    item.origin == Origin::Runtime && (ours.contains(&last) || POLLS.contains(&last))
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

/// The destructor of a counted pointer: only that of the last one drops what it points to.
pub fn is_counted_drop(item: &Item) -> bool {
    item.origin == Origin::Std
        && item.last == "drop"
        && ["alloc::sync::Arc<", "alloc::rc::Rc<"].iter().any(|rc| item.name[..item.name.len().min(20)].contains(rc))
}

#![doc = include_str!("guide/index.md")]

macro_rules! pages {
    ($($page:ident = $text:literal;)*) => {
        $(
            #[doc = include_str!($text)]
            pub mod $page {}
        )*
    };
}

pages! {
    getting_started = "guide/getting_started.md";
    inside_tokio = "guide/inside_tokio.md";
    giving_up = "guide/giving_up.md";
    before_it_runs = "guide/before_it_runs.md";
    when_it_hangs = "guide/when_it_hangs.md";
    threads_and_contexts = "guide/threads_and_contexts.md";
    files = "guide/files.md";
    what_a_call_costs = "guide/what_a_call_costs.md";
    destructors_callbacks_ffi = "guide/destructors_callbacks_ffi.md";
    std_traits = "guide/std_traits.md";
    forks_panics_limits = "guide/forks_panics_limits.md";
    coming_from_qemu = "guide/coming_from_qemu.md";
    coming_from_other_ways = "guide/coming_from_other_ways.md";
    called_from = "guide/called_from.md";
}

#[cfg(feature = "coroutine")]
pages! {
    blocking_code_in_async_code = "guide/blocking_code_in_async_code.md";
}

#[cfg(not(feature = "coroutine"))]
/// With the feature `coroutine`: blocking code as a future, which is suspended where it would block.
pub mod blocking_code_in_async_code {}

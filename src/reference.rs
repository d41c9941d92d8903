#![doc = include_str!("reference/index.md")]

macro_rules! pages {
    ($($page:ident = $text:literal;)*) => {
        $(
            #[doc = include_str!($text)]
            pub mod $page {}
        )*
    };
}

pages! {
    plain = "reference/plain.md";
    mixed = "reference/mixed.md";
    name = "reference/name.md";
    vis = "reference/vis.md";
    ctx = "reference/ctx.md";
    timeout = "reference/timeout.md";
    interrupt = "reference/interrupt.md";
    expect_long = "reference/expect_long.md";
    suffix = "reference/suffix.md";
    output = "reference/output.md";
    blocking_type = "reference/blocking_type.md";
    blocking_trait = "reference/blocking_trait.md";
    marked = "reference/marked.md";
    krate = "reference/krate.md";
    declare = "reference/declare.md";
    declare_impl = "reference/declare_impl.md";
    declare_type = "reference/declare_type.md";
    no_co_wrapper = "reference/no_co_wrapper.md";
}

// Their examples are of the feature.
#[cfg(feature = "graph")]
pages! {
    bdrv_rdlock = "reference/bdrv_rdlock.md";
    witness = "reference/witness.md";
}

#[cfg(feature = "coroutine")]
pages! {
    coroutine = "reference/coroutine.md";
}

#[cfg(feature = "stream")]
pages! {
    stream = "reference/stream.md";
}

#[cfg(not(feature = "stream"))]
/// With the feature `stream`: a fn that returns a stream has a twin that returns an iterator.
pub mod stream {}

#[cfg(not(feature = "coroutine"))]
/// With the feature `coroutine`: `#[no_co_wrapper(unsafe(coroutine))]`, an async twin that runs a blocking fn as a coroutine.
pub mod coroutine {}

#[cfg(not(feature = "graph"))]
/// With the feature `graph`: the graph's read lock is held around the call.
pub mod bdrv_rdlock {}

#[cfg(not(feature = "graph"))]
/// With the feature `graph`: a parameter `&GraphRead` or `&GraphWrite`, the word that the lock is held.
pub mod witness {}

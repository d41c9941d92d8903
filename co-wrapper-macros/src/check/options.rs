//! Refuses options that do not suit their item, or each other. It reads only the options and the kind of the item,
//! never a signature.

use crate::check::outside;
use crate::parse::errors::Errors;
use crate::parse::item::Block;
use crate::parse::options::Options;
use proc_macro2::Ident;

/// Refuses each of these options that the mark itself has.
fn refuse(options: &Options, keys: &[&str], errors: &mut Errors, message: impl Fn(&Ident) -> String) {
    for key in keys.iter().filter_map(|key| options.key(key)) {
        errors.error(key, message(key));
    }
}

/// Checks `#[co_wrapper]` on a fn.
pub fn of_fn(options: &Options, errors: &mut Errors) {
    no_coroutine(options, errors);
    co_lock(options, errors);
    no_ctx(options, errors);
    outside::of_fn(options, errors);
    if options.key("name").is_some() {
        let message = |key: &_| format!("`name` is the whole of the name; remove it or `{key}`");
        refuse(options, &["suffix", "prefix"], errors, message);
    }
    let Some(key) = options.key("skip") else { return };
    if options.block.as_ref().is_none_or(|block| !block.options.is_of_every_fn()) {
        let message =
            "only an `impl`, `trait` or `mod` with a `suffix` or `prefix` has something to skip; remove the attribute";
        errors.error(key, message);
    } else if options.keys.len() > 1 {
        errors.error(key, "`skip` leaves nothing for other options to do; remove it or them");
    }
}

/// Checks `#[co_wrapper]` on an `impl`, `trait` or module.
pub fn of_block(options: &Options, block: &Block, errors: &mut Errors) {
    if block.keyword == "mod"
        && !options.is_outside()
        && options.key("suffix").is_none()
        && options.key("prefix").is_none()
    {
        let message = "a module cannot have a wrapper; give a `suffix` for all async fns in it, or mark those";
        errors.error(&block.keyword, message);
    }
    outside::of_block(options, block, errors);
    let of_one_fn = |key: &_| format!("`{key}` is of one fn; write it on the fn inside");
    refuse(options, &["name", "vis", "output"], errors, of_one_fn);
    refuse(options, &["skip"], errors, |key| of_one_fn(key) + ", or remove this attribute");
    of_any_block(options, errors);
}

/// Refuses `unsafe(coroutine)`, which is for `#[no_co_wrapper]`.
fn no_coroutine(options: &Options, errors: &mut Errors) {
    if let Some(coroutine) = &options.coroutine {
        let message = "`unsafe(coroutine)` is for `#[no_co_wrapper]`; an async fn needs no stack of its own, remove it";
        errors.error(coroutine, message);
    }
}

/// Checks what no block can have, whether an attribute is on it or `declare!` writes it.
pub fn of_any_block(options: &Options, errors: &mut Errors) {
    for (key, twin) in [("timeout", &options.timeout), ("interrupt", &options.interrupt)] {
        if let Some(name) = twin.as_ref().and_then(|twin| twin.name.as_ref()) {
            errors.error(name, format!("this name is of one fn; write `{key}` here, or the name on the fn inside"));
        }
    }
    no_ctx(options, errors);
    no_coroutine(options, errors);
}

/// Checks `#[no_co_wrapper]`, which may be on anything.
pub fn of_no_co(options: &Options, errors: &mut Errors) {
    refuse(options, &["output"], errors, |key| {
        format!("`{key}` is for `#[co_wrapper]`; a blocking fn says what it returns, remove it")
    });
    let of_blocks = |key: &_| format!("`{key}` is for `#[co_wrapper]` on a block; remove it");
    refuse(options, &["type", "trait"], errors, of_blocks);
    let of_waiting = ["mixed", "ctx", "timeout", "interrupt", "expect_long", "suffix", "prefix", "skip"];
    refuse(options, &of_waiting, errors, |key| {
        format!("`{key}` is for `#[co_wrapper]`; an async fn waits for nobody, remove it")
    });
    if let Some(coroutine) = &options.coroutine {
        let message = |key: &_| format!("a coroutine takes the lock where it needs it; remove `{key}`");
        refuse(options, &["bdrv_rdlock", "bdrv_wrlock"], errors, message);
        if cfg!(not(feature = "coroutine")) {
            let message =
                "`unsafe(coroutine)` needs stacks for coroutines; enable the feature `coroutine` of co-wrapper";
            errors.error(coroutine, message);
        }
        return;
    }
    let key = |name| options.keys.iter().position(|key| key == name);
    if let (Some(read), Some(write)) = (key("bdrv_rdlock"), key("bdrv_wrlock")) {
        let second = &options.keys[read.max(write)];
        errors.error(second, "`bdrv_rdlock` and `bdrv_wrlock` cannot both be held; remove one");
        return;
    }
    match options.lock.as_ref().and_then(|lock| lock.expr.as_ref()) {
        Some(expr) => {
            errors.error(expr, "a bottom half of the main context takes the graph's own lock; remove the value");
        }
        None => feature(options, HAS_LOCK, errors),
    }
}

/// Checks either mark in `declare!`.
pub fn of_declaration(options: &Options, errors: &mut Errors) {
    if options.no_co {
        of_no_co(options, errors);
    } else {
        co_lock(options, errors);
        no_coroutine(options, errors);
    }
    for (key, message) in [
        ("name", "the wrapper is called as it is declared; remove it"),
        ("output", "the wrapper returns what its declaration says; remove it"),
        ("vis", "the wrapper is as visible as its declaration says; remove it"),
        ("type", "the blocking type is named by `impl blocking::Disk { … }` here; remove it"),
        ("trait", "a trait of declared twins is named by `impl Trait for Type { … }`; remove it"),
    ] {
        refuse(options, &[key], errors, |_| message.to_owned());
    }
    if !options.no_co {
        refuse(options, &["skip"], errors, |_| "nothing is declared that need be skipped; remove it".to_owned());
    }
}

/// Checks the mark of an `impl` of a blocking type, whose methods have names of their own.
pub fn of_blocking_declarations(options: &Options, errors: &mut Errors) {
    let message = |key: &_| format!("the methods have the async fns' own names, or those after a `=`; remove `{key}`");
    refuse(options, &["suffix", "prefix"], errors, message);
}

/// Refuses `suffix` and `prefix` on a declared function or method, whose name is already given.
pub fn affixes_of_declaration(options: &Options, free: bool, errors: &mut Errors) {
    if options.no_co {
        return;
    }
    let remedy =
        if free { "for an `impl`; name the async fn with `= …` here" } else { "of the whole `impl`; write it there" };
    refuse(options, &["suffix", "prefix"], errors, |key| format!("`{key}` is {remedy}"));
}

/// Refuses `ctx = none` where no block has a `ctx` that it could override.
pub fn no_ctx(options: &Options, errors: &mut Errors) {
    let of_block = options.block.as_ref().and_then(|block| block.options.ctx.as_ref());
    if let Some(key) = options.key("ctx").filter(|_| options.no_ctx && of_block.is_none()) {
        errors.error(key, "`ctx = none` is for a fn of a block that has a `ctx`; remove it");
    }
}

/// Checks the lock in `#[co_wrapper]`.
pub fn co_lock(options: &Options, errors: &mut Errors) {
    if let Some(key) = options.key("bdrv_wrlock") {
        errors.error(key, "a coroutine cannot take the write lock; write `bdrv_rdlock`, or use `#[no_co_wrapper]`");
    } else {
        feature(options, HAS_LOCK, errors);
    }
}

/// Whether the mark asks for a lock that cannot be taken. That has been reported, so errors that only follow from it are
/// not.
pub fn is_lock_faulty(options: &Options) -> bool {
    if options.no_co {
        let keys = options.keys.iter().filter(|key| *key == "bdrv_rdlock" || *key == "bdrv_wrlock");
        if options.coroutine.is_some() {
            return keys.count() > 0;
        }
        return keys.count() > usize::from(options.lock.is_some());
    }
    options.key("bdrv_wrlock").is_some() || options.key("bdrv_rdlock").is_some() && options.lock.is_none()
}

const HAS_LOCK: bool = cfg!(feature = "graph");

/// The runtime has the lock only with its feature `graph`. Without it the expansion would name things that do not
/// exist.
fn feature(options: &Options, graph: bool, errors: &mut Errors) {
    if let Some(lock) = options.lock.as_ref().filter(|_| !graph) {
        let key = &lock.key;
        errors.error(key, format!("`{key}` needs the graph lock; enable the feature `graph` of co-wrapper"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_feature() {
        for (text, faults) in [("bdrv_rdlock", 1), ("bdrv_rdlock = self.graph, mixed", 1), ("mixed", 0)] {
            let mut errors = Errors::default();
            let options = Options::parse(text.parse().unwrap(), &mut errors);
            feature(&options, true, &mut errors);
            assert!(errors.is_empty(), "{text}");
            feature(&options, false, &mut errors);
            let errors = errors.into_compile_errors().to_string();
            assert_eq!(errors.matches("enable the feature `graph`").count(), faults, "{text}: {errors}");
        }
    }
}

//! The checks. They report mistakes in the options first, then in the signature, then in the combination of both. A mistake
//! is reported once, and what only follows from a reported mistake is not reported. Nothing is changed or written here.

pub mod conversion;
pub mod options;
pub mod outside;
pub mod owned;
pub mod signature;
pub mod witness;

use crate::model::plan::{Names, Plan, Target};
use crate::model::signature::never;
use crate::parse::errors::Errors;
use crate::parse::future::{Returned, is_async};
use crate::parse::ident::unraw;
use crate::parse::tokens::mentions;
use syn::Visibility;

/// Checks a fn that is marked with `#[co_wrapper]`.
pub fn co_wrapper(plan: &Plan, errors: &mut Errors) {
    let (options, sig) = (&plan.options, &plan.sig);
    options::of_fn(options, errors);
    signature::check_attrs(&plan.attrs, errors);
    signature::check(sig, errors);
    if let Some(key) = options.key("output").filter(|_| plan.returned == Returned::Async) {
        errors.error(key, "the result of an `async fn` is known; remove `output`");
    }
    signature::check_self(sig, options, errors);
    if plan.returned != Returned::Unknown {
        if !options::is_lock_faulty(options) {
            witness::check(sig, options, errors);
        }
    } else if options.key("output").is_none() || options.output.is_some() {
        // If the option `output` could not be parsed, that is the mistake, and it has been reported.
        let name = unraw(&sig.ident);
        let message = if mentions(&sig.output, "Stream") || mentions(&sig.generics, "Stream") {
            format!(
                "`{name}` is not async, and returns no type that is known as a stream; return `impl Stream<Item = …>`"
            )
        } else {
            format!(
                "`{name}` is not async; make it an `async fn`, or let it return `impl Future<Output = …>` or `Pin<Box<dyn Future<Output = …>>>`"
            )
        };
        errors.error(sig.fn_token, message);
    }
    if plan.free {
        signature::check_hiding(&sig.ident, sig, errors);
    }
    if !options.skip && plan.returned != Returned::Unknown {
        conversion::of_streams(plan, errors);
    }
    names(plan, errors);
}

/// Checks a fn of an `impl` with a `type`, whose twin is in the impl of that type.
pub fn in_blocking_type(plan: &Plan, errors: &mut Errors) {
    co_wrapper(plan, errors);
    if errors.is_empty() && plan.names.is_ok() {
        conversion::of_selves(plan, errors);
    }
}

/// Checks a fn of a trait, whose twin is in the blocking trait.
pub fn in_blocking_trait(plan: &Plan, errors: &mut Errors) {
    co_wrapper(plan, errors);
    if errors.is_empty() && plan.names.is_ok() {
        outside::of_dyn(plan, errors);
    }
}

/// Checks a fn that is marked with `#[no_co_wrapper]`, whose options have been checked.
pub fn no_co_wrapper(plan: &Plan, errors: &mut Errors) {
    let sig = &plan.sig;
    signature::check_attrs(&plan.attrs, errors);
    if let Some(token) = &sig.asyncness {
        errors.error(token, "the fn is async already; mark a blocking one, or write `#[co_wrapper]`");
    } else if is_async(sig) {
        errors.error(&sig.output, "the fn returns a future; mark a blocking one, or write `#[co_wrapper]`");
    } else {
        signature::check(sig, errors);
        owned_and_witness(plan, errors);
    }
    if plan.free {
        signature::check_hiding(&sig.ident, sig, errors);
    }
    names(plan, errors);
}

/// Checks a declared fn, blocking or async. The options that no declaration can have have been checked.
pub fn declaration(plan: &Plan, errors: &mut Errors) {
    let (options, sig) = (&plan.options, &plan.sig);
    options::affixes_of_declaration(options, plan.free, errors);
    options::no_ctx(options, errors);
    signature::check_attrs(&plan.attrs, errors);
    signature::check(sig, errors);
    match &sig.asyncness {
        None if options.no_co => {
            errors.error(sig.fn_token, "what is declared is the async fn; write `async fn`, or `#[co_wrapper]`");
        }
        Some(token) if !options.no_co => errors
            .error(token, "what is declared is the blocking fn; remove it, or put `#[co_wrapper]` on the async one"),
        _ => {}
    }
    if options.no_co {
        owned_and_witness(plan, errors);
    } else if !options::is_lock_faulty(options) {
        witness::check(sig, options, errors);
    }
    if !plan.free && !matches!(plan.vis, Visibility::Inherited) {
        errors.error(&plan.vis, "a method is as visible as its trait; remove this");
    }
    if let Some(receiver) = sig.receiver().filter(|_| plan.free) {
        errors.error(receiver, "a free fn has no `self`; declare it in `impl Trait for Type { … }`");
    }
    if let Ok(Names { target: Target { alone: Some(target), by_rule, .. }, .. }) = &plan.names {
        if plan.free && *by_rule {
            signature::check_hiding(target, sig, errors);
        }
        let (name, what) = (unraw(target), if options.no_co { "blocking" } else { "async" });
        if name != unraw(&sig.ident) {
            // The wrapper and the fn that it calls have different names, as they should.
        } else if plan.free {
            errors.error(target, format!("`{name}` is the wrapper itself; give the path of its {what} fn"));
        } else {
            let message = format!("`{name}` is the {what} fn itself, which hides a method of its name; choose another");
            errors.error(&sig.ident, message);
        }
    }
    names(plan, errors);
}

/// Checks a method that is declared for a blocking type.
pub fn declaration_in_blocking_type(plan: &Plan, errors: &mut Errors) {
    let (options, sig) = (&plan.options, &plan.sig);
    if options.no_co {
        errors.error(
            &sig.ident,
            "an async fn is no method of a blocking type; declare it in `impl Trait for Type { … }`",
        );
        return;
    }
    options::affixes_of_declaration(options, plan.free, errors);
    options::no_ctx(options, errors);
    signature::check_attrs(&plan.attrs, errors);
    signature::check(sig, errors);
    if let Some(token) = &sig.asyncness {
        errors.error(token, "what is declared is the blocking fn; remove it");
    }
    if !options::is_lock_faulty(options) {
        witness::check(sig, options, errors);
    }
    names(plan, errors);
    if errors.is_empty() {
        conversion::of_selves(plan, errors);
    }
}

fn owned_and_witness(plan: &Plan, errors: &mut Errors) {
    if owned::check(&plan.sig, errors) && !options::is_lock_faulty(&plan.options) {
        witness::check(&plan.sig, &plan.options, errors);
    }
}

fn names(plan: &Plan, errors: &mut Errors) {
    match &plan.names {
        Ok(names) => second_twins(plan, names, errors),
        Err(error) => error.iter().for_each(|error| errors.push(error.clone())),
    }
}

/// Checks the wrappers that give up: their names, and whether the fn has a result that they can wrap.
fn second_twins(plan: &Plan, names: &Names, errors: &mut Errors) {
    let mut taken = vec![(unraw(&names.wrapper), "the wrapper"), (names.target.name.clone(), "the async fn")];
    let timeout = "a fn that returns `!` has nothing to be in time with; remove `timeout`";
    let interrupt =
        "a result of the type `!` cannot be wrapped; return `std::convert::Infallible`, or remove `interrupt`";
    for (name, key, what, of_never) in [
        (&names.timeout, "timeout", "the one with a timeout", timeout),
        (&names.interrupt, "interrupt", "the interruptible one", interrupt),
    ] {
        let Some(name) = name else { continue };
        if let Some((_, other)) = taken.iter().find(|(other, _)| unraw(name) == *other) {
            errors.error(name, format!("`{name}` is {other} itself; give {what} another name"));
            continue;
        }
        taken.push((unraw(name), what));
        if let Some(never) = never(&plan.sig) {
            match plan.options.key(key) {
                Some(key) => errors.error(key, of_never),
                None => errors.error(never, of_never),
            }
        }
    }
}

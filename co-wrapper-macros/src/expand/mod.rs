//! The expansion of one function, in the order in which it is read: the wrapper; in its body the struct of packed
//! arguments, the entry that unpacks them, and the call of the runtime. One file each.
//!
//! ```text
//! // Input
//! #[co_wrapper]
//! async fn bdrv_co_read(&self, off: u64) -> Result { … }
//!
//! // Output
//! async fn bdrv_co_read(&self, off: u64) -> Result { … }
//! #[track_caller]
//! fn bdrv_read(&self, off: u64) -> Result {
//!     struct BdrvReadArgs<A0, A1> { __self: A0, off: A1 }
//!     fn bdrv_co_read_entry<…>(…) -> Fut { … }
//!     ::co_wrapper::__private::poll_co(…)
//! }
//! ```
//!
//! Arguments travel, futures don't: the struct may cross to another thread, and the entry makes the future there. The
//! struct is generic over the inferred type of each argument, so that no type of the user's is ever spelled a second
//! time.

mod args_struct;
mod call;
mod entry;
mod lints;
mod lock;
pub mod no_co;
pub mod timeout;
pub mod twin;
mod wrapper;

use crate::args::Options;
use crate::context::Context;
use crate::docs::Link;
use crate::lock::Lock;
use crate::name::{Taken, unraw, upper_camel_case};
use crate::signature::{self, Slot};
use crate::witness;
use call::{borrowed, located};
use lock::Held;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use std::mem;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, Path, Signature, Visibility};

/// What is to be wrapped, as an attribute or `declare!` read it.
pub struct Subject<'a> {
    pub attrs: &'a [Attribute],
    pub vis: &'a Visibility,
    /// The async fn's, as an `async fn`; or, if only its blocking twin is declared, that one's.
    pub sig: &'a Signature,
    pub declared: bool,
    pub returned: Returned,
    /// Its body is so long that a lint may count its lines.
    pub long: bool,
    /// What an error about the wrapper's whole body points at.
    pub body_span: Span,
    pub wrapper: Ident,
    pub target: Target,
}

/// The async fn, as the wrapper calls and names it.
pub struct Target {
    /// `Self::bdrv_co_read`
    pub path: TokenStream,
    /// The fn's type parameters are yet to be passed on.
    pub turbofish: bool,
    /// It is a function of its own, not one of a type or trait.
    pub free: bool,
    pub name: String,
    pub link: Link,
}

/// What the fn returns.
#[derive(Clone, Copy, PartialEq)]
pub enum Returned {
    /// It is an `async fn`, or only its twin is declared.
    Async,
    Future,
    /// What is yet to be made a future.
    IntoFuture,
}

/// The path to the facade.
pub fn krate(option: Option<&Path>, span: Span) -> TokenStream {
    option.map_or_else(|| quote_spanned!(span=> ::co_wrapper), ToTokens::to_token_stream)
}

/// All that the expansion of one function is made of.
pub struct Call<'a> {
    subject: &'a Subject<'a>,
    /// The wrapper's own signature.
    sig: Signature,
    vis: &'a Visibility,
    in_trait: bool,
    /// It has its name from a block's `suffix` or `prefix`.
    unasked: bool,
    slots: Vec<Slot>,
    mixed: bool,
    /// The context to run in, and the variable that holds it.
    ctx: Option<(&'a Expr, Ident)>,
    held: Option<Held<'a>>,
    /// Of the twin that gives up: the parameter that says when.
    timeout: Option<Ident>,
    /// Of a call that is meant to wait for long: the variable that says so.
    expect_long: Option<Ident>,
    /// Of the call.
    span: Span,
    krate: TokenStream,
    /// That is not under its own name.
    renamed: bool,
    /// `BdrvReadArgs`
    args_struct: Ident,
    /// `bdrv_co_read_entry`
    entry: Ident,
    /// The packed arguments, in the hands of the entry.
    args: Ident,
    /// The async fn, in the hands of the entry.
    co: Ident,
}

/// The wrapper, and the one with a timeout if that is asked for.
pub fn calls<'a>(
    subject: &'a Subject<'a>,
    options: &'a Options,
    context: &'a Context,
) -> impl Iterator<Item = Call<'a>> {
    let names = [Some(subject.wrapper.clone()), timeout::name(subject, options, context)];
    let timeouts = [false, true];
    let calls = names.into_iter().zip(timeouts);
    calls.filter_map(|(name, timeout)| Some(Call::new(subject, name?, timeout, options, context)))
}

impl<'a> Call<'a> {
    fn new(
        subject: &'a Subject<'a>,
        wrapper: Ident,
        timeout: bool,
        options: &'a Options,
        context: &'a Context,
    ) -> Self {
        let mut taken = Taken::default();
        taken.all_in(subject.sig.to_token_stream());
        taken.one(&wrapper);
        taken.all_in(subject.target.path.clone());
        let span = blamed(subject, &wrapper);
        let krate = krate(options.krate.as_ref().or(context.krate.as_ref()), span);
        taken.all_in(krate.clone());
        let ctx = options.ctx.as_ref().or(context.ctx.as_ref().filter(|_| !options.no_ctx));
        taken.all_in(ctx.to_token_stream());
        let lock = Lock::of(options, context);
        taken.all_in(lock.and_then(|lock| lock.expr.as_ref()).to_token_stream());

        let mut sig = signature::blocking(subject.sig, &wrapper, subject.declared, context.in_trait, &mut taken);
        if context.is_trait_impl() && !subject.declared {
            // That the trait has no such method is told as of what comes from the mark.
            sig.fn_token.span = sig.fn_token.span.resolved_at(Span::call_site());
            sig.ident.set_span(sig.ident.span().resolved_at(Span::call_site()));
        }
        let mut slots = signature::slots(&sig, &mut taken);
        let witness = witness::take(&mut sig, &mut slots);
        let held = lock.map(|lock| Held::new(lock, witness, &mut taken));
        let handle = held.as_ref().map(|held| held.slot(slots.len()));
        slots.extend(handle);
        let ctx = ctx.map(|ctx| (ctx, taken.fresh("__cw_ctx")));
        if !subject.declared && ctx.is_none() {
            for slot in slots.iter_mut().filter(|slot| slot.bounded) {
                slot.argument.set_span(span);
                let value = located(mem::take(&mut slot.value), span);
                // The name keeps its hygiene, and so its own span; what an error points at is then the block.
                slot.value = quote_spanned!(span=> { #value });
            }
        }
        let own_name = options.name.is_some();
        let by_affix = !context.affixes.is_empty() || !options.affixes.is_empty();
        let named = match &options.timeout {
            _ if !timeout => own_name,
            Some(own) => own_name || own.name.is_some(),
            None => false,
        };
        let timeout = timeout.then(|| timeout::add(&mut sig, &krate, &mut taken));
        let expect_long = (options.expect_long || context.expect_long).then(|| taken.fresh("__cw_long"));
        let camel = upper_camel_case(&unraw(&wrapper));
        Call {
            vis: options.vis.as_ref().unwrap_or(subject.vis),
            mixed: options.mixed || context.mixed,
            ctx,
            args_struct: taken.fresh(&format!("{camel}Args")),
            entry: taken.fresh(&format!("{}_entry", subject.target.name)),
            args: taken.fresh("__cw_args"),
            co: taken.fresh("__cw_co"),
            subject,
            sig,
            in_trait: context.in_trait,
            unasked: by_affix && !subject.declared && !named,
            slots,
            held,
            timeout,
            expect_long,
            span,
            krate,
            renamed: options.krate.is_some() || context.krate.is_some(),
        }
    }
}

/// What does not fit is told at the one declaration of many, or at the attribute. A type that breaks a bound of its own is
/// told of where it is written, and again for every place in the body that it comes to; so all of these are one.
fn blamed(subject: &Subject, wrapper: &Ident) -> Span {
    let mut bounded = signature::bounded(subject.sig);
    let span = match (bounded.next(), bounded.next()) {
        _ if subject.declared => wrapper.span(),
        (None, _) => Span::call_site(),
        (Some(ty), None) => ty.span(),
        (Some(_), Some(_)) => subject.sig.ident.span(),
    };
    span.resolved_at(Span::call_site())
}

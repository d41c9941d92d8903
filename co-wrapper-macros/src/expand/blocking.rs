//! The blocking twin of an async fn. Its body packs the arguments and calls the runtime with a closure that makes the
//! future. The closure captures nothing, so it is `Send` whatever the arguments are. With the options `timeout` and
//! `interrupt` there are further twins, which give up: `read_timeout(…, Duration) -> Result<R, Elapsed>` and
//! `read_interruptible(…) -> Result<R, Interrupted>`.
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

use crate::expand::conversion::{self, Direction, Iter, Writer};
use crate::expand::expressions::{Ctx, Held};
use crate::expand::packing::Packing;
use crate::expand::twin::Twin;
use crate::expand::{docs, lints};
use crate::model::conversion::Conversion;
use crate::model::plan::{Names, Plan};
use crate::model::signature::{self, Slot};
use crate::parse::future::Returned;
use crate::parse::ident::{Taken, unraw};
use crate::parse::options::SecondTwin;
use crate::parse::tokens::located;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use std::mem;
use syn::spanned::Spanned;
use syn::{ReturnType, Signature, Type, parse_quote};

struct Call<'a> {
    packing: Packing<'a>,
    ctx: Option<Ctx<'a>>,
    held: Option<Held<'a>>,
    gives_up: GivesUp,
    /// The variable with the place of the call, if iterators are made of its result.
    site: Option<Ident>,
    /// The variable that marks a call as meant to wait long (`expect_long`).
    expect_long: Option<Ident>,
}

/// What makes a twin give up.
enum GivesUp {
    Never,
    /// A time, which is this parameter after the others.
    Timeout(Ident),
    Interrupt,
}

/// Makes a twin's signature that of one that gives up.
type Widen = fn(&mut Signature, &TokenStream, &mut Taken) -> GivesUp;

pub fn twin<'a>(plan: &'a Plan, names: &'a Names) -> Twin<'a> {
    let options = &plan.options;
    let by_affix = options.is_of_every_fn() && options.name.is_none();
    let call = Call::new(plan, names, &names.wrapper, |_, _, _| GivesUp::Never);
    let docs = docs::of_wrapper(plan, names);
    call.twin(docs, plan.declared, by_affix)
}

/// The twin with a timeout and the interruptible one, if the mark asks for them.
pub fn second_twins<'a>(plan: &'a Plan, names: &'a Names) -> [Option<Twin<'a>>; 2] {
    let options = &plan.options;
    let second = |name: Option<&Ident>, key, option: &Option<SecondTwin>, widen, docs: fn(&Plan, &Names) -> _| {
        let call = Call::new(plan, names, name?, widen);
        let named_here = options.name.is_some() || option.as_ref().is_some_and(|twin| twin.name.is_some());
        let named = options.key(key).is_some() && named_here;
        Some(call.twin(docs(plan, names), false, options.is_of_every_fn() && !named))
    };
    let (timeout, interrupt) = (names.timeout.as_ref(), names.interrupt.as_ref());
    [
        second(timeout, "timeout", &options.timeout, widen_with_timeout, docs::of_timeout),
        second(interrupt, "interrupt", &options.interrupt, widen_with_interrupt, docs::of_interruptible),
    ]
}

impl<'a> Call<'a> {
    fn new(plan: &'a Plan, names: &'a Names, wrapper: &Ident, widen: Widen) -> Self {
        let options = &plan.options;
        let mut packing = Packing::new(plan, names, wrapper, blamed(plan, wrapper));
        let Packing { sig, slots, taken, span, krate, .. } = &mut packing;
        let ctx = options.ctx.as_ref().map(|ctx| Ctx::new(ctx, taken));
        if plan.in_trait_impl {
            // If the trait has no such method, rustc's error names the macro that these tokens come from.
            sig.fn_token.span = sig.fn_token.span.resolved_at(Span::call_site());
            sig.ident.set_span(sig.ident.span().resolved_at(Span::call_site()));
        }
        if !plan.declared && ctx.is_none() {
            for slot in slots.iter_mut().filter(|slot| slot.bounded) {
                slot.argument.set_span(*span);
                let value = located(mem::take(&mut slot.value), *span);
                // The name must keep its hygiene, and with it its own span. With a block around it, errors point at the block.
                slot.value = quote_spanned!(*span=> { #value });
            }
        }
        let held = options.lock.as_ref().map(|lock| Held::new(lock, taken));
        slots.extend(held.as_ref().map(Held::slot));
        let has_stream = !plan.declared && Conversion::of_result(sig, false).is_ok_and(|found| found.has_stream());
        let site = has_stream.then(|| {
            conversion::iterators(sig, krate, ctx.is_some());
            taken.fresh("__cw_site")
        });
        let gives_up = widen(sig, krate, taken);
        let expect_long = options.expect_long.then(|| taken.fresh("__cw_long"));
        Call { packing, ctx, held, gives_up, site, expect_long }
    }

    /// `unasked` says that a block's `suffix` or `prefix` has given the twin its name, not its own mark.
    fn twin(self, docs: TokenStream, owns_attrs: bool, unasked: bool) -> Twin<'a> {
        let body = self.body();
        let tells_lifetimes = !self.packing.told_lifetimes().is_empty();
        let Packing { plan, sig, .. } = self.packing;
        let mut twin = Twin::new(plan, docs, sig, body);
        twin.owns_attrs = owns_attrs;
        twin.allows.extend(lints::of_blocking(plan, &twin.sig, unasked && !plan.declared));
        if tells_lifetimes {
            // The call names only early-bound lifetimes, and rustc warns where the fn has late-bound ones too.
            twin.allows.push(quote!(late_bound_lifetime_arguments));
        }
        // rustc refuses `track_caller` on `main`, which has no caller.
        twin.track_caller = !plan.free || unraw(&twin.sig.ident) != "main";
        twin
    }

    fn body(&self) -> TokenStream {
        let krate = &self.packing.krate;
        let elsewhere = self.ctx.is_some();
        let args_struct =
            self.packing.args_struct(|ty| if elsewhere { quote!(#krate::__private::Sent<#ty>) } else { quote!(#ty) });
        let entry = self.packing.unpack(elsewhere.then(|| quote!(.into_inner())));
        let call = self.call();
        let expect_long = self.expect_long.iter().map(|long| quote!(let #long = #krate::__private::expect_long();));
        let site = self.site.iter().map(|site| quote!(let #site = #krate::__private::Location::caller();));
        let all = quote! {
            #args_struct
            #entry
            #(#site)*
            #(#expect_long)*
            #call
        };
        let name = unraw(&self.packing.sig.ident);
        let lock = self.held.as_ref().map(|held| held.take(krate, &name, self.packing.plan.options.mixed));
        match (self.ctx.as_ref().map(|ctx| ctx.clone_it(krate)), lock) {
            (None, None) => all,
            // The block keeps the generated items out of the scope of the user's expressions.
            (context, lock) => quote! {
                #context
                #lock
                { #all }
            },
        }
    }

    fn call(&self) -> TokenStream {
        let Packing { krate, span, unpack, args, slots, .. } = &self.packing;
        let (wrapper, packed, co, poll_co) = (self.packing.wrapper(), self.packed(), self.co(), self.poll_co());
        let [entry, args] = [unpack, args].map(|name| located(name, *span));
        let parameters = slots.iter().map(|slot| &slot.argument);
        let ctx = self.ctx.iter().map(|Ctx { variable, .. }| quote!(&#variable,));
        let timeout = self.timeout().into_iter();
        let run = quote_spanned!(self.result_span()=> |#args| #entry(#args, |#(#parameters),*| #co));
        let arguments = quote_spanned! {*span=>
            #wrapper,
            #(#ctx)*
            #(#timeout,)*
            #packed,
            #run,
        };
        // Errors about the result's bounds point at this whole expression.
        let path = located(quote!(#krate::__private::#poll_co), self.result_span());
        self.converted(quote_spanned!(self.result_span()=> #path(#arguments)))
    }

    /// The result of the call as that of the twin.
    fn converted(&self, call: TokenStream) -> TokenStream {
        let Packing { plan, krate, span, .. } = &self.packing;
        let Ok(mut conversion) = Conversion::of_result(&plan.sig, plan.converts()) else { return call };
        if plan.declared && !plan.converts() {
            return call;
        }
        if !matches!(self.gives_up, GivesUp::Never) {
            conversion = Conversion::Result(conversion.into(), Conversion::None.into());
        }
        let span = match &plan.sig.output {
            ReturnType::Type(_, ty) => ty.span().resolved_at(Span::call_site()),
            ReturnType::Default => *span,
        };
        let function = Ident::new(if self.ctx.is_some() { "iter_in_of" } else { "iter_of" }, span);
        let context = self.ctx.as_ref().map(|Ctx { variable, .. }| quote!(&#variable,));
        let function = quote!(#krate::__private::#function);
        let iter = |site: &Ident| Iter { function, wrapper: self.packing.wrapper(), site: site.clone(), context };
        let iter = self.site.as_ref().map(iter);
        Writer { krate, direction: Direction::ToBlocking, iter, span }.convert(&conversion, call)
    }

    fn poll_co(&self) -> Ident {
        let name = match (&self.ctx, &self.gives_up) {
            (None, GivesUp::Never) => "poll_co",
            (None, GivesUp::Timeout(_)) => "poll_co_timeout",
            (None, GivesUp::Interrupt) => "poll_co_interruptible",
            (Some(_), GivesUp::Never) => "poll_co_in",
            (Some(_), GivesUp::Timeout(_)) => "poll_co_in_timeout",
            (Some(_), GivesUp::Interrupt) => "poll_co_in_interruptible",
        };
        Ident::new(name, self.packing.span)
    }

    fn timeout(&self) -> Option<&Ident> {
        match &self.gives_up {
            GivesUp::Timeout(parameter) => Some(parameter),
            GivesUp::Never | GivesUp::Interrupt => None,
        }
    }

    /// The result of a call in another context must be `Send`. If it is not, the error points at the result's type.
    fn result_span(&self) -> Span {
        match &self.packing.plan.sig.output {
            ReturnType::Type(_, ty) if self.ctx.is_some() => ty.span().resolved_at(Span::call_site()),
            _ => self.packing.span,
        }
    }

    fn packed(&self) -> TokenStream {
        if self.ctx.is_none() {
            return self.packing.packed(|_, slot| slot.value.clone(), |_| quote!(()));
        }
        // If an argument is not `Send`, the error points at its parameter's type and names this function.
        let sent = |value: &TokenStream, slot: &Slot| {
            let (krate, value) = (located(&self.packing.krate, slot.span), located(value, slot.span));
            quote_spanned!(slot.span.resolved_at(Span::call_site())=> #krate::__private::sent_to_ctx(#value))
        };
        self.packing.packed(|_, slot| sent(&slot.value, slot), |slot| sent(&quote!(()), slot))
    }

    /// `Self::bdrv_co_read(__cw_0, __cw_1)`
    fn co(&self) -> TokenStream {
        let Packing { plan, slots, span, .. } = &self.packing;
        let krate = located(&self.packing.krate, *span);
        let arguments = slots[..slots.len() - usize::from(self.held.is_some())].iter();
        let guard = self.held.as_ref().map(Held::guard).unwrap_or_default();
        let arguments = self.packing.arguments(arguments.map(|slot| slot.argument.to_token_stream()), guard);
        let mut path = self.packing.path();
        if plan.free && !plan.declared && plan.options.krate.is_none() {
            path = quote_spanned!(*span=> #krate::if_in_an_impl_mark_that_too!(#path));
        }
        let mut co = quote_spanned!(*span=> #path(#(#arguments),*));
        if plan.returned == Returned::IntoFuture {
            co = quote_spanned!(*span=> #krate::__private::IntoFuture::into_future(#co));
        }
        if plan.returned == Returned::Stream {
            co = quote_spanned!(*span=> #krate::__private::ready(#co));
        }
        let awaited = self.held.is_some().then(|| quote!(.await));
        let co = quote_spanned!(*span=> #co #awaited);
        let co = if signature::is_unsafe(&plan.sig) { quote!(unsafe { #co }) } else { co };
        self.held.as_ref().map_or_else(|| co.clone(), |held| held.around(&co, *span))
    }
}

fn widen_with_timeout(sig: &mut Signature, krate: &TokenStream, taken: &mut Taken) -> GivesUp {
    let parameter = taken.fresh("timeout");
    sig.inputs.push(parse_quote!(#parameter: #krate::__private::Duration));
    widen_result(sig, krate, "Elapsed");
    GivesUp::Timeout(parameter)
}

fn widen_with_interrupt(sig: &mut Signature, krate: &TokenStream, _: &mut Taken) -> GivesUp {
    widen_result(sig, krate, "Interrupted");
    GivesUp::Interrupt
}

/// Wraps the result in a `Result` with this error of the runtime's.
fn widen_result(sig: &mut Signature, krate: &TokenStream, error: &str) {
    let error = Ident::new(error, Span::call_site());
    let (arrow, ty): (_, Type) = match &sig.output {
        ReturnType::Type(arrow, ty) => (*arrow, (**ty).clone()),
        ReturnType::Default => (parse_quote!(->), parse_quote!(())),
    };
    let result = quote_spanned!(arrow.spans[0]=> Result);
    let result = quote!(#krate::__private::#result<#ty, #krate::__private::#error>);
    sig.output = ReturnType::Type(arrow, Box::new(Type::Verbatim(result)));
}

/// The span of errors about the body: that of the declaration or of the attribute, with one exception. If a type in the
/// signature breaks a bound of its own, rustc reports that where the type is written, and again wherever the body uses
/// it. If the body has the span of the type, rustc shows these reports as one error.
fn blamed(plan: &Plan, wrapper: &Ident) -> Span {
    let mut bounded = signature::bounded(&plan.sig);
    let span = match (bounded.next(), bounded.next()) {
        _ if plan.declared => wrapper.span(),
        (None, _) => Span::call_site(),
        (Some(ty), None) => ty.span(),
        (Some(_), Some(_)) => plan.sig.ident.span(),
    };
    span.resolved_at(Span::call_site())
}

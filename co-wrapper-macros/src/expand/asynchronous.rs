//! The async twin of a blocking fn. Its future owns all arguments and runs the fn as a bottom half of the main context, or as
//! a stackful coroutine where it is polled. So the future may be dropped or forgotten at any time.
//!
//! ```text
//! // Input
//! #[no_co_wrapper(bdrv_wrlock)]
//! fn bdrv_detach(&self, child: &str, graph: &GraphWrite) -> Child { … }
//!
//! // Output
//! fn bdrv_detach(&self, child: &str, graph: &GraphWrite) -> Child { … }
//! #[track_caller]
//! fn bdrv_co_detach(&self, child: &str) -> impl Future<Output = Child> + Send + 'static {
//!     struct BdrvCoDetachArgs<A0, A1> { __self: A0, child: A1 }
//!     fn bdrv_detach_bh<…>(…) -> R { … }
//!     ::co_wrapper::__private::no_co_write(…)
//! }
//! ```

use crate::expand::docs;
use crate::expand::packing::Packing;
use crate::expand::twin::Twin;
use crate::model::plan::{Names, Plan};
use crate::model::signature::{Slot, is_unsafe};
use crate::parse::tokens::{located, ungroup};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{FnArg, ReceiverKind, ReturnType, Signature, Type, parse_quote, parse_quote_spanned};

struct Call<'a> {
    packing: Packing<'a>,
    /// For each slot, whether it holds a clone of what the argument refers to.
    owned: Vec<bool>,
    /// Whether the fn runs as a coroutine. Then nothing need be `Send`.
    coroutine: bool,
    result_span: Span,
    guard: Ident,
}

pub fn twin<'a>(plan: &'a Plan, names: &'a Names) -> Twin<'a> {
    let call = Call::new(plan, names);
    let args_struct = call.packing.args_struct(ToTokens::to_token_stream);
    let (bottom_half, no_co) = (call.packing.unpack(None), call.no_co());
    let body = quote! {
        #args_struct
        #bottom_half
        #no_co
    };
    Twin::new(plan, docs::of_async_twin(plan, names), call.packing.sig, body)
}

impl<'a> Call<'a> {
    fn new(plan: &'a Plan, names: &'a Names) -> Self {
        let span = if plan.declared { names.wrapper.span() } else { Span::call_site() };
        let span = span.resolved_at(Span::call_site());
        let mut packing = Packing::new(plan, names, &names.wrapper, span);
        let Packing { sig, krate, taken, .. } = &mut packing;
        let owned = sig.inputs.iter().map(is_reference).collect();
        let coroutine = plan.options.coroutine.is_some();
        if plan.in_trait {
            sized(sig, krate, coroutine);
        }
        // Errors about the result's bounds point at its type.
        let (result, result_span) = match &sig.output {
            ReturnType::Type(_, ty) => (ty.to_token_stream(), ty.span().resolved_at(Span::call_site())),
            ReturnType::Default => (quote_spanned!(span=> ()), span),
        };
        let at = located(&*krate, result_span);
        let send = (!coroutine).then(|| quote_spanned!(result_span=> #at::__private::Send +));
        sig.output = parse_quote_spanned! {result_span=>
            -> impl #at::__private::Future<Output = #result> + #send 'static
        };
        let guard = taken.fresh("__cw_guard");
        Call { packing, owned, coroutine, result_span, guard }
    }

    /// `BdrvCoDetachArgs { __self: owned(&*self), child: arg(child) }`
    fn packed(&self) -> TokenStream {
        let pack = |i: usize, slot: &Slot| {
            // If an argument is not `Send` or cannot be owned, the error points at its parameter's type.
            let (krate, value) = (located(&self.packing.krate, slot.span), located(&slot.value, slot.span));
            let span = slot.span.resolved_at(Span::call_site());
            // `&*` keeps rustc from suggesting `&self` in a second error.
            let (take, value) = match (self.owned[i], self.coroutine) {
                (true, false) => ("owned", quote_spanned!(span=> &*#value)),
                (true, true) => ("owned_here", quote_spanned!(span=> &*#value)),
                (false, false) => ("arg", value),
                (false, true) => return value,
            };
            let take = Ident::new(take, span);
            quote_spanned!(span=> #krate::__private::#take(#value))
        };
        self.packing.packed(pack, |_| quote!(()))
    }

    fn no_co(&self) -> TokenStream {
        let Packing { plan, krate, slots, unpack, args, .. } = &self.packing;
        let (wrapper, packed, fn_call, guard) = (self.packing.wrapper(), self.packed(), self.fn_call(), &self.guard);
        let parameters = slots.iter().map(|slot| &slot.argument);
        if self.coroutine {
            // The user's promise, alone: an unsafe fn that is called is not to be covered by it.
            let promise = quote!(unsafe { #krate::__private::promise() });
            return quote! {
                #krate::__private::as_coroutine(
                    #wrapper,
                    #promise,
                    #packed,
                    |#args| #unpack(#args, |#(#parameters),*| #fn_call),
                )
            };
        }
        let (no_co, lock, guard) = match &plan.options.lock {
            None => ("no_co", None, None),
            Some(lock) => (
                if lock.is_write() { "no_co_write" } else { "no_co_read" },
                Some(quote! {
                    <#krate::__private::GraphLock as #krate::__private::Clone>::clone(&#krate::__private::GRAPH),
                }),
                Some(quote!(, #guard)),
            ),
        };
        let no_co = Ident::new(no_co, Span::call_site());
        quote! {
            #krate::__private::#no_co(
                #wrapper,
                #lock
                #packed,
                |#args #guard| #unpack(#args, |#(#parameters),*| #fn_call),
            )
        }
    }

    /// `arg(Self::bdrv_detach(__cw_0.get(), __cw_1.into_inner(), __cw_guard))`
    fn fn_call(&self) -> TokenStream {
        let Packing { plan, slots, span, .. } = &self.packing;
        let arguments = slots.iter().zip(&self.owned).map(|(slot, owned)| {
            let argument = &slot.argument;
            if self.coroutine && !owned {
                return argument.to_token_stream();
            }
            let get = Ident::new(if *owned { "get" } else { "into_inner" }, argument.span());
            let get = quote_spanned!(argument.span()=> .#get());
            quote!(#argument #get)
        });
        let arguments = self.packing.arguments(arguments, self.guard.to_token_stream());
        let path = self.packing.path();
        let call = quote_spanned!(*span=> #path(#(#arguments),*));
        let call = if is_unsafe(&plan.sig) { quote!(unsafe { #call }) } else { call };
        let span = self.result_span;
        let krate = located(&self.packing.krate, span);
        // In a declaration, the error that there is no such fn must point at the fn's name.
        let call = if plan.declared { call } else { located(call, span) };
        if self.coroutine { call } else { quote_spanned!(span=> #krate::__private::arg(#call)) }
    }
}

fn is_reference(input: &FnArg) -> bool {
    match input {
        FnArg::Receiver(receiver) => match &receiver.kind {
            ReceiverKind::Reference(..) => true,
            ReceiverKind::Typed(_, ty) => matches!(ungroup(ty), Type::Reference(_)),
            _ => false,
        },
        FnArg::Typed(param) => matches!(ungroup(&param.ty), Type::Reference(ty) if !is_static(ty)),
    }
}

/// Whether this is a `&'static T`. The twin need not clone what that refers to.
fn is_static(ty: &syn::TypeReference) -> bool {
    ty.lifetime.as_ref().is_some_and(|lifetime| lifetime.ident == "static")
}

/// Restricts the async twin in a trait to types whose values the future can own. If the type of a declared method is none of
/// these, the error points at `self`.
fn sized(sig: &mut Signature, krate: &TokenStream, coroutine: bool) {
    let receiver = sig.receiver().filter(|receiver| matches!(receiver.kind, ReceiverKind::Reference(..)));
    let predicate = match receiver.map(|receiver| receiver.self_token.span) {
        None => parse_quote!(Self: Sized),
        Some(span) => {
            let krate = located(krate, span);
            let span = span.resolved_at(Span::call_site());
            let send = (!coroutine).then(|| quote_spanned!(span=> #krate::__private::Send +));
            parse_quote_spanned!(span=> Self: Sized + #krate::__private::Clone + #send 'static)
        }
    };
    sig.generics.make_where_clause().predicates.push(predicate);
}

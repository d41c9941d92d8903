//! The async twin of a blocking fn. It owns all that it needs and runs the fn as a bottom half of the main context, so
//! its future can be dropped, or forgotten, at any time.
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

use super::call::located;
use super::twin::Twin;
use super::{Subject, krate};
use crate::args::Options;
use crate::context::Context;
use crate::docs;
use crate::lock::Lock;
use crate::name::{Taken, unraw, upper_camel_case};
use crate::signature::{self, Slot, ungroup};
use crate::witness::{self, Place};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{FnArg, ReceiverKind, ReturnType, Signature, Type, Visibility, parse_quote, parse_quote_spanned};

pub struct NoCo<'a> {
    subject: &'a Subject<'a>,
    /// The async fn's own signature.
    sig: Signature,
    vis: &'a Visibility,
    slots: Vec<Slot>,
    /// Which of the slots hold what is behind a reference.
    owned: Vec<bool>,
    lock: Option<&'a Lock>,
    witness: Option<Place>,
    /// Of the call.
    span: Span,
    result_span: Span,
    krate: TokenStream,
    args_struct: Ident,
    bottom_half: Ident,
    args: Ident,
    call: Ident,
    guard: Ident,
}

impl<'a> NoCo<'a> {
    pub fn new(subject: &'a Subject<'a>, options: &'a Options, context: &'a Context) -> Self {
        let mut taken = Taken::default();
        taken.all_in(subject.sig.to_token_stream());
        taken.one(&subject.wrapper);
        taken.all_in(subject.target.path.clone());
        let span = if subject.declared { subject.wrapper.span() } else { Span::call_site() };
        let span = span.resolved_at(Span::call_site());
        let krate = krate(options.krate.as_ref().or(context.krate.as_ref()), span);
        taken.all_in(krate.clone());

        let mut sig = signature::blocking(subject.sig, &subject.wrapper, subject.declared, false, &mut taken);
        let mut slots = signature::slots(&sig, &mut taken);
        let witness = witness::take(&mut sig, &mut slots);
        let owned = sig.inputs.iter().map(is_reference).collect();
        if context.in_trait {
            sized(&mut sig, &krate);
        }
        // What is asked of the result is told where it is written.
        let (result, result_span) = match &sig.output {
            ReturnType::Type(_, ty) => (ty.to_token_stream(), ty.span().resolved_at(Span::call_site())),
            ReturnType::Default => (quote_spanned!(span=> ()), span),
        };
        let at = located(krate.clone(), result_span);
        sig.output = parse_quote_spanned! {result_span=>
            -> impl #at::__private::Future<Output = #result> + #at::__private::Send + 'static
        };
        let camel = upper_camel_case(&unraw(&subject.wrapper));
        NoCo {
            subject,
            vis: options.vis.as_ref().unwrap_or(subject.vis),
            owned,
            lock: options.lock.as_ref(),
            witness,
            args_struct: taken.fresh(&format!("{camel}Args")),
            bottom_half: taken.fresh(&format!("{}_bh", subject.target.name)),
            args: taken.fresh("__cw_args"),
            call: taken.fresh("__cw_call"),
            guard: taken.fresh("__cw_guard"),
            sig,
            slots,
            span,
            result_span,
            krate,
        }
    }

    fn args_struct(&self) -> TokenStream {
        let doc = format!(" The packed arguments of [`{}`], owned.", unraw(&self.sig.ident));
        let name = &self.args_struct;
        let fields = self.slots.iter().map(|Slot { field, ty, .. }| quote!(#field: #ty));
        let generics = self.generics();
        quote! {
            #[doc = #doc]
            struct #name #generics {
                #(#fields,)*
            }
        }
    }

    fn bottom_half(&self) -> TokenStream {
        let (name, args_struct, args, call, krate) =
            (&self.bottom_half, &self.args_struct, &self.args, &self.call, &self.krate);
        let types: Vec<_> = self.slots.iter().map(|slot| &slot.ty).collect();
        let fields = self.slots.iter().map(|slot| &slot.field);
        let generics = self.generics();
        quote! {
            /// Unpacks them and calls the fn; runs as a bottom half of the main context.
            fn #name<#(#types,)* R>(
                #args: #args_struct #generics,
                #call: impl #krate::__private::FnOnce(#(#types),*) -> R,
            ) -> R {
                #call(#(#args.#fields),*)
            }
        }
    }

    fn generics(&self) -> Option<TokenStream> {
        let types: Vec<_> = self.slots.iter().map(|slot| &slot.ty).collect();
        (!types.is_empty()).then(|| quote!(<#(#types),*>))
    }

    /// `BdrvCoDetachArgs { __self: owned(&*self), child: arg(child) }`
    fn packed(&self) -> TokenStream {
        let name = &self.args_struct;
        let fields = self.slots.iter().zip(&self.owned).map(|(slot, owned)| {
            let (field, span) = (&slot.field, slot.span);
            // That a type is not `Send` or cannot be owned is told at the type of its parameter.
            let (krate, value) = (located(self.krate.clone(), span), located(slot.value.clone(), span));
            let span = span.resolved_at(Span::call_site());
            // The user's own `self` alone would have rustc suggest `&self`, in an error beside that of the type.
            let (take, value) = if *owned { ("owned", quote_spanned!(span=> &*#value)) } else { ("arg", value) };
            let take = Ident::new(take, span);
            let taken = quote_spanned!(span=> #krate::__private::#take(#value));
            let packed = quote!(#field: #taken);
            match &slot.cfg {
                None => packed,
                Some(cfg) => quote!(#[cfg(#cfg)] #packed, #[cfg(not(#cfg))] #field: ()),
            }
        });
        quote!(#name { #(#fields),* })
    }

    fn call(&self) -> TokenStream {
        let krate = &self.krate;
        let (name, target) = (unraw(&self.sig.ident), &self.subject.target.name);
        let (bottom_half, args, guard) = (&self.bottom_half, &self.args, &self.guard);
        let packed = self.packed();
        let parameters = self.slots.iter().map(|slot| &slot.argument);
        let fn_call = self.fn_call();
        let (no_co, lock, guard) = match self.lock {
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
                &#krate::__private::Wrapper { name: #name, target: #target, mixed: false },
                #lock
                #packed,
                |#args #guard| #bottom_half(#args, |#(#parameters),*| #fn_call),
            )
        }
    }

    /// `arg(Self::bdrv_detach(__cw_0.get(), __cw_1.into_inner(), __cw_guard))`
    fn fn_call(&self) -> TokenStream {
        let path = &self.subject.target.path;
        let turbofish = signature::turbofish(self.subject.sig).filter(|_| self.subject.target.turbofish);
        let arguments = self.slots.iter().zip(&self.owned).map(|(slot, owned)| {
            let argument = &slot.argument;
            let cfg = slot.cfg.iter().map(|cfg| quote!(#[cfg(#cfg)]));
            let get = Ident::new(if *owned { "get" } else { "into_inner" }, argument.span());
            let get = quote_spanned!(argument.span()=> .#get());
            quote!(#(#cfg)* #argument #get)
        });
        let mut arguments: Vec<TokenStream> = arguments.collect();
        if let Some(Place { index, cfg }) = &self.witness {
            let guard = &self.guard;
            let cfg = cfg.iter().map(|cfg| quote!(#[cfg(#cfg)]));
            arguments.insert(*index, quote!(#(#cfg)* #guard));
        }
        let call = quote_spanned!(self.span=> #path #turbofish(#(#arguments),*));
        let call = if signature::is_unsafe(self.subject.sig) { quote!(unsafe { #call }) } else { call };
        let span = self.result_span;
        let krate = located(self.krate.clone(), span);
        // That there is no fn to be called, where its name is.
        let call = if self.subject.declared { call } else { located(call, span) };
        quote_spanned!(span=> #krate::__private::arg(#call))
    }
}

impl NoCo<'_> {
    pub fn twin(&self) -> Twin<'_> {
        let (args_struct, bottom_half, call) = (self.args_struct(), self.bottom_half(), self.call());
        let body = quote! {
            #args_struct
            #bottom_half
            #call
        };
        Twin::new(self.subject, self.vis, docs::of_no_co(self.subject, self.lock), &self.sig, body)
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

/// What lives for ever need not be cloned.
fn is_static(ty: &syn::TypeReference) -> bool {
    ty.lifetime.as_ref().is_some_and(|lifetime| lifetime.ident == "static")
}

/// A trait's async twin is for the types that can be taken along. That one which is declared cannot be is told at `self`.
fn sized(sig: &mut Signature, krate: &TokenStream) {
    let receiver = sig.receiver().filter(|receiver| matches!(receiver.kind, ReceiverKind::Reference(..)));
    let predicate = match receiver.map(|receiver| receiver.self_token.span) {
        None => parse_quote!(Self: Sized),
        Some(span) => {
            let krate = located(krate.clone(), span);
            parse_quote_spanned! {span.resolved_at(Span::call_site())=>
                Self: Sized + #krate::__private::Clone + #krate::__private::Send + 'static
            }
        }
    };
    sig.generics.make_where_clause().predicates.push(predicate);
}

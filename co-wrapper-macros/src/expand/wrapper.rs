//! The wrapper: the user's signature, and a body of the struct, the entry and the call.

use super::{Call, Within};
use crate::docs::{self, Link};
use crate::name::unraw;
use crate::{attrs, signature};
use proc_macro2::{Delimiter, Group, TokenStream};
use quote::quote;
use syn::{ReturnType, Visibility};

/// More arguments than clippy's default lets pass.
const CLIPPY_TOO_MANY: usize = 7;

impl Call<'_> {
    pub(super) fn wrapper(&self) -> TokenStream {
        let link = match &self.within {
            _ if self.own_vis => Link::None,
            Within::Block(_) => Link::Method,
            Within::Module => Link::Free,
        };
        let docs = docs::of_wrapper(&self.function.sig, &self.function.attrs, &link, self.mixed);
        let attrs = attrs::of_wrapper(&self.function.attrs);
        let allows = self.allows();
        // rustc refuses it on `main`, which has no caller to track.
        let is_main = matches!(self.within, Within::Module) && unraw(&self.sig.ident) == "main";
        let track_caller = (!is_main).then(|| quote!(#[track_caller]));
        let vis = self.vis;
        let sig = &self.sig;

        let args_struct = self.args_struct();
        let entry = self.entry();
        let call = self.call();
        let mut body = Group::new(
            Delimiter::Brace,
            quote! {
                #args_struct
                #entry
                #call
            },
        );
        // Errors about what the body returns point at the user's own body.
        body.set_span(self.function.body_span);
        quote! {
            #docs
            #(#attrs)*
            #allows
            #track_caller
            #vis #sig #body
        }
    }

    /// The wrapper carries the user's spans, so clippy judges it as the user's code.
    fn allows(&self) -> Option<TokenStream> {
        let mut lints = Vec::new();
        if attrs::has(&self.function.attrs, "deprecated") {
            // rustc warns of a deprecated fn that is called, also when the caller is deprecated itself.
            lints.push(quote!(deprecated));
        }
        if attrs::has(&self.function.attrs, "must_use") {
            // On an async fn it says more than that a future does nothing; on the wrapper perhaps nothing new.
            lints.push(quote!(clippy::double_must_use));
        } else if self.is_visible() && !matches!(self.sig.output, ReturnType::Default) {
            // A future must be used anyway, so on the async fn nobody missed the attribute.
            lints.push(quote!(clippy::must_use_candidate));
            if self.sig.receiver().is_some() {
                lints.push(quote!(clippy::return_self_not_must_use));
            }
        }
        if self.slots.len() > CLIPPY_TOO_MANY {
            // Once, at the async fn, is enough.
            lints.push(quote!(clippy::too_many_arguments));
        }
        if signature::has_underscored(&self.sig) {
            lints.push(quote!(clippy::used_underscore_binding));
        }
        if self.function.sig.asyncness.is_none() && self.sig.generics.lifetimes().next().is_some() {
            // The future may need lifetimes that its result does not.
            lints.push(quote!(clippy::extra_unused_lifetimes));
            lints.push(quote!(clippy::needless_lifetimes));
        }
        (!lints.is_empty()).then(|| quote!(#[allow(#(#lints),*)]))
    }

    fn is_visible(&self) -> bool {
        self.in_trait || !matches!(self.vis, Visibility::Inherited)
    }
}

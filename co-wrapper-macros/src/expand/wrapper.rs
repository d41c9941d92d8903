//! The wrapper: the user's signature, and a body of the struct, the entry and the call.

use super::Call;
use crate::name::unraw;
use crate::{attrs, docs, signature};
use proc_macro2::{Delimiter, Group, TokenStream};
use quote::{ToTokens, quote};
use syn::{ReturnType, Visibility};

/// More arguments than clippy's default lets pass.
pub const CLIPPY_TOO_MANY: usize = 7;

/// Where it stands by itself.
impl ToTokens for Call<'_> {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let head = self.head();
        let (vis, sig, body) = (self.vis, &self.sig, self.body());
        tokens.extend(quote!(#head #vis #sig #body));
    }
}

impl Call<'_> {
    /// In the trait that `declare!` makes.
    pub fn declaration(&self) -> TokenStream {
        let head = self.head();
        let sig = &self.sig;
        quote!(#head #sig;)
    }

    /// In the impl of that trait.
    pub fn definition(&self) -> TokenStream {
        let attrs = attrs::of_definition(self.subject.attrs);
        let allows = self.allows();
        let (sig, body) = (&self.sig, self.body());
        quote!(#(#attrs)* #allows #sig #body)
    }

    /// What stands before the wrapper's visibility.
    fn head(&self) -> TokenStream {
        let subject = self.subject;
        let attrs = if subject.declared && self.timeout.is_none() {
            attrs::but_docs(subject.attrs)
        } else {
            attrs::of_wrapper(subject.attrs)
        };
        let docs = if self.timeout.is_some() {
            docs::of_timeout(subject)
        } else {
            docs::of_wrapper(subject, self.mixed, self.held.is_some())
        };
        let allows = self.allows();
        // rustc refuses it on `main`, which has no caller to track.
        let is_main = subject.target.free && unraw(&self.sig.ident) == "main";
        let track_caller = (!is_main).then(|| quote!(#[track_caller]));
        quote! {
            #docs
            #(#attrs)*
            #allows
            #track_caller
        }
    }

    fn body(&self) -> TokenStream {
        let args_struct = self.args_struct();
        let entry = self.entry();
        let call = self.call();
        let all = quote! {
            #args_struct
            #entry
            #call
        };
        let all = match (self.context(), self.lock()) {
            (None, None) => all,
            // The user's expressions must not meet the items of ours.
            (context, lock) => quote! {
                #context
                #lock
                { #all }
            },
        };
        let mut body = Group::new(Delimiter::Brace, all);
        // Errors about what the body returns point at the user's own body.
        body.set_span(self.subject.body_span);
        body.into_token_stream()
    }

    /// The wrapper carries the user's spans, so clippy judges it as the user's code.
    fn allows(&self) -> Option<TokenStream> {
        let subject = self.subject;
        let mut lints = Vec::new();
        if attrs::has(subject.attrs, "deprecated") {
            // rustc warns of a deprecated fn that is called, also when the caller is deprecated itself.
            lints.push(quote!(deprecated));
        }
        if attrs::has(subject.attrs, "must_use") {
            // On an async fn it says more than that a future does nothing; on the wrapper perhaps nothing new.
            lints.push(quote!(clippy::double_must_use));
        } else if self.is_visible() && !matches!(self.sig.output, ReturnType::Default) {
            // A future must be used anyway, so on the async fn nobody missed the attribute.
            lints.push(quote!(clippy::must_use_candidate));
            if self.sig.receiver().is_some() {
                lints.push(quote!(clippy::return_self_not_must_use));
            }
        }
        if self.sig.inputs.len() > CLIPPY_TOO_MANY {
            // Once, at the async fn, is enough.
            lints.push(quote!(clippy::too_many_arguments));
        }
        if signature::has_underscored(&self.sig) {
            lints.push(quote!(clippy::used_underscore_binding));
        }
        let returns_future = !subject.declared && subject.sig.asyncness.is_none();
        if returns_future && self.sig.generics.lifetimes().next().is_some() {
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

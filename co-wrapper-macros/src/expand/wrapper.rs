//! The wrapper: the user's signature, and a body of the struct, the entry and the call.

use super::Call;
use super::twin::Twin;
use crate::name::unraw;
use crate::{attrs, docs};
use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{ReturnType, Visibility};

impl ToTokens for Call<'_> {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.twin().to_tokens(tokens);
    }
}

impl Call<'_> {
    pub fn twin(&self) -> Twin<'_> {
        let subject = self.subject;
        let docs = if self.timeout.is_some() {
            docs::of_timeout(subject)
        } else {
            docs::of_wrapper(subject, self.mixed, self.held.is_some())
        };
        Twin {
            has_own_docs: subject.declared && self.timeout.is_none(),
            allows: self.allows(),
            // rustc refuses it on `main`, which has no caller to track.
            track_caller: !subject.target.free || unraw(&self.sig.ident) != "main",
            ..Twin::new(subject, self.vis, docs, &self.sig, self.body())
        }
    }

    fn body(&self) -> TokenStream {
        let args_struct = self.args_struct();
        let entry = self.entry();
        let call = self.call();
        let krate = &self.krate;
        let expect_long = self.expect_long.iter().map(|long| quote!(let #long = #krate::__private::expect_long();));
        let all = quote! {
            #args_struct
            #entry
            #(#expect_long)*
            #call
        };
        match (self.context(), self.lock()) {
            (None, None) => all,
            // The user's expressions must not meet the items of ours.
            (context, lock) => quote! {
                #context
                #lock
                { #all }
            },
        }
    }

    /// What a blocking fn needs that its async one does not.
    fn allows(&self) -> Vec<TokenStream> {
        let subject = self.subject;
        let mut lints = Vec::new();
        let visible = self.in_trait || !matches!(self.vis, Visibility::Inherited);
        if !attrs::has(subject.attrs, "must_use") && visible && !matches!(self.sig.output, ReturnType::Default) {
            // A future must be used anyway, so on the async fn nobody missed the attribute.
            lints.push(quote!(clippy::must_use_candidate));
            if self.sig.receiver().is_some() {
                lints.push(quote!(clippy::return_self_not_must_use));
            }
        }
        let returns_future = !subject.declared && subject.sig.asyncness.is_none();
        if returns_future && self.sig.generics.lifetimes().next().is_some() {
            // The future may need lifetimes that its result does not.
            lints.push(quote!(clippy::extra_unused_lifetimes));
            lints.push(quote!(clippy::needless_lifetimes));
        }
        lints
    }
}

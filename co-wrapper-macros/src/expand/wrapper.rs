//! The wrapper: the user's signature, and a body of the struct, the entry and the call.

use super::Call;
use super::twin::Twin;
use crate::docs;
use crate::name::unraw;
use proc_macro2::TokenStream;
use quote::{ToTokens, quote};

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
}

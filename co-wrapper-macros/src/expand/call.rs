//! The call of the runtime. Its closure captures nothing, and so is `Send` whatever the arguments are.

use super::{Call, Within};
use crate::name::unraw;
use crate::signature;
use proc_macro2::TokenStream;
use quote::quote;

impl Call<'_> {
    pub(super) fn call(&self) -> TokenStream {
        let krate = &self.krate;
        let name = unraw(&self.sig.ident);
        let target = unraw(&self.function.sig.ident);
        let mixed = self.mixed;
        let packed = self.packed();
        let (entry, args) = (&self.entry, &self.args);
        let parameters = self.slots.iter().map(|slot| &slot.argument);
        let co = self.co();
        quote! {
            #krate::__private::poll_co(
                &#krate::__private::Wrapper { name: #name, target: #target, mixed: #mixed },
                #packed,
                |#args| #entry(#args, |#(#parameters),*| #co),
            )
        }
    }

    /// `Self::bdrv_co_read(__cw_0, __cw_1)`
    fn co(&self) -> TokenStream {
        let target = &self.function.sig.ident;
        let within = match &self.within {
            Within::Block(path) => Some(quote!(#path::)),
            Within::Module => None,
        };
        let turbofish = signature::turbofish(&self.function.sig);
        let arguments = self.slots.iter().map(|slot| {
            let argument = &slot.argument;
            match &slot.cfg {
                None => quote!(#argument),
                Some(cfg) => quote!(#[cfg(#cfg)] #argument),
            }
        });
        let co = quote!(#within #target #turbofish(#(#arguments),*));
        if signature::is_unsafe(&self.function.sig) { quote!(unsafe { #co }) } else { co }
    }
}

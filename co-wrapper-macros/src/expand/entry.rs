//! The entry: it unpacks the arguments and makes the future, on the thread that polls it.

use super::Call;
use proc_macro2::TokenStream;
use quote::quote;

impl Call<'_> {
    pub(super) fn entry(&self) -> TokenStream {
        let name = &self.entry;
        let args_struct = &self.args_struct;
        let (args, co, krate) = (&self.args, &self.co, &self.krate);
        let unwrapped = self.ctx.is_some().then(|| quote!(.into_inner()));
        let fields = self.slots.iter().map(|slot| {
            let field = &slot.field;
            quote!(#field #unwrapped)
        });
        let types: Vec<_> = self.slots.iter().map(|slot| &slot.ty).collect();
        let generics = (!types.is_empty()).then(|| quote!(<#(#types),*>));
        quote! {
            /// Unpacks them and makes the future; runs where it is polled.
            fn #name<#(#types,)* Fut>(
                #args: #args_struct #generics,
                #co: impl #krate::__private::FnOnce(#(#types),*) -> Fut,
            ) -> Fut {
                #co(#(#args.#fields),*)
            }
        }
    }
}

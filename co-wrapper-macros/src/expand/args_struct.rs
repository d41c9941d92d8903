//! The struct of packed arguments: what travels.

use super::Call;
use crate::name::unraw;
use proc_macro2::TokenStream;
use quote::quote;

impl Call<'_> {
    pub(super) fn args_struct(&self) -> TokenStream {
        let doc = format!(" The packed arguments of [`{}`].", unraw(&self.sig.ident));
        let name = &self.args_struct;
        let fields = self.slots.iter().map(|slot| &slot.field);
        let types: Vec<_> = self.slots.iter().map(|slot| &slot.ty).collect();
        let generics = (!types.is_empty()).then(|| quote!(<#(#types),*>));
        quote! {
            #[doc = #doc]
            struct #name #generics {
                #(#fields: #types,)*
            }
        }
    }

    /// `BdrvReadArgs { __self: self, off: off }`
    pub(super) fn packed(&self) -> TokenStream {
        let name = &self.args_struct;
        let fields = self.slots.iter().map(|slot| {
            let (field, value) = (&slot.field, &slot.value);
            let packed = if field == &value.to_string() { quote!(#value) } else { quote!(#field: #value) };
            match &slot.cfg {
                None => packed,
                Some(cfg) => quote!(#[cfg(#cfg)] #packed, #[cfg(not(#cfg))] #field: ()),
            }
        });
        quote!(#name { #(#fields),* })
    }
}

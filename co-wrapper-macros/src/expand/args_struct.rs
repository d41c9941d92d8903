//! The struct of packed arguments: what travels.

use super::Call;
use super::call::located;
use crate::name::unraw;
use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};

impl Call<'_> {
    pub(super) fn args_struct(&self) -> TokenStream {
        let doc = format!(" The packed arguments of [`{}`].", unraw(&self.sig.ident));
        let name = &self.args_struct;
        let krate = &self.krate;
        let fields = self.slots.iter().map(|slot| {
            let (field, ty) = (&slot.field, &slot.ty);
            if self.ctx.is_some() { quote!(#field: #krate::__private::Sent<#ty>) } else { quote!(#field: #ty) }
        });
        let types: Vec<_> = self.slots.iter().map(|slot| &slot.ty).collect();
        let generics = (!types.is_empty()).then(|| quote!(<#(#types),*>));
        quote! {
            #[doc = #doc]
            struct #name #generics {
                #(#fields,)*
            }
        }
    }

    /// `BdrvReadArgs { __self: self, off: off }`
    pub(super) fn packed(&self) -> TokenStream {
        let name = located(self.args_struct.to_token_stream(), self.span);
        let fields = self.slots.iter().map(|slot| {
            let (field, value) = (&slot.field, &slot.value);
            let packed = if self.ctx.is_some() {
                let sent = self.sent(value, slot.span);
                quote!(#field: #sent)
            } else if field == &value.to_string() {
                quote!(#value)
            } else {
                quote!(#field: #value)
            };
            let absent = if self.ctx.is_some() { self.sent(&quote!(()), slot.span) } else { quote!(()) };
            match &slot.cfg {
                None => packed,
                Some(cfg) => quote!(#[cfg(#cfg)] #packed, #[cfg(not(#cfg))] #field: #absent),
            }
        });
        quote_spanned!(self.span=> #name { #(#fields),* })
    }

    /// An argument that crosses to another context. That it is not `Send` is told at the type of its parameter, with the
    /// name of this function.
    fn sent(&self, value: &TokenStream, span: Span) -> TokenStream {
        let (krate, value) = (located(self.krate.clone(), span), located(value.clone(), span));
        quote_spanned!(span.resolved_at(Span::call_site())=> #krate::__private::sent_to_ctx(#value))
    }
}

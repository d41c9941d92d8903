//! `#[derive(Blocking)]`, from the struct to its impls.
//!
//! ```text
//! // Input
//! #[derive(Blocking)]
//! pub struct Disk<S>(super::Disk<S>);
//!
//! // Output
//! impl<S> ::co_wrapper::Blocking for Disk<S> {
//!     type Async = super::Disk<S>;
//!     fn as_async(&self) -> &super::Disk<S> { &self.0 }
//!     fn as_async_mut(&mut self) -> &mut super::Disk<S> { &mut self.0 }
//! }
//! impl<S> From<super::Disk<S>> for Disk<S> { … }
//! impl<S> From<Disk<S>> for super::Disk<S> { … }
//! impl<S> ::co_wrapper::BlockingArc for Disk<S> { … }
//! ```

use crate::parse::errors::Errors;
use crate::parse::mark::facade;
use crate::parse::spelling::unknown;
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Data, DeriveInput, Field, Fields, Member, Path, Token, Type};

pub fn blocking(input: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let output = match syn::parse2::<DeriveInput>(input) {
        Ok(input) => of_type(&input, &mut errors),
        Err(error) => {
            errors.push(error);
            None
        }
    };
    let output = output.filter(|_| errors.is_empty());
    let errors = errors.into_compile_errors();
    quote!(#output #errors)
}

/// What `#[blocking(…)]` says.
#[derive(Default)]
struct Options {
    /// The type has a `Drop` of its own, so that its field cannot be moved out.
    has_drop: bool,
    krate: Option<Path>,
}

impl Options {
    fn parse(input: &DeriveInput, errors: &mut Errors) -> Self {
        let mut options = Options::default();
        for attr in input.attrs.iter().filter(|attr| attr.path().is_ident("blocking")) {
            let result = attr.parse_args_with(|input: ParseStream| {
                while !input.is_empty() {
                    options.one(input)?;
                    if !input.is_empty() {
                        input.parse::<Token![,]>()?;
                    }
                }
                Ok(())
            });
            if let Err(error) = result {
                errors.push(error);
            }
        }
        options
    }

    fn one(&mut self, input: ParseStream) -> syn::Result<()> {
        let key = input.call(Ident::parse_any)?;
        match &*key.to_string() {
            "has_drop" => self.has_drop = true,
            "crate" => {
                input.parse::<Token![=]>()?;
                self.krate = Some(input.call(Path::parse_mod_style)?);
            }
            _ => return Err(syn::Error::new(key.span(), unknown(&key, &["has_drop", "crate"]))),
        }
        Ok(())
    }
}

fn of_type(input: &DeriveInput, errors: &mut Errors) -> Option<TokenStream> {
    let options = Options::parse(input, errors);
    let field = field(input, errors)?;
    let ty = &field.ty;
    if let Type::Path(path) = ty
        && path.qself.is_none()
        && input.generics.type_params().any(|param| path.path.is_ident(&param.ident))
    {
        errors.error(ty, "a type parameter may be any type; name the async type, such as `super::Disk<T>`");
    }
    let krate = facade(options.krate.as_ref(), Span::call_site());
    let name = &input.ident;
    let (generics, arguments, bounds) = input.generics.split_for_impl();
    let member = field.ident.clone().map_or_else(|| Member::from(0), Member::from);
    let doc = " The async value.";
    // A type with a `Drop` of its own has neither: nothing is moved out of it, and whether its `Drop` ran would depend on which
    // of several `Arc`s is the last one.
    let back = (!options.has_drop).then(|| {
        // SAFETY: this type has one field, of the async type, and no `Drop`, or the `From` before this would not compile. So
        // where the sizes are the same, which the function checks, the field is all that there is.
        let cast = quote!(unsafe { #krate::__private::cast_arc(arc) });
        let arc = quote!(#krate::__private::Arc);
        quote! {
            #[automatically_derived]
            impl #generics #krate::__private::From<#name #arguments> for #ty #bounds {
                #[doc = #doc]
                fn from(blocking: #name #arguments) -> Self {
                    blocking.#member
                }
            }
            #[automatically_derived]
            impl #generics #krate::BlockingArc for #name #arguments #bounds {
                fn from_async_arc(arc: #arc<#ty>) -> #arc<Self> {
                    #cast
                }
                fn into_async_arc(arc: #arc<Self>) -> #arc<#ty> {
                    #cast
                }
            }
        }
    });
    let doc = " The blocking value over it.";
    Some(quote! {
        #[automatically_derived]
        impl #generics #krate::Blocking for #name #arguments #bounds {
            type Async = #ty;
            fn as_async(&self) -> &#ty {
                &self.#member
            }
            fn as_async_mut(&mut self) -> &mut #ty {
                &mut self.#member
            }
        }
        #[automatically_derived]
        impl #generics #krate::__private::From<#ty> for #name #arguments #bounds {
            #[doc = #doc]
            fn from(inner: #ty) -> Self {
                #name { #member: inner }
            }
        }
        #back
    })
}

/// The only field.
fn field<'a>(input: &'a DeriveInput, errors: &mut Errors) -> Option<&'a Field> {
    const FORM: &str = "write `struct Disk(super::Disk);`, or implement `Blocking` by hand";
    let fields = match &input.data {
        Data::Struct(data) => &data.fields,
        Data::Enum(data) => {
            errors.error(data.enum_token, format!("an enum has no one async value; {FORM}"));
            return None;
        }
        Data::Union(data) => {
            errors.error(data.union_token, format!("a union has no one async value; {FORM}"));
            return None;
        }
    };
    let mut all = fields.iter();
    match (all.next(), all.next()) {
        (Some(field), None) => return Some(field),
        (Some(_), Some(second)) => {
            errors.error(second, format!("a second field, for which no value is known; {FORM}"));
        }
        (None, _) if matches!(fields, Fields::Unit) => {
            errors.error(&input.ident, format!("there is no async value in it; {FORM}"));
        }
        (None, _) => errors.error(fields, format!("there is no async value in it; {FORM}")),
    }
    None
}

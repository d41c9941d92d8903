//! The plan of a wrapper, in which everything is resolved: what its mark says and what the block's attribute says of all,
//! the fn that is called and how it is called. `check` refuses a plan and `expand` writes it; neither looks at where it came
//! from.

use crate::model::name;
use crate::model::signature;
use crate::parse::future::{Returned, as_async};
use crate::parse::ident::{is_reserved, unraw};
use crate::parse::item::Function;
use crate::parse::options::{Context, Options};
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::{Attribute, Error, Signature, Visibility};

pub struct Plan {
    pub options: Options,
    /// Of the fn that is called; or, if only its twin is declared, of the declaration.
    pub attrs: Vec<Attribute>,
    /// The wrapper's.
    pub vis: Visibility,
    /// The same as with `attrs`. What returns a future has the form of an `async fn`.
    pub sig: Signature,
    pub returned: Returned,
    /// The wrapper only is declared.
    pub declared: bool,
    /// The fn that is called is a function of its own, not one of a type or trait.
    pub free: bool,
    pub in_trait: bool,
    pub in_trait_impl: bool,
    /// The body of the fn that is called is so long that a lint may count its lines.
    pub long: bool,
    /// What an error about the wrapper's whole body points at.
    pub body_span: Span,
    /// Or what is wrong with them, unless that has been told or no wrapper is wanted.
    pub names: Result<Names, Option<Error>>,
}

pub struct Names {
    pub wrapper: Ident,
    /// Of the wrapper that gives up, if one is asked for.
    pub timeout: Option<Ident>,
    pub target: Target,
}

/// The fn that the wrapper calls.
pub struct Target {
    /// `Self::bdrv_co_read`
    pub path: TokenStream,
    /// The fn's type parameters are yet to be passed on.
    pub turbofish: bool,
    pub name: String,
    pub link: Link,
}

/// How the documentation may link to the fn that is called.
pub enum Link {
    To(String),
    /// Rustdoc warns of a link from a public item to one that may be private.
    None,
}

impl Plan {
    /// Of a fn under its mark.
    pub fn of_function(options: Options, function: &Function) -> Self {
        let block = options.block.as_deref();
        let within = block.map(|block| block.within.clone()).filter(|within| !within.is_empty());
        let within = within.or_else(|| signature::mentions_self(&function.sig).then(|| quote!(Self)));
        let free = within.is_none();
        let in_trait = block.is_some_and(|block| block.in_trait);
        let in_trait_impl = block.is_some_and(Context::is_trait_impl);
        let as_async = if options.no_co { None } else { as_async(&function.sig, options.output.as_ref()) };
        let (sig, returned) = as_async.unwrap_or_else(|| (function.sig.clone(), Returned::Unknown));

        let ident = &function.sig.ident;
        let name = unraw(ident);
        let link = match options.vis {
            Some(_) => Link::None,
            None if free => Link::To(format!("fn@{name}")),
            None => Link::To(format!("Self::{name}")),
        };
        let path = within.map_or_else(|| quote!(#ident), |within| quote!(#within::#ident));
        let target = Target { path, turbofish: true, name, link };
        let wrapper = if options.no_co {
            name::of_async_twin(&options, ident)
        } else if returned == Returned::Unknown {
            // A fn that was marked by mistake need not be told how its wrapper would be called.
            Err(None)
        } else {
            name::of_wrapper(&options, ident)
        };
        Plan {
            names: wrapper.map(|wrapper| Names::new(wrapper, target, &options)),
            attrs: function.attrs.clone(),
            vis: options.vis.as_ref().unwrap_or(&function.vis).clone(),
            options,
            sig,
            returned,
            declared: false,
            free,
            in_trait,
            in_trait_impl,
            long: function.is_long(),
            body_span: function.body_span,
        }
    }

    /// Of a declaration that ends at `end`.
    pub fn of_declaration(
        options: Options,
        attrs: Vec<Attribute>,
        (vis, sig): (Visibility, Signature),
        target: syn::Result<Target>,
        end: Span,
    ) -> Self {
        let in_trait = options.block.is_some();
        Plan {
            names: target.map(|target| Names::new(sig.ident.clone(), target, &options)).map_err(Some),
            options,
            attrs,
            vis,
            sig,
            returned: Returned::Async,
            declared: true,
            free: !in_trait,
            in_trait,
            in_trait_impl: false,
            long: false,
            body_span: end,
        }
    }
}

impl Names {
    fn new(wrapper: Ident, target: Target, options: &Options) -> Self {
        let timeout = options.timeout.as_ref().filter(|_| !options.no_co).map(|timeout| {
            timeout.name.clone().unwrap_or_else(|| {
                let name = format!("{}_timeout", unraw(&wrapper));
                debug_assert!(!is_reserved(&name));
                Ident::new(&name, wrapper.span())
            })
        });
        Names { wrapper, timeout, target }
    }
}

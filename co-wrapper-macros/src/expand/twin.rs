//! A generated fn, blocking or async. It has three forms: a fn by itself, a declaration in a trait, and a definition in the
//! impl of that trait.

use crate::expand::lints;
use crate::model::plan::Plan;
use crate::parse::attrs;
use proc_macro2::{Delimiter, Group, TokenStream};
use quote::{ToTokens, quote};
use syn::Signature;

pub struct Twin<'a> {
    pub plan: &'a Plan,
    pub docs: TokenStream,
    /// Whether the attributes in the plan were written for this twin. Then it has them all, and otherwise copies of some.
    pub owns_attrs: bool,
    /// The lints that it allows.
    pub allows: Vec<TokenStream>,
    pub track_caller: bool,
    pub sig: Signature,
    pub body: Group,
}

impl<'a> Twin<'a> {
    /// A twin with that documentation and signature, and with `body` in its braces.
    pub fn new(plan: &'a Plan, docs: TokenStream, sig: Signature, body: TokenStream) -> Self {
        let mut body = Group::new(Delimiter::Brace, body);
        // Errors about what the body returns point at the user's own body.
        body.set_span(plan.body_span);
        let allows = lints::of_twin(plan, &sig);
        Twin { plan, docs, owns_attrs: plan.declared, allows, track_caller: true, sig, body }
    }

    /// The form in a trait that `declare!` makes.
    pub fn declaration(&self) -> TokenStream {
        let (head, sig) = (self.head(), &self.sig);
        quote!(#head #sig;)
    }

    /// The form in the impl of that trait.
    pub fn definition(&self) -> TokenStream {
        let attrs = attrs::of_parameter(&self.plan.attrs);
        let (allows, sig, body) = (self.allows(), &self.sig, &self.body);
        quote!(#(#attrs)* #allows #sig #body)
    }

    /// Everything before the visibility.
    fn head(&self) -> TokenStream {
        let (docs, allows) = (&self.docs, self.allows());
        let attrs = &self.plan.attrs;
        let attrs = if self.owns_attrs { attrs::but_docs(attrs) } else { attrs::of_wrapper(attrs) };
        let track_caller = self.track_caller.then(|| quote!(#[track_caller]));
        quote! {
            #docs
            #(#attrs)*
            #allows
            #track_caller
        }
    }

    fn allows(&self) -> Option<TokenStream> {
        let lints = &self.allows;
        (!lints.is_empty()).then(|| quote!(#[allow(#(#lints),*)]))
    }
}

/// The form of a fn by itself.
impl ToTokens for Twin<'_> {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let (head, vis, sig, body) = (self.head(), &self.plan.vis, &self.sig, &self.body);
        tokens.extend(quote!(#head #vis #sig #body));
    }
}

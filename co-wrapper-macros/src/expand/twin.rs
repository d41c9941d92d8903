//! A generated fn, blocking or async, in its three forms: by itself, declared in a trait, or defined in the impl of
//! that trait.

use crate::model::plan::Plan;
use crate::model::signature::has_underscored;
use crate::parse::attrs;
use proc_macro2::{Delimiter, Group, TokenStream};
use quote::{ToTokens, quote};
use syn::{ReturnType, Signature, Visibility};

/// More arguments than clippy's default lets pass.
const CLIPPY_TOO_MANY: usize = 7;

pub struct Twin<'a> {
    pub plan: &'a Plan,
    pub docs: TokenStream,
    /// Those of a declaration are the twin's own, unless it is a second one.
    pub has_own_docs: bool,
    /// Lints that it allows beside those that every twin does.
    pub allows: Vec<TokenStream>,
    pub track_caller: bool,
    pub sig: Signature,
    pub body: Group,
}

impl<'a> Twin<'a> {
    /// Of that signature and what is in its braces, with docs of its own.
    pub fn new(plan: &'a Plan, docs: TokenStream, sig: Signature, body: TokenStream) -> Self {
        let mut body = Group::new(Delimiter::Brace, body);
        // Errors about what the body returns point at the user's own body.
        body.set_span(plan.body_span);
        Twin { plan, docs, has_own_docs: plan.declared, allows: Vec::new(), track_caller: true, sig, body }
    }

    /// In the trait that `declare!` makes.
    pub fn declaration(&self) -> TokenStream {
        let (head, sig) = (self.head(), &self.sig);
        quote!(#head #sig;)
    }

    /// In the impl of that trait.
    pub fn definition(&self) -> TokenStream {
        let attrs = attrs::of_parameter(&self.plan.attrs);
        let (allows, sig, body) = (self.allows(), &self.sig, &self.body);
        quote!(#(#attrs)* #allows #sig #body)
    }

    /// What comes before its visibility.
    fn head(&self) -> TokenStream {
        let (docs, allows) = (&self.docs, self.allows());
        let attrs = &self.plan.attrs;
        let attrs = if self.has_own_docs { attrs::but_docs(attrs) } else { attrs::of_wrapper(attrs) };
        let track_caller = self.track_caller.then(|| quote!(#[track_caller]));
        quote! {
            #docs
            #(#attrs)*
            #allows
            #track_caller
        }
    }

    /// It carries the user's spans, so clippy judges it as the user's code.
    fn allows(&self) -> Option<TokenStream> {
        let attrs = &self.plan.attrs;
        let mut lints = Vec::new();
        if attrs::has(attrs, "deprecated") {
            // rustc warns of a deprecated fn that is called, also when the caller is deprecated itself.
            lints.push(quote!(deprecated));
        }
        if attrs::has(attrs, "must_use") {
            // On an async fn it says more than that a future does nothing; on the other perhaps nothing new.
            lints.push(quote!(clippy::double_must_use));
        }
        if self.sig.inputs.len() > CLIPPY_TOO_MANY {
            // Once, at the user's fn, is enough.
            lints.push(quote!(clippy::too_many_arguments));
        }
        if has_underscored(&self.sig) {
            lints.push(quote!(clippy::used_underscore_binding));
        }
        if matches!(self.sig.output, ReturnType::Type(..)) {
            // The body is one expression; with a `return` it would be `needless_return`.
            lints.push(quote!(clippy::implicit_return));
        }
        if self.plan.long {
            lints.push(quote!(clippy::too_many_lines));
        }
        if matches!(self.plan.vis, Visibility::Public(_)) && !self.plan.declared {
            lints.push(quote!(unreachable_pub));
        }
        lints.extend(self.allows.iter().cloned());
        (!lints.is_empty()).then(|| quote!(#[allow(#(#lints),*)]))
    }
}

/// The fn by itself.
impl ToTokens for Twin<'_> {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let (head, vis, sig, body) = (self.head(), &self.plan.vis, &self.sig, &self.body);
        tokens.extend(quote!(#head #vis #sig #body));
    }
}

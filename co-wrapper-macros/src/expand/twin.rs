//! A generated fn, blocking or async, in the forms in which it can stand: by itself, declared in a trait, defined in the
//! impl of that.

use super::Subject;
use crate::{attrs, signature};
use proc_macro2::{Delimiter, Group, TokenStream};
use quote::{ToTokens, quote};
use syn::{ReturnType, Signature, Visibility};

/// More arguments than clippy's default lets pass.
const CLIPPY_TOO_MANY: usize = 7;

pub struct Twin<'a> {
    pub subject: &'a Subject<'a>,
    pub vis: &'a Visibility,
    pub docs: TokenStream,
    /// Those of a declaration are the twin's own, unless it is a second one.
    pub has_own_docs: bool,
    /// Lints that it allows beside those that every twin does.
    pub allows: Vec<TokenStream>,
    pub track_caller: bool,
    pub sig: &'a Signature,
    pub body: Group,
}

impl<'a> Twin<'a> {
    /// Of that signature and what is in its braces, with docs of its own.
    pub fn new(
        subject: &'a Subject<'a>,
        vis: &'a Visibility,
        docs: TokenStream,
        sig: &'a Signature,
        body: TokenStream,
    ) -> Self {
        let mut body = Group::new(Delimiter::Brace, body);
        // Errors about what the body returns point at the user's own body.
        body.set_span(subject.body_span);
        Twin { subject, vis, docs, has_own_docs: subject.declared, allows: Vec::new(), track_caller: true, sig, body }
    }

    /// In the trait that `declare!` makes.
    pub fn declaration(&self) -> TokenStream {
        let (head, sig) = (self.head(), self.sig);
        quote!(#head #sig;)
    }

    /// In the impl of that trait.
    pub fn definition(&self) -> TokenStream {
        let attrs = attrs::of_definition(self.subject.attrs);
        let (allows, sig, body) = (self.allows(), self.sig, &self.body);
        quote!(#(#attrs)* #allows #sig #body)
    }

    /// What stands before its visibility.
    fn head(&self) -> TokenStream {
        let (docs, allows) = (&self.docs, self.allows());
        let attrs = self.subject.attrs;
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
        let attrs = self.subject.attrs;
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
        if signature::has_underscored(self.sig) {
            lints.push(quote!(clippy::used_underscore_binding));
        }
        if matches!(self.sig.output, ReturnType::Type(..)) {
            // The body is one expression; with a `return` it would be `needless_return`.
            lints.push(quote!(clippy::implicit_return));
        }
        if self.subject.long {
            lints.push(quote!(clippy::too_many_lines));
        }
        if matches!(self.vis, Visibility::Public(_)) && !self.subject.declared {
            lints.push(quote!(unreachable_pub));
        }
        lints.extend(self.allows.iter().cloned());
        (!lints.is_empty()).then(|| quote!(#[allow(#(#lints),*)]))
    }
}

/// By itself.
impl ToTokens for Twin<'_> {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let (head, vis, sig, body) = (self.head(), self.vis, self.sig, &self.body);
        tokens.extend(quote!(#head #vis #sig #body));
    }
}

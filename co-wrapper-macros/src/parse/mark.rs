//! The marks: the attributes `#[co_wrapper]` and `#[no_co_wrapper]` on the functions of a block. The block's attribute
//! recognizes them by name and writes its [`BlockContext`] into them.

use crate::parse::attrs::{cfg_attr, flat};
use crate::parse::options::BlockContext;
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::Parser;
use syn::spanned::Spanned;
use syn::{Attribute, Meta, MetaList, Path, parse_quote};

/// The names of `#[co_wrapper]`: its own, and the one under which the user imported it, if that is known.
pub struct MarkNames(Vec<String>);

/// The name that a block's attribute gives to the marks in the impl of a trait.
pub const IN_TRAIT_IMPL: &str = "annotate_the_trait_or_use_declare";

impl MarkNames {
    pub fn new(import: Option<String>) -> Self {
        MarkNames(["co_wrapper", IN_TRAIT_IMPL].into_iter().map(str::to_owned).chain(import).collect())
    }

    fn matches(&self, meta: &Meta) -> bool {
        let last = meta.path().segments.last();
        last.is_some_and(|segment| self.0.iter().any(|name| segment.ident == name))
    }

    pub fn is_mark(&self, attr: &Attribute) -> bool {
        self.matches(&attr.meta)
    }

    /// Whether this is a mark or a `cfg_attr` with one in it.
    pub fn holds_mark(&self, attr: &Attribute) -> bool {
        flat(&attr.meta).iter().any(|meta| self.matches(meta))
    }

    /// The mark, or each mark in the `cfg_attr`, with the context written into it.
    pub fn with_context(&self, attr: &Attribute, context: &BlockContext) -> Attribute {
        Attribute { meta: self.write(&attr.meta, context), ..attr.clone() }
    }

    fn write(&self, meta: &Meta, context: &BlockContext) -> Meta {
        if let Some((condition, metas)) = cfg_attr(meta) {
            let metas = metas.iter().map(|meta| self.write(meta, context));
            return parse_quote!(cfg_attr(#condition, #(#metas),*));
        }
        if !self.matches(meta) && !is_no_co(meta) {
            return meta.clone();
        }
        let renamed = !is_no_co(meta) && context.is_trait_impl() && context.options.krate.is_none();
        let span = meta.span().resolved_at(Span::call_site());
        let new = || syn::parse2(path(context, span)).ok();
        let path = if renamed { new() } else { None }.unwrap_or_else(|| meta.path().clone());
        match meta {
            Meta::Path(_) => parse_quote!(#path(#context)),
            Meta::List(MetaList { delimiter, tokens, .. }) => {
                let comma = needs_comma(tokens).then(|| quote!(,));
                Meta::List(MetaList { path, delimiter: delimiter.clone(), tokens: quote!(#tokens #comma #context) })
            }
            Meta::NameValue(_) => meta.clone(),
        }
    }
}

/// Whether this is `#[no_co_wrapper]`.
pub fn is_no_co(meta: &Meta) -> bool {
    meta.path().segments.last().is_some_and(|segment| segment.ident == "no_co_wrapper")
}

/// Whether this is a `#[no_co_wrapper]` or a `cfg_attr` with one in it.
pub fn holds_no_co(attr: &Attribute) -> bool {
    flat(&attr.meta).iter().any(is_no_co)
}

/// The path of a `#[co_wrapper]` that the block's attribute puts on a fn.
pub fn path(context: &BlockContext, span: Span) -> TokenStream {
    let krate = context.options.krate.as_ref();
    // Another crate that re-exports co-wrapper need not re-export the hidden name.
    let name = if context.is_trait_impl() && krate.is_none() { IN_TRAIT_IMPL } else { "co_wrapper" };
    let (facade, name) = (facade(krate, span), Ident::new(name, span));
    quote_spanned!(span=> #facade::#name)
}

/// The path of co-wrapper: the value of the option `crate`, or the default.
pub fn facade(krate: Option<&Path>, span: Span) -> TokenStream {
    krate.map_or_else(|| quote_spanned!(span=> ::co_wrapper), ToTokens::to_token_stream)
}

fn needs_comma(tokens: &TokenStream) -> bool {
    match tokens.clone().into_iter().last() {
        None => false,
        Some(TokenTree::Punct(punct)) => punct.as_char() != ',',
        Some(_) => true,
    }
}

/// The name in the source text of an attribute: of `#[name]`, `#[path::name(…)]` and the like.
pub fn import_name(source: &str) -> Option<String> {
    let attrs = Attribute::parse_outer.parse_str(source).ok()?;
    let name = attrs.first()?.path().segments.last()?.ident.to_string();
    // For an attribute inside a `cfg_attr` the compiler gives the text of the whole `cfg_attr`.
    (name != "cfg_attr").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_an_attribute_was_imported_under() {
        for (source, name) in [
            ("#[cw]", Some("cw")),
            ("#[cw(mixed, name = x)]", Some("cw")),
            ("#[a::b::cw(mixed)]", Some("cw")),
            ("# [::a::co_wrapper]", Some("co_wrapper")),
            ("#[cfg_attr(all(), cw)]", None),
            ("m!(x)", None),
            ("", None),
        ] {
            assert_eq!(import_name(source).as_deref(), name, "{source}");
        }
    }
}

//! The marks: `#[co_wrapper]` and `#[no_co_wrapper]` attributes on the functions of a block, which are recognized by
//! name.

use crate::parse::attrs::cfg_attr;
use crate::parse::options::Context;
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Meta, MetaList, Path, parse_quote};

/// What the macro goes by: its own name, and the one that the user imported it under, if the attribute at hand shows
/// another.
pub struct Names(Vec<String>);

/// What the mark on a fn in the impl of a trait is called after its block has been expanded.
pub const IN_TRAIT_IMPL: &str = "annotate_the_trait_or_use_declare";

impl Names {
    pub fn new(import: Option<String>) -> Self {
        Names(["co_wrapper", IN_TRAIT_IMPL].into_iter().map(str::to_owned).chain(import).collect())
    }

    pub fn matches(&self, meta: &Meta) -> bool {
        let last = meta.path().segments.last();
        last.is_some_and(|segment| self.0.iter().any(|name| segment.ident == name))
    }

    pub fn is_mark(&self, attr: &Attribute) -> bool {
        self.matches(&attr.meta)
    }

    /// Whether this is a mark or a `cfg_attr` with one in it.
    pub fn holds_mark(&self, attr: &Attribute) -> bool {
        holds(&attr.meta, &|meta| self.matches(meta))
    }

    /// The same for `#[no_co_wrapper]`.
    pub fn holds_no_co(&self, attr: &Attribute) -> bool {
        holds(&attr.meta, &is_no_co)
    }

    /// The mark with the context written into it.
    pub fn with_context(&self, attr: &Attribute, context: &Context) -> Attribute {
        Attribute { meta: self.write(&attr.meta, context), ..attr.clone() }
    }

    fn write(&self, meta: &Meta, context: &Context) -> Meta {
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

    /// The condition under which a `cfg_attr` marks, for one that holds a mark.
    pub fn condition(&self, attr: &Attribute) -> Option<TokenStream> {
        cfg_attr(&attr.meta).map(|(condition, _)| condition)
    }
}

/// `#[no_co_wrapper]`, as it stands on a fn.
pub fn is_no_co(meta: &Meta) -> bool {
    meta.path().segments.last().is_some_and(|segment| segment.ident == "no_co_wrapper")
}

fn holds(meta: &Meta, is: &dyn Fn(&Meta) -> bool) -> bool {
    is(meta) || cfg_attr(meta).is_some_and(|(_, metas)| metas.iter().any(|meta| holds(meta, is)))
}

/// The path of the mark on a fn in such a block.
pub fn path(context: &Context, span: Span) -> TokenStream {
    let krate = context.options.krate.as_ref();
    // Under another path there may be no more than what the user knows of.
    let name = if context.is_trait_impl() && krate.is_none() { IN_TRAIT_IMPL } else { "co_wrapper" };
    let (facade, name) = (facade(krate, span), Ident::new(name, span));
    quote_spanned!(span=> #facade::#name)
}

/// Where co-wrapper is found.
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

/// The name in `#[name]`, `#[path::name(…)]` and the like, as the compiler shows the source of an attribute.
pub fn import_name(source: &str) -> Option<String> {
    let source: TokenStream = source.parse().ok()?;
    let mut trees = source.into_iter();
    let Some(TokenTree::Punct(_)) = trees.next() else {
        return None;
    };
    let Some(TokenTree::Group(group)) = trees.next() else {
        return None;
    };
    let mut last: Option<Ident> = None;
    for tree in group.stream() {
        match tree {
            TokenTree::Ident(ident) => last = Some(ident),
            TokenTree::Punct(punct) if punct.as_char() == ':' => {}
            _ => break,
        }
    }
    // Inside a `cfg_attr` the text is the whole of that.
    last.map(|ident| ident.to_string()).filter(|name| name != "cfg_attr")
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

//! The marks: `#[co_wrapper]` attributes on the functions of a block, as they are found by name.

use crate::attrs::cfg_attr;
use crate::context::Context;
use crate::no_co::is_no_co;
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::quote;
use syn::spanned::Spanned;
use syn::{Attribute, Meta, MetaList, parse_quote};

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
        self.holds(&attr.meta)
    }

    fn holds(&self, meta: &Meta) -> bool {
        self.matches(meta) || cfg_attr(meta).is_some_and(|(_, metas)| metas.iter().any(|meta| self.holds(meta)))
    }

    /// The same of `#[no_co_wrapper]`.
    pub fn holds_no_co(&self, attr: &Attribute) -> bool {
        fn holds(meta: &Meta) -> bool {
            is_no_co(meta) || cfg_attr(meta).is_some_and(|(_, metas)| metas.iter().any(holds))
        }
        holds(&attr.meta)
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
        let path = || {
            if is_no_co(meta) || !context.is_trait_impl() || context.krate.is_some() {
                return meta.path().clone();
            }
            let span = meta.span().resolved_at(Span::call_site());
            syn::parse2(context.mark(span)).unwrap_or_else(|_| meta.path().clone())
        };
        match meta {
            Meta::Path(_) if self.matches(meta) || is_no_co(meta) => {
                let path = path();
                parse_quote!(#path(#context))
            }
            Meta::List(list) if self.matches(meta) || is_no_co(meta) => {
                let tokens = &list.tokens;
                let comma = needs_comma(tokens).then(|| quote!(,));
                Meta::List(MetaList {
                    path: path(),
                    delimiter: list.delimiter.clone(),
                    tokens: quote!(#tokens #comma #context),
                })
            }
            _ => meta.clone(),
        }
    }

    /// The condition under which a `cfg_attr` marks, for one that holds a mark.
    pub fn condition(&self, attr: &Attribute) -> Option<TokenStream> {
        cfg_attr(&attr.meta).map(|(condition, _)| condition)
    }
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

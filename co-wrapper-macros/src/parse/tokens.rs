//! Searches in tokens that nobody parses: types, of which only the words and borrows matter here, and bodies, which are
//! only counted. No span changes except in [`located`].

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::Type;

/// All tokens. The tokens inside a group follow the group itself.
pub fn flat(tokens: impl ToTokens) -> Vec<TokenTree> {
    fn collect(tokens: TokenStream, all: &mut Vec<TokenTree>) {
        for tree in tokens {
            let inside = if let TokenTree::Group(group) = &tree { Some(group.stream()) } else { None };
            all.push(tree);
            collect(inside.unwrap_or_default(), all);
        }
    }
    let mut all = Vec::new();
    collect(tokens.into_token_stream(), &mut all);
    all
}

/// Counts an identifier. The name of a lifetime is one.
pub fn count(tokens: impl ToTokens, word: &str) -> usize {
    flat(tokens).iter().filter(|tree| matches!(tree, TokenTree::Ident(ident) if ident == word)).count()
}

pub fn mentions(tokens: impl ToTokens, word: &str) -> bool {
    count(tokens, word) > 0
}

/// The stream of these trees.
pub fn stream(trees: &[TokenTree]) -> TokenStream {
    trees.iter().cloned().collect()
}

pub fn is_punct(tree: &TokenTree, punct: char) -> bool {
    matches!(tree, TokenTree::Punct(p) if p.as_char() == punct)
}

/// A `&` or a lifetime. `&'a T` has two: the `&`, and `'a`.
pub struct Borrow {
    pub span: Span,
    pub is_reference: bool,
    /// The name of the lifetime. A `&` without one has `None`.
    pub lifetime: Option<String>,
}

impl Borrow {
    pub fn is(&self, lifetime: &str) -> bool {
        self.lifetime.as_deref() == Some(lifetime)
    }

    /// Whether this is a `&` without a lifetime, or `'_`.
    pub fn is_elided(&self) -> bool {
        if self.is_reference { self.lifetime.is_none() } else { self.is("_") }
    }
}

pub fn borrows(tokens: impl ToTokens) -> Vec<Borrow> {
    let trees = flat(tokens);
    let lifetime = |at: usize| {
        let quoted = trees.get(at).is_some_and(|tree| is_punct(tree, '\''));
        trees.get(at + 1).filter(|_| quoted).map(ToString::to_string)
    };
    let borrows = trees.iter().enumerate().filter_map(|(i, tree)| {
        let is_reference = is_punct(tree, '&');
        let lifetime = lifetime(if is_reference { i + 1 } else { i });
        (is_reference || lifetime.is_some()).then(|| Borrow { span: tree.span(), is_reference, lifetime })
    });
    borrows.collect()
}

/// The type inside parentheses, and inside the invisible groups around a `$t:ty` of a macro.
pub fn ungroup(ty: &Type) -> &Type {
    match ty {
        Type::Group(ty) => ungroup(&ty.elem),
        Type::Paren(ty) => ungroup(&ty.elem),
        ty => ty,
    }
}

/// Moves tokens to `span`. They keep their hygiene, so they still mean the same items.
pub fn located(tokens: impl ToTokens, span: Span) -> TokenStream {
    let trees = tokens.into_token_stream().into_iter().map(|mut tree| {
        tree.set_span(tree.span().located_at(span));
        tree
    });
    trees.collect()
}

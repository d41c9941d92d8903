//! The input of `declare!`, cut into its declarations: functions, which end in a `;`, and `impl`s, which end in braces.
//! Each piece is parsed by itself, so a mistake in one does not affect the others.

use crate::parse::errors::Errors;
use crate::parse::item::{attributes_end, is_body, split_attributes, vis_and_signature};
use crate::parse::tokens::{is_punct, stream};
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Generics, Signature, Token, Type, Visibility};

/// A declared function.
pub struct Declaration {
    pub attrs: Vec<Attribute>,
    pub vis: Visibility,
    pub sig: Signature,
    /// The tokens after the `=`.
    pub target: Option<TokenStream>,
    /// The span of the `;`.
    pub end: Span,
}

/// The head of an `impl`: `pub impl<S> Ident for Type<S> where …`, or `impl<S> blocking::Type<S> where …`.
pub struct Head {
    pub vis: Visibility,
    pub impl_token: Token![impl],
    pub generics: Generics,
    /// The trait that is made. Without one, the methods are of the type, which is a blocking one.
    pub ident: Option<Ident>,
    pub ty: Type,
}

/// The tokens of one declaration.
pub struct Piece(Vec<TokenTree>);

pub fn pieces(trees: Vec<TokenTree>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = &*trees;
    while !rest.is_empty() {
        let attrs = attributes_end(rest, false);
        let end = attrs + end(&rest[attrs..]);
        pieces.push(Piece(rest[..end].to_vec()));
        rest = &rest[end..];
    }
    pieces
}

/// How many tokens the first of these declarations has. Braces may stand before its end, as in `-> Wide<{ N }>`. An `impl`
/// ends with the first braces that follow a complete head. A function ends at the first `;`, or with a body that it should
/// not have.
fn end(trees: &[TokenTree]) -> usize {
    let is_impl = starts_with_impl(trees);
    for (i, tree) in trees.iter().enumerate() {
        match tree {
            TokenTree::Punct(punct) if punct.as_char() == ';' => return i + 1,
            TokenTree::Group(group) if is_body(group) => {
                let head = stream(&trees[..i]);
                if is_impl && Head::parse.parse2(head.clone()).is_ok()
                    || !is_impl && vis_and_signature.parse2(head).is_ok()
                {
                    return i + 1;
                }
            }
            _ => {}
        }
    }
    // An `impl` whose head cannot be parsed is one piece all the same.
    let braces = trees.iter().position(|tree| matches!(tree, TokenTree::Group(group) if is_body(group)));
    braces.filter(|_| is_impl).map_or(trees.len(), |i| i + 1)
}

fn starts_with_impl(trees: &[TokenTree]) -> bool {
    let first = trees.iter().find_map(|tree| match tree {
        TokenTree::Ident(ident) if ident == "pub" => None,
        TokenTree::Ident(ident) => Some(ident == "impl"),
        _ => None,
    });
    first.unwrap_or(false)
}

impl Piece {
    pub fn is_impl(&self) -> bool {
        starts_with_impl(&self.0[attributes_end(&self.0, false)..])
    }

    /// The attributes, and what follows them.
    pub fn split(&self) -> syn::Result<(Vec<Attribute>, &[TokenTree])> {
        split_attributes(&self.0)
    }

    pub fn declaration(&self, errors: &mut Errors) -> syn::Result<Declaration> {
        let (attrs, trees) = self.split()?;
        let is_fn = |tree: &TokenTree| matches!(tree, TokenTree::Ident(ident) if ident == "fn");
        let Some((last, trees)) = trees.split_last().filter(|_| trees.iter().any(is_fn)) else {
            let message = "not a declaration; write `fn name(…) -> R;`, or `impl Trait for Type { … }`";
            return Err(syn::Error::new_spanned(trees.first().to_token_stream(), message));
        };
        match last {
            last if is_punct(last, ';') => {}
            TokenTree::Group(group) if is_body(group) => {
                errors.error(group, "a declaration has no body; write `;`, or mark the async fn with `#[co_wrapper]`");
            }
            last => return Err(syn::Error::new_spanned(last, "a declaration ends in `;`; put one after this")),
        }
        let end = last.span();
        // A signature may have a `=` of its own, as in `impl Iterator<Item = u8>`.
        for (i, tree) in trees.iter().enumerate().filter(|(_, tree)| is_punct(tree, '=')) {
            if let Ok((vis, sig)) = vis_and_signature.parse2(stream(&trees[..i])) {
                let target = stream(&trees[i + 1..]);
                if target.is_empty() {
                    let message = "no async fn after this `=`; name it, or remove the `=`";
                    return Err(syn::Error::new_spanned(tree, message));
                }
                return Ok(Declaration { attrs, vis, sig, target: Some(target), end });
            }
        }
        let (vis, sig) = vis_and_signature.parse2(stream(trees))?;
        Ok(Declaration { attrs, vis, sig, target: None, end })
    }
}

impl Head {
    pub fn parse(input: ParseStream) -> syn::Result<Self> {
        let vis = input.parse()?;
        let impl_token = input.parse()?;
        let mut generics: Generics = input.parse()?;
        let first: Type = input.parse()?;
        let (ident, ty) = match input.parse::<Option<Token![for]>>()? {
            Some(_) => {
                let message = "not the name of a trait that is made here; write one, as in `impl Trait for Type`";
                let ident = syn::parse2::<Ident>(first.to_token_stream());
                (Some(ident.map_err(|_| syn::Error::new_spanned(first, message))?), input.parse()?)
            }
            None => (None, first),
        };
        generics.where_clause = input.parse()?;
        Ok(Head { vis, impl_token, generics, ident, ty })
    }
}

//! The input of `declare!`, cut into its declarations: functions that end in a `;`, and `impl`s that end in braces.

use crate::parse::errors::Errors;
use crate::parse::item::{attributes_end, is_body, vis_and_signature};
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Generics, Signature, Token, Type, Visibility};

/// A function's.
pub struct Declaration {
    pub attrs: Vec<Attribute>,
    pub vis: Visibility,
    pub sig: Signature,
    /// What follows its `=`.
    pub target: Option<TokenStream>,
    /// Where it ends.
    pub end: Span,
}

/// The head of `pub impl<S> Ident for Type<S> { … }`: everything before the braces.
pub struct Head {
    pub vis: Visibility,
    pub impl_token: Token![impl],
    pub generics: Generics,
    pub ident: Ident,
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

/// Braces may stand before the end, as in `-> Wide<{ N }>`. An `impl` ends in the first that a `for` and a type precede;
/// a function at the first `;`, or in braces that it should not have.
fn end(trees: &[TokenTree]) -> usize {
    let is_impl = starts_with_impl(trees);
    for (i, tree) in trees.iter().enumerate() {
        match tree {
            TokenTree::Punct(punct) if punct.as_char() == ';' => return i + 1,
            TokenTree::Group(group) if is_body(group) => {
                let head: TokenStream = trees[..i].iter().cloned().collect();
                let ends = if is_impl {
                    syn::parse2::<syn::ItemImpl>(without_vis(head)).is_ok()
                } else {
                    Parser::parse2(vis_and_signature, head).is_ok()
                };
                if ends {
                    return i + 1;
                }
            }
            _ => {}
        }
    }
    // An `impl` that does not parse is one piece all the same.
    let braces = trees.iter().position(|tree| matches!(tree, TokenTree::Group(group) if is_body(group)));
    if is_impl { braces.map_or(trees.len(), |i| i + 1) } else { trees.len() }
}

fn without_vis(head: TokenStream) -> TokenStream {
    let parser = |input: ParseStream| {
        input.parse::<Visibility>()?;
        input.parse::<TokenStream>()
    };
    let head = parser.parse2(head).unwrap_or_default();
    quote!(#head {})
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

    /// The attributes and the rest.
    pub fn split(&self) -> syn::Result<(Vec<Attribute>, Vec<TokenTree>)> {
        let (attrs, rest) = self.0.split_at(attributes_end(&self.0, false));
        Ok((Attribute::parse_outer.parse2(attrs.iter().cloned().collect())?, rest.to_vec()))
    }

    pub fn declaration(&self, errors: &mut Errors) -> syn::Result<Declaration> {
        let (attrs, mut trees) = self.split()?;
        if !trees.iter().any(|tree| matches!(tree, TokenTree::Ident(ident) if ident == "fn")) {
            let message = "not a declaration; write `fn name(…) -> R;`, or `impl Trait for Type { … }`";
            return Err(syn::Error::new_spanned(trees.first().to_token_stream(), message));
        }
        let end = match trees.last() {
            Some(TokenTree::Punct(punct)) if punct.as_char() == ';' => {
                let span = punct.span();
                trees.pop();
                span
            }
            Some(TokenTree::Group(group)) if is_body(group) => {
                let span = group.span();
                errors.error(group, "a declaration has no body; write `;`, or mark the async fn with `#[co_wrapper]`");
                trees.pop();
                span
            }
            last => {
                let message = "a declaration ends in `;`; put one after this";
                return Err(syn::Error::new_spanned(last.to_token_stream(), message));
            }
        };
        for (i, tree) in trees.iter().enumerate() {
            let head = || trees[..i].iter().cloned().collect();
            if matches!(tree, TokenTree::Punct(punct) if punct.as_char() == '=')
                && let Ok(head) = Parser::parse2(vis_and_signature, head())
            {
                let target: TokenStream = trees[i + 1..].iter().cloned().collect();
                if target.is_empty() {
                    let message = "no async fn after this `=`; name it, or remove the `=`";
                    return Err(syn::Error::new_spanned(tree, message));
                }
                let (vis, sig) = head;
                return Ok(Declaration { attrs, vis, sig, target: Some(target), end });
            }
        }
        let (vis, sig) = Parser::parse2(vis_and_signature, trees.into_iter().collect())?;
        Ok(Declaration { attrs, vis, sig, target: None, end })
    }
}

impl Head {
    pub fn parse(input: ParseStream) -> syn::Result<Self> {
        let vis = input.parse()?;
        let impl_token = input.parse()?;
        let mut generics: Generics = input.parse()?;
        let ident: Ident = input.parse()?;
        if !input.peek(Token![for]) {
            let message = "no trait to put the methods in; name one that is made here, as in `impl Trait for Type`";
            return Err(syn::Error::new(ident.span(), message));
        }
        input.parse::<Token![for]>()?;
        let ty = input.parse()?;
        generics.where_clause = input.parse()?;
        Ok(Head { vis, impl_token, generics, ident, ty })
    }
}

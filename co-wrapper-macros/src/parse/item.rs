//! The annotated item: a function, an `impl` or `trait` block, a module, or something that cannot be annotated. Bodies
//! stay tokens and are never parsed, because an item must expand while its body is still being typed.

use crate::parse::tokens::{flat, is_punct};
use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Signature, Visibility};

pub enum Item {
    Fn(Box<Function>),
    Block(Block),
    /// By the token that says what it is, and by its name in a sentence.
    Other(Ident, &'static str),
}

pub struct Function {
    pub attrs: Vec<Attribute>,
    pub vis: Visibility,
    pub sig: Signature,
    /// Of the body's braces, or of the `;` in its place.
    pub body_span: Span,
    /// All but the attributes, as it was written.
    pub rest: TokenStream,
}

/// An `impl` or `trait` block, or a module.
pub struct Block {
    pub keyword: Ident,
    pub attrs: Vec<Attribute>,
    /// What lies between the attributes and the braces, as it was written.
    pub head: TokenStream,
    pub braces: Group,
    pub inner_attrs: TokenStream,
    pub members: Vec<Member>,
    /// What its functions are called through: `Self` or `<Self as Trait>`; nothing in a module.
    pub within: TokenStream,
}

/// One item of a block, as it was written.
pub struct Member {
    pub attrs: Vec<Attribute>,
    pub rest: TokenStream,
    pub kind: Kind,
}

pub enum Kind {
    /// One whose signature can be read.
    Function(Box<Signature>),
    /// In a module.
    Block(Block),
    Other,
}

impl Item {
    pub fn parse(tokens: TokenStream) -> syn::Result<Self> {
        let (attrs, rest) = split_attributes(tokens)?;
        let Some(keyword) = keyword(&rest) else {
            return Err(syn::Error::new_spanned(rest, ELSEWHERE));
        };
        match &*keyword.to_string() {
            "fn" => Function::parse(attrs, rest).map(|function| Item::Fn(Box::new(function))),
            "impl" | "trait" | "mod" => Block::parse(keyword, attrs, rest).map(Item::Block),
            _ => {
                let what = describe(&keyword);
                Ok(Item::Other(keyword, what))
            }
        }
    }
}

/// Few enough tokens for a hundred lines, which clippy lets pass by default.
const SHORT: usize = 100;

/// Where the attribute belongs, as the second half of an error.
pub const ELSEWHERE: &str = "`#[co_wrapper]` belongs on an `async fn`, or on the `impl`, `trait` or `mod` around some";

impl Function {
    fn parse(attrs: Vec<Attribute>, rest: TokenStream) -> syn::Result<Self> {
        let trees: Vec<TokenTree> = rest.clone().into_iter().collect();
        let Some((body, head)) = trees.split_last() else { unreachable!("it has a keyword") };
        let (vis, sig) = Parser::parse2(vis_and_signature, head.iter().cloned().collect())?;
        Ok(Function { attrs, vis, sig, body_span: body.span(), rest })
    }

    fn body(&self) -> Option<TokenTree> {
        self.rest.clone().into_iter().last()
    }

    /// Its body is counted, not read.
    pub fn is_long(&self) -> bool {
        flat(self.body()).len() > SHORT
    }

    /// What is emitted again. A mistake that rustc would report too is taken out of a refused fn, so that it is
    /// reported once.
    pub fn rest_for_rustc(&self, is_refused: bool) -> TokenStream {
        let is_async = self.sig.asyncness.is_some();
        let faulty = is_async && (self.sig.constness.is_some() || self.sig.variadic.is_some());
        if !is_refused || !faulty {
            return self.rest.clone();
        }
        let sig = Signature { constness: None, variadic: None, ..self.sig.clone() };
        let (vis, body) = (&self.vis, self.body());
        quote!(#vis #sig #body)
    }
}

impl Block {
    fn parse(keyword: Ident, attrs: Vec<Attribute>, rest: TokenStream) -> syn::Result<Self> {
        let mut trees: Vec<TokenTree> = rest.into_iter().collect();
        let braces = match trees.pop() {
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => group,
            other if keyword == "mod" => {
                let message =
                    "no attribute sees what is in another file; mark its items there, or write the module here";
                return Err(syn::Error::new_spanned(other, message));
            }
            other => return Err(syn::Error::new_spanned(other, "expected a block in braces")),
        };
        let head: TokenStream = trees.into_iter().collect();
        let empty = quote!(#head {});
        let within = match &*keyword.to_string() {
            "mod" => syn::parse2::<syn::ItemMod>(empty).map(|_| TokenStream::new())?,
            "trait" => {
                let syn::ItemTrait { ident, generics, .. } = syn::parse2(empty)?;
                let (_, generics, _) = generics.split_for_impl();
                if attrs.iter().any(is_trait_variant) { quote!(Self) } else { quote!(<Self as #ident #generics>) }
            }
            _ => match syn::parse2::<syn::ItemImpl>(empty)?.trait_ {
                Some((path, _)) => quote!(<Self as #path>),
                None => quote!(Self),
            },
        };
        let body: Vec<TokenTree> = braces.stream().into_iter().collect();
        let (inner_attrs, body) = body.split_at(attributes_end(&body, true));
        Ok(Block {
            keyword,
            attrs,
            head,
            inner_attrs: inner_attrs.iter().cloned().collect(),
            members: members(body)?,
            braces,
            within,
        })
    }

    /// The impl of a trait.
    pub fn is_of_trait(&self) -> bool {
        self.keyword == "impl" && is_of_trait(&self.within)
    }
}

/// `#[trait_variant::make(…)]` below us copies the fns to a trait of another name.
fn is_trait_variant(attr: &Attribute) -> bool {
    let mut segments = attr.path().segments.iter();
    segments.any(|segment| segment.ident == "trait_variant" || segment.ident == "make")
}

/// Of an `impl` or `trait`, by what its functions are called through.
pub fn is_of_trait(within: &TokenStream) -> bool {
    !within.is_empty() && within.to_string() != "Self"
}

fn members(trees: &[TokenTree]) -> syn::Result<Vec<Member>> {
    let mut members = Vec::new();
    let mut trees = trees;
    while !trees.is_empty() {
        let (attrs, rest) = trees.split_at(attributes_end(trees, false));
        let (end, kind) = member_end(rest);
        members.push(Member {
            attrs: Attribute::parse_outer.parse2(attrs.iter().cloned().collect())?,
            rest: rest[..end].iter().cloned().collect(),
            kind,
        });
        trees = &rest[end..];
    }
    Ok(members)
}

/// How many of these are of attributes: `#` and brackets, with a `!` between them in inner ones.
pub fn attributes_end(trees: &[TokenTree], inner: bool) -> usize {
    let is = |at: usize, punct: char| trees.get(at).is_some_and(|tree| is_punct(tree, punct));
    let brackets = if inner { 2 } else { 1 };
    let mut end = 0;
    while is(end, '#')
        && inner == is(end + 1, '!')
        && matches!(trees.get(end + brackets), Some(TokenTree::Group(g)) if g.delimiter() == Delimiter::Bracket)
    {
        end += brackets + 1;
    }
    end
}

/// Where the first item of these ends. A function may have braces before its body, as in `-> Wide<{ N }>`, so its body
/// is what follows the first piece that reads as a signature. Any other item may as well be cut at the first `;` or
/// braces: pieces stay in their order.
fn member_end(trees: &[TokenTree]) -> (usize, Kind) {
    let may_end = |tree: &TokenTree| match tree {
        TokenTree::Punct(punct) => punct.as_char() == ';',
        TokenTree::Group(group) => is_body(group),
        _ => false,
    };
    let ends = || trees.iter().enumerate().filter(|(_, tree)| may_end(tree)).map(|(i, _)| i);
    let tokens = |end: usize| -> TokenStream { trees[..end].iter().cloned().collect() };
    if let Some(keyword) = keyword(&trees.iter().take(8).cloned().collect()) {
        for i in ends() {
            let kind = match &*keyword.to_string() {
                "fn" => Parser::parse2(vis_and_signature, tokens(i)).map(|(_, sig)| Kind::Function(Box::new(sig))),
                "impl" | "trait" | "mod" => Block::parse(keyword.clone(), Vec::new(), tokens(i + 1)).map(Kind::Block),
                _ => break,
            };
            if let Ok(kind) = kind {
                return (i + 1, kind);
            }
        }
    }
    (ends().next().map_or(trees.len(), |end| end + 1), Kind::Other)
}

/// Braces, perhaps in the None-delimited group of a `$body:block`.
pub fn is_body(group: &Group) -> bool {
    match group.delimiter() {
        Delimiter::Brace => true,
        Delimiter::None => {
            let mut inner = group.stream().into_iter();
            matches!((inner.next(), inner.next()), (Some(TokenTree::Group(g)), None) if is_body(&g))
        }
        _ => false,
    }
}

pub fn vis_and_signature(input: ParseStream) -> syn::Result<(Visibility, Signature)> {
    let vis = input.parse()?;
    Ok((vis, input.parse()?))
}

fn split_attributes(tokens: TokenStream) -> syn::Result<(Vec<Attribute>, TokenStream)> {
    let parser = |input: ParseStream| {
        let attrs = input.call(Attribute::parse_outer)?;
        let rest = input.parse::<TokenStream>()?;
        Ok((attrs, rest))
    };
    parser.parse2(tokens)
}

/// The word that says what the item is: past the visibility and `async`, `unsafe`, `const`, `extern "C"` and the like.
fn keyword(rest: &TokenStream) -> Option<Ident> {
    let parser = |input: ParseStream| {
        input.parse::<Visibility>()?;
        let mut first = None;
        loop {
            let word = input.call(Ident::parse_any)?;
            // In editions that do not know the keyword too, as long as it stands where the keyword would.
            let generator = word == "gen" && input.peek(syn::Ident::peek_any);
            if generator || word == "fn" || word == "impl" || word == "trait" {
                input.parse::<TokenStream>()?;
                return Ok(word);
            }
            let modifier =
                matches!(&*word.to_string(), "async" | "unsafe" | "const" | "extern" | "safe" | "default" | "auto");
            // `unsafe extern { … }` is an `extern` block.
            if first.is_none() || word == "extern" {
                first = Some(word.clone());
            }
            if !modifier || input.is_empty() {
                break;
            }
            input.parse::<Option<syn::LitStr>>()?;
            if !input.peek(syn::Ident::peek_any) {
                break;
            }
        }
        input.parse::<TokenStream>()?;
        first.ok_or_else(|| input.error("expected an item"))
    };
    parser.parse2(rest.clone()).ok()
}

fn describe(keyword: &Ident) -> &'static str {
    match &*keyword.to_string() {
        "struct" => "a struct",
        "enum" => "an enum",
        "union" => "a union",
        "static" => "a static",
        "const" => "a constant",
        "type" => "a type",
        "use" => "an import",
        "extern" => "an `extern` block",
        "gen" => "a generator",
        _ => "this item",
    }
}

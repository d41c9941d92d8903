//! The annotated item: a function, an `impl` or `trait` block, a module, or something that cannot be annotated.
//!
//! Bodies stay tokens and are never parsed, because an item must expand while its body is still being typed. So the end
//! of a member is found by its tokens alone.

use crate::parse::tokens::{flat, is_punct, stream};
use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Signature, Visibility};

pub enum Item {
    Fn(Box<Function>),
    Block(Block),
    /// An item that cannot be annotated: its keyword, and what errors call it.
    Other(Ident, &'static str),
}

pub struct Function {
    pub attrs: Vec<Attribute>,
    pub vis: Visibility,
    pub sig: Signature,
    /// The span of the body's braces, or of the `;` in their place.
    pub body_span: Span,
    /// Everything after the attributes, as it was written.
    pub rest: TokenStream,
}

/// An `impl` or `trait` block, or a module.
pub struct Block {
    pub keyword: Ident,
    pub attrs: Vec<Attribute>,
    /// Everything between the attributes and the braces, as it was written.
    pub head: TokenStream,
    pub braces: Group,
    pub inner_attrs: TokenStream,
    pub members: Vec<Member>,
    /// The path through which the functions are called: `Self` or `<Self as Trait>`. It is empty in a module.
    pub within: TokenStream,
}

/// One item of a block.
pub struct Member {
    pub attrs: Vec<Attribute>,
    /// Everything after the attributes, as it was written.
    pub rest: TokenStream,
    pub kind: Kind,
}

pub enum Kind {
    Function(Box<Signature>),
    /// A block inside a module.
    Block(Block),
    /// Another item, or one that cannot be parsed.
    Other,
}

impl Item {
    pub fn parse(tokens: TokenStream) -> syn::Result<Self> {
        let trees: Vec<TokenTree> = tokens.into_iter().collect();
        let (attrs, rest) = split_attributes(&trees)?;
        let Some(keyword) = keyword(rest) else {
            return Err(syn::Error::new_spanned(stream(rest), ELSEWHERE));
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

/// A body with at most this many tokens has at most the 100 lines that clippy's `too_many_lines` allows by default.
const SHORT: usize = 100;

/// The second half of errors about an item that cannot be annotated.
pub const ELSEWHERE: &str = "`#[co_wrapper]` belongs on an `async fn`, or on the `impl`, `trait` or `mod` around some";

impl Function {
    fn parse(attrs: Vec<Attribute>, rest: &[TokenTree]) -> syn::Result<Self> {
        let Some((body, head)) = rest.split_last() else { unreachable!("it has a keyword") };
        let (vis, sig) = vis_and_signature.parse2(stream(head))?;
        Ok(Function { attrs, vis, sig, body_span: body.span(), rest: stream(rest) })
    }

    fn body(&self) -> Option<TokenTree> {
        self.rest.clone().into_iter().last()
    }

    /// Whether the body has so many tokens that clippy may count too many lines in it.
    pub fn is_long(&self) -> bool {
        flat(self.body()).len() > SHORT
    }

    /// The fn as the expansion repeats it, without its attributes. From a refused fn it leaves out the mistakes that rustc
    /// would report as well, so that each is reported once.
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
    fn parse(keyword: Ident, attrs: Vec<Attribute>, rest: &[TokenTree]) -> syn::Result<Self> {
        let Some((last, head)) = rest.split_last() else { unreachable!("it has a keyword") };
        let braces = match last {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => group.clone(),
            other => {
                let message = if keyword == "mod" {
                    "no attribute sees what is in another file; mark its items there, or write the module here"
                } else {
                    "expected a block in braces"
                };
                return Err(syn::Error::new_spanned(other, message));
            }
        };
        let head = stream(head);
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
        Ok(Block { keyword, attrs, head, inner_attrs: stream(inner_attrs), members: members(body)?, braces, within })
    }

    /// Whether this is the impl of a trait.
    pub fn is_of_trait(&self) -> bool {
        self.keyword == "impl" && is_of_trait(&self.within)
    }
}

/// `#[trait_variant::make(…)]`, which expands after us and copies the fns to a trait of another name.
fn is_trait_variant(attr: &Attribute) -> bool {
    let mut segments = attr.path().segments.iter();
    segments.any(|segment| segment.ident == "trait_variant" || segment.ident == "make")
}

/// Whether the functions that are called through this path are those of a trait or its impl.
pub fn is_of_trait(within: &TokenStream) -> bool {
    !within.is_empty() && within.to_string() != "Self"
}

fn members(mut trees: &[TokenTree]) -> syn::Result<Vec<Member>> {
    let mut members = Vec::new();
    while !trees.is_empty() {
        let (attrs, rest) = split_attributes(trees)?;
        let (end, kind) = member_end(rest);
        members.push(Member { attrs, rest: stream(&rest[..end]), kind });
        trees = &rest[end..];
    }
    Ok(members)
}

/// The attributes at the front, and what follows them.
pub fn split_attributes(trees: &[TokenTree]) -> syn::Result<(Vec<Attribute>, &[TokenTree])> {
    let (attrs, rest) = trees.split_at(attributes_end(trees, false));
    Ok((Attribute::parse_outer.parse2(stream(attrs))?, rest))
}

/// How many of the first tokens belong to attributes. An outer attribute is `#` and brackets; an inner one has a `!`
/// between them.
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

/// How many tokens the first of these items has. A function may have braces before its body, as in `-> Wide<{ N }>`, so
/// its body is what follows the first tokens that parse as a signature. Any other item ends at the first `;` or braces.
/// If that cuts it in two, no harm is done, because the pieces stay in their order.
fn member_end(trees: &[TokenTree]) -> (usize, Kind) {
    let may_end = |tree: &TokenTree| match tree {
        TokenTree::Punct(punct) => punct.as_char() == ';',
        TokenTree::Group(group) => is_body(group),
        _ => false,
    };
    let ends = || trees.iter().enumerate().filter(|(_, tree)| may_end(tree)).map(|(i, _)| i);
    // Eight tokens reach past `pub(crate) default const async unsafe extern "C"`.
    if let Some(keyword) = keyword(&trees[..trees.len().min(8)]) {
        for i in ends() {
            let kind = match &*keyword.to_string() {
                "fn" => vis_and_signature.parse2(stream(&trees[..i])).map(|(_, sig)| Kind::Function(Box::new(sig))),
                "impl" | "trait" | "mod" => Block::parse(keyword.clone(), Vec::new(), &trees[..=i]).map(Kind::Block),
                _ => break,
            };
            if let Ok(kind) = kind {
                return (i + 1, kind);
            }
        }
    }
    (ends().next().map_or(trees.len(), |end| end + 1), Kind::Other)
}

/// Whether a group is in braces. Those of a macro's `$body:block` are inside an invisible group.
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

/// The keyword that tells which kind of item this is. It follows the visibility and modifiers such as `async`, `unsafe`,
/// `const` and `extern "C"`.
fn keyword(trees: &[TokenTree]) -> Option<Ident> {
    let parser = |input: ParseStream| {
        input.parse::<Visibility>()?;
        let mut first = None;
        loop {
            let word = input.call(Ident::parse_any)?;
            // `gen` may be no keyword in the user's edition, so its place decides.
            let generator = word == "gen" && input.peek(syn::Ident::peek_any);
            if generator || word == "fn" || word == "impl" || word == "trait" {
                input.parse::<TokenStream>()?;
                return Ok(word);
            }
            let modifier =
                matches!(&*word.to_string(), "async" | "unsafe" | "const" | "extern" | "safe" | "default" | "auto");
            // An `unsafe extern { … }` is an `extern` block.
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
    parser.parse2(stream(trees)).ok()
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

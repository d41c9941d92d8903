//! What is annotated: a function, an `impl` or `trait` block, or something that cannot be. Bodies stay tokens and are
//! never parsed: code that is being typed must still expand.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Path, Signature, Visibility};

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

/// An `impl` or `trait` block.
pub struct Block {
    pub keyword: Ident,
    pub attrs: Vec<Attribute>,
    /// What lies between the attributes and the braces, as it was written.
    pub head: TokenStream,
    pub braces: Group,
    pub inner_attrs: TokenStream,
    pub members: Vec<Member>,
    /// What its functions are called through: `Self` or `<Self as Trait>`.
    pub within: TokenStream,
}

/// One item of a block, as it was written; `function` if it is one whose signature can be read.
pub struct Member {
    pub attrs: Vec<Attribute>,
    pub rest: TokenStream,
    pub function: Option<Signature>,
}

impl Item {
    pub fn parse(tokens: TokenStream) -> syn::Result<Self> {
        let (attrs, rest) = split_attributes(tokens)?;
        let Some(keyword) = keyword(&rest) else {
            return Err(syn::Error::new_spanned(rest, ELSEWHERE));
        };
        match &*keyword.to_string() {
            "fn" => Function::parse(attrs, rest).map(|function| Item::Fn(Box::new(function))),
            "impl" | "trait" => Block::parse(keyword, attrs, rest).map(Item::Block),
            _ => {
                let what = describe(&keyword);
                Ok(Item::Other(keyword, what))
            }
        }
    }
}

/// Where the attribute belongs, as the second half of an error.
pub const ELSEWHERE: &str = "`#[co_wrapper]` belongs on an `async fn`, or on the `impl` or `trait` around some";

impl Function {
    fn parse(attrs: Vec<Attribute>, rest: TokenStream) -> syn::Result<Self> {
        let trees: Vec<TokenTree> = rest.clone().into_iter().collect();
        let Some((body, head)) = trees.split_last() else { unreachable!("it has a keyword") };
        let (vis, sig) = Parser::parse2(vis_and_signature, head.iter().cloned().collect())?;
        Ok(Function { attrs, vis, sig, body_span: body.span(), rest })
    }
}

impl Block {
    fn parse(keyword: Ident, attrs: Vec<Attribute>, rest: TokenStream) -> syn::Result<Self> {
        let mut trees: Vec<TokenTree> = rest.into_iter().collect();
        let braces = match trees.pop() {
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => group,
            other => return Err(syn::Error::new_spanned(other, "expected a block in braces")),
        };
        let head: TokenStream = trees.into_iter().collect();
        let within = if keyword == "trait" {
            within_trait(&syn::parse2(quote!(#head {}))?)
        } else {
            match syn::parse2::<syn::ItemImpl>(quote!(#head {}))?.trait_ {
                Some((path, _)) => within_trait_impl(&path),
                None => quote!(Self),
            }
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
}

fn within_trait(item: &syn::ItemTrait) -> TokenStream {
    let (_, generics, _) = item.generics.split_for_impl();
    let ident = &item.ident;
    quote!(<Self as #ident #generics>)
}

fn within_trait_impl(path: &Path) -> TokenStream {
    quote!(<Self as #path>)
}

fn members(trees: &[TokenTree]) -> syn::Result<Vec<Member>> {
    let mut members = Vec::new();
    let mut trees = trees;
    while !trees.is_empty() {
        let (attrs, rest) = trees.split_at(attributes_end(trees, false));
        let (end, function) = member_end(rest);
        members.push(Member {
            attrs: Attribute::parse_outer.parse2(attrs.iter().cloned().collect())?,
            rest: rest[..end].iter().cloned().collect(),
            function,
        });
        trees = &rest[end..];
    }
    Ok(members)
}

/// How many of these are of attributes: `#` and brackets, with a `!` between them in inner ones.
pub fn attributes_end(trees: &[TokenTree], inner: bool) -> usize {
    let is = |at: usize, punct: char| matches!(trees.get(at), Some(TokenTree::Punct(p)) if p.as_char() == punct);
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
fn member_end(trees: &[TokenTree]) -> (usize, Option<Signature>) {
    let may_end = |tree: &TokenTree| match tree {
        TokenTree::Punct(punct) => punct.as_char() == ';',
        TokenTree::Group(group) => is_body(group),
        _ => false,
    };
    let head: TokenStream = trees.iter().take(8).cloned().collect();
    if keyword(&head).is_some_and(|keyword| keyword == "fn") {
        for (i, _) in trees.iter().enumerate().filter(|(_, tree)| may_end(tree)) {
            let head = trees[..i].iter().cloned().collect();
            if let Ok((_, sig)) = Parser::parse2(vis_and_signature, head) {
                return (i + 1, Some(sig));
            }
        }
    }
    let end = trees.iter().position(may_end);
    (end.map_or(trees.len(), |end| end + 1), None)
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
        "mod" => "a module",
        "static" => "a static",
        "const" => "a constant",
        "type" => "a type",
        "use" => "an import",
        "extern" => "an `extern` block",
        "gen" => "a generator",
        _ => "this item",
    }
}

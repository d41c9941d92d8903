//! `declare! { … }`, QEMU's own form: declarations without a body, of blocking fns whose async targets live elsewhere, and
//! of async fns whose blocking ones do. One is read at a time, so that a mistake in one leaves the others standing.
//!
//! ```text
//! // Input
//! pub fn bdrv_flush(bs: &Bds) -> Result;
//! impl<S> Sync for Disk<S> {
//!     fn read_now(&self, off: u64) -> Result = read;
//! }
//!
//! // Output
//! #[track_caller]
//! pub fn bdrv_flush(bs: &Bds) -> Result { … bdrv_co_flush(bs) … }
//! trait Sync<S> {
//!     #[track_caller]
//!     fn read_now(&self, off: u64) -> Result;
//! }
//! impl<S> Sync<S> for Disk<S> {
//!     fn read_now(&self, off: u64) -> Result { … Self::read(self, off) … }
//! }
//! ```

use crate::check;
use crate::expand;
use crate::model::name::{with_co, without_affixes, without_co};
use crate::model::plan::{Link, Plan, Target};
use crate::parse::attrs;
use crate::parse::errors::Errors;
use crate::parse::ident::unraw;
use crate::parse::mark::{Names, is_no_co};
use crate::parse::options::{Affixes, Context, Options};
use crate::parse::pieces::{Piece, pieces};
use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use std::rc::Rc;
use syn::parse::{ParseStream, Parser};
use syn::spanned::Spanned;
use syn::{Attribute, Generics, Meta, Path, Signature, Token, Type, Visibility};

pub fn declare(input: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let mut output = TokenStream::new();
    for piece in pieces(input.into_iter().collect()) {
        // What is wrong with one is no reason to leave out the next.
        let mut own = Errors::default();
        let declared = if piece.is_impl() { extension(&piece, &mut own) } else { function(&piece, &mut own) };
        match declared {
            Ok(tokens) => output.extend(tokens),
            Err(error) => own.push(error),
        }
        errors.append(own);
    }
    output.extend(errors.into_compile_errors());
    output
}

/// `#[co_wrapper(…)]` or `#[no_co_wrapper(…)]` on a declaration, and the other attributes.
fn options(attrs: Vec<Attribute>, errors: &mut Errors) -> (Options, Vec<Attribute>) {
    let names = Names::new(None);
    let is_mark = |attr: &Attribute| names.is_mark(attr) || is_no_co(&attr.meta);
    let (mut marks, attrs): (Vec<_>, Vec<_>) = attrs.into_iter().partition(is_mark);
    let options = match marks.first().map(|mark| &mark.meta) {
        Some(meta) => {
            let tokens = if let Meta::List(list) = meta { list.tokens.clone() } else { TokenStream::new() };
            if is_no_co(meta) { Options::parse_no_co(tokens, errors) } else { Options::parse(tokens, errors) }
        }
        None => Options::default(),
    };
    for mark in marks.drain(..).skip(1) {
        let message = if is_no_co(&mark.meta) == options.no_co {
            let name = mark.path().segments.last().map(|segment| unraw(&segment.ident)).unwrap_or_default();
            format!("a second `#[{name}]`; write its options into the first")
        } else {
            "a fn has a blocking twin or an async one; remove one of the marks".to_owned()
        };
        errors.error(mark.path(), message);
    }
    check::options::of_declaration(&options, errors);
    (options, attrs)
}

/// `pub fn bdrv_read(bs: &Bds) -> R = path::bdrv_co_read;`
fn function(piece: &Piece, errors: &mut Errors) -> syn::Result<TokenStream> {
    let (attrs, head, target, end) = piece.declaration(errors)?;
    let (options, attrs) = options(attrs, errors);
    for key in ["suffix", "prefix"] {
        if let Some(key) = options.key(key).filter(|_| !options.no_co) {
            errors.error(key, format!("`{key}` is for an `impl`; name the async fn with `= …` here"));
        }
    }
    check::options::no_ctx(&options, errors);
    let named = target.is_some();
    let path = path_of(target, &options, &head.1);
    let target = path.as_ref().map(|path| Target {
        turbofish: path.segments.iter().all(|segment| segment.arguments.is_none()),
        path: path.to_token_stream(),
        name: path.segments.last().map(|segment| unraw(&segment.ident)).unwrap_or_default(),
        link: link(path),
    });
    let plan = Plan::of_declaration(options, attrs, head, target.map_err(Clone::clone), end);
    check::declaration(&plan, errors);
    let sig = &plan.sig;
    if let Some(receiver) = sig.receiver() {
        errors.error(receiver, "a free fn has no `self`; declare it in `impl Trait for Type { … }`");
    }
    let path = path?;
    if let Some(ident) = path.get_ident() {
        if !named {
            check::signature::check_hiding(ident, sig, errors);
        }
        if unraw(ident) == unraw(&sig.ident) {
            let (name, other) = (unraw(ident), if plan.options.no_co { "blocking" } else { "async" });
            errors.error(&path, format!("`{name}` is the wrapper itself; give the path of its {other} fn"));
        }
    }
    let twins = twins(&plan, errors);
    Ok(quote!(#(#twins)*))
}

/// As it is written after the `=`, or by the rule.
fn path_of(target: Option<TokenStream>, options: &Options, sig: &Signature) -> syn::Result<Path> {
    let Some(tokens) = target else {
        return if options.no_co { blocking(sig).map(Path::from) } else { Ok(with_co(&sig.ident).into()) };
    };
    let span = tokens.span();
    let message = "not the path of an async fn; write one, as in `= block::co_read`";
    syn::parse2(tokens).map_err(|_| syn::Error::new(span, message))
}

/// What is left to be checked of a declaration whose target is known, and its expansion.
fn twins<'a>(plan: &'a Plan, errors: &mut Errors) -> Vec<expand::Twin<'a>> {
    if let Ok(names) = &plan.names {
        check::timeout(plan, names, errors);
    }
    if errors.is_empty() { expand::twins(plan).collect() } else { Vec::new() }
}

/// `pub impl<S> Ident for Type<S> { … }`: a trait and its impl.
fn extension(piece: &Piece, errors: &mut Errors) -> syn::Result<TokenStream> {
    let (attrs, trees) = piece.split()?;
    let Some((TokenTree::Group(braces), head)) = trees.split_last() else {
        let last = trees.last().to_token_stream();
        return Err(syn::Error::new_spanned(last, "an `impl` ends in braces; put its declarations into `{ … }`"));
    };
    let head = Parser::parse2(Head::parse, head.iter().cloned().collect())?;
    if let Some(mark) = attrs.iter().find(|attr| is_no_co(&attr.meta)) {
        errors.error(mark.path(), "`#[no_co_wrapper]` is of one fn; write it on the fns inside");
    }
    let (options, attrs) = options(attrs, errors);
    check::options::no_ctx(&options, errors);
    let faulty = !errors.is_empty();
    let block = Context { within: quote!(Self), in_trait: true, options, written: TokenStream::new() };
    let block = Rc::new(block);
    let mut declarations = TokenStream::new();
    let mut definitions = TokenStream::new();
    for piece in pieces(braces.stream().into_iter().collect()) {
        let mut own = Errors::default();
        match method(&piece, &head, &block, &mut own) {
            Ok((declaration, definition)) => {
                declarations.extend(declaration);
                definitions.extend(definition);
            }
            Err(error) => own.push(error),
        }
        errors.append(own);
    }
    if faulty {
        return Ok(TokenStream::new());
    }
    let Head { vis, impl_token, generics, ident, ty } = head;
    let (impl_generics, ty_generics, where_clause) = generics.split_for_impl();
    let (params, gt) = (&generics.params, generics.gt_token);
    let lt = generics.lt_token;
    let of_impl = attrs::of_definition(&attrs);
    let trait_token = Ident::new("trait", impl_token.span);
    let declarations = braced(braces, declarations);
    let definitions = braced(braces, definitions);
    Ok(quote! {
        #(#attrs)*
        #vis #trait_token #ident #lt #params #gt #where_clause #declarations
        #(#of_impl)*
        impl #impl_generics #ident #ty_generics for #ty #where_clause #definitions
    })
}

fn braced(like: &Group, body: TokenStream) -> Group {
    let mut braces = Group::new(Delimiter::Brace, body);
    braces.set_span(like.span());
    braces
}

struct Head {
    vis: Visibility,
    impl_token: Token![impl],
    generics: Generics,
    ident: Ident,
    ty: Type,
}

impl Head {
    fn parse(input: ParseStream) -> syn::Result<Self> {
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

/// One method of an extension trait: in the trait, and in its impl.
fn method(
    piece: &Piece,
    head: &Head,
    block: &Rc<Context>,
    errors: &mut Errors,
) -> syn::Result<(TokenStream, TokenStream)> {
    let (attrs, (vis, sig), target, end) = piece.declaration(errors)?;
    let (options, attrs) = options(attrs, errors);
    for key in ["suffix", "prefix"] {
        if let Some(key) = options.key(key).filter(|_| !options.no_co) {
            errors.error(key, format!("`{key}` is of the whole `impl`; write it there"));
        }
    }
    let options = options.inside(block.clone());
    check::options::no_ctx(&options, errors);
    let ident = method_of(target, &options, &block.options.affixes, &sig);
    let target = ident.as_ref().map(|ident| {
        let name = unraw(ident);
        let link = match &head.ty {
            Type::Path(ty) if ty.qself.is_none() => match link(&ty.path) {
                Link::To(path) => Link::To(format!("{}::{name}", path.trim_start_matches("fn@"))),
                Link::None => Link::None,
            },
            _ => Link::None,
        };
        Target { path: quote_spanned!(ident.span()=> Self::#ident), turbofish: true, name, link }
    });
    let plan = Plan::of_declaration(options, attrs, (vis, sig), target.map_err(Clone::clone), end);
    check::declaration(&plan, errors);
    let (vis, sig) = (&plan.vis, &plan.sig);
    if !matches!(vis, Visibility::Inherited) {
        errors.error(vis, "a method is as visible as its trait; remove this");
    }
    let name = unraw(&ident?);
    if name == unraw(&sig.ident) {
        let what = if plan.options.no_co { "blocking" } else { "async" };
        let message = format!("`{name}` is the {what} fn itself, which hides a method of its name; choose another");
        errors.error(&sig.ident, message);
    }
    let twins = twins(&plan, errors);
    Ok(twins.iter().map(|twin| (twin.declaration(), twin.definition())).unzip())
}

/// As it is written after the `=`, or by the rule.
fn method_of(target: Option<TokenStream>, options: &Options, affixes: &Affixes, sig: &Signature) -> syn::Result<Ident> {
    let named = &sig.ident;
    match target {
        Some(tokens) => {
            let message = "not a method of the type; write its name alone, as in `= read`";
            syn::parse2(tokens.clone()).map_err(|_| syn::Error::new_spanned(tokens, message))
        }
        None if options.no_co => blocking(sig),
        None if affixes.is_empty() => Ok(with_co(named)),
        None => without_affixes(named, affixes).map_err(|error| syn::Error::new_spanned(named, error)),
    }
}

/// What the async fn of this signature is the twin of, by its name.
fn blocking(sig: &Signature) -> syn::Result<Ident> {
    let message = format!("the name of `{}` does not tell its blocking fn's; name that with `= …`", unraw(&sig.ident));
    without_co(&sig.ident).map_err(|_| syn::Error::new_spanned(&sig.ident, message))
}

/// `a::b::<T>::c` → `a::b::c`
fn link(path: &Path) -> Link {
    let segments: Vec<String> = path.segments.iter().map(|segment| unraw(&segment.ident)).collect();
    let leading = if path.leading_colon.is_some() { "::" } else { "" };
    // Rustdoc knows no `$crate`.
    if segments.iter().any(|segment| segment.starts_with('$')) {
        return Link::None;
    }
    Link::To(format!("fn@{leading}{}", segments.join("::")))
}

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

use crate::args::Options;
use crate::context::Context;
use crate::docs::Link;
use crate::errors::Errors;
use crate::expand::no_co::NoCo;
use crate::expand::{self, Returned, Subject, Target, timeout};
use crate::lock::{self, Lock};
use crate::mark::Names;
use crate::name::{unraw, with_co, without_affixes, without_co};
use crate::no_co::{self, is_no_co};
use crate::pieces::{Piece, pieces};
use crate::signature;
use crate::witness;
use crate::{attribute, attrs};
use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::{ParseStream, Parser};
use syn::spanned::Spanned;
use syn::{Attribute, Generics, Meta, Path, Signature, Token, Type, Visibility};

pub fn declare(input: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let mut output = TokenStream::new();
    for piece in pieces(input.into_iter().collect()) {
        // What is wrong with one is no reason to leave out the next.
        let mut own = Errors::default();
        let declared = if piece.is_impl() { extension(piece, &mut own) } else { function(piece, &mut own) };
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
    if options.no_co {
        no_co::check_options(&options, errors);
    } else {
        lock::check_co(&options, errors);
    }
    for (key, remedy) in [
        ("name", "the wrapper is called as it is declared; remove it"),
        ("output", "the wrapper returns what its declaration says; remove it"),
        ("vis", "the wrapper is as visible as its declaration says; remove it"),
    ] {
        if let Some(key) = options.key(key) {
            errors.error(key, remedy);
        }
    }
    if let Some(key) = options.key("skip").filter(|_| !options.no_co) {
        errors.error(key, "nothing is declared that need be skipped; remove it");
    }
    (options, attrs)
}

/// `pub fn bdrv_read(bs: &Bds) -> R = path::bdrv_co_read;`
fn function(piece: Piece, errors: &mut Errors) -> syn::Result<TokenStream> {
    let (attrs, head, target, end) = piece.declaration(errors)?;
    let (options, attrs) = options(attrs, errors);
    for key in ["suffix", "prefix"] {
        if let Some(key) = options.key(key).filter(|_| !options.no_co) {
            errors.error(key, format!("`{key}` is for an `impl`; name the async fn with `= …` here"));
        }
    }
    attribute::check_no_ctx(&options, &Context::default(), errors);
    let (vis, mut sig) = head;
    check(&attrs, &mut sig, &options, options.lock.as_ref(), errors);
    if let Some(receiver) = sig.receiver() {
        errors.error(receiver, "a free fn has no `self`; declare it in `impl Trait for Type { … }`");
    }
    let target = match target {
        Some(tokens) => {
            let span = tokens.span();
            syn::parse2::<Path>(tokens).map_err(|_| {
                syn::Error::new(span, "not the path of an async fn; write one, as in `= block::co_read`")
            })?
        }
        None => {
            let target = if options.no_co { blocking(&sig)? } else { with_co(&sig.ident) };
            signature::check_hidden_by(&target, &sig, errors);
            target.into()
        }
    };
    let name = target.segments.last().map(|segment| unraw(&segment.ident)).unwrap_or_default();
    if target.get_ident().is_some_and(|ident| unraw(ident) == unraw(&sig.ident)) {
        let other = if options.no_co { "blocking" } else { "async" };
        errors.error(&target, format!("`{name}` is the wrapper itself; give the path of its {other} fn"));
    }
    let link = link(&target);
    let has_arguments = target.segments.iter().any(|segment| !segment.arguments.is_none());
    let subject = Subject {
        attrs: &attrs,
        vis: &vis,
        sig: &sig,
        declared: true,
        returned: Returned::Async,
        long: false,
        body_span: end,
        wrapper: sig.ident.clone(),
        target: Target { turbofish: !has_arguments, path: target.to_token_stream(), free: true, name, link },
    };
    let context = Context::default();
    timeout::check(&subject, &options, &context, errors);
    if !errors.is_empty() {
        return Ok(TokenStream::new());
    }
    if options.no_co {
        return Ok(NoCo::new(&subject, &options, &context).twin().into_token_stream());
    }
    let calls = expand::calls(&subject, &options, &context);
    Ok(quote!(#(#calls)*))
}

/// `pub impl<S> Ident for Type<S> { … }`: a trait and its impl.
fn extension(piece: Piece, errors: &mut Errors) -> syn::Result<TokenStream> {
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
    attribute::check_no_ctx(&options, &Context::default(), errors);
    let faulty = !errors.is_empty();
    let context = Context { within: quote!(Self), ..Context::new(options, quote!(Self), true) };
    let mut declarations = TokenStream::new();
    let mut definitions = TokenStream::new();
    for piece in pieces(braces.stream().into_iter().collect()) {
        let mut own = Errors::default();
        match method(piece, &head, &context, &mut own) {
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
    piece: Piece,
    head: &Head,
    context: &Context,
    errors: &mut Errors,
) -> syn::Result<(TokenStream, TokenStream)> {
    let (attrs, (vis, mut sig), target, end) = piece.declaration(errors)?;
    let (options, attrs) = options(attrs, errors);
    for key in ["suffix", "prefix"] {
        if let Some(key) = options.key(key).filter(|_| !options.no_co) {
            errors.error(key, format!("`{key}` is of the whole `impl`; write it there"));
        }
    }
    attribute::check_no_ctx(&options, context, errors);
    // What the `impl` says of all is of its blocking ones.
    let lock = if options.no_co { options.lock.as_ref() } else { Lock::of(&options, context) };
    check(&attrs, &mut sig, &options, lock, errors);
    if !matches!(vis, Visibility::Inherited) {
        errors.error(&vis, "a method is as visible as its trait; remove this");
    }
    let target = match target {
        Some(tokens) => syn::parse2::<Ident>(tokens.clone()).map_err(|_| {
            syn::Error::new_spanned(tokens, "not a method of the type; write its name alone, as in `= read`")
        })?,
        None if options.no_co => blocking(&sig)?,
        None if context.affixes.is_empty() => with_co(&sig.ident),
        None => {
            without_affixes(&sig.ident, &context.affixes).map_err(|error| syn::Error::new_spanned(&sig.ident, error))?
        }
    };
    let name = unraw(&target);
    if name == unraw(&sig.ident) {
        let what = if options.no_co { "blocking" } else { "async" };
        let message = format!("`{name}` is the {what} fn itself, which hides a method of its name; choose another");
        errors.error(&sig.ident, message);
    }
    let link = match &head.ty {
        Type::Path(ty) if ty.qself.is_none() => match link(&ty.path) {
            Link::To(path) => Link::To(format!("{}::{name}", path.trim_start_matches("fn@"))),
            Link::None => Link::None,
        },
        _ => Link::None,
    };
    let subject = Subject {
        attrs: &attrs,
        vis: &Visibility::Inherited,
        sig: &sig,
        declared: true,
        returned: Returned::Async,
        long: false,
        body_span: end,
        wrapper: sig.ident.clone(),
        target: Target {
            path: quote_spanned!(target.span()=> Self::#target),
            turbofish: true,
            free: false,
            name,
            link,
        },
    };
    timeout::check(&subject, &options, context, errors);
    if !errors.is_empty() {
        return Ok(Default::default());
    }
    if options.no_co {
        let call = NoCo::new(&subject, &options, context);
        let twin = call.twin();
        return Ok((twin.declaration(), twin.definition()));
    }
    let mut both = (TokenStream::new(), TokenStream::new());
    for call in expand::calls(&subject, &options, context) {
        let twin = call.twin();
        both.0.extend(twin.declaration());
        both.1.extend(twin.definition());
    }
    Ok(both)
}

/// `lock` is what the mark takes. Leaves the signature without `async`, which only says what is declared.
fn check(attrs: &[Attribute], sig: &mut Signature, options: &Options, lock: Option<&Lock>, errors: &mut Errors) {
    attrs::check(attrs, errors);
    signature::check(sig, errors);
    if options.no_co {
        if sig.asyncness.is_none() {
            errors.error(sig.fn_token, "what is declared is the async fn; write `async fn`, or `#[co_wrapper]`");
        }
        sig.asyncness = None;
        if no_co::check_owned(sig, errors) && !lock::is_faulty_no_co(options) {
            witness::check(sig, lock, errors);
        }
        return;
    }
    if let Some(token) = &sig.asyncness {
        errors.error(token, "what is declared is the blocking fn; remove it, or put `#[co_wrapper]` on the async one");
    }
    if !lock::is_faulty(options) {
        witness::check(sig, lock, errors);
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

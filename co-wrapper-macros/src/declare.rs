//! `declare! { … }`, from its tokens to its expansion: parse, plan, check, expand. As in QEMU's headers, a declaration has no
//! body. It declares a blocking fn whose async fn is elsewhere, or the reverse. Each declaration is expanded by itself, so a
//! mistake in one does not affect the others.
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
//!
//! In an `impl` without a trait, the methods are of a blocking type, as those of `#[co_wrapper(type = …)]` are.

use crate::check;
use crate::expand;
use crate::model::plan::Plan;
use crate::parse::attrs;
use crate::parse::errors::Errors;
use crate::parse::ident::unraw;
use crate::parse::mark::{MarkNames, is_no_co};
use crate::parse::options::{BlockContext, Options};
use crate::parse::pieces::{Head, Piece, pieces};
use crate::parse::tokens::stream;
use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use std::rc::Rc;
use syn::parse::Parser;
use syn::{Attribute, Meta, Type, Visibility};

pub fn declare(input: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let mut output = TokenStream::new();
    for piece in pieces(input.into_iter().collect()) {
        each(&mut errors, |errors| {
            output.extend(if piece.is_impl() { methods(&piece, errors)? } else { function(&piece, errors)? });
            Ok(())
        });
    }
    output.extend(errors.into_compile_errors());
    output
}

/// Expands one declaration, with its own list of errors, which is then appended to `errors`.
fn each(errors: &mut Errors, declare: impl FnOnce(&mut Errors) -> syn::Result<()>) {
    let mut own = Errors::default();
    if let Err(error) = declare(&mut own) {
        own.push(error);
    }
    errors.append(own);
}

/// Takes the mark of a declaration out of its attributes, and checks its options.
fn options(attrs: &mut Vec<Attribute>, errors: &mut Errors) -> Options {
    let names = MarkNames::new(None);
    let is_mark = |attr: &Attribute| names.is_mark(attr) || is_no_co(&attr.meta);
    let marks: Vec<Attribute> = attrs.extract_if(.., |attr| is_mark(attr)).collect();
    let options = match marks.first().map(|mark| &mark.meta) {
        Some(meta) => {
            let tokens = if let Meta::List(list) = meta { list.tokens.clone() } else { TokenStream::new() };
            if is_no_co(meta) { Options::parse_no_co(tokens, errors) } else { Options::parse(tokens, errors) }
        }
        None => Options::default(),
    };
    for mark in marks.iter().skip(1) {
        let message = if is_no_co(&mark.meta) == options.no_co {
            let name = mark.path().segments.last().map(|segment| unraw(&segment.ident)).unwrap_or_default();
            format!("a second `#[{name}]`; write its options into the first")
        } else {
            "a fn has a blocking twin or an async one; remove one of the marks".to_owned()
        };
        errors.error(mark.path(), message);
    }
    check::options::of_declaration(&options, errors);
    options
}

/// The checked plan of a declared function or, with `within`, of a method in an `impl` for that type.
fn plan(piece: &Piece, within: Option<(&Type, &Rc<BlockContext>)>, errors: &mut Errors) -> syn::Result<Plan> {
    let mut declaration = piece.declaration(errors)?;
    let mut options = options(&mut declaration.attrs, errors);
    if let Some((_, block)) = within {
        options = options.inside(block.clone());
    }
    let plan = Plan::of_declaration(options, declaration, within.map(|(ty, _)| ty));
    check::declaration(&plan, errors);
    Ok(plan)
}

/// The checked plan of a method that is declared for a blocking type.
fn plan_of_blocking(piece: &Piece, ty: &Type, block: &Rc<BlockContext>, errors: &mut Errors) -> syn::Result<Plan> {
    let mut declaration = piece.declaration(errors)?;
    let options = options(&mut declaration.attrs, errors).inside(block.clone());
    let plan = Plan::of_blocking_declaration(options, declaration, ty);
    check::declaration_in_blocking_type(&plan, errors);
    Ok(plan)
}

/// Expands `pub fn bdrv_read(bs: &Bds) -> R = path::bdrv_co_read;`.
fn function(piece: &Piece, errors: &mut Errors) -> syn::Result<TokenStream> {
    let plan = plan(piece, None, errors)?;
    let twins = expand::twins(&plan).filter(|_| errors.is_empty());
    Ok(quote!(#(#twins)*))
}

/// Expands `pub impl<S> Ident for Type<S> { … }` to a trait and its impl, and `impl<S> blocking::Type<S> { … }` to an impl.
fn methods(piece: &Piece, errors: &mut Errors) -> syn::Result<TokenStream> {
    let (mut attrs, trees) = piece.split()?;
    let Some((TokenTree::Group(braces), head)) = trees.split_last() else {
        let last = trees.last().to_token_stream();
        return Err(syn::Error::new_spanned(last, "an `impl` ends in braces; put its declarations into `{ … }`"));
    };
    let head = Head::parse.parse2(stream(head))?;
    if let Some(mark) = attrs.iter().find(|attr| is_no_co(&attr.meta)) {
        errors.error(mark.path(), "`#[no_co_wrapper]` is of one fn; write it on the fns inside");
    }
    let options = options(&mut attrs, errors);
    check::options::of_any_block(&options, errors);
    let faulty = !errors.is_empty();
    let in_trait = head.ident.is_some();
    let block = BlockContext { within: quote!(Self), in_trait, options, written: TokenStream::new() };
    let block = Rc::new(block);
    if !in_trait {
        return Ok(inherent(&attrs, &head, braces, &block, errors));
    }
    let mut declarations = TokenStream::new();
    let mut definitions = TokenStream::new();
    for piece in pieces(braces.stream().into_iter().collect()) {
        each(errors, |errors| {
            let plan = plan(&piece, Some((&head.ty, &block)), errors)?;
            for twin in expand::twins(&plan).filter(|_| errors.is_empty()) {
                declarations.extend(twin.declaration());
                definitions.extend(twin.definition());
            }
            Ok(())
        });
    }
    if faulty {
        return Ok(TokenStream::new());
    }
    let Head { vis, impl_token, generics, ident, ty } = head;
    let (impl_generics, ty_generics, where_clause) = generics.split_for_impl();
    let (params, gt) = (&generics.params, generics.gt_token);
    let lt = generics.lt_token;
    let of_impl = attrs::of_parameter(&attrs);
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

/// The impl of a blocking type.
fn inherent(
    attrs: &[Attribute],
    head: &Head,
    braces: &Group,
    block: &Rc<BlockContext>,
    errors: &mut Errors,
) -> TokenStream {
    let Head { vis, impl_token, generics, ty, .. } = head;
    if !matches!(vis, Visibility::Inherited) {
        errors.error(vis, "the methods of a type are as visible as each says; write this on them");
    }
    check::options::of_blocking_declarations(&block.options, errors);
    let faulty = !errors.is_empty();
    let mut methods = TokenStream::new();
    for piece in pieces(braces.stream().into_iter().collect()) {
        each(errors, |errors| {
            let plan = plan_of_blocking(&piece, ty, block, errors)?;
            methods.extend(expand::twins(&plan).filter(|_| errors.is_empty()).map(|twin| twin.to_token_stream()));
            Ok(())
        });
    }
    if faulty {
        return TokenStream::new();
    }
    let (of_impl, _, where_clause) = generics.split_for_impl();
    let methods = braced(braces, methods);
    quote!(#(#attrs)* #impl_token #of_impl #ty #where_clause #methods)
}

/// Braces at the same place with another content.
fn braced(like: &Group, body: TokenStream) -> Group {
    let mut braces = Group::new(Delimiter::Brace, body);
    braces.set_span(like.span());
    braces
}

//! The two attributes, from their tokens to their expansion: parse, plan, check, expand. Whatever the errors, the expansion
//! begins with the whole item, so that other code that uses the item still compiles.

use crate::blocking_trait;
use crate::blocking_type;
use crate::check;
use crate::expand::{self, block};
use crate::model::plan::Plan;
use crate::parse::errors::Errors;
use crate::parse::item::{Block, ELSEWHERE, Function, Item};
use crate::parse::mark::{MarkNames, is_no_co};
use crate::parse::options::{BlockContext, Options};
use proc_macro2::TokenStream;
use quote::quote;
use syn::Attribute;

/// Expands `#[co_wrapper]`. `import` is the name under which the user wrote the attribute, if that is known.
pub fn co_wrapper(args: TokenStream, input: TokenStream, import: Option<String>) -> TokenStream {
    let names = MarkNames::new(import);
    let mut errors = Errors::default();
    let options = Options::parse(args.clone(), &mut errors);
    item(input, errors, |item, errors| match item {
        Item::Fn(function) => Some(blocking(options, *function, &names, errors)),
        Item::Block(block) => Some(of_block(options, args, block, &names, errors)),
        Item::Other(keyword, what) => {
            errors.error(keyword, format!("{what} cannot have a wrapper; {ELSEWHERE}"));
            None
        }
    })
}

/// Expands `#[no_co_wrapper]`.
pub fn no_co_wrapper(args: TokenStream, input: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let options = Options::parse_no_co(args, &mut errors);
    check::options::of_no_co(&options, &mut errors);
    item(input, errors, |item, errors| {
        let (keyword, message) = match item {
            Item::Fn(function) => return Some(asynchronous(options, *function, errors)),
            Item::Block(block) if block.keyword != "mod" => {
                (block.keyword, "`#[no_co_wrapper]` is of one fn; write it on the blocking fn inside".to_owned())
            }
            Item::Block(block) => (block.keyword, no_async_twin("a module")),
            Item::Other(keyword, what) => (keyword, no_async_twin(what)),
        };
        errors.error(keyword, message);
        None
    })
}

fn no_async_twin(what: &str) -> String {
    format!("{what} has no async twin; `#[no_co_wrapper]` belongs on a blocking fn")
}

/// The expansion of an item, followed by the errors. If `expand` returns nothing, the item stays as it was.
fn item(
    input: TokenStream,
    mut errors: Errors,
    expand: impl FnOnce(Item, &mut Errors) -> Option<TokenStream>,
) -> TokenStream {
    let output = match Item::parse(input.clone()) {
        Ok(item) => expand(item, &mut errors),
        Err(error) => {
            errors.push(error);
            None
        }
    };
    let (output, errors) = (output.unwrap_or(input), errors.into_compile_errors());
    quote!(#output #errors)
}

fn of_block(
    options: Options,
    written: TokenStream,
    mut block: Block,
    names: &MarkNames,
    errors: &mut Errors,
) -> TokenStream {
    check::options::co_lock(&options, errors);
    refuse_repeated(&mut block.attrs, "co_wrapper", |attr| names.is_mark(attr), errors);
    check::options::of_block(&options, &block, errors);
    if !errors.is_empty() {
        return block::without_marks(&block, names);
    }
    if options.blocking.is_some() {
        return blocking_type::expand(options, written, &block, names, errors);
    }
    if options.blocking_trait.is_some() {
        return blocking_trait::expand(options, written, &block, names, errors);
    }
    let (within, in_trait) = (block.within.clone(), block.keyword == "trait");
    block::rewrite(&BlockContext { within, in_trait, options, written }, &block, names, errors)
}

fn blocking(options: Options, mut function: Function, names: &MarkNames, errors: &mut Errors) -> TokenStream {
    refuse_repeated(&mut function.attrs, "co_wrapper", |attr| names.is_mark(attr), errors);
    let plan = Plan::of_function(options, &function);
    check::co_wrapper(&plan, errors);
    let rest = function.rest_for_rustc(!errors.is_empty());
    expanded(&plan, &rest, errors)
}

fn asynchronous(options: Options, mut function: Function, errors: &mut Errors) -> TokenStream {
    refuse_repeated(&mut function.attrs, "no_co_wrapper", |attr| is_no_co(&attr.meta), errors);
    let plan = Plan::of_function(options, &function);
    check::no_co_wrapper(&plan, errors);
    expanded(&plan, &function.rest, errors)
}

/// The fn itself, and its twins if there are no errors.
fn expanded(plan: &Plan, rest: &TokenStream, errors: &Errors) -> TokenStream {
    let attrs = &plan.attrs;
    let twins = expand::twins(plan).filter(|_| errors.is_empty());
    quote! {
        #(#attrs)*
        #rest
        #(#twins)*
    }
}

/// Refuses a second mark on an item, and removes it, because it would expand the item once more.
fn refuse_repeated(attrs: &mut Vec<Attribute>, mark: &str, is_mark: impl Fn(&Attribute) -> bool, errors: &mut Errors) {
    attrs.retain(|attr| {
        let repeated = is_mark(attr);
        if repeated {
            errors.error(attr.path(), format!("a second `#[{mark}]`; write its options into the first"));
        }
        !repeated
    });
}

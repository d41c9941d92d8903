//! `#[co_wrapper(type = blocking::Disk)]` on `impl Disk`, from the block to its twins: plan, check, expand. The twins are in
//! another type's impl. So the block's attribute writes them itself, where others write marks on the fns.
//!
//! ```text
//! // Input
//! #[co_wrapper(type = blocking::Disk<S>)]
//! impl<S: Storage> Disk<S> {
//!     pub async fn open(storage: S) -> io::Result<Self> { … }
//!     pub async fn size(&self) -> u64 { … }
//! }
//!
//! // Output
//! impl<S: Storage> Disk<S> {
//!     pub async fn open(storage: S) -> io::Result<Self> { … }
//!     pub async fn size(&self) -> u64 { … }
//! }
//! impl<S: Storage> blocking::Disk<S> {
//!     #[track_caller]
//!     pub fn open(storage: S) -> io::Result<Self> { … <Disk<S>>::open(storage) … .map(<Self as From<_>>::from) }
//!     #[track_caller]
//!     pub fn size(&self) -> u64 { … <Disk<S>>::size(<Self as Blocking>::as_async(self)) … }
//! }
//! ```

use crate::check;
use crate::expand::{self, Twin, block};
use crate::model::plan::Plan;
use crate::parse::attrs;
use crate::parse::errors::Errors;
use crate::parse::future::is_async;
use crate::parse::item::{Block, ELSEWHERE, Function, Item, Kind, Member};
use crate::parse::mark::{MarkNames, holds_no_co};
use crate::parse::options::{BlockContext, Options};
use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use std::rc::Rc;
use syn::{Attribute, ItemImpl, Meta};

/// The impl without its marks, and the impl of the blocking type.
pub fn expand(
    options: Options,
    written: TokenStream,
    block: &Block,
    names: &MarkNames,
    errors: &mut Errors,
) -> TokenStream {
    let head = &block.head;
    let (Some(blocking), Ok(item)) = (options.blocking.clone(), syn::parse2::<ItemImpl>(quote!(#head {}))) else {
        unreachable!("there is a `type`, and `Block` has parsed the head")
    };
    let context = Rc::new(BlockContext { within: block.within.clone(), in_trait: false, options, written });
    let mut twins = TokenStream::new();
    let plan = |options, function: &Function| Plan::in_blocking_type(options, function, &item.self_ty);
    let each = Each { context: &context, names, plan: &plan, check: check::in_blocking_type };
    let body = each.members(block, &mut |twin| twin.to_tokens(&mut twins), errors);
    let with_async = block::with_body(block, body);
    let (of_impl, (generics, _, where_clause)) = (attrs::of_parameter(&block.attrs), item.generics.split_for_impl());
    let with_twins =
        (!twins.is_empty()).then(|| quote!(#(#of_impl)* impl #generics #blocking #where_clause { #twins }));
    quote!(#with_async #with_twins)
}

/// How the fns of a block get twins outside it.
pub struct Each<'a> {
    pub context: &'a Rc<BlockContext>,
    pub names: &'a MarkNames,
    pub plan: &'a dyn Fn(Options, &Function) -> Plan,
    pub check: fn(&Plan, &mut Errors),
}

impl Each<'_> {
    /// The block's body as it stays, without the marks. Each twin goes to `write`.
    pub fn members(&self, block: &Block, write: &mut dyn FnMut(&Twin), errors: &mut Errors) -> TokenStream {
        let mut body = block.inner_attrs.clone();
        let mut any = false;
        for member in &block.members {
            let mut own = Errors::default();
            let Marked { marks, others } = Marked::new(member, self.names, self.context, &mut own);
            let is_wanted = matches!(&member.kind, Kind::Function(sig) if is_async(sig)) || !marks.is_empty();
            if is_wanted {
                let options = options_of(&marks, self.context, &mut own);
                body.extend(self.one(member, &others, options, write, &mut own));
            } else {
                let rest = &member.rest;
                body.extend(quote!(#(#others)* #rest));
            }
            any |= is_wanted || others.iter().any(holds_no_co);
            errors.append(own);
        }
        if !any && errors.is_empty() {
            let keyword = &block.keyword;
            errors.error(keyword, format!("no async fn in this `{keyword}`; remove the attribute"));
        }
        body
    }

    /// The fn as it stays.
    fn one(
        &self,
        member: &Member,
        attrs: &[Attribute],
        options: Options,
        write: &mut dyn FnMut(&Twin),
        errors: &mut Errors,
    ) -> TokenStream {
        let rest = &member.rest;
        let whole = quote!(#(#attrs)* #rest);
        let function = match Item::parse(whole.clone()) {
            Ok(Item::Fn(function)) => function,
            Ok(Item::Other(keyword, what)) => {
                errors.error(keyword, format!("{what} cannot have a wrapper; {ELSEWHERE}"));
                return whole;
            }
            Ok(Item::Block(_)) => return whole,
            Err(error) => {
                errors.push(error);
                return whole;
            }
        };
        let plan = (self.plan)(options, &function);
        (self.check)(&plan, errors);
        if errors.is_empty() {
            expand::twins(&plan).for_each(|twin| write(&twin));
        }
        let rest = function.rest_for_rustc(!errors.is_empty());
        quote!(#(#attrs)* #rest)
    }
}

/// A member's attributes.
struct Marked {
    marks: Vec<Attribute>,
    others: Vec<Attribute>,
}

impl Marked {
    fn new(member: &Member, names: &MarkNames, context: &BlockContext, errors: &mut Errors) -> Self {
        let (mut marks, mut others) = (Vec::new(), Vec::new());
        for attr in &member.attrs {
            if names.is_mark(attr) {
                marks.push(attr.clone());
            } else if names.holds_mark(attr) {
                // The twins are written before the condition is known.
                let message = "the twin is written before this condition is known; mark the fn without it, or write it into a block of its own";
                errors.error(attr.path(), message);
            } else if holds_no_co(attr) {
                others.push(names.with_context(attr, context));
            } else {
                others.push(attr.clone());
            }
        }
        Marked { marks, others }
    }
}

/// The options of the fn's own mark, inside the block's.
fn options_of(marks: &[Attribute], context: &Rc<BlockContext>, errors: &mut Errors) -> Options {
    let mut marks = marks.iter();
    let options = match marks.next().map(|mark| &mark.meta) {
        Some(Meta::List(list)) => Options::parse(list.tokens.clone(), errors),
        _ => Options::default(),
    };
    for mark in marks {
        errors.error(mark.path(), "a second `#[co_wrapper]`; write its options into the first");
    }
    options.inside(context.clone())
}

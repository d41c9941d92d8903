//! `#[co_wrapper(trait = BlockingNode)]` on `trait Node`, from the block to its twins: plan, check, expand. The twins are the
//! methods of a second trait, which every type that implements the first one has, and which `dyn` can be of.
//!
//! ```text
//! // Input
//! #[co_wrapper(trait = BlockingNode: Send)]
//! pub trait Node<S>: Send {
//!     async fn read(&self, off: u64) -> S;
//! }
//!
//! // Output
//! pub trait Node<S>: Send {
//!     async fn read(&self, off: u64) -> S;
//! }
//! pub trait BlockingNode<S>: Send {
//!     #[track_caller]
//!     fn read(&self, off: u64) -> S;
//! }
//! impl<S, T: Node<S> + ?Sized> BlockingNode<S> for T where T: Send {
//!     fn read(&self, off: u64) -> S { … <Self as Node<S>>::read(self, off) … }
//! }
//! ```

use crate::blocking_type::Each;
use crate::check;
use crate::expand::block;
use crate::model::plan::Plan;
use crate::parse::attrs;
use crate::parse::errors::Errors;
use crate::parse::ident::{Taken, unraw};
use crate::parse::item::{Block, Function};
use crate::parse::mark::MarkNames;
use crate::parse::options::{BlockContext, BlockingTrait, Options};
use proc_macro2::TokenStream;
use quote::quote;
use std::rc::Rc;
use syn::{ItemTrait, parse_quote};

/// The trait without its marks, the blocking trait, and its impl for all types that have the trait.
pub fn expand(
    options: Options,
    written: TokenStream,
    block: &Block,
    names: &MarkNames,
    errors: &mut Errors,
) -> TokenStream {
    let head = &block.head;
    let (Some(blocking), Ok(item)) = (options.blocking_trait.clone(), syn::parse2::<ItemTrait>(quote!(#head {})))
    else {
        unreachable!("there is a `trait`, and `Block` has parsed the head")
    };
    let context = Rc::new(BlockContext { within: block.within.clone(), in_trait: true, options, written });
    let (mut declarations, mut definitions) = (TokenStream::new(), TokenStream::new());
    let plan = |options, function: &Function| Plan::in_blocking_trait(options, function, &item.ident);
    let each = Each { context: &context, names, plan: &plan, check: check::in_blocking_trait };
    let mut write = |twin: &crate::expand::Twin| {
        declarations.extend(twin.declaration());
        definitions.extend(twin.definition());
    };
    let body = each.members(block, &mut write, errors);
    let with_async = block::with_body(block, body);
    if declarations.is_empty() {
        return with_async;
    }
    let ItemTrait { vis, ident, generics, .. } = &item;
    let BlockingTrait { ident: name, colon, supertraits } = &blocking;
    let doc =
        format!(" The blocking twins of [`{0}`](trait@{0}), for each type that has it, and for `dyn`.", unraw(ident));
    let of_trait = attrs::of_parameter(&block.attrs);
    let (_, arguments, where_clause) = generics.split_for_impl();
    let params = &generics.params;
    let params = (!params.is_empty()).then(|| quote!(<#params>));
    let mut all = generics.clone();
    let mut taken = Taken::default();
    taken.all_in(quote!(#head #name #declarations));
    let ty = taken.fresh("T");
    all.params.push(parse_quote!(#ty: #ident #arguments + ?Sized));
    if !supertraits.is_empty() {
        all.make_where_clause().predicates.push(parse_quote!(#ty: #supertraits));
    }
    let (of_impl, _, bounds) = all.split_for_impl();
    quote! {
        #with_async
        #(#of_trait)*
        #[doc = #doc]
        #vis trait #name #params #colon #supertraits #where_clause { #declarations }
        #(#of_trait)*
        impl #of_impl #name #arguments for #ty #bounds { #definitions }
    }
}

//! Refuses what does not suit `type = …` and `trait = …`, which put the twins outside the block; and for `trait = …` each
//! signature that no `dyn` could call.

use crate::model::plan::Plan;
use crate::parse::errors::Errors;
use crate::parse::ident::unraw;
use crate::parse::item::Block;
use crate::parse::options::Options;
use crate::parse::tokens::flat;
use proc_macro2::TokenTree;
use quote::ToTokens;
use syn::{FnArg, GenericParam, ReceiverKind, ReturnType};

/// The options that say where twins are, or what all of them are called.
const OF_BLOCKS: &[&str] = &["suffix", "prefix", "type", "trait"];

pub fn of_fn(options: &Options, errors: &mut Errors) {
    if options.block.as_ref().is_some_and(|block| block.options.is_outside()) {
        for key in OF_BLOCKS.iter().filter_map(|key| options.key(key)) {
            errors.error(key, format!("the block says where the twins are, and their names; remove `{key}`"));
        }
        return;
    }
    for (key, block) in [("type", "an `impl`"), ("trait", "a `trait`")] {
        if let Some(key) = options.key(key) {
            errors.error(key, format!("`{key}` is of {block}; write it on the one around the fn"));
        }
    }
}

pub fn of_block(options: &Options, block: &Block, errors: &mut Errors) {
    let kind = if block.is_of_trait() { "impl of a trait" } else { &*block.keyword.to_string() };
    if let Some(key) = options.key("type").filter(|_| kind != "impl") {
        let message = match kind {
            "trait" => "a trait's twins are methods of no `type`; write `trait = BlockingNode`",
            "mod" => "`type` is of an `impl`; write it on those inside",
            _ => "the methods of a trait are no methods of a `type`; remove it, and write `trait = …` on the trait",
        };
        errors.error(key, message);
    }
    if let Some(key) = options.key("trait").filter(|_| kind != "trait") {
        let message = match kind {
            "impl" => "the twins of an `impl` make no `trait`; write `type = blocking::Disk`",
            "mod" => "`trait` is of a trait; write it on those inside",
            _ => "each type that has the trait has its twins; remove `trait` here, and write it on the trait",
        };
        errors.error(key, message);
    }
    if options.blocking.is_some() {
        for key in OF_BLOCKS[..2].iter().filter_map(|key| options.key(key)) {
            errors.error(key, format!("the twins have the async fns' own names; remove `{key}`"));
        }
    }
}

/// Checks that `dyn` can call a fn of a trait.
pub fn of_dyn(plan: &Plan, errors: &mut Errors) {
    let sig = &plan.sig;
    let name = unraw(&sig.ident);
    let Some(receiver) = sig.receiver() else {
        errors.error(&sig.ident, format!("`{name}` has no receiver, so `dyn` cannot call its twin; `skip` it"));
        return;
    };
    if matches!(receiver.kind, ReceiverKind::Value) {
        let message = "`dyn` cannot pass `self` by value; take `&self` or `self: Box<Self>`, or `skip` the fn";
        errors.error(receiver, message);
    }
    for param in &sig.generics.params {
        if !matches!(param, GenericParam::Lifetime(_)) {
            let message =
                format!("`dyn` cannot call the twin of a generic method; let `{name}` take a `&dyn …`, or `skip` it");
            errors.error(param, message);
        }
    }
    let arguments = sig.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(param) => Some(param.ty.to_token_stream()),
        FnArg::Receiver(_) => None,
    });
    let result = match &sig.output {
        ReturnType::Type(_, ty) => ty.to_token_stream(),
        ReturnType::Default => Default::default(),
    };
    for ty in arguments.chain([result, sig.generics.where_clause.to_token_stream()]) {
        let word = |word: &str| {
            let is = |tree: &TokenTree| matches!(tree, TokenTree::Ident(ident) if ident == word);
            flat(ty.clone()).into_iter().find(is)
        };
        if let Some(of_self) = word("Self") {
            errors.error(of_self, "`dyn` does not know what `Self` is; name the type, or `skip` the fn");
        }
        if let Some(opaque) = word("impl") {
            errors.error(
                opaque,
                "`dyn` does not know what an `impl …` is; write a `dyn …` in a box or behind a `&`, or `skip` the fn",
            );
        }
    }
}

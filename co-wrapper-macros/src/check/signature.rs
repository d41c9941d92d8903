//! Refuses signatures and attributes that no fn with a wrapper can have, and signatures that do not suit the options of the block.

use crate::model::signature::parameter_names;
use crate::parse::attrs;
use crate::parse::errors::Errors;
use crate::parse::ident::unraw;
use crate::parse::options::Options;
use crate::parse::tokens::mentions;
use proc_macro2::Ident;
use syn::{Attribute, GenericParam, Signature};

/// These attributes are about the symbol or the code of a single fn.
const REFUSED: &[(&str, &str)] = &[
    ("no_mangle", "a symbol has one name; put `#[no_mangle]` on a fn that calls the wrapper"),
    ("export_name", "a symbol has one name; put `#[export_name]` on a fn that calls the wrapper"),
    ("target_feature", "the future is polled outside this fn; put `#[target_feature]` on a fn that it calls"),
];

/// Refuses attributes that a fn with a wrapper cannot have.
pub fn check_attrs(of: &[Attribute], errors: &mut Errors) {
    for meta in of.iter().flat_map(|attr| attrs::flat(&attr.meta)) {
        if let Some((_, message)) = REFUSED.iter().find(|(name, _)| meta.path().is_ident(name)) {
            errors.error(meta.path(), message);
        }
    }
}

pub fn check(sig: &Signature, errors: &mut Errors) {
    if let Some(token) = &sig.constness {
        errors.error(token, "a blocking call cannot be `const`; remove it");
    }
    // A variadic fn is always `extern`, so only one of the two is reported.
    if let Some(variadic) = &sig.variadic {
        errors.error(variadic, "a variadic fn cannot have a wrapper; take a slice");
    } else if let Some(abi) = &sig.abi {
        errors.error(abi, "an `extern` fn cannot have a wrapper; wrap a Rust fn and call that from the `extern` one");
    }
    for param in &sig.generics.params {
        let attrs = match param {
            GenericParam::Type(param) => &param.attrs,
            GenericParam::Const(param) => &param.attrs,
            GenericParam::Lifetime(_) => continue,
        };
        for attr in attrs.iter().filter(|attr| attrs::cfg_condition(&attr.meta).is_some()) {
            errors.error(attr, "a generic parameter cannot come and go; put the `#[cfg]` on the fn");
        }
    }
}

/// Refuses parameters that hide the free function which the wrapper must call by its name.
pub fn check_hiding(name: &Ident, sig: &Signature, errors: &mut Errors) {
    let consts = sig.generics.const_params().map(|param| &param.ident);
    for ident in parameter_names(sig).chain(consts) {
        if unraw(ident) == unraw(name) {
            let message = format!("this hides the fn `{name}` that the wrapper must call; rename one of them");
            errors.error(ident, message);
        }
    }
}

/// Refuses a fn without `self` under a block whose `ctx` needs it.
pub fn check_self(sig: &Signature, options: &Options, errors: &mut Errors) {
    let of_block = options.ctx.as_ref().filter(|_| options.key("ctx").is_none());
    if of_block.is_some_and(|ctx| sig.receiver().is_none() && mentions(ctx, "self")) {
        let message = "the `ctx` of the block is of `self`, which this fn has not; give it its own, or `ctx = none`";
        errors.error(&sig.ident, message);
    }
}

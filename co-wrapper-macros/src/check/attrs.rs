//! Refuses attributes that a fn with a wrapper cannot have.

use crate::parse::attrs::flat;
use crate::parse::errors::Errors;
use syn::Attribute;

/// These attributes are about the symbol or the code of a single fn.
const REFUSED: &[(&str, &str)] = &[
    ("no_mangle", "a symbol has one name; put `#[no_mangle]` on a fn that calls the wrapper"),
    ("export_name", "a symbol has one name; put `#[export_name]` on a fn that calls the wrapper"),
    ("target_feature", "the future is polled outside this fn; put `#[target_feature]` on a fn that it calls"),
];

pub fn check(attrs: &[Attribute], errors: &mut Errors) {
    for attr in attrs {
        for meta in flat(&attr.meta) {
            if let Some((_, message)) = REFUSED.iter().find(|(name, _)| meta.path().is_ident(name)) {
                errors.error(meta.path(), message);
            }
        }
    }
}

//! Identifiers: reserved words, raw identifiers, and new names that do not occur in the user's code.
//!
//! Names are compared without their `r#`.

use crate::parse::tokens::flat;
use proc_macro2::{Ident, Span, TokenTree};
use quote::ToTokens;
use std::collections::BTreeSet;
use syn::ext::IdentExt;

/// The keywords of all editions. The macro does not know the user's edition, so it refuses them in every edition.
const RESERVED: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "Self", "static", "struct", "super", "trait",
    "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// The keywords that stay illegal as identifiers after an `r#`.
pub const NEVER_RAW: &[&str] = &["self", "Self", "super", "crate"];

pub fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

pub fn unraw(ident: &Ident) -> String {
    ident.unraw().to_string()
}

pub fn is_raw(ident: &Ident) -> bool {
    ident.to_string().starts_with("r#")
}

pub fn ident(name: &str, raw: bool, span: Span) -> Ident {
    if raw { Ident::new_raw(name, span) } else { Ident::new(name, span) }
}

/// Turns `bdrv_read` into `BdrvRead`. rustc's lint `non_camel_case_types` accepts the result.
pub fn upper_camel_case(name: &str) -> String {
    let mut camel = String::new();
    for segment in name.split('_') {
        let mut chars = segment.chars();
        if let Some(first) = chars.next() {
            // Two digits that lose the `_` between them would become one number.
            if first.is_ascii_digit() && camel.ends_with(|c: char| c.is_ascii_digit()) {
                camel.push('_');
            }
            camel.extend(first.to_uppercase());
            camel.push_str(chars.as_str());
        }
    }
    if camel.starts_with(|c: char| c.is_ascii_digit()) {
        camel.insert(0, '_');
    }
    camel
}

/// The names in the user's code, and those that were made so far. A new name must differ from each of them as a string,
/// even where hygiene would tell the two apart.
#[derive(Default)]
pub struct Taken(BTreeSet<String>);

impl Taken {
    pub fn all_in(&mut self, tokens: impl ToTokens) {
        self.0.extend(flat(tokens).iter().filter_map(|tree| match tree {
            TokenTree::Ident(ident) => Some(unraw(ident)),
            _ => None,
        }));
    }

    /// Takes the name `base`, or the first free one of `base1`, `base2`, ….
    pub fn fresh(&mut self, base: &str) -> Ident {
        let mut name = base.to_owned();
        for n in 1.. {
            if !is_reserved(&name) && self.0.insert(name.clone()) {
                break;
            }
            name = format!("{base}{n}");
        }
        Ident::new(&name, Span::call_site())
    }

    /// Takes the name of a parameter for its field, with the parameter's span and `r#`.
    pub fn fresh_like(&mut self, like: &Ident) -> Ident {
        let name = unraw(like);
        if self.0.insert(name.clone()) { like.clone() } else { self.fresh(&name) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn camel_case() {
        for (name, camel) in [
            ("bdrv_read", "BdrvRead"),
            ("_x", "X"),
            ("a__b", "AB"),
            ("read_1_2", "Read1_2"),
            ("_2nd", "_2nd"),
            ("match", "Match"),
            ("überall", "Überall"),
        ] {
            assert_eq!(upper_camel_case(name), camel);
        }
    }

    #[test]
    fn fresh_names_avoid_what_is_taken() {
        let mut taken = Taken::default();
        taken.all_in(quote::quote!(
            fn f<A, ReadArgs>(r#x: (A, x1)) {}
        ));
        assert_eq!(taken.fresh("ReadArgs"), "ReadArgs1");
        assert_eq!(taken.fresh("x"), "x2");
        assert_eq!(taken.fresh("y"), "y");
        assert_eq!(taken.fresh("y"), "y1");
    }
}

//! Identifiers: which words are reserved, the word after an `r#`, and names that the user's code at hand does not use.

use crate::parse::tokens::flat;
use proc_macro2::{Ident, Span, TokenTree};
use quote::ToTokens;
use std::collections::BTreeSet;
use syn::ext::IdentExt;

/// Names that are keywords in some edition. The user's own edition is unknown here, so they are refused in each.
const RESERVED: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "Self", "static", "struct", "super", "trait",
    "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// The keywords that no `r#` makes legal.
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

/// `bdrv_read` → `BdrvRead`, as rustc's own lint would have it.
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

/// The names in the user's code at hand. A generated name must differ from each of them as a string, whatever hygiene
/// says.
#[derive(Default)]
pub struct Taken(BTreeSet<String>);

impl Taken {
    pub fn all_in(&mut self, tokens: impl ToTokens) {
        self.0.extend(flat(tokens).iter().filter_map(|tree| match tree {
            TokenTree::Ident(ident) => Some(unraw(ident)),
            _ => None,
        }));
    }

    /// `base`, or `base1`, `base2`, … if that is taken; taken from now on.
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

    /// The same for a field that is to be called as a parameter is, raw if that is.
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

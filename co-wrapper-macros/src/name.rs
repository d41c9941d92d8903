//! How a wrapper is called: the rules by which its name follows from the async fn's, and the names of what is inside
//! it.
//!
//! Names are cut at `_`. The wrapper of `bdrv_co_read` is `bdrv_read`: the segment `co` is left out.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use std::collections::BTreeSet;
use syn::ext::IdentExt;

/// Names that are keywords in some edition. The user's own edition is unknown here, so they are refused in each.
const RESERVED: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "Self", "static", "struct", "super", "trait",
    "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Those of them that no `r#` makes legal.
const NEVER_RAW: &[&str] = &["self", "Self", "super", "crate"];

/// What an `impl`'s `prefix` and `suffix` say of the wrappers in it.
#[derive(Clone, Default)]
pub struct Affixes {
    pub prefix: Option<syn::LitStr>,
    pub suffix: Option<syn::LitStr>,
}

impl Affixes {
    pub fn is_empty(&self) -> bool {
        self.prefix.is_none() && self.suffix.is_none()
    }
}

/// `bdrv_co_foo` → `bdrv_foo`, `co_read` → `read`, `_co_x` → `_x`.
pub fn without_co(target: &Ident) -> Result<Ident, String> {
    let name = unraw(target);
    let mut segments: Vec<&str> = name.split('_').collect();
    let Some(first) = segments.iter().position(|segment| *segment == "co") else {
        let suggestion = match name.split_once('_') {
            Some((head, tail)) if !head.is_empty() => format!("{head}_co_{tail}"),
            _ => format!("co_{}", name.trim_start_matches('_')),
        };
        return Err(format!(
            "no `co` in the name of `{name}` to leave out; call it `{suggestion}`, or name the wrapper with `#[co_wrapper(name = …)]`"
        ));
    };
    segments.remove(first);
    if segments.contains(&"co") {
        return Err(format!("a second `co` in the name of `{name}`; name the wrapper with `#[co_wrapper(name = …)]`"));
    }
    finish(target, &segments.join("_"))
}

/// `read` → `read_blocking`: the whole name stays, also a `co` in it.
pub fn with_affixes(target: &Ident, affixes: &Affixes) -> Result<Ident, String> {
    let value = |affix: &Option<syn::LitStr>| affix.as_ref().map(syn::LitStr::value);
    let name = [value(&affixes.prefix).unwrap_or_default(), unraw(target), value(&affixes.suffix).unwrap_or_default()]
        .concat();
    if is_reserved(&name) && !is_raw(target) {
        return Err(reserved(&name));
    }
    // `r#match` needs no `r#` once something is joined to it.
    Ok(ident(&name, is_reserved(&name), target.span()))
}

/// The way back: `bdrv_foo` → `bdrv_co_foo`, `read` → `co_read`, `_x` → `_co_x`.
pub fn with_co(wrapper: &Ident) -> Ident {
    let name = unraw(wrapper);
    let text = name.trim_start_matches('_');
    let underscores = &name[..name.len() - text.len()];
    let target = match text.split_once('_') {
        Some((head, tail)) => format!("{underscores}{head}_co_{tail}"),
        None => format!("{underscores}co_{text}"),
    };
    Ident::new(&target, wrapper.span())
}

/// The way back: `read_blocking` → `read`.
pub fn without_affixes(wrapper: &Ident, affixes: &Affixes) -> Result<Ident, String> {
    let name = unraw(wrapper);
    let mut rest = &*name;
    for (affix, verb) in [(&affixes.prefix, "begin with"), (&affixes.suffix, "end in")] {
        let Some(affix) = affix.as_ref().map(syn::LitStr::value) else {
            continue;
        };
        let stripped = if verb == "end in" { rest.strip_suffix(&*affix) } else { rest.strip_prefix(&*affix) };
        rest = stripped
            .ok_or_else(|| format!("`{name}` does not {verb} `{affix}`; rename it, or name its async fn with `= …`"))?;
    }
    let digit = rest.starts_with(|c: char| c.is_ascii_digit());
    if digit || rest.chars().all(|c| c == '_') || NEVER_RAW.contains(&rest) {
        return Err(format!("what is left of `{name}` names no async fn; name it with `= …`"));
    }
    Ok(ident(rest, is_reserved(rest), wrapper.span()))
}

fn finish(target: &Ident, name: &str) -> Result<Ident, String> {
    if name.chars().all(|c| c == '_') {
        return Err(format!(
            "nothing is left of `{}` without its `co`; name the wrapper with `#[co_wrapper(name = …)]`",
            unraw(target)
        ));
    }
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("`{name}` begins with a digit; name the wrapper with `#[co_wrapper(name = …)]`"));
    }
    if NEVER_RAW.contains(&name) || is_reserved(name) && !is_raw(target) {
        return Err(reserved(name));
    }
    Ok(ident(name, is_raw(target), target.span()))
}

fn reserved(name: &str) -> String {
    if NEVER_RAW.contains(&name) {
        format!("`{name}` is reserved; name the wrapper with `#[co_wrapper(name = …)]`")
    } else {
        format!("`{name}` is reserved; name the wrapper with `#[co_wrapper(name = …)]`, if need be `r#{name}`")
    }
}

pub fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

pub fn unraw(ident: &Ident) -> String {
    ident.unraw().to_string()
}

fn is_raw(ident: &Ident) -> bool {
    ident.to_string().starts_with("r#")
}

fn ident(name: &str, raw: bool, span: Span) -> Ident {
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

/// The names that the user wrote anywhere near: what we make must not meet one of them, by string, whatever hygiene
/// says.
#[derive(Default)]
pub struct Taken(BTreeSet<String>);

impl Taken {
    pub fn all_in(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => self.one(&ident),
                TokenTree::Group(group) => self.all_in(group.stream()),
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }

    pub fn one(&mut self, ident: &Ident) {
        self.0.insert(unraw(ident));
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

    fn target(name: &str) -> Ident {
        syn::parse_str::<Ident>(name)
            .unwrap_or_else(|_| Ident::new_raw(name.trim_start_matches("r#"), Span::call_site()))
    }

    fn wrapper(name: &str) -> Result<String, String> {
        without_co(&target(name)).map(|ident| ident.to_string())
    }

    #[test]
    fn the_first_co_is_left_out() {
        for (target, name) in [
            ("bdrv_co_foo", "bdrv_foo"),
            ("co_read", "read"),
            ("bdrv_co", "bdrv"),
            ("_co_x", "_x"),
            ("__co_x", "__x"),
            ("co__x", "_x"),
            ("a_co_", "a_"),
            ("blk_co_pwritev_part", "blk_pwritev_part"),
            ("co_coroutine", "coroutine"),
            ("bdrv_co_2nd", "bdrv_2nd"),
            ("r#co_match", "r#match"),
            ("r#co_read", "r#read"),
        ] {
            assert_eq!(wrapper(target).as_deref(), Ok(name), "{target}");
        }
    }

    #[test]
    fn names_that_make_no_wrapper() {
        for (target, message) in [
            ("read", "no `co` in the name of `read`"),
            ("cooperate", "no `co`"),
            ("Co_read", "no `co`"),
            ("co_co", "a second `co`"),
            ("co_bdrv_co_read", "a second `co`"),
            ("co", "nothing is left of `co`"),
            ("_co", "nothing is left"),
            ("co_", "nothing is left"),
            ("_co_", "nothing is left"),
            ("co_2nd", "`2nd` begins with a digit"),
            ("co_match", "`match` is reserved"),
            ("co_gen", "`gen` is reserved"),
            ("co_self", "`self` is reserved"),
            ("r#co_self", "`self` is reserved"),
        ] {
            let error = wrapper(target).unwrap_err();
            assert!(error.starts_with(message), "{target}: {error}");
        }
    }

    #[test]
    fn the_cures_can_be_copied() {
        let error = wrapper("bdrv_read").unwrap_err();
        assert!(error.contains("`bdrv_co_read`"), "{error}");
        let error = wrapper("_read").unwrap_err();
        assert!(error.contains("`co_read`"), "{error}");
        let error = wrapper("co_match").unwrap_err();
        assert!(error.contains("`r#match`"), "{error}");
    }

    #[test]
    fn affixes_keep_the_whole_name() {
        let affixes = |prefix: &str, suffix: &str| Affixes {
            prefix: Some(syn::LitStr::new(prefix, Span::call_site())),
            suffix: Some(syn::LitStr::new(suffix, Span::call_site())),
        };
        for (name, prefix, suffix, expected) in [
            ("read", "", "_blocking", Some("read_blocking")),
            ("co_read", "sync_", "", Some("sync_co_read")),
            ("r#match", "", "_blocking", Some("match_blocking")),
            ("r#mat", "", "ch", Some("r#match")),
            ("mat", "", "ch", None),
        ] {
            let wrapper = with_affixes(&target(name), &affixes(prefix, suffix));
            assert_eq!(wrapper.ok().map(|i| i.to_string()).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn and_back() {
        for (wrapper, name) in [
            ("bdrv_foo", "bdrv_co_foo"),
            ("read", "co_read"),
            ("_x", "_co_x"),
            ("r#match", "co_match"),
            ("a_b_c", "a_co_b_c"),
        ] {
            assert_eq!(with_co(&target(wrapper)), name, "{wrapper}");
        }
        let affixes = |prefix: &str, suffix: &str| Affixes {
            prefix: Some(syn::LitStr::new(prefix, Span::call_site())),
            suffix: Some(syn::LitStr::new(suffix, Span::call_site())),
        };
        for (wrapper, prefix, suffix, name) in [
            ("read_blocking", "", "_blocking", Some("read")),
            ("b_match_x", "b_", "_x", Some("r#match")),
            ("read", "", "_blocking", None),
            ("b__x", "b_", "_x", None),
            ("b_2_x", "b_", "_x", None),
            ("self_x", "", "_x", None),
        ] {
            let found = without_affixes(&target(wrapper), &affixes(prefix, suffix));
            assert_eq!(found.ok().map(|ident| ident.to_string()).as_deref(), name, "{wrapper}");
        }
    }

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
        taken.all_in("fn f<A, ReadArgs>(r#x: (A, x1)) {}".parse().unwrap());
        assert_eq!(taken.fresh("ReadArgs"), "ReadArgs1");
        assert_eq!(taken.fresh("x"), "x2");
        assert_eq!(taken.fresh("y"), "y");
        assert_eq!(taken.fresh("y"), "y1");
    }
}

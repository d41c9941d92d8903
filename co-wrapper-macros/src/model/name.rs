//! The rules that derive a wrapper's name from the async fn's name, and that name from the wrapper's.
//!
//! A name is a list of segments with `_` between them. QEMU's rule leaves out the segment `co`: the wrapper of
//! `bdrv_co_read` is `bdrv_read`. With a `prefix` or `suffix`, the whole name stays and that is added.

use crate::parse::ident::{NEVER_RAW, ident, is_raw, is_reserved, unraw};
use crate::parse::options::{Affixes, Options};
use proc_macro2::Ident;
use syn::Error;

/// The name of a fn's blocking twin. The error is `None` if no twin is wanted, or if the reason has been reported.
pub fn of_wrapper(options: &Options, target: &Ident) -> Result<Ident, Option<Error>> {
    // If an option could not be parsed, that has been reported.
    let faulty = |key, is_read: bool| options.key(key).is_some() && !is_read;
    if options.skip
        || faulty("name", options.name.is_some())
        || faulty("suffix", options.affixes.suffix.is_some())
        || faulty("prefix", options.affixes.prefix.is_some())
    {
        return Err(None);
    }
    if options.is_outside() && options.affixes.is_empty() {
        // In another type's impl, or another trait, it may have the same name, and without another it has.
        return Ok(options.name.as_ref().unwrap_or(target).clone());
    }
    if let Some(name) = &options.name {
        let message = format!("`{name}` is the async fn itself; give the wrapper another name");
        return another(name, target, message);
    }
    let affixes = &options.affixes;
    let name = if affixes.is_empty() { without_co(target) } else { with_affixes(target, affixes) };
    name.map_err(|message| Some(Error::new_spanned(target, message)))
}

/// The name of a blocking fn's async twin. The error is `None` if the reason has been reported.
pub fn of_async_twin(options: &Options, target: &Ident) -> Result<Ident, Option<Error>> {
    if let Some(name) = &options.name {
        let message = format!("`{name}` is the blocking fn itself; give the async one another name");
        return another(name, target, message);
    }
    if options.key("name").is_some() {
        return Err(None);
    }
    let name = unraw(target);
    if name.split('_').any(|segment| segment == "co") {
        let message = format!("`{name}` has a `co` already; name the async fn with `#[no_co_wrapper(name = …)]`");
        return Err(Some(Error::new_spanned(target, message)));
    }
    Ok(with_co(target))
}

/// The name of the blocking fn, derived from its declared async twin.
pub fn of_blocking_target(twin: &Ident) -> syn::Result<Ident> {
    let message = format!("the name of `{}` does not tell its blocking fn's; name that with `= …`", unraw(twin));
    without_co(twin).map_err(|_| Error::new_spanned(twin, message))
}

/// The name that the user has chosen, which must differ from that of the fn.
fn another(name: &Ident, target: &Ident, message: String) -> Result<Ident, Option<Error>> {
    let same = unraw(name) == unraw(target);
    if same { Err(Some(Error::new_spanned(name, message))) } else { Ok(name.clone()) }
}

/// Turns `bdrv_co_foo` into `bdrv_foo`, `co_read` into `read`, and `_co_x` into `_x`.
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

/// Turns `read` into `read_blocking`. The whole name stays, even a `co` in it.
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

/// Turns `bdrv_foo` into `bdrv_co_foo`, `read` into `co_read`, and `_x` into `_co_x`.
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

/// Turns `read_blocking` into `read`.
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

/// The derived name as an identifier, if it is legal as one.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proc_macro2::Span;

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
}

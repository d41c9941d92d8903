//! Names of functions, as rustc mangles them in its `v0` scheme, and their parts.

/// Readable, without the hashes of crates.
pub fn demangle(symbol: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(symbol))
}

/// The crate that a path is in, or that of the type it begins with.
pub fn krate(name: &str) -> &str {
    name.trim_start_matches(['<', '&', '(', '[']).split([':', '<', '>', ' ']).next().unwrap_or("")
}

/// Without the generic arguments at its end, or in the middle.
pub fn plain(name: &str) -> String {
    let mut plain = String::new();
    let mut depth = 0;
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        if depth == 0 && rest.starts_with("::<") {
            depth = 1;
            rest = &rest[3..];
            continue;
        }
        if rest.starts_with("->") {
            if depth == 0 {
                plain.push_str("->");
            }
            rest = &rest[2..];
            continue;
        }
        match c {
            '<' if depth > 0 => depth += 1,
            '>' if depth > 0 => depth -= 1,
            _ if depth == 0 => plain.push(c),
            _ => {}
        }
        rest = &rest[c.len_utf8()..];
    }
    plain
}

/// A function's own name, without its path.
pub fn last(name: &str) -> String {
    plain(name).rsplit("::").next().unwrap_or("").to_owned()
}

/// `T` in `core::ptr::drop_in_place::<T>`, which later versions of rustc call `drop_glue`.
pub fn dropped(name: &str) -> Option<&str> {
    let name = name.strip_prefix("core::ptr::")?;
    let (function, of) = name.split_once("::<")?;
    matches!(function, "drop_in_place" | "drop_glue").then(|| of.trim_end_matches('>'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: arguments that are left, and an arrow taken for a bracket.
    #[test]
    fn generic_arguments_are_left_out() {
        assert_eq!(plain("a::b::<c::D<fn() -> u8>>::e"), "a::b::e");
        assert_eq!(plain("<a::B<u8> as c::D>::e::<f>"), "<a::B<u8> as c::D>::e");
        assert_eq!(last("<a::B as c::D>::e::<f::G>"), "e");
        assert_eq!(krate("<&a::B as c::D>::e"), "a");
        assert!(dropped("core::ptr::drop_in_place::<a::B>").is_some());
    }
}

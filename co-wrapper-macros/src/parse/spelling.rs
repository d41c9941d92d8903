//! "Did you mean": the known option that is nearest to a misspelt one.

use proc_macro2::Ident;

/// The error for an unknown option. `known` are the keys that are legal in its place.
pub fn unknown(key: &Ident, known: &[&str]) -> String {
    let written = key.to_string();
    let nearest =
        known.iter().map(|name| (distance(&written, name), *name)).min().filter(|(_, name)| is_near(&written, name));
    match nearest {
        Some((_, name)) => format!("unknown option `{written}`; did you mean `{name}`"),
        None => {
            let names = known.iter().map(|name| format!("`{name}`"));
            let names = names.collect::<Vec<_>>().join(", ");
            format!("unknown option `{written}`; there are {names}")
        }
    }
}

/// Whether what is written may be meant to be `name`.
pub fn is_near(written: &str, name: &str) -> bool {
    distance(written, name) <= name.len().min(written.len()).div_ceil(3)
}

/// The Damerau–Levenshtein distance: how many letters must be added, removed, replaced, or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut best = replaced.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(table[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    table[a.len()][b.len()]
}

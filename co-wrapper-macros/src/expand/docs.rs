//! The documentation of a wrapper: a sentence about the fn that it is the twin of, and then that fn's own text without its
//! code blocks. Those show the async fn, and doc tests would run them twice.

use crate::model::plan::{Link, Names, Plan};
use crate::model::signature::is_unsafe;
use crate::parse::ident::unraw;
use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ExprLit, Lit, Meta};

/// The documentation of a blocking twin.
pub fn of_wrapper(plan: &Plan, names: &Names) -> TokenStream {
    let context = match (plan.options.mixed, plan.options.lock.is_some()) {
        (false, false) => "Panics in coroutine context.",
        (true, false) => "May be called in coroutine context.",
        (false, true) => "Holds the graph's read lock meanwhile. Panics in coroutine context.",
        (true, true) => {
            "Holds the graph's read lock meanwhile. May be called in coroutine context that holds it already."
        }
    };
    twin(plan, names, "Blocking", context)
}

/// The documentation of the async twin of a blocking fn.
pub fn of_async_twin(plan: &Plan, names: &Names) -> TokenStream {
    let lock = match &plan.options.lock {
        Some(lock) if lock.is_write() => ", with the graph's write lock held",
        Some(_) => ", with the graph's read lock held",
        None => "",
    };
    let context = match plan.options.coroutine {
        Some(_) => "Runs it as a coroutine where it is awaited.".to_owned(),
        None => format!("Runs it as a bottom half of the main context{lock}."),
    };
    twin(plan, names, "Async", &context)
}

/// A sentence that names the other fn, `context`, and the other fn's own text.
fn twin(plan: &Plan, names: &Names, what: &str, context: &str) -> TokenStream {
    let target = &names.target.name;
    let twin = match &names.target.link {
        Link::To(path) => format!("[`{target}`]({path})"),
        Link::None => format!("`{target}`"),
    };
    let mut lines = vec![(format!(" {what} twin of {twin}. {context}"), Span::call_site())];
    // The text of a declaration was written for the wrapper, so it keeps its code.
    let text = if plan.declared { text(&plan.attrs) } else { without_fenced_code(text(&plan.attrs)) };
    if !text.is_empty() {
        lines.push((String::new(), Span::call_site()));
        lines.extend(text);
    }
    attributes(lines)
}

/// The documentation of the twin with a timeout.
pub fn of_timeout(plan: &Plan, names: &Names) -> TokenStream {
    of_second(plan, names, "the last argument has passed", "`Elapsed`, if it gave up.")
}

/// The documentation of the interruptible twin.
pub fn of_interruptible(plan: &Plan, names: &Names) -> TokenStream {
    of_second(plan, names, "its thread is interrupted", "`Interrupted`, if it gave up.")
}

/// The documentation of a twin that gives up.
fn of_second(plan: &Plan, names: &Names, when: &str, error: &str) -> TokenStream {
    let wrapper = unraw(&names.wrapper);
    let twin = match &names.target.link {
        Link::To(_) if plan.free => format!("[`{wrapper}`](fn@{wrapper})"),
        Link::To(_) => format!("[`{wrapper}`](Self::{wrapper})"),
        Link::None => format!("`{wrapper}`"),
    };
    let mut text = vec![
        format!(" As {twin}, but gives up when {when}. The call has been dropped by then."),
        String::new(),
        " # Errors".to_owned(),
        String::new(),
        format!(" {error}"),
    ];
    if is_unsafe(&plan.sig) {
        text.extend([String::new(), " # Safety".to_owned(), String::new(), format!(" As {twin}.")]);
    }
    // Clippy looks for these sections only in text that has the user's spans.
    attributes(text.into_iter().map(|line| (line, plan.sig.ident.span())).collect())
}

fn attributes(lines: Vec<Line>) -> TokenStream {
    lines.into_iter().map(|(line, span)| quote_spanned!(span=> #[doc = #line])).collect()
}

type Line = (String, Span);

/// The lines of the documentation in these attributes.
fn text(attrs: &[Attribute]) -> Vec<Line> {
    let mut lines = Vec::new();
    for attr in attrs {
        // Text that is not a literal, such as `include_str!`, is left out, because it may contain code blocks.
        if let Meta::NameValue(meta) = &attr.meta
            && meta.path.is_ident("doc")
            && let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &meta.value
        {
            let text = text.value();
            lines.extend(text.lines().map(|line| (line.to_owned(), attr.span())));
            if text.is_empty() {
                lines.push((String::new(), attr.span()));
            }
        }
    }
    lines
}

/// Removes code blocks, and headings under which there was nothing but code.
fn without_fenced_code(lines: Vec<Line>) -> Vec<Line> {
    let mut kept: Vec<Line> = Vec::new();
    let mut fence: Option<String> = None;
    let mut heading: Option<usize> = None;
    let mut lost_code = false;
    for (line, span) in lines {
        if let Some(open) = &fence {
            if closes(&line, open) {
                fence = None;
            }
            continue;
        }
        if let Some(open) = opens(&line) {
            fence = Some(open);
            lost_code = true;
            continue;
        }
        if is_heading(&line) {
            drop_bare_heading(&mut kept, heading, lost_code);
            heading = Some(kept.len());
            lost_code = false;
        }
        let blank = line.trim().is_empty();
        if blank && kept.last().is_none_or(|(last, _)| last.trim().is_empty()) {
            continue;
        }
        kept.push((line, span));
    }
    drop_bare_heading(&mut kept, heading, lost_code);
    while kept.last().is_some_and(|(line, _)| line.trim().is_empty()) {
        kept.pop();
    }
    kept
}

fn drop_bare_heading(kept: &mut Vec<Line>, heading: Option<usize>, lost_code: bool) {
    if let Some(at) = heading
        && lost_code
        && kept[at + 1..].iter().all(|(line, _)| line.trim().is_empty())
    {
        kept.truncate(at);
    }
}

fn is_heading(line: &str) -> bool {
    let text = line.trim_start();
    let level = text.chars().take_while(|c| *c == '#').count();
    (1..=6).contains(&level) && text[level..].starts_with(' ')
}

/// The fence of a code block that this line opens.
fn opens(line: &str) -> Option<String> {
    let text = line.trim_start();
    let mark = text.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let fence: String = text.chars().take_while(|c| *c == mark).collect();
    // A line with a ``` at both ends is a code span.
    let info = &text[fence.len()..];
    (fence.len() >= 3 && !(mark == '`' && info.contains('`'))).then_some(fence)
}

fn closes(line: &str, open: &str) -> bool {
    let text = line.trim();
    text.len() >= open.len() && text.starts_with(open) && text.chars().all(|c| open.starts_with(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strip(text: &str) -> String {
        let lines = text.lines().map(|line| (line.to_owned(), Span::call_site()));
        let kept = without_fenced_code(lines.collect());
        let kept: Vec<String> = kept.into_iter().map(|(line, _)| line).collect();
        kept.join("\n")
    }

    #[test]
    fn fenced_code_goes() {
        for (text, left) in [
            ("a\n```\ncode\n```\nb", "a\nb"),
            ("a\n~~~~ rust\n~~~\n~~~~\nb", "a\nb"),
            ("a\n ```ignore\n code", "a"),
            ("a ```x``` b\n```x``` c", "a ```x``` b\n```x``` c"),
            ("a\n\n````\n```\n````\n\nb", "a\n\nb"),
        ] {
            assert_eq!(strip(text), left, "{text}");
        }
    }

    #[test]
    fn text_from_a_macro_comes_in_groups() {
        let literal = quote::quote!(" From a `$doc:expr`.");
        let group = proc_macro2::Group::new(proc_macro2::Delimiter::None, literal);
        let attrs: Vec<Attribute> = vec![
            syn::parse_quote!(#[doc = #group]),
            syn::parse_quote!(#[doc = include_str!("has fences")]),
            syn::parse_quote!(#[doc(hidden)]),
        ];
        let lines: Vec<String> = text(&attrs).into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [" From a `$doc:expr`."]);
    }

    #[test]
    fn a_heading_goes_with_its_code_only() {
        assert_eq!(strip("a\n\n# Examples\n\n```\nx\n```\n\n# Errors\n\ne"), "a\n\n# Errors\n\ne");
        assert_eq!(strip("# Examples\n\nFirst:\n```\nx\n```"), "# Examples\n\nFirst:");
        assert_eq!(strip("# Empty\n\n# Errors\n\ne"), "# Empty\n\n# Errors\n\ne");
        assert_eq!(strip("#hash\n```\nx\n```"), "#hash");
    }
}

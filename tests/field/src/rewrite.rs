//! A package's own tests, rewritten to call the twins: `x.read(off).await` becomes `x.read_blocking(off)` where `read` is a
//! function that got a twin. What stands in an `async` block is left as it is: a test polls it beside something else.

use proc_macro2::LineColumn;
use syn::{
    Expr, ExprAsync, ExprAwait, ItemFn, ItemMod,
    spanned::Spanned,
    visit::{self, Visit},
};

use crate::annotate::{Found, is_test};

/// The text with its tests rewritten, and how many calls were.
pub fn rewrite(text: &str, file: &syn::File, found: &Found) -> (String, usize) {
    let mut calls = Calls { found, in_test: false, edits: Vec::new() };
    calls.visit_file(file);
    let count = calls.edits.len() / 3;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut edits = calls.edits;
    edits.sort_unstable_by_key(|edit| (edit.at.line, edit.at.column));
    for Edit { at, cut, insert } in edits.into_iter().rev() {
        let line = &mut lines[at.line - 1];
        let byte = |column| line.char_indices().nth(column).map_or(line.len(), |(byte, _)| byte);
        let range = byte(at.column)..byte(at.column + cut);
        line.replace_range(range, insert);
    }
    (lines.join("\n") + "\n", count)
}

struct Edit {
    at: LineColumn,
    /// How many characters go.
    cut: usize,
    insert: &'static str,
}

struct Calls<'a> {
    found: &'a Found,
    in_test: bool,
    edits: Vec<Edit>,
}

impl Calls<'_> {
    fn within(&mut self, is_test: bool, visit: impl FnOnce(&mut Self)) {
        let outer = self.in_test;
        self.in_test |= is_test;
        visit(self);
        self.in_test = outer;
    }
}

impl Visit<'_> for Calls<'_> {
    fn visit_item_mod(&mut self, item: &ItemMod) {
        self.within(is_test(&item.attrs), |calls| visit::visit_item_mod(calls, item));
    }

    fn visit_item_fn(&mut self, item: &ItemFn) {
        self.within(is_test(&item.attrs), |calls| visit::visit_item_fn(calls, item));
    }

    /// What is polled beside something else may not block the thread that polls both.
    fn visit_expr_async(&mut self, _: &ExprAsync) {}

    fn visit_expr_await(&mut self, expr: &ExprAwait) {
        visit::visit_expr_await(self, expr);
        let Found { methods, free, .. } = self.found;
        let (name, twins) = match &*expr.base {
            Expr::MethodCall(call) => (&call.method, methods),
            Expr::Call(call) => match &*call.func {
                // A method called by its type, and a free function.
                Expr::Path(path) if path.path.segments.len() > 1 => {
                    (&path.path.segments[path.path.segments.len() - 1].ident, methods)
                }
                Expr::Path(path) => (&path.path.segments[0].ident, free),
                _ => return,
            },
            _ => return,
        };
        if self.in_test && twins.contains(&name.to_string()) {
            self.edits.push(Edit { at: name.span().end(), cut: 0, insert: "_blocking" });
            // `.await` may stand on a line of its own.
            self.edits.push(Edit { at: expr.dot_token.span().start(), cut: 1, insert: "" });
            self.edits.push(Edit { at: expr.await_token.span().start(), cut: 5, insert: "" });
        }
    }
}

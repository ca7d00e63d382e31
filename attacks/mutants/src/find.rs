//! Finding the mutants of a source file.
//!
//! Every mutant is an expression or statement with text around it, so that mutants nest: the text
//! inside may hold mutants of its own.

use std::ops::Range;

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, BinOp, Block, Expr, ExprIf, Pat, ReturnType, Signature, Stmt, Type};

/// Stands in an edit's text for "this mutant is on".
pub const ON: &str = "\u{1}on";
/// Stands in an edit's text for the mutant's number.
pub const NUMBER: &str = "\u{1}number";

/// Text around a range of the source.
#[derive(Clone, Debug)]
pub struct Edit {
    pub range: Range<usize>,
    pub before: String,
    pub after: String,
    /// Whether `before` takes the range's place.
    pub replaces: bool,
}

/// A mutant as it stands in the source.
#[derive(Clone, Debug)]
pub struct Found {
    pub kind: &'static str,
    pub function: String,
    pub line: usize,
    pub snippet: String,
    pub edits: Vec<Edit>,
}

/// All mutants of a file, outer ones before those inside them.
pub fn find(text: &str) -> syn::Result<Vec<Found>> {
    let file = syn::parse_file(text)?;
    let mut finder = Finder {
        text,
        scope: Vec::new(),
        found: Vec::new(),
    };
    finder.visit_file(&file);
    Ok(finder.found)
}

struct Finder<'t> {
    text: &'t str,
    /// The names of types and functions around.
    scope: Vec<String>,
    found: Vec<Found>,
}

impl Finder<'_> {
    /// A mutant that is `edits`, shown as the source of `span`.
    fn add(&mut self, kind: &'static str, span: Span, edits: Vec<Edit>) {
        const SHOWN: usize = 120;
        let words = self.text[span.byte_range()].split_whitespace();
        let snippet = words.collect::<Vec<_>>().join(" ");
        self.found.push(Found {
            kind,
            function: self.scope.join("::"),
            line: span.start().line,
            snippet: snippet.chars().take(SHOWN).collect(),
            edits,
        });
    }

    fn wrap(&mut self, kind: &'static str, node: &impl Spanned, before: &str, after: &str) {
        let span = node.span();
        self.add(kind, span, vec![edit(span.byte_range(), before, after)]);
    }

    /// What a function as a whole can return instead.
    fn function(&mut self, sig: &Signature, block: &Block) {
        let (Some(first), ReturnType::Type(_, returned)) = (block.stmts.first(), &sig.output)
        else {
            return;
        };
        if is_path(returned, "bool") {
            for (kind, value) in [("returns true", "true"), ("returns false", "false")] {
                let range = first.span().byte_range().start..block.span().byte_range().end;
                let text = format!("if {ON} {{ return {value}; }} ");
                self.add(kind, sig.ident.span(), vec![edit(range, &text, "")]);
            }
        }
        if let Some(Stmt::Expr(tail, None)) = block.stmts.last()
            && is_unit_result(returned)
            && !calls(tail, &["Ok", "Err"])
        {
            let text = format!("if {ON} {{ return Ok(()); }} ");
            self.wrap("last result is Ok", tail, &text, "");
        }
    }

    fn check(&mut self, e: &ExprIf) {
        let cond = &*e.cond;
        let otherwise = e.else_branch.as_ref().map(|(_, e)| &**e);
        let lets = has_let(cond);
        if refuses(&e.then_branch) {
            let open = if lets { "" } else { "(" };
            let close = if lets { "" } else { ")" };
            let close = format!("{close} && !{ON}");
            self.wrap("check removed", cond, open, &close);
        } else if !lets && matches!(otherwise, Some(Expr::Block(b)) if refuses(&b.block)) {
            self.wrap("check removed", cond, "(", &format!(") || {ON}"));
        } else {
            return;
        }
        // A comparison is negated as such.
        if !lets && !matches!(cond, Expr::Binary(b) if is_comparison(&b.op)) {
            self.wrap("check negated", cond, "((", &format!(") ^ {ON})"));
        }
    }

    /// Each part of a chain of `&&` held for true, of `||` for false.
    fn chain(&mut self, op: &BinOp, operand: &Expr) {
        match operand {
            Expr::Binary(b) if same_junction(&b.op, op) => {
                self.chain(op, &b.left);
                self.chain(op, &b.right);
            }
            Expr::Let(_) => self.visit_expr(operand),
            _ => {
                let rest = if matches!(op, BinOp::And(_)) {
                    format!(" || {ON})")
                } else {
                    format!(" && !{ON})")
                };
                self.wrap("part of a condition removed", operand, "(", &rest);
                self.visit_expr(operand);
            }
        }
    }

    fn comparison(&mut self, e: &syn::ExprBinary) {
        let range = e.span().byte_range();
        let negated = edit(range.clone(), "((", &format!(") ^ {ON})"));
        self.add("comparison negated", e.span(), vec![negated]);
        let name = match e.op {
            BinOp::Lt(_) => "lt",
            BinOp::Le(_) => "le",
            BinOp::Gt(_) => "gt",
            BinOp::Ge(_) => "ge",
            _ => return,
        };
        let call = edit(range, &format!("crate::mutant::{name}({NUMBER}, &("), "))");
        let comma = Edit {
            replaces: true,
            ..edit(e.op.span().byte_range(), "), &(", "")
        };
        self.add("bound shifted by one", e.span(), vec![call, comma]);
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes: &[Attribute] = match item {
            syn::Item::Fn(i) => &i.attrs,
            syn::Item::Impl(i) => &i.attrs,
            syn::Item::Mod(i) => &i.attrs,
            syn::Item::Trait(i) => &i.attrs,
            // Constants, types and macros hold nothing that runs.
            _ => return,
        };
        if !is_test(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let name = match &*item.self_ty {
            Type::Path(p) => p.path.segments.last().map(|s| s.ident.to_string()),
            _ => None,
        };
        self.scope.push(name.unwrap_or_default());
        visit::visit_item_impl(self, item);
        self.scope.pop();
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.scope.push(item.ident.to_string());
        visit::visit_item_trait(self, item);
        self.scope.pop();
    }

    fn visit_item_fn(&mut self, f: &'ast syn::ItemFn) {
        self.enter(&f.sig, &f.attrs, &f.block);
    }

    fn visit_impl_item_fn(&mut self, f: &'ast syn::ImplItemFn) {
        self.enter(&f.sig, &f.attrs, &f.block);
    }

    fn visit_trait_item_fn(&mut self, f: &'ast syn::TraitItemFn) {
        if let Some(block) = &f.default {
            self.enter(&f.sig, &f.attrs, block);
        }
    }

    fn visit_stmt(&mut self, stmt: &'ast Stmt) {
        if let Stmt::Expr(e, Some(_)) = stmt {
            let kind = match e {
                Expr::Try(_) => Some("fallible statement removed"),
                // Without it nothing else happens, but borrows last longer.
                e if calls(e, &["drop"]) => None,
                Expr::Call(_) | Expr::MethodCall(_) => Some("statement removed"),
                Expr::Binary(b) if is_compound_assignment(&b.op) => Some("statement removed"),
                _ => None,
            };
            if let Some(kind) = kind {
                self.wrap(kind, stmt, &format!("if !{ON} {{ "), " }");
            }
        }
        visit::visit_stmt(self, stmt);
    }

    fn visit_expr_if(&mut self, e: &'ast ExprIf) {
        self.check(e);
        visit::visit_expr_if(self, e);
    }

    fn visit_expr_binary(&mut self, e: &'ast syn::ExprBinary) {
        match e.op {
            BinOp::And(_) | BinOp::Or(_) => {
                self.chain(&e.op, &e.left);
                self.chain(&e.op, &e.right);
                return;
            }
            op if is_comparison(&op) => self.comparison(e),
            _ => {}
        }
        visit::visit_expr_binary(self, e);
    }

    fn visit_expr_match(&mut self, e: &'ast syn::ExprMatch) {
        for (i, arm) in e
            .arms
            .iter()
            .enumerate()
            .filter(|(_, a)| is_refusal(&a.body))
        {
            match &arm.pat {
                Pat::Guard(p) => self.wrap("arm removed", &p.guard, "(", &format!(") && !{ON}")),
                // Without a later arm for everything the match would not be exhaustive.
                _ if e.arms[i + 1..].iter().any(takes_all) => {
                    self.wrap("arm removed", &arm.pat, "", &format!(" if !{ON}"));
                }
                _ => {}
            }
        }
        visit::visit_expr_match(self, e);
    }

    fn visit_expr_repeat(&mut self, e: &'ast syn::ExprRepeat) {
        // The length is a constant.
        self.visit_expr(&e.expr);
    }

    // What stands in types, patterns and attributes is constant, but for guards.
    fn visit_type(&mut self, _: &'ast Type) {}
    fn visit_pat(&mut self, p: &'ast Pat) {
        if let Pat::Guard(p) = p {
            self.visit_expr(&p.guard);
        }
    }
    fn visit_attribute(&mut self, _: &'ast Attribute) {}
    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}
    fn visit_trait_item_const(&mut self, _: &'ast syn::TraitItemConst) {}
    fn visit_expr_const(&mut self, _: &'ast syn::ExprConst) {}
    fn visit_angle_bracketed_generic_arguments(
        &mut self,
        _: &'ast syn::AngleBracketedGenericArguments,
    ) {
    }
}

impl Finder<'_> {
    fn enter(&mut self, sig: &Signature, attributes: &[Attribute], block: &Block) {
        if is_test(attributes) || sig.constness.is_some() {
            return;
        }
        self.scope.push(sig.ident.to_string());
        self.function(sig, block);
        self.visit_block(block);
        self.scope.pop();
    }
}

fn edit(range: Range<usize>, before: &str, after: &str) -> Edit {
    Edit {
        range,
        before: before.to_string(),
        after: after.to_string(),
        replaces: false,
    }
}

/// `#[test]`, or a `#[cfg(...)]` that speaks of tests.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|a| match &a.meta {
        syn::Meta::List(l) => a.path().is_ident("cfg") && l.tokens.to_string() == "test",
        _ => a.path().is_ident("test"),
    })
}

fn is_path(t: &Type, name: &str) -> bool {
    matches!(t, Type::Path(p) if p.path.is_ident(name))
}

/// `Result<()>` or `Result<(), _>`.
fn is_unit_result(t: &Type) -> bool {
    let Type::Path(p) = t else { return false };
    let Some(last) = p.path.segments.last() else {
        return false;
    };
    let syn::PathArguments::AngleBracketed(args) = &last.arguments else {
        return false;
    };
    let unit = |a: &syn::GenericArgument| matches!(a, syn::GenericArgument::Type(Type::Tuple(t)) if t.elems.is_empty());
    last.ident == "Result" && args.args.first().is_some_and(unit)
}

/// Whether `e` is a call of one of the named functions.
fn calls(e: &Expr, names: &[&str]) -> bool {
    let Expr::Call(call) = e else { return false };
    matches!(&*call.func, Expr::Path(p) if names.iter().any(|n| p.path.is_ident(n)))
}

/// `Err(…)`, `false`, `None`, or a return of anything but a success.
fn is_refusal(e: &Expr) -> bool {
    match e {
        Expr::Return(r) => r.expr.as_ref().is_some_and(|e| {
            let success =
                matches!(&**e, Expr::Lit(l) if matches!(&l.lit, syn::Lit::Bool(b) if b.value));
            !success && !calls(e, &["Ok", "Some"])
        }),
        Expr::Block(b) => refuses(&b.block),
        Expr::Path(p) => p.path.is_ident("None"),
        Expr::Lit(l) => matches!(&l.lit, syn::Lit::Bool(b) if !b.value),
        e => calls(e, &["Err"]),
    }
}

fn refuses(block: &Block) -> bool {
    matches!(block.stmts.last(), Some(Stmt::Expr(e, _)) if is_refusal(e))
}

fn takes_all(arm: &syn::Arm) -> bool {
    match &arm.pat {
        Pat::Wild(_) => true,
        Pat::Ident(i) => i.subpat.is_none() && i.ident.to_string().starts_with(char::is_lowercase),
        _ => false,
    }
}

fn has_let(e: &Expr) -> bool {
    match e {
        Expr::Let(_) => true,
        Expr::Binary(b) => matches!(b.op, BinOp::And(_)) && (has_let(&b.left) || has_let(&b.right)),
        _ => false,
    }
}

fn same_junction(a: &BinOp, b: &BinOp) -> bool {
    matches!(
        (a, b),
        (BinOp::And(_), BinOp::And(_)) | (BinOp::Or(_), BinOp::Or(_))
    )
}

fn is_comparison(op: &BinOp) -> bool {
    use BinOp::{Eq, Ge, Gt, Le, Lt, Ne};
    matches!(op, Eq(_) | Ne(_) | Lt(_) | Le(_) | Gt(_) | Ge(_))
}

fn is_compound_assignment(op: &BinOp) -> bool {
    use BinOp::{AddAssign, BitXorAssign, MulAssign, ShlAssign, SubAssign};
    matches!(
        op,
        AddAssign(_) | SubAssign(_) | MulAssign(_) | BitXorAssign(_) | ShlAssign(_)
    )
}

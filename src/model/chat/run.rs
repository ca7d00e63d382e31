//! A template run on a chat: statements and names.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use minijinja::machinery::ast::{Expr, ForLoop, Macro, Set, SetBlock, Stmt, WithBlock};

use super::arguments::Arguments;
use super::budget::Budget;
use super::date::Date;
use super::fault::{Fault, failed, unsupported};
use super::operators::global;
use super::value::{Items, Loop, Value};

/// How deep statements, expressions and calls may stand in each other.
const MAX_DEPTH: usize = 1000;
/// The most namespaces that are made: they can hold each other in a chain.
const MAX_NAMESPACES: usize = 100;

/// How many elements of 64 bytes a scope counts as, beside its names: a map begins with room for eleven.
const SCOPE_ELEMENTS: usize = 10;

/// What the sequel of a statement is.
#[derive(PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

/// Names that are set where they are, and those around.
struct Scope<'t> {
    names: RefCell<BTreeMap<&'t str, Value>>,
    parent: Option<Rc<Scope<'t>>>,
}

impl<'t> Scope<'t> {
    fn within(parent: &Rc<Self>) -> Rc<Self> {
        Rc::new(Self {
            names: RefCell::default(),
            parent: Some(parent.clone()),
        })
    }

    fn set(&self, name: &'t str, value: Value) {
        self.names.borrow_mut().insert(name, value);
    }

    /// How many elements of a list take as much memory as it and those around it, which a macro keeps.
    fn elements(&self) -> usize {
        let mut scope = Some(self);
        let mut count = 0;
        while let Some(here) = scope {
            count += SCOPE_ELEMENTS + here.names.borrow().len();
            scope = here.parent.as_deref();
        }
        count
    }

    fn get(&self, name: &str) -> Option<Value> {
        let mut scope = Some(self);
        while let Some(here) = scope {
            if let Some(value) = here.names.borrow().get(name) {
                return Some(value.clone());
            }
            scope = here.parent.as_deref();
        }
        None
    }
}

/// A macro with the names around its declaration, which may still change.
#[derive(Clone)]
struct Declared<'t> {
    ast: &'t Macro<'t>,
    scope: Rc<Scope<'t>>,
}

/// Names in scope, for expressions.
pub(super) struct Names<'t>(Rc<Scope<'t>>);

/// A run of a template.
pub(super) struct Run<'t> {
    pub budget: Budget,
    pub date: Date,
    /// The variables that a template is given.
    context: BTreeMap<&'t str, Value>,
    /// Those of them, and functions, that macros have read. If a template sets one later, Jinja has decided before it
    /// runs that it is undefined until then.
    read_by_macros: BTreeSet<String>,
    /// Special tokens of which it is not known what `transformers` would give.
    unknown: Vec<&'static str>,
    macros: Vec<Declared<'t>>,
    /// How many macros are being run.
    running: usize,
    depth: usize,
    namespaces: usize,
    /// Within the condition of a loop, which Jinja looks at between the loop's steps, and here before the first one.
    pub in_condition: bool,
}

impl<'t> Run<'t> {
    pub fn new(
        budget: Budget,
        date: Date,
        context: BTreeMap<&'t str, Value>,
        unknown: Vec<&'static str>,
    ) -> Self {
        Self {
            budget,
            date,
            context,
            read_by_macros: BTreeSet::new(),
            unknown,
            macros: Vec::new(),
            running: 0,
            depth: 0,
            namespaces: 0,
            in_condition: false,
        }
    }

    /// The text of a template.
    ///
    /// # Errors
    /// Why there is none.
    pub fn render(&mut self, template: &'t Stmt<'t>) -> Result<String, Fault> {
        let Stmt::Template(template) = template else {
            return Err(unsupported("what is no template"));
        };
        let names = RefCell::default();
        let scope = Rc::new(Scope {
            names,
            parent: None,
        });
        let mut text = String::new();
        self.block(&template.children, &scope, &mut text)?;
        Ok(text)
    }

    /// Goes a level deeper.
    pub fn deeper<T>(
        &mut self,
        go: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.budget.steps(1)?;
        if self.depth == MAX_DEPTH {
            return Err(Fault::too_deep());
        }
        self.depth += 1;
        let result = go(self);
        self.depth -= 1;
        result
    }

    /// Counts a namespace.
    pub fn count_namespace(&mut self) -> Result<(), Fault> {
        self.namespaces += 1;
        match self.namespaces {
            ..=MAX_NAMESPACES => Ok(()),
            _ => Err(unsupported(format!(
                "more than {MAX_NAMESPACES} namespaces"
            ))),
        }
    }

    /// What a name means.
    ///
    /// # Errors
    /// Where it means something that is not known here.
    pub fn name(&mut self, name: &str, names: &Names<'t>) -> Result<Value, Fault> {
        self.budget.bytes(name.len(), 0)?;
        if let Some(value) = names.0.get(name) {
            return Ok(value);
        }
        let given = self.context.get(name).cloned();
        if let Some(value) = given.or_else(|| global(name).map(Value::Function)) {
            if self.running > 0 {
                self.read_by_macros.insert(name.to_string());
            }
            return Ok(value);
        }
        match name {
            _ if self.unknown.contains(&name) => Err(unsupported(format!(
                "the special token {name}, which the checkpoint does not state (add it to tokenizer_config.json, \
                 null if there is none)"
            ))),
            "cycler" | "joiner" | "lipsum" | "self" | "varargs" | "kwargs" | "caller" => {
                Err(unsupported(format!("\"{name}\"")))
            }
            _ => Ok(Value::undefined(format!("'{name}' is undefined"))),
        }
    }

    fn block(
        &mut self,
        body: &'t [Stmt<'t>],
        scope: &Rc<Scope<'t>>,
        text: &mut String,
    ) -> Result<Flow, Fault> {
        for statement in body {
            let done = self.deeper(|run| run.statement(statement, scope, text));
            let flow = done.map_err(|fault| fault.at(line(statement)))?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn statement(
        &mut self,
        statement: &'t Stmt<'t>,
        scope: &Rc<Scope<'t>>,
        text: &mut String,
    ) -> Result<Flow, Fault> {
        match statement {
            Stmt::EmitRaw(raw) => self.budget.append(text, raw.raw)?,
            Stmt::EmitExpr(emit) => {
                let value = self.value(&emit.expr, scope)?;
                let printed = value.to_text(&self.budget)?;
                self.budget.append(text, &printed)?;
            }
            Stmt::IfCond(condition) => {
                let holds = self.value(&condition.expr, scope)?.is_true();
                let body = match holds {
                    true => &condition.true_body,
                    false => &condition.false_body,
                };
                return self.block(body, scope, text);
            }
            Stmt::ForLoop(each) => return self.each(each, scope, text),
            Stmt::WithBlock(with) => return self.with(with, scope, text),
            Stmt::Set(set) => self.set(set, scope)?,
            Stmt::SetBlock(set) => return self.set_block(set, scope),
            Stmt::Macro(ast) => {
                self.budget.elements(scope.elements())?;
                self.set_name(ast.name, Value::Macro(self.macros.len()), scope)?;
                let scope = scope.clone();
                self.macros.push(Declared { ast, scope });
            }
            Stmt::Break(_) => return Ok(Flow::Break),
            Stmt::Continue(_) => return Ok(Flow::Continue),
            Stmt::Template(_)
            | Stmt::AutoEscape(_)
            | Stmt::FilterBlock(_)
            | Stmt::CallBlock(_)
            | Stmt::Do(_) => return Err(unsupported("this tag")),
        }
        Ok(Flow::Next)
    }

    fn value(&mut self, expression: &'t Expr<'t>, scope: &Rc<Scope<'t>>) -> Result<Value, Fault> {
        self.expression(expression, &Names(scope.clone()))
    }

    fn each(
        &mut self,
        each: &'t ForLoop<'t>,
        scope: &Rc<Scope<'t>>,
        text: &mut String,
    ) -> Result<Flow, Fault> {
        if each.recursive {
            return Err(unsupported("a recursive loop"));
        }
        let iterated = self.value(&each.iter, scope)?;
        let mut values = iterated.elements(&self.budget)?;
        if let Some(condition) = &each.filter_expr {
            let outer = std::mem::replace(&mut self.in_condition, true);
            let mut kept = Vec::new();
            for value in values {
                let inner = Scope::within(scope);
                self.assign(&each.target, value.clone(), &inner)?;
                if self.value(condition, &inner)?.is_true() {
                    kept.push(value);
                }
            }
            values = kept;
            self.in_condition = outer;
        }
        let state = Rc::new(Loop {
            items: Items::new(values, &self.budget)?,
            index: Cell::new(0),
            changed: RefCell::default(),
        });
        // Jinja's own: `else` is for loops of which no step came to its end, as by `continue`.
        let mut ended = false;
        for (index, value) in state.items.iter().enumerate() {
            state.index.set(index);
            let inner = Scope::within(scope);
            inner.set("loop", Value::Loop(state.clone()));
            self.assign(&each.target, value.clone(), &inner)?;
            match self.block(&each.body, &inner, text)? {
                Flow::Next => ended = true,
                Flow::Continue => {}
                Flow::Break => {
                    if let Value::Stream(stream) = &iterated {
                        stream.borrow_mut().broken = true;
                    }
                    break;
                }
            }
        }
        match ended {
            true => Ok(Flow::Next),
            false => self.block(&each.else_body, &Scope::within(scope), text),
        }
    }

    /// The values are those of the names outside.
    fn with(
        &mut self,
        with: &'t WithBlock<'t>,
        scope: &Rc<Scope<'t>>,
        text: &mut String,
    ) -> Result<Flow, Fault> {
        let inner = Scope::within(scope);
        for (target, value) in &with.assignments {
            let value = self.value(value, scope)?;
            self.assign(target, value, &inner)?;
        }
        self.block(&with.body, &inner, text)
    }

    fn set(&mut self, set: &'t Set<'t>, scope: &Rc<Scope<'t>>) -> Result<(), Fault> {
        let value = self.value(&set.expr, scope)?;
        self.assign(&set.target, value, scope)
    }

    fn set_block(&mut self, set: &'t SetBlock<'t>, scope: &Rc<Scope<'t>>) -> Result<Flow, Fault> {
        let inner = Scope::within(scope);
        let mut text = String::new();
        let flow = self.block(&set.body, &inner, &mut text)?;
        if flow != Flow::Next {
            return Ok(flow);
        }
        let mut value = self.budget.text(text)?;
        if let Some(filter) = &set.filter {
            value = self.filter_chain(filter, value, &Names(inner))?;
        }
        self.assign(&set.target, value, scope)?;
        Ok(Flow::Next)
    }

    fn assign(
        &mut self,
        target: &'t Expr<'t>,
        value: Value,
        scope: &Rc<Scope<'t>>,
    ) -> Result<(), Fault> {
        match target {
            Expr::Var(name) => self.set_name(name.id, value, scope)?,
            Expr::GetAttr(attribute) => {
                let Expr::Var(_) = &attribute.expr else {
                    return Err(failed("only an attribute of a namespace can be set"));
                };
                let Value::Namespace(names) = self.value(&attribute.expr, scope)? else {
                    return Err(failed("cannot assign attribute on non-namespace object"));
                };
                plain_name(attribute.name)?;
                self.budget.bytes(attribute.name.len(), 0)?;
                let key = Value::text(attribute.name);
                names.borrow_mut().insert(key, value, &self.budget)?;
            }
            Expr::List(targets) => {
                let values = value.elements(&self.budget)?;
                let (expected, found) = (targets.items.len(), values.len());
                if expected != found {
                    let reason = format!("{found} values to unpack, expected {expected}");
                    return Err(failed(reason));
                }
                for (target, value) in targets.items.iter().zip(values) {
                    self.assign(target, value, scope)?;
                }
            }
            _ => return Err(unsupported("this target of an assignment")),
        }
        Ok(())
    }

    fn set_name(&self, name: &'t str, value: Value, scope: &Rc<Scope<'t>>) -> Result<(), Fault> {
        match self.read_by_macros.contains(name) {
            true => Err(unsupported(format!(
                "setting {name} after a macro has read it"
            ))),
            false => {
                scope.set(name, value);
                Ok(())
            }
        }
    }

    /// Calls a macro.
    ///
    /// # Errors
    /// Where the arguments are not its own, and as its body.
    pub fn call_macro(&mut self, number: usize, mut arguments: Arguments) -> Result<Value, Fault> {
        let Declared { ast, scope } = self.macros[number].clone();
        let (name, parameters) = (ast.name, &ast.args);
        if arguments.positional.len() > parameters.len() {
            let count = parameters.len();
            let reason = format!("macro '{name}' takes not more than {count} argument(s)");
            return Err(failed(reason));
        }
        let inner = Scope::within(&scope);
        let first_default = parameters.len() - ast.defaults.len();
        let mut positional = std::mem::take(&mut arguments.positional).into_iter();
        for (i, parameter) in parameters.iter().enumerate() {
            let Expr::Var(parameter) = parameter else {
                return Err(unsupported("this parameter of a macro"));
            };
            self.budget.elements(1)?;
            self.budget.bytes(parameter.id.len(), 0)?;
            let named = |arguments: &mut Arguments| {
                let at = arguments.named.iter().position(|n| n.0 == parameter.id)?;
                Some(arguments.named.remove(at).1)
            };
            let given = positional.next().or_else(|| named(&mut arguments));
            let default = i.checked_sub(first_default).map(|i| &ast.defaults[i]);
            let value = match (given, default) {
                (Some(value), _) => value,
                (None, Some(default)) => self.value(default, &inner)?,
                (None, None) => {
                    let name = parameter.id;
                    Value::undefined(format!("parameter '{name}' was not provided"))
                }
            };
            inner.set(parameter.id, value);
        }
        if let Some((other, _)) = arguments.named.first() {
            let reason = format!("macro '{name}' takes no keyword argument '{other}'");
            return Err(failed(reason));
        }
        let mut text = String::new();
        self.running += 1;
        self.block(&ast.body, &inner, &mut text)?;
        self.running -= 1;
        self.budget.text(text)
    }
}

/// Names that a namespace may have.
///
/// # Errors
/// Of others, as `transformers` does.
pub(super) fn plain_name(name: &str) -> Result<(), Fault> {
    match name.starts_with('_') {
        true => Err(failed(format!(
            "a namespace cannot have the attribute '{name}': it begins with an underscore"
        ))),
        false => Ok(()),
    }
}

fn line(statement: &Stmt) -> u32 {
    let span = match statement {
        Stmt::Template(s) => s.span(),
        Stmt::EmitExpr(s) => s.span(),
        Stmt::EmitRaw(s) => s.span(),
        Stmt::ForLoop(s) => s.span(),
        Stmt::IfCond(s) => s.span(),
        Stmt::WithBlock(s) => s.span(),
        Stmt::Set(s) => s.span(),
        Stmt::SetBlock(s) => s.span(),
        Stmt::AutoEscape(s) => s.span(),
        Stmt::FilterBlock(s) => s.span(),
        Stmt::Macro(s) => s.span(),
        Stmt::CallBlock(s) => s.span(),
        Stmt::Continue(s) => s.span(),
        Stmt::Break(s) => s.span(),
        Stmt::Do(s) => s.span(),
    };
    span.start_line.into()
}

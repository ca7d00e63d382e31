//! Expressions of a template, and calls.

use std::cell::RefCell;
use std::rc::Rc;

use minijinja::machinery::ast::{
    BinOp, BinOpKind, Call, CallArg, CompareOpKind, Expr, UnaryOpKind,
};
use minijinja::value::ValueKind;

use super::arguments::{Arguments, required};
use super::checks::{self, at_most};
use super::compare::{contains, equal, less};
use super::fault::{Fault, Reason, failed, unsupported};
use super::methods;
use super::operators::{Arithmetic, attribute, integer, item, negative, slice};
use super::run::{Names, Run, plain_name};
use super::value::{Dict, Function, Items, Loop, Value};

/// What Jinja's sandbox allows.
const MAX_RANGE: u128 = 100_000;

impl<'t> Run<'t> {
    /// The value of an expression.
    ///
    /// # Errors
    /// Where Jinja has none, or has one that is not made here.
    pub(super) fn expression(
        &mut self,
        expression: &'t Expr<'t>,
        names: &Names<'t>,
    ) -> Result<Value, Fault> {
        self.deeper(|run| run.shallow(expression, names))
    }

    fn shallow(&mut self, expression: &'t Expr<'t>, names: &Names<'t>) -> Result<Value, Fault> {
        match expression {
            Expr::Var(name) => self.name(name.id, names),
            Expr::Const(constant) => self.constant(&constant.value),
            Expr::UnaryOp(operator) => {
                let value = self.expression(&operator.expr, names)?;
                match operator.op {
                    UnaryOpKind::Not => Ok(Value::Bool(!value.is_true())),
                    UnaryOpKind::Neg => negative(&value),
                }
            }
            Expr::BinOp(operation) => self.operation(operation, names),
            Expr::Compare(comparison) => {
                let mut left = self.expression(&comparison.expr, names)?;
                for next in &comparison.ops {
                    let right = self.expression(&next.expr, names)?;
                    if !self.compare(next.op, &left, &right)? {
                        return Ok(Value::Bool(false));
                    }
                    left = right;
                }
                Ok(Value::Bool(true))
            }
            Expr::IfExpr(choice) => {
                if self.expression(&choice.test_expr, names)?.is_true() {
                    return self.expression(&choice.true_expr, names);
                }
                match &choice.false_expr {
                    Some(other) => self.expression(other, names),
                    None => Ok(Value::undefined(
                        "the inline if-expression evaluated to false and no else section was defined.",
                    )),
                }
            }
            Expr::Filter(filter) => {
                let Some(value) = &filter.expr else {
                    return Err(unsupported("a filter of nothing"));
                };
                let value = self.expression(value, names)?;
                let arguments = self.arguments(&filter.args, names)?;
                self.filter(filter.name, value, arguments)
            }
            Expr::Test(test) => {
                let value = self.expression(&test.expr, names)?;
                let arguments = self.arguments(&test.args, names)?;
                let holds = checks::holds(test.name, &value, arguments, &self.budget)?;
                Ok(Value::Bool(holds))
            }
            Expr::GetAttr(_) | Expr::GetItem(_) | Expr::Slice(_) | Expr::Call(_) => {
                self.access(expression, names)
            }
            Expr::List(list) => Value::list(self.values(&list.items, names)?, &self.budget),
            Expr::Tuple(tuple) => {
                let items = Items::new(self.values(&tuple.items, names)?, &self.budget)?;
                Ok(Value::Tuple(items))
            }
            Expr::Map(map) => {
                let mut dict = Dict::default();
                for (key, value) in map.keys.iter().zip(&map.values) {
                    let key = self.expression(key, names)?;
                    let value = self.expression(value, names)?;
                    dict.insert(key, value, &self.budget)?;
                }
                Ok(Value::Dict(dict.into()))
            }
        }
    }

    /// What a value has or gives.
    fn access(&mut self, expression: &'t Expr<'t>, names: &Names<'t>) -> Result<Value, Fault> {
        match expression {
            Expr::GetAttr(of) => {
                let value = self.expression(&of.expr, names)?;
                if self.in_condition && matches!(value, Value::Namespace(_)) {
                    return Err(unsupported("a namespace in the condition of a loop"));
                }
                attribute(&value, of.name, &self.budget)
            }
            Expr::GetItem(of) => {
                let value = self.expression(&of.expr, names)?;
                let key = self.expression(&of.subscript_expr, names)?;
                item(&value, &key, &self.budget)
            }
            Expr::Slice(of) => {
                let value = self.expression(&of.expr, names)?;
                let mut bound = |bound: &'t Option<Expr<'t>>| match bound {
                    Some(bound) => self.expression(bound, names),
                    None => Ok(Value::None),
                };
                let bounds = [bound(&of.start)?, bound(&of.stop)?, bound(&of.step)?];
                slice(&value, bounds.each_ref(), &self.budget)
            }
            Expr::Call(call) => self.call_expression(call, names),
            _ => unreachable!("only these are accesses"),
        }
    }

    fn values(
        &mut self,
        expressions: &'t [Expr<'t>],
        names: &Names<'t>,
    ) -> Result<Vec<Value>, Fault> {
        let values = expressions.iter();
        values.map(|value| self.expression(value, names)).collect()
    }

    /// What stands in the template itself.
    fn constant(&self, value: &minijinja::Value) -> Result<Value, Fault> {
        let other = || unsupported(format!("the number {value}"));
        match value.kind() {
            ValueKind::None => Ok(Value::None),
            ValueKind::Bool => Ok(Value::Bool(value.is_true())),
            ValueKind::String => self.budget.text(value.as_str().unwrap_or_default()),
            ValueKind::Number if value.is_integer() => {
                let value = i64::try_from(value.clone());
                value.map(Value::Int).map_err(|_| other())
            }
            ValueKind::Number => f64::try_from(value.clone())
                .map(Value::Float)
                .map_err(|_| other()),
            _ => Err(other()),
        }
    }

    fn operation(&mut self, operation: &'t BinOp<'t>, names: &Names<'t>) -> Result<Value, Fault> {
        let left = self.expression(&operation.left, names)?;
        match operation.op {
            BinOpKind::ScAnd if !left.is_true() => return Ok(left),
            BinOpKind::ScOr if left.is_true() => return Ok(left),
            _ => {}
        }
        let right = self.expression(&operation.right, names)?;
        let arithmetic = |operator: Arithmetic| operator.apply(&left, &right, &self.budget);
        let compare = |operator| self.compare(operator, &left, &right).map(Value::Bool);
        match operation.op {
            BinOpKind::ScAnd | BinOpKind::ScOr => Ok(right),
            BinOpKind::Eq => compare(CompareOpKind::Eq),
            BinOpKind::Ne => compare(CompareOpKind::Ne),
            BinOpKind::Lt => compare(CompareOpKind::Lt),
            BinOpKind::Lte => compare(CompareOpKind::Lte),
            BinOpKind::Gt => compare(CompareOpKind::Gt),
            BinOpKind::Gte => compare(CompareOpKind::Gte),
            BinOpKind::In => compare(CompareOpKind::In),
            BinOpKind::Add => arithmetic(Arithmetic::Add),
            BinOpKind::Sub => arithmetic(Arithmetic::Subtract),
            BinOpKind::Mul => arithmetic(Arithmetic::Multiply),
            BinOpKind::Div => arithmetic(Arithmetic::Divide),
            BinOpKind::FloorDiv => arithmetic(Arithmetic::FloorDivide),
            BinOpKind::Rem => arithmetic(Arithmetic::Remainder),
            BinOpKind::Pow => arithmetic(Arithmetic::Power),
            BinOpKind::Concat => {
                let mut text = left.to_text(&self.budget)?.to_string();
                let more = right.to_text(&self.budget)?;
                self.budget.append(&mut text, &more)?;
                self.budget.text(text)
            }
        }
    }

    fn compare(&self, operator: CompareOpKind, a: &Value, b: &Value) -> Result<bool, Fault> {
        let budget = &self.budget;
        match operator {
            CompareOpKind::Eq => equal(a, b, budget),
            CompareOpKind::Ne => equal(a, b, budget).map(|same| !same),
            CompareOpKind::Lt => less(a, b, budget),
            CompareOpKind::Lte => at_most(a, b, budget),
            CompareOpKind::Gt => less(b, a, budget),
            CompareOpKind::Gte => at_most(b, a, budget),
            CompareOpKind::In => contains(b, a, budget),
            CompareOpKind::NotIn => contains(b, a, budget).map(|inside| !inside),
        }
    }

    /// Filters one after another, the first of them on `value`.
    pub(super) fn filter_chain(
        &mut self,
        chain: &'t Expr<'t>,
        value: Value,
        names: &Names<'t>,
    ) -> Result<Value, Fault> {
        let Expr::Filter(filter) = chain else {
            return Err(unsupported("what is no filter"));
        };
        let value = match &filter.expr {
            Some(before) => self.deeper(|run| run.filter_chain(before, value, names))?,
            None => value,
        };
        let arguments = self.arguments(&filter.args, names)?;
        self.filter(filter.name, value, arguments)
    }

    fn arguments(
        &mut self,
        arguments: &'t [CallArg<'t>],
        names: &Names<'t>,
    ) -> Result<Arguments, Fault> {
        let mut all = Arguments::default();
        for argument in arguments {
            match argument {
                CallArg::Pos(value) => all.positional.push(self.expression(value, names)?),
                CallArg::Kwarg(name, value) => {
                    let value = self.expression(value, names)?;
                    all.name(name, value, &self.budget)?;
                }
                CallArg::PosSplat(values) => {
                    let values = self.expression(values, names)?;
                    all.positional.extend(values.elements(&self.budget)?);
                }
                CallArg::KwargSplat(values) => {
                    let Value::Dict(values) = self.expression(values, names)? else {
                        return Err(failed("argument after ** must be a mapping"));
                    };
                    for (name, value) in values.iter() {
                        let Value::Text(name) = name else {
                            return Err(failed("keywords must be strings"));
                        };
                        all.name(name, value.clone(), &self.budget)?;
                    }
                }
            }
        }
        Ok(all)
    }

    fn call_expression(&mut self, call: &'t Call<'t>, names: &Names<'t>) -> Result<Value, Fault> {
        if let Expr::GetAttr(of) = &call.expr
            && let "cycle" | "changed" = of.name
            && let Value::Loop(state) = self.expression(&of.expr, names)?
        {
            let arguments = self.arguments(&call.args, names)?;
            return self.call_loop(&state, of.name, arguments);
        }
        let called = self.expression(&call.expr, names)?;
        let arguments = self.arguments(&call.args, names)?;
        match called {
            Value::Method(method) => methods::call(&method.0, method.1, arguments, &self.budget),
            Value::Macro(number) => self.call_macro(number, arguments),
            Value::Function(function) => self.call_function(function, arguments),
            Value::Undefined(what) => Err(failed(what)),
            Value::Loop(_) => Err(unsupported("a recursive loop")),
            _ => Err(failed(format!(
                "'{}' object is not callable",
                called.type_name()
            ))),
        }
    }

    fn call_loop(&self, state: &Loop, name: &str, arguments: Arguments) -> Result<Value, Fault> {
        if !arguments.named.is_empty() {
            return Err(failed(format!("loop.{name}() takes no keyword arguments")));
        }
        let values = Items::new(arguments.positional, &self.budget)?;
        if name == "cycle" {
            let index = state.index.get().checked_rem(values.len());
            let value = index.and_then(|index| values.get(index));
            return value
                .cloned()
                .ok_or_else(|| failed("no items for cycling given"));
        }
        let value = Value::Tuple(values);
        let same = match &*state.changed.borrow() {
            Some(last) => equal(last, &value, &self.budget)?,
            None => false,
        };
        *state.changed.borrow_mut() = Some(value);
        Ok(Value::Bool(!same))
    }

    fn call_function(&mut self, function: Function, arguments: Arguments) -> Result<Value, Fault> {
        match function {
            Function::Range => self.range(arguments),
            Function::Dict => Ok(Value::Dict(self.dict(arguments)?.into())),
            Function::Namespace => {
                self.count_namespace()?;
                let names = self.dict(arguments)?;
                for (name, _) in names.iter() {
                    if let Value::Text(name) = name {
                        plain_name(name)?;
                    }
                }
                Ok(Value::Namespace(Rc::new(RefCell::new(names))))
            }
            Function::RaiseException => {
                let [message] = arguments.bind("raise_exception", ["message"])?;
                let message = required("raise_exception", message)?.to_text(&self.budget)?;
                Err(Fault::new(Reason::Raised(message.to_string())))
            }
            Function::StrftimeNow => {
                let [format] = arguments.bind("strftime_now", ["format"])?;
                let Value::Text(format) = required("strftime_now", format)? else {
                    return Err(failed("strftime_now() takes a str"));
                };
                self.budget.bytes(format.len() * 12, format.len())?;
                let date = self.date.format(&format).map_err(|directive| {
                    unsupported(format!(
                        "strftime_now with {directive:?}, which is not about the day"
                    ))
                })?;
                self.budget.text(date)
            }
        }
    }

    fn range(&self, arguments: Arguments) -> Result<Value, Fault> {
        let [first, second, third] = arguments.bind("range", ["", "", ""])?;
        let first = integer(&required("range", first)?)?;
        let (start, stop) = match second {
            Some(stop) => (first, integer(&stop)?),
            None => (0, first),
        };
        let step = third.as_ref().map_or(Ok(1), integer)?;
        if step == 0 {
            return Err(failed("range() arg 3 must not be zero"));
        }
        let distance = match step > 0 {
            true => i128::from(stop) - i128::from(start),
            false => i128::from(start) - i128::from(stop),
        };
        let step_size = u128::from(step.unsigned_abs());
        let length = u128::try_from(distance).unwrap_or(0).div_ceil(step_size);
        if length > MAX_RANGE {
            return Err(failed(format!("a range of more than {MAX_RANGE} elements")));
        }
        let value = |i: i128| i128::from(start) + i * i128::from(step);
        let values = (0..length as i128).map(|i| Value::Int(value(i) as i64));
        Items::new(values.collect(), &self.budget).map(Value::Range)
    }

    /// `dict(mapping, name=value, …)`.
    fn dict(&self, arguments: Arguments) -> Result<Dict, Fault> {
        let mut dict = match &arguments.positional[..] {
            [] => Dict::default(),
            [Value::Dict(dict)] => {
                self.budget.elements(dict.len())?;
                Dict::clone(dict)
            }
            [_] => return Err(unsupported("dict() of another value than a dict")),
            _ => return Err(failed("dict expected at most 1 argument")),
        };
        for (name, value) in arguments.named {
            dict.insert(self.budget.text(name)?, value, &self.budget)?;
        }
        Ok(dict)
    }
}

//! Writing a source file with all its mutants in it.

use std::ops::Range;

use crate::find::{Edit, NUMBER, ON};

/// A source file with mutants in it.
pub struct Rendered {
    pub text: String,
    /// The text that was put in, with its mutant's number.
    inserted: Vec<(usize, Range<usize>)>,
    /// What stands inside an edit, the edit's own text included.
    extents: Vec<(usize, Range<usize>)>,
}

/// Applies the edits, each with its mutant's number. Of edits around one range the earlier is outside.
pub fn render(source: &str, edits: &[(usize, Edit)]) -> Rendered {
    // At one place: first what ends there, inner before outer; then what takes the place of an
    // operator; then what begins there, outer before inner.
    let mut events = Vec::new();
    for (order, (_, e)) in edits.iter().enumerate() {
        let (start, end) = (e.range.start as isize, e.range.end as isize);
        let order = order as isize;
        if e.replaces {
            events.push(((start, 1, 0, 0), order as usize, true));
        } else {
            events.push(((start, 2, -end, order), order as usize, true));
            events.push(((end, 0, -start, -order), order as usize, false));
        }
    }
    events.sort();
    let mut rendered = Rendered {
        text: String::new(),
        inserted: Vec::new(),
        extents: Vec::new(),
    };
    let mut starts = vec![0; edits.len()];
    let mut at = 0;
    for ((place, ..), order, opens) in events {
        let (number, e) = &edits[order];
        let place = place as usize;
        rendered.text.push_str(&source[at..place]);
        at = place;
        let begin = rendered.text.len();
        let template = if opens { &e.before } else { &e.after };
        let text = template
            .replace(ON, &format!("crate::mutant::on({number})"))
            .replace(NUMBER, &number.to_string());
        rendered.text.push_str(&text);
        let end = rendered.text.len();
        rendered.inserted.push((*number, begin..end));
        if e.replaces {
            at = e.range.end;
        } else if opens {
            starts[order] = begin;
        } else {
            rendered.extents.push((*number, starts[order]..end));
        }
    }
    rendered.text.push_str(&source[at..]);
    rendered
}

impl Rendered {
    /// The mutants to blame for a compiler's error at `span`: those whose text is there, else the
    /// innermost around it, else those among all the places `around` that the error speaks of.
    pub fn blame(&self, span: &Range<usize>, around: &Range<usize>) -> Vec<usize> {
        // In part, or the whole span: text well inside it is a guess.
        let overlaps = |r: &Range<usize>| {
            let inside = span.start < r.start && r.end < span.end;
            r.start < span.end && span.start < r.end && !inside
        };
        let holds = |r: &Range<usize>| r.start <= span.start && span.end <= r.end;
        let within = |r: &Range<usize>| around.start <= r.start && r.end <= around.end;
        let numbers = |all: &[(usize, Range<usize>)], keep: &dyn Fn(&Range<usize>) -> bool| {
            let kept = all.iter().filter(|(_, r)| !r.is_empty() && keep(r));
            kept.map(|(n, _)| *n).collect::<Vec<_>>()
        };
        let direct = numbers(&self.inserted, &|r| overlaps(r));
        if !direct.is_empty() {
            return direct;
        }
        let holding = self.extents.iter().filter(|(_, r)| holds(r));
        match holding.min_by_key(|(_, r)| r.len()) {
            Some((n, _)) => vec![*n],
            None => numbers(&self.inserted, &within),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::find::find;

    fn instrument(source: &str) -> (Vec<&'static str>, String) {
        let found = find(source).expect("Rust");
        let numbered = found.iter().enumerate();
        let edits: Vec<_> = numbered
            .flat_map(|(n, f)| f.edits.iter().map(move |e| (n, e.clone())))
            .collect();
        let text = render(source, &edits).text.replace("crate::mutant::", "");
        (found.iter().map(|f| f.kind).collect(), text)
    }

    /// Mutants around the same and around nested ranges close in the opposite order of opening.
    #[test]
    fn mutants_nest() {
        let source = "fn f() -> R { if a < b && c { return Err(e); } Ok(1) }";
        let (kinds, text) = instrument(source);
        assert_eq!(
            kinds,
            [
                "check removed",
                "check negated",
                "part of a condition removed",
                "comparison negated",
                "bound shifted by one",
                "part of a condition removed",
            ]
        );
        assert_eq!(
            text,
            "fn f() -> R { if ((((((lt(4, &(a ), &( b))) ^ on(3)) || on(2)) && (c || on(5))) ^ on(1))) \
             && !on(0) { return Err(e); } Ok(1) }"
        );
    }

    /// Statements go, results become Ok, truth values are forced; what is constant or a test stays.
    #[test]
    fn kinds_of_mutants() {
        let source = "fn f() -> Result<(), E> { g()?; t.absorb(x); let a: [u8; 1 << 2] = b; h(a) }
            fn p() -> bool { x() }
            const C: bool = 1 < 2;
            #[cfg(test)] mod tests { fn g() -> bool { true } }
            #[test] fn t() { g()?; }
            fn m() -> R { match x { 1 => Err(e), Some(_) => Err(e), _ => Ok(()) } }";
        let (kinds, text) = instrument(source);
        assert_eq!(
            kinds,
            [
                "last result is Ok",
                "fallible statement removed",
                "statement removed",
                "returns true",
                "returns false",
                "arm removed",
                "arm removed",
            ]
        );
        for part in [
            "{ if !on(1) { g()?; } if !on(2) { t.absorb(x); } let",
            "= b; if on(0) { return Ok(()); } h(a) }",
            "{ if on(3) { return true; } if on(4) { return false; } x() }",
            "1 if !on(5) => Err(e), Some(_) if !on(6) => Err(e), _ =>",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
    }
}

use super::*;
use crate::algebra::F;
use crate::system::Rhs;

/// y[i] = Σ_k x[i][k]·W[k], which is well formed, and the pieces with which to spoil it.
struct Sample {
    system: System,
    i: VarId,
    k: VarId,
    x: ColumnId,
    y: ColumnId,
}

fn sample() -> Sample {
    let mut system = System::default();
    let lane = system.var("lane", 0..6);
    let slab = system.var("slab", 6..8);
    let lane_out = system.var("lane_out", 0..6);
    let slab_out = system.var("slab_out", 6..8);
    let i = system.var("i", 8..10);
    let x = system.exact("x", &[3, 4, 64]);
    let y = system.range("y", &[2, 4, 64], 0);
    let w = system.column("w", Segment::Matrix(0), &[3, 64, 2, 64]);
    let v = Bind::Var;
    system.relate(Relation {
        name: "y = x·w".into(),
        check: vec![],
        terms: vec![Term::new(
            F::one(),
            &[slab, lane],
            vec![
                Form::of(View::new(x, &[v(slab), v(i), v(lane)])),
                Form::of(View::new(w, &[v(slab), v(lane), v(slab_out), v(lane_out)])),
            ],
        )],
        rhs: vec![Rhs::of(
            F::one(),
            View::new(y, &[v(slab_out), v(i), v(lane_out)]),
        )],
    });
    Sample {
        system,
        i,
        k: slab,
        x,
        y,
    }
}

fn refusal(spoil: impl FnOnce(&mut Sample)) -> SystemError {
    let mut s = sample();
    spoil(&mut s);
    s.system
        .validate()
        .expect_err("the spoiled system is refused")
}

/// What a change makes of the sample that is to be as good as it was.
fn validated(change: impl FnOnce(&mut Sample)) -> Result<(), SystemError> {
    let mut s = sample();
    change(&mut s);
    s.system.validate()
}

fn term(s: &mut Sample) -> &mut Term {
    &mut s.system.relations[0].terms[0]
}

#[test]
fn the_sample_is_well_formed() {
    assert_eq!(sample().system.validate(), Ok(()));
}

/// Rule 1: (a·b)~(τ) is not a~(τ)·b~(τ), and live~(τ)·a~(τ) is not (live·a)~(τ).
#[test]
fn free_variables_occur_once() {
    let degree = |e| matches!(e, SystemError::Degree { .. });
    assert!(degree(refusal(|s| {
        let twice = term(s).factors[0].clone();
        term(s).factors.push(twice);
    })));
    assert!(degree(refusal(|s| {
        let live = Live {
            vars: vec![s.i],
            len: 3,
        };
        term(s).lives.push(live);
    })));
    assert!(degree(refusal(|s| {
        let (i, view) = (s.i, &mut s.system.relations[0].rhs[0]);
        *view = view.clone().live(Live {
            vars: vec![i],
            len: 3,
        });
    })));
    assert!(degree(refusal(|s| {
        let row = s.i;
        let k = s.k;
        let public = Public::OneHot {
            row,
            index: vec![k],
            targets: vec![0; 4],
        };
        term(s).publics.push(public);
    })));
    assert!(degree(refusal(|s| {
        let diagonal = [Bind::Var(s.k), Bind::Var(s.k), Bind::Ones];
        s.system.relations[0].rhs[0] = Rhs::of(F::one(), View::new(s.x, &diagonal));
    })));
    assert!(degree(refusal(|s| {
        let diagonal = [Bind::Var(s.k), Bind::Var(s.k), Bind::Ones];
        term(s).factors[0] = Form::of(View::new(s.x, &diagonal));
    })));
    assert!(degree(refusal(|s| {
        let (row, col) = (s.k, s.k);
        term(s).publics.push(Public::Causal {
            row,
            col,
            window: None,
        });
    })));
    assert!(degree(refusal(|s| {
        let row = s.system.var("row", 20..22);
        let index = vec![s.k, s.k];
        let targets = vec![0];
        term(s).publics.push(Public::OneHot {
            row,
            index,
            targets,
        });
    })));
}

/// Gives the term a factor that selects `targets`.
fn select(s: &mut Sample, row: VarId, index: VarId, targets: &[usize]) {
    term(s).publics.push(Public::OneHot {
        row,
        index: vec![index],
        targets: targets.to_vec(),
    });
}

/// The view on the right-hand side.
fn right(s: &mut Sample) -> &mut View {
    let view = &mut s.system.relations[0].rhs[0].view;
    view.as_mut().expect("the sample's right side has a view")
}

/// Rule 2, on either side.
#[test]
fn sides_do_not_share_coordinates() {
    let shared = |e| matches!(e, SystemError::SharedCoordinate { .. });
    // i on the output slab's coordinates: both at τ.
    assert!(shared(
        refusal(|s| s.system.vars[s.i.0].coords = vec![7, 9])
    ));
    // The contracted slab on the contracted lane's.
    assert!(shared(
        refusal(|s| s.system.vars[s.k.0].coords = vec![5, 6])
    ));
    // i in the terms alone, and another variable on the right alone.
    assert!(shared(refusal(|s| {
        s.system.vars[s.i.0].coords = vec![7, 9];
        s.system.relations[0].rhs.clear();
    })));
    assert!(shared(refusal(|s| {
        let other = s.system.var("other", [7, 20]);
        right(s).binds[1] = Bind::Var(other);
    })));
    // The slab checked: at τ, where the output slab is. Then both checked and contracted.
    assert!(shared(refusal(|s| {
        term(s).contract.remove(0);
        s.system.relations[0].check.push(s.k);
    })));
    assert!(shared(refusal(|s| {
        s.system.vars[s.k.0].coords = vec![20, 21];
        s.system.relations[0].check.push(s.k);
    })));
    // One variable that owns a coordinate twice.
    assert!(shared(
        refusal(|s| s.system.vars[s.i.0].coords = vec![9, 9])
    ));
}

/// Rule 3.
#[test]
fn views_bind_dimensions_that_fit() {
    assert!(matches!(
        refusal(|s| {
            term(s).factors[0].0[0].1.binds.pop();
        }),
        SystemError::Unbound { .. }
    ));
    assert!(matches!(
        refusal(|s| s.system.vars[s.i.0].coords = vec![8]),
        SystemError::TooShort { .. }
    ));
    assert!(matches!(
        refusal(|s| {
            let binds = [Bind::Fixed(2), Bind::Var(s.i), Bind::Ones];
            s.system.relations[0].rhs[0] = Rhs::of(F::one(), View::new(s.y, &binds));
        }),
        SystemError::FixedOutside { .. }
    ));
    // A variable of as many bits as a length has, or more, has room for any.
    for bits in [63, 64, 65] {
        assert_eq!(
            validated(|s| s.system.vars[s.i.0].coords = (100..100 + bits).collect()),
            Ok(())
        );
    }
}

/// Rule 3: both variables of a pair are on one side.
#[test]
fn pairs_are_not_split() {
    for (contracted, whole) in [(0, true), (1, false), (2, true)] {
        let result = validated(|s| {
            let (low, high) = (s.system.var("low", [20]), s.system.var("high", [21]));
            term(s).contract.extend(&[low, high][..contracted]);
            term(s).factors[0].0[0].1.binds[1] = Bind::Pair(low, high);
        });
        assert_eq!(result.is_ok(), whole, "{contracted} contracted: {result:?}");
        assert!(matches!(result, Ok(()) | Err(SystemError::Unbound { .. })));
    }
}

/// Identifiers one beyond the last are refused wherever they stand, and do not panic.
#[test]
fn names_are_declared() {
    type Spoil = fn(&mut Sample, VarId);
    let spoils: [Spoil; 10] = [
        |s, v| s.system.relations[0].check.push(v),
        |s, v| term(s).contract.push(v),
        |s, v| term(s).factors[0].0[0].1.binds[1] = Bind::Var(v),
        |s, v| right(s).binds[1] = Bind::Var(v),
        |s, v| {
            let vars = vec![v];
            term(s).lives.push(Live { vars, len: 1 });
        },
        |s, v| {
            let vars = vec![v];
            s.system.relations[0].rhs[0]
                .lives
                .push(Live { vars, len: 1 });
        },
        |s, row| {
            let col = s.k;
            term(s).publics.push(Public::Causal {
                row,
                col,
                window: None,
            });
        },
        |s, col| {
            let row = s.k;
            term(s).publics.push(Public::Acausal {
                row,
                col,
                window: None,
            });
        },
        |s, row| select(s, row, s.k, &[0]),
        |s, index| select(s, s.i, index, &[0]),
    ];
    let unknown = |e| matches!(e, SystemError::Unknown { .. });
    for (place, spoil) in spoils.into_iter().enumerate() {
        let refused = refusal(|s| spoil(s, VarId(s.system.vars.len())));
        assert!(unknown(refused), "place {place}");
    }
    assert!(unknown(refusal(|s| {
        term(s).factors[0].0[0].1.column = ColumnId(s.system.columns.len());
    })));
    assert!(unknown(refusal(|s| {
        right(s).column = ColumnId(s.system.columns.len());
    })));
}

/// Rule 4.
#[test]
fn summed_variables_are_used() {
    let idle = |e| matches!(e, SystemError::Idle { .. });
    assert!(idle(refusal(|s| {
        let more = s.system.var("more", 20..22);
        term(s).contract.push(more);
    })));
    assert!(idle(refusal(|s| {
        let more = s.system.var("more", 20..22);
        s.system.relations[0].check.push(more);
    })));
    assert!(matches!(
        refusal(|s| term(s).factors.clear()),
        SystemError::NoFactor { .. }
    ));
}

/// Rule 4: a public factor depends on its variables as a view does.
#[test]
fn public_factors_use_their_variables() {
    for index in [false, true] {
        let result = validated(|s| {
            let (a, b) = (s.system.var("a", 20..22), s.system.var("b", 22..24));
            if index {
                term(s).contract.push(a);
                select(s, b, a, &[3, 0, 1, 2]);
            } else {
                term(s).contract.extend([a, b]);
                term(s).publics.push(Public::Causal {
                    row: a,
                    col: b,
                    window: None,
                });
            }
        });
        assert_eq!(result, Ok(()));
    }
}

/// Rule 5.
#[test]
fn columns_have_the_shape_of_their_segment() {
    let shape = |e| matches!(e, SystemError::Shape { .. });
    let segment = |e| matches!(e, SystemError::Segment { .. });
    let lookup = |e| matches!(e, SystemError::Lookup { .. });
    for lens in [&[3, 4, 48][..], &[3, 0, 64], &[0, 4, 64], &[]] {
        assert!(shape(refusal(
            |s| s.system.columns[s.x.0].lens = lens.into()
        )));
    }
    for (dimension, len) in [(0, 0), (2, 0), (1, 32), (3, 32)] {
        assert!(shape(
            refusal(|s| s.system.columns[2].lens[dimension] = len)
        ));
    }
    assert!(segment(refusal(|s| {
        s.system.columns[2].segment = Segment::Matrix(1);
    })));
    assert!(segment(refusal(|s| {
        s.system.column("gain", Segment::Vector(1), &[64]);
    })));
    let vectors = |numbers: [usize; 2]| {
        validated(|s| {
            for n in numbers {
                s.system.column("gain", Segment::Vector(n), &[64]);
            }
        })
    };
    assert_eq!(vectors([1, 0]), Ok(()));
    assert!(vectors([0, 2]).is_err_and(segment));
    assert!(vectors([0, 0]).is_err_and(segment));
    assert!(segment(refusal(|s| {
        s.system.column("out", Segment::BoundaryOut, &[2, 4, 64]);
        s.system.column("again", Segment::BoundaryOut, &[2, 4, 64]);
    })));
    assert!(segment(refusal(|s| {
        s.system.function("u", "e", &[4], TableId::Exp);
        s.system.lookups[1].value = None;
    })));
    assert!(segment(refusal(|s| {
        s.system.function("u", "e", &[4], TableId::Exp);
        s.system.lookups[1].value = Some(s.x);
    })));
    assert!(segment(refusal(|s| {
        let (_, value) = s.system.function("u", "e", &[4], TableId::Exp);
        s.system.columns[value.0].segment = Segment::BoundaryIn;
    })));
    assert_eq!(
        validated(|s| {
            s.system.function("u", "e", &[4], TableId::Exp);
        }),
        Ok(())
    );
    assert!(lookup(refusal(|s| {
        s.system.lookups.clear();
    })));
    assert!(lookup(refusal(|s| s.system.lookups[0].key = s.x)));
    assert!(lookup(refusal(|s| {
        let again = s.system.lookups[0].clone();
        s.system.lookups.push(again);
    })));
}

/// Rule 6: a broadcast must be a term of its own, and a matrix is folded on one side.
#[test]
fn forms_and_matrices_suit_the_engine() {
    assert!(matches!(
        refusal(|s| {
            let more = View::new(s.x, &[Bind::Var(s.k), Bind::Var(s.i), Bind::Ones]);
            term(s).factors[0].0.push((F::one(), more));
        }),
        SystemError::MixedForm { .. }
    ));
    assert!(matches!(
        refusal(|s| {
            let k = s.k;
            term(s).factors[1].0[0].1.binds[2] = Bind::Var(k);
            term(s).factors[1].0[0].1.binds[0] = Bind::Ones;
        }),
        SystemError::MatrixSides { .. }
    ));
}

/// Rule 6: of the sixteen ways to sum over some of a matrix' variables, two are products with it.
#[test]
fn a_matrix_has_one_side_summed() {
    for mask in 0..16 {
        let result = validated(|s| {
            let vars =
                [(10, 12), (12, 18), (20, 22), (22, 28)].map(|(a, b)| s.system.var("v", a..b));
            let summed = (0..4).filter(|n| mask >> n & 1 == 1).map(|n| vars[n]);
            let view = View::new(ColumnId(2), &vars.map(Bind::Var));
            let relation = &mut s.system.relations[0];
            relation.terms = vec![Term::new(
                F::one(),
                &summed.collect::<Vec<_>>(),
                vec![Form::of(view)],
            )];
            relation.rhs.clear();
        });
        match mask {
            0b0011 | 0b1100 => assert_eq!(result, Ok(())),
            _ => assert!(matches!(result, Err(SystemError::MatrixSides { .. }))),
        }
    }
}

/// Rule 7.
#[test]
fn public_factors_stand_on_their_side() {
    assert!(matches!(
        refusal(|s| {
            let (row, col) = (s.i, s.k);
            term(s).publics.push(Public::Causal {
                row,
                col,
                window: None,
            });
        }),
        SystemError::PublicSide { .. }
    ));
    assert!(matches!(
        refusal(|s| {
            let vars = vec![s.k];
            term(s).lives.push(Live { vars, len: 3 });
        }),
        SystemError::PublicSide { .. }
    ));
    // A one-hot row that is summed over, and an index that is not.
    assert!(matches!(
        refusal(|s| {
            s.system.relations[0].check.push(s.i);
            select(s, s.i, s.k, &[0]);
        }),
        SystemError::PublicSide { .. }
    ));
    assert!(matches!(
        refusal(|s| {
            let row = s.system.var("row", 20..22);
            let index = s.system.var("index", 22..24);
            select(s, row, index, &[0]);
        }),
        SystemError::PublicSide { .. }
    ));
    // The causal triangle is square.
    for (bits, square) in [(2, true), (3, false)] {
        let result = validated(|s| {
            let row = s.system.var("row", 20..20 + bits);
            let col = s.k;
            term(s).contract.push(row);
            term(s).publics.push(Public::Causal {
                row,
                col,
                window: None,
            });
        });
        assert_eq!(result.is_ok(), square, "{result:?}");
        assert!(matches!(
            result,
            Ok(()) | Err(SystemError::PublicSide { .. })
        ));
    }
}

/// Rows, targets and live sets stay within what two bits can count.
#[test]
fn public_ranges_fit_their_variables() {
    let one_hots = |targets: &[usize]| {
        validated(|s| {
            let row = s.system.var("row", 20..22);
            select(s, row, s.k, targets);
        })
    };
    let live = |len, on_the_right| {
        validated(|s| {
            let vars = vec![s.system.var("more", 20..22)];
            let relation = &mut s.system.relations[0];
            let lives = match on_the_right {
                true => &mut relation.rhs[0].lives,
                false => &mut relation.terms[0].lives,
            };
            lives.push(Live { vars, len });
        })
    };
    for fits in [one_hots(&[0, 1, 2, 3]), live(4, true), live(4, false)] {
        assert_eq!(fits, Ok(()));
    }
    let (column, row) = (one_hots(&[0, 1, 2, 4]), one_hots(&[0; 5]));
    for exceeds in [column, row, live(5, true), live(5, false)] {
        assert!(matches!(exceeds, Err(SystemError::PublicRange { .. })));
    }
}

/// A public table has room for its values; its variables that are not summed over are free ones, which
/// no other factor may have; and it names declared variables, each once.
#[test]
fn public_tables_obey_the_rules_of_factors() {
    let table = |len: usize, more: fn(&mut Sample) -> VarId| {
        validated(|s| {
            let vars = vec![s.k, more(s)];
            let values = vec![1; len].into();
            term(s).publics.push(Public::Table { vars, values });
        })
    };
    let fresh: fn(&mut Sample) -> VarId = |s| s.system.var("fresh", 20..22);
    assert_eq!(table(16, fresh), Ok(()));
    let exceeds = table(17, fresh);
    assert!(matches!(exceeds, Err(SystemError::PublicRange { .. })));
    for twice in [table(16, |s| s.k), table(16, |s| s.i)] {
        assert!(matches!(twice, Err(SystemError::Degree { .. })));
    }
    let shared = table(16, |s| s.system.var("shared", 8..10));
    assert!(matches!(shared, Err(SystemError::SharedCoordinate { .. })));
    // A variable that nothing but the table has may be summed over.
    let summed = table(16, |s| {
        let more = s.system.var("more", 20..22);
        term(s).contract.push(more);
        more
    });
    assert_eq!(summed, Ok(()));
    let unknown = table(16, |_| VarId(99));
    assert!(matches!(unknown, Err(SystemError::Unknown { .. })));
}

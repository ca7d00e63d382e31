//! Files that `torch.save` has written, and every way in which an archive or its pickle can be wrong.

use std::io::Cursor;

use safetensors::Dtype;
use sha2::{Digest, Sha256};

use super::super::synthetic::{self, Stored};
use super::super::wanted::Wanted;
use super::super::{ShardError, Slot};
use super::{machine, write};

/// Written by `tests/reference/files.py`.
macro_rules! torch {
    ($name:literal) => {
        include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/reference/files/torch/",
            $name,
            ".bin"
        ))
    };
}

/// The values of tensors of these names and shapes, which are all that is wanted.
fn read(file: &[u8], wanted: &[(&str, &[usize])]) -> Result<Vec<Vec<f32>>, ShardError> {
    let config = synthetic::config(1, 1, 257, 4);
    let mut values = vec![Vec::new(); wanted.len()];
    let slots = wanted
        .iter()
        .zip(&mut values)
        .map(|((name, shape), values)| Slot {
            name: name.to_string(),
            shape: shape.to_vec(),
            values,
        });
    let mut wanted = Wanted::new(&config, slots.collect());
    let digest = super::read(&mut wanted, Cursor::new(file), file.len() as u64)?;
    assert_eq!(digest[..], Sha256::digest(file)[..]);
    assert_eq!(wanted.missing().count(), 0);
    Ok(values)
}

#[track_caller]
fn refused(file: &[u8], parts: &[&str]) {
    let message = read(file, &[("a", &[4])])
        .expect_err("it is refused")
        .to_string();
    for part in parts {
        assert!(message.contains(part), "{part}: {message}");
    }
}

/// What the script stores: 24 numbers, each a multiple of 1/7.
fn sevenths(indices: impl IntoIterator<Item = usize>) -> Vec<f32> {
    indices.into_iter().map(|i| i as f32 / 7.0).collect()
}

#[test]
fn every_type_is_read() {
    let wanted: [(&str, &[usize]); 2] = [("a", &[4, 6]), ("b", &[6])];
    let rounded = |round: fn(f32) -> f32, values: Vec<f32>| -> Vec<f32> {
        values.into_iter().map(round).collect()
    };
    let half: fn(f32) -> f32 = |x| half::f16::from_f32(x).to_f32();
    let brain: fn(f32) -> f32 = |x| half::bf16::from_f32(x).to_f32();
    for (file, round) in [
        (&torch!("float16")[..], half),
        (torch!("bfloat16"), brain),
        (torch!("float64"), |x| x),
    ] {
        let expected = [0..24, 0..6].map(|range| rounded(round, sevenths(range)));
        assert_eq!(read(file, &wanted).expect("it is read"), expected);
    }
    let module: [(&str, &[usize]); 2] = [("weight", &[2, 2]), ("bias", &[2])];
    assert!(read(torch!("module"), &module).is_ok());
}

/// The tensors of `views.bin`.
const VIEWS: [(&str, &[usize]); 6] = [
    ("a", &[6, 4]),
    ("b", &[2, 6]),
    ("c", &[4]),
    ("d", &[2, 2]),
    ("e", &[4, 6]),
    ("f", &[2, 2, 6]),
];

/// Transposed, cut out, with steps: all views of one storage.
#[test]
fn views_are_read_row_by_row() {
    let found = read(torch!("views"), &VIEWS);
    let expected = [
        sevenths((0..24).map(|i| i % 4 * 6 + i / 4)),
        sevenths(6..18),
        sevenths([2, 8, 14, 20]),
        sevenths([0, 3, 12, 15]),
        sevenths(0..24),
        sevenths(0..24),
    ];
    assert_eq!(found.expect("it is read"), expected);
}

#[test]
fn what_torch_saves_beside_tensors_is_refused_by_name() {
    let read_as = |file: &[u8], shape: &[usize]| {
        let error = read(file, &[("a", shape)]).expect_err("it is refused");
        error.to_string()
    };
    let message = read_as(torch!("repeated"), &[3]);
    assert!(message.contains("repeats the numbers"), "{message}");
    for (file, part) in [
        (
            &torch!("negated")[..],
            "a tensor that is not what it stores",
        ),
        (torch!("number"), "\"epoch\" is not a tensor"),
        (torch!("nested"), "\"model\" is not a tensor"),
        (torch!("object"), "torch.nn.modules.linear.Linear"),
        (torch!("legacy"), "before version 1.6"),
        (torch!("script"), "TorchScript"),
    ] {
        let message = read_as(file, &[4, 6]);
        assert!(message.contains(part), "{part}: {message}");
    }
}

fn four() -> Stored {
    Stored {
        name: "a".to_string(),
        dtype: Dtype::F32,
        shape: vec![4],
        bytes: synthetic::encode(Dtype::F32, &[1.0, 2.0, 3.0, 4.0]),
    }
}

/// A file with this pickle and a storage of four numbers.
fn with_pickle(pickle: &[u8]) -> Vec<u8> {
    let storage = four().bytes;
    write::archive("root", &[("data.pkl", pickle), ("data/0", &storage)])
}

/// A pickle of one tensor of a storage of `length` numbers.
fn view(length: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let mut pickle = b"\x80\x02}".to_vec();
    write::text(&mut pickle, "a");
    pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
    write::text(&mut pickle, "storage");
    pickle.extend(b"ctorch\nFloatStorage\n");
    write::text(&mut pickle, "0");
    write::text(&mut pickle, "cpu");
    write::number(&mut pickle, length);
    pickle.extend(b"tQ");
    write::number(&mut pickle, offset);
    for list in [shape, strides] {
        pickle.push(b'(');
        list.iter().for_each(|n| write::number(&mut pickle, *n));
        pickle.push(b't');
    }
    pickle.extend(b"\x89ccollections\nOrderedDict\n)RtRs.");
    pickle
}

/// No view reaches beyond its storage, whatever is multiplied to come there.
#[test]
fn views_outside_of_their_storage_are_refused() {
    let good = with_pickle(&view(4, 0, &[4], &[1]));
    assert_eq!(
        read(&good, &[("a", &[4])]).expect("read"),
        [[1.0, 2.0, 3.0, 4.0]]
    );
    // The numbers of a dimension of one are anywhere.
    let one = with_pickle(&view(4, 0, &[1, 4], &[i64::MAX, 1]));
    assert!(read(&one, &[("a", &[1, 4])]).is_ok());
    let empty = with_pickle(&view(4, 9, &[0, 4], &[4, 1]));
    assert_eq!(read(&empty, &[("a", &[0, 4])]).expect("read"), [[0.0; 0]]);
    let (max, outside) = (i64::MAX, "outside of its storage");
    for (length, offset, strides, part) in [
        (4, 1, 1, outside),
        (4, max, 1, outside),
        (4, 0, 2, outside),
        (4, 0, max, outside),
        (4, 0, max / 2, outside),
        (4, -1, 1, "below zero"),
        (4, 0, -1, "below zero"),
        (5, 0, 1, "another size"),
        (3, 0, 1, "another size"),
        (max, 0, 1, "another size"),
        (-4, 0, 1, "below zero"),
    ] {
        refused(
            &with_pickle(&view(length, offset, &[4], &[strides])),
            &[part],
        );
    }
    for (shape, strides, part) in [
        (&[4][..], &[1, 1][..], "do not fit"),
        (&[1; 9], &[1; 9], "do not fit"),
        (&[5], &[1], "shape"),
        (&[1, 4], &[4, 1], "shape"),
        (&[-4], &[1], "below zero"),
    ] {
        refused(&with_pickle(&view(4, 0, shape, strides)), &[part]);
    }
    // Of a buffer, whose size the view alone says, no more than is stored.
    let mask = |side: i64| {
        let mut pickle = view(4, 0, &[1, 1, side, side], &[0; 4]);
        let name = b"X\x0d\0\0\0h.0.attn.bias";
        pickle.splice(3..9, name.iter().copied());
        with_pickle(&pickle)
    };
    refused(&mask(1 << 31), &["h.0.attn.bias", "repeats"]);
    refused(&mask(i64::MAX), &["h.0.attn.bias", "outside"]);
}

/// A pickle that would run something is refused before anything of it is done.
#[test]
fn nothing_is_called_that_tensors_do_not_need() {
    let call = |global: &str| {
        let mut pickle = [b"\x80\x02", format!("c{global}\n").as_bytes()].concat();
        write::text(&mut pickle, "touch /tmp/owned");
        pickle.extend(b"\x85R.");
        with_pickle(&pickle)
    };
    for global in [
        "os\nsystem",
        "posix\nsystem",
        "builtins\neval",
        "__builtin__\nexec",
        "subprocess\nPopen",
        "torch\nload",
        "torch._utils\n_rebuild_tensor_v3",
        "torch.storage\n_load_from_bytes",
        "torch._utils \n_rebuild_tensor_v2",
        "collections\nOrderedDict.fromkeys",
        "\n",
    ] {
        refused(
            &call(global),
            &[&global.replacen('\n', ".", 1), "nothing of it is run"],
        );
    }
    for (global, part) in [
        ("torch\nFloatStorage", "a call"),
        ("collections\nOrderedDict", "a call"),
        ("torch._utils\n_rebuild_tensor_v2", "a call"),
        ("torch._utils\n_rebuild_parameter", "a call"),
    ] {
        refused(&call(global), &[part]);
    }
}

/// All instructions that `torch.save` does not write, by their names.
#[test]
fn other_instructions_are_refused_by_name() {
    let known = b"\x80.(N\x88\x89KMJ\x8aXc)\x85\x86\x87t}suqrhjQRb";
    for code in 0..=u8::MAX {
        let pickle = [&b"\x80\x02}"[..], &[code]].concat();
        let error = machine::run(&pickle).err().map(|e| e.to_string());
        let named = error
            .as_ref()
            .is_some_and(|e| e.contains("nothing of it is run"));
        assert_eq!(named, !known.contains(&code), "{code:#x}: {error:?}");
    }
    for (code, name) in [
        (b"i", "INST"),
        (b"\x81", "NEWOBJ"),
        (b"\x93", "STACK_GLOBAL"),
        (b"\x82", "EXT"),
    ] {
        refused(&with_pickle(code), &[name, "at byte 0"]);
    }
}

/// Whatever is on the stack and in the memo.
#[test]
fn malformed_pickles_are_refused() {
    for (pickle, part) in [
        (&b""[..], "ends within"),
        (b".", "not on its stack"),
        (b"N.", "what it holds"),
        (b"}N.", "what it holds"),
        (b"}.N", "goes on"),
        (b"}N", "ends within"),
        (b"\x80", "ends within"),
        (b"R", "not on its stack"),
        (b"(}t", "ends within"),
        (b"t", "not begun"),
        (b"N(\x85", "not on its stack"),
        (b"}(Nu", "without a value"),
        (b"N(NNu", "no dictionary"),
        (b"(NNu", "not on its stack"),
        (b"}NNs.", "no text"),
        (b"h\0", "not memorized"),
        (b"j\xff\xff\xff\xff", "not memorized"),
        (b"Nq\x01", "out of order"),
        (b"Nr\xff\xff\xff\xff", "out of order"),
        (b"q\0", "not on its stack"),
        (b"\x8a\x09123456789", "64 bits"),
        (b"X\xff\xff\xff\xffa", "ends within"),
        (b"X\x01\0\0\0\xff", "UTF-8"),
        (b"ctorch", "ends within"),
        (b"NQ", "no storage"),
        (b")Q", "no storage"),
        (b"NNb", "has none"),
        (b"}}X\x04\0\0\0keysNsb", "attributes"),
        (b"}X\x01\0\0\0aNs.", "\"a\" is not a tensor"),
    ] {
        let error = machine::run(pickle).expect_err("it is refused").to_string();
        assert!(error.contains(part), "{pickle:?}: {error}");
    }
    let one = write::pickle(&[four()]);
    for length in 0..one.len() {
        assert!(machine::run(&one[..length]).is_err(), "{length}");
    }
    // The same name twice would be the last one's elsewhere.
    let body = &one[4..one.len() - 2];
    let twice = [b"\x80\x02}(", body, body, b"u."].concat();
    refused(&with_pickle(&twice), &["twice"]);
    let many = [b"\x80\x02}(", &b"N".repeat(1 << 19)[..], b"u."].concat();
    refused(&with_pickle(&many), &["instructions"]);
    let long = [&many[..], &[0; 1 << 22]].concat();
    refused(&with_pickle(&long), &["data.pkl", "bytes"]);
}

#[test]
fn archives_that_are_not_what_torch_writes_are_refused() {
    let (pickle, storage) = (write::pickle(&[four()]), four().bytes);
    let archive = |entries: &[(&str, &[u8])]| write::archive("root", entries);
    let usual: [(&str, &[u8]); 3] = [
        ("data.pkl", &pickle),
        ("byteorder", b"little"),
        ("data/0", &storage),
    ];
    let good = archive(&usual);
    assert!(read(&good, &[("a", &[4])]).is_ok());
    for (entries, part) in [
        (&usual[1..], "not one data.pkl"),
        (&usual[..2], "no storage \"0\""),
        (
            &[usual[0], usual[2], ("byteorder", b"big")][..],
            "little-endian",
        ),
        (&[usual[0], usual[2], ("data/0", b"")][..], "an entry twice"),
        (
            &[usual[0], usual[2], ("data.pkl/data.pkl", b"")][..],
            "not one data.pkl",
        ),
        (
            &[usual[0], usual[2], ("constants.pkl", b"")][..],
            "TorchScript",
        ),
        (&[usual[0], ("data/0", &storage[..12])][..], "another size"),
    ] {
        refused(&archive(entries), &[part]);
    }
    // Two names for one storage, of two types of one size.
    let mut other = four();
    (other.name, other.dtype) = ("b".to_string(), Dtype::F64);
    other.bytes.extend([0; 16]);
    let two = write::pickle(&[four(), other.clone()]);
    let key = b"X\x01\0\0\x001X\x03\0\0\0cpu";
    let at = two
        .windows(key.len())
        .position(|w| w == key)
        .expect("the second storage");
    let mut two = two;
    two[at + 5] = b'0';
    refused(
        &archive(&[("data.pkl", &two), ("data/0", &storage)]),
        &["another size"],
    );
    let length = two[at..]
        .windows(2)
        .position(|w| w == [0x8a, 8])
        .expect("its length");
    two[at + length + 2] = 2;
    refused(
        &archive(&[("data.pkl", &two), ("data/0", &storage)]),
        &["two types"],
    );
    let directory = good
        .windows(4)
        .position(|w| w == b"PK\x01\x02")
        .expect("a directory");
    let change = |at: usize, bytes: &[u8]| {
        let mut file = good.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let end = good.len() - 22;
    let long = &u32::MAX.to_le_bytes();
    for (file, part) in [
        (change(directory + 10, &[8]), "compressed"),
        (change(directory + 8, &[1]), "encrypted"),
        (change(directory + 20, long), "the directory ends"),
        (change(directory + 20, &[0; 4]), "two sizes"),
        (change(directory + 42, &[1]), "lies in something else"),
        (change(directory + 28, &[0xff, 0xff]), "ends within"),
        (change(directory, b"PX"), "is none"),
        (change(end + 16, long), "not where"),
        (change(end + 12, long), "not where"),
        (change(end + 10, &[0xff, 0xff]), "ends within"),
        (change(end + 10, &[1]), "between"),
        (change(end, b"PX"), "not an archive"),
        (change(30, b"other"), "another than listed"),
        (change(26, &[0xff, 0xff]), "another than listed"),
        (change(0, b"\x80\x02\x8a\x0a\x6c"), "1.6"),
        (
            b"not a zip file, but long enough to be one".to_vec(),
            "not an archive",
        ),
        (Vec::new(), "not an archive"),
        ([&good[..], b"\0"].concat(), "not an archive"),
    ] {
        refused(&file, &[part]);
    }
    for length in 0..good.len() {
        assert!(read(&good[..length], &[("a", &[4])]).is_err(), "{length}");
    }
}

/// A byte that is changed is noticed, or is none of the tensor's, or changes its number and nothing else.
#[test]
fn no_flipped_byte_causes_a_panic() {
    let small: [(&str, &[usize]); 1] = [("a", &[4])];
    for (original, names) in [
        (&torch!("views")[..], &VIEWS[..]),
        (&write::file(&[four()]), &small),
    ] {
        let good = read(original, names).expect("it is read");
        let mut file = original.to_vec();
        let mut refused = 0;
        for at in 0..file.len() {
            for mask in [1, 0x80] {
                file[at] ^= mask;
                match read(&file, names) {
                    Ok(found) => assert_eq!(found.len(), good.len()),
                    Err(_) => refused += 1,
                }
                file[at] ^= mask;
            }
        }
        assert!(refused > file.len() / 2, "{refused} of {}", 2 * file.len());
    }
}

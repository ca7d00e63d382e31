//! Safetensors files whose length is not what their header or the file system says.

use std::io;

use super::wanted::Wanted;
use super::{ShardError, Slot, TensorError, shard, synthetic};

/// Reads a file said to have `length` bytes, in which one tensor of four numbers is wanted.
fn read(file: &[u8], length: u64) -> Result<(), ShardError> {
    let (config, mut values) = (synthetic::config(1, 1, 257, 2), Vec::new());
    let slot = Slot {
        name: "ln_f.bias".into(),
        shape: vec![4],
        values: &mut values,
    };
    let mut wanted = Wanted::new(&config, vec![slot]);
    shard::read(&mut wanted, file, length).map(|_| ())
}

fn header(tensor: &str, dtype: &str, shape: &str, bytes: usize) -> Vec<u8> {
    let json = format!(
        r#"{{"{tensor}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{bytes}]}}}}"#
    );
    [&(json.len() as u64).to_le_bytes(), json.as_bytes()].concat()
}

fn ends_early(result: Result<(), ShardError>) -> bool {
    matches!(result, Err(ShardError::Io(e)) if e.kind() == io::ErrorKind::UnexpectedEof)
}

/// The header may be all there is to a file, and no more.
#[test]
fn a_header_fits_into_the_file() {
    let empty = [&2u64.to_le_bytes()[..], b"{}"].concat();
    assert!(read(&empty, 10).is_ok());
    assert!(matches!(read(&empty, 9), Err(ShardError::HeaderLength(2))));
    // Eight bytes are a length, of a header that is not JSON; seven are none.
    assert!(matches!(read(&[0; 8], 8), Err(ShardError::Header(_))));
    for length in [0, 7] {
        let result = read(&[0; 8], length);
        assert!(
            matches!(result, Err(ShardError::HeaderLength(8))),
            "{length}"
        );
    }
    // However large the file: a header of the largest size is looked for, a larger one is not.
    let largest = 1u64 << 24;
    assert!(ends_early(read(&largest.to_le_bytes(), 1 << 40)));
    assert!(matches!(
        read(&(largest + 1).to_le_bytes(), 1 << 40),
        Err(ShardError::HeaderLength(found)) if found == largest + 1
    ));
}

/// Its header says that a tensor is of no use, so none of its bytes are asked for.
#[test]
fn a_tensor_is_refused_before_it_is_read() {
    for (dtype, shape, bytes) in [("F32", "[5]", 20), ("I64", "[4]", 32), ("I8", "[4]", 4)] {
        let file = header("ln_f.bias", dtype, shape, bytes);
        let error = read(&file, file.len() as u64 + bytes as u64).unwrap_err();
        match error {
            ShardError::Tensor {
                source: TensorError::Shape { .. } | TensorError::Dtype { .. },
                ..
            } => {}
            other => panic!("{dtype} {shape}: {other}"),
        }
    }
}

/// A file may become shorter while it is read; what is then missing of it is noticed.
#[test]
fn a_file_that_ends_early_is_noticed() {
    let mask: Vec<u8> = [1f32, 0.0, 1.0, 1.0]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    for (tensor, shape) in [("ln_f.bias", "[4]"), ("h.0.attn.bias", "[1,1,2,2]")] {
        let file = header(tensor, "F32", shape, 16);
        let length = file.len() as u64 + 16;
        let whole = [&file[..], &mask].concat();
        assert!(read(&whole, length).is_ok(), "{tensor}");
        for missing in [1, 16] {
            let rest = &whole[..whole.len() - missing];
            assert!(ends_early(read(rest, length)), "{tensor}: {missing}");
        }
    }
}

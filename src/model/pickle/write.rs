//! Files of `torch.save` for tests and fuzzing, as plain as they can be.

use safetensors::Dtype;

use super::super::synthetic::Stored;

/// The bytes of a file with these tensors, each in a storage of its own.
pub fn file(tensors: &[Stored]) -> Vec<u8> {
    let pickle = pickle(tensors);
    let storages: Vec<(String, &[u8])> = (tensors.iter().enumerate())
        .map(|(index, tensor)| (format!("data/{index}"), &tensor.bytes[..]))
        .collect();
    let mut entries = vec![("data.pkl", &pickle[..]), ("byteorder", b"little")];
    entries.extend(storages.iter().map(|(name, bytes)| (name.as_str(), *bytes)));
    archive("archive", &entries)
}

/// The pickle of a dictionary of tensors, each contiguous and in the storage of its number.
pub fn pickle(tensors: &[Stored]) -> Vec<u8> {
    let mut pickle = b"\x80\x02}(".to_vec();
    for (index, tensor) in tensors.iter().enumerate() {
        text(&mut pickle, &tensor.name);
        pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut pickle, "storage");
        let numbers = tensor.bytes.len() as i64 * 8 / tensor.dtype.bitsize() as i64;
        pickle.extend(format!("ctorch\n{}Storage\n", storage(tensor.dtype)).bytes());
        text(&mut pickle, &index.to_string());
        text(&mut pickle, "cpu");
        number(&mut pickle, numbers);
        pickle.extend(b"tQ");
        number(&mut pickle, 0);
        let stride = |axis: usize| tensor.shape[axis + 1..].iter().product::<usize>();
        pickle.push(b'(');
        tensor
            .shape
            .iter()
            .for_each(|n| number(&mut pickle, *n as i64));
        pickle.extend(b"t(");
        (0..tensor.shape.len()).for_each(|axis| number(&mut pickle, stride(axis) as i64));
        pickle.extend(b"t\x89ccollections\nOrderedDict\n)RtR");
    }
    pickle.extend(b"u.");
    pickle
}

fn storage(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F32 => "Float",
        Dtype::F64 => "Double",
        Dtype::F16 => "Half",
        Dtype::BF16 => "BFloat16",
        Dtype::U8 => "Byte",
        Dtype::BOOL => "Bool",
        other => panic!("no tensors of {other:?} are written"),
    }
}

/// BINUNICODE.
pub fn text(pickle: &mut Vec<u8>, text: &str) {
    pickle.push(b'X');
    pickle.extend((text.len() as u32).to_le_bytes());
    pickle.extend(text.bytes());
}

/// LONG1 of eight bytes.
pub fn number(pickle: &mut Vec<u8>, number: i64) {
    pickle.extend([0x8a, 8]);
    pickle.extend(number.to_le_bytes());
}

/// A zip archive whose entries, stored, are called `root/NAME`.
pub fn archive(root: &str, entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in entries {
        let name = format!("{root}/{name}");
        let start = file.len() as u32;
        let size = (content.len() as u32).to_le_bytes();
        // Version, flags, method, time, date, checksum, sizes, lengths of the name and of extra fields.
        let mut fields = vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        fields.extend(crc32(content).to_le_bytes());
        fields.extend([size, size].concat());
        fields.extend((name.len() as u16).to_le_bytes());
        fields.extend([0, 0]);
        file.extend([b"PK\x03\x04", &fields[..], name.as_bytes(), content].concat());
        // Then of a comment, two of attributes, and the place.
        let attributes = [0; 10];
        let place = start.to_le_bytes();
        let entry = [
            b"PK\x01\x02\0\0",
            &fields[..],
            &attributes,
            &place,
            name.as_bytes(),
        ];
        directory.extend(entry.concat());
    }
    let (start, size) = (file.len() as u32, directory.len() as u32);
    let count = (entries.len() as u16).to_le_bytes();
    let numbers = [
        &[0; 4],
        &count[..],
        &count,
        &size.to_le_bytes(),
        &start.to_le_bytes(),
        &[0; 2],
    ];
    file.extend([&directory[..], b"PK\x05\x06", &numbers.concat()].concat());
    file
}

/// The checksum of zip archives, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| crc >> 1 ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), step);
    !bytes.iter().fold(!0, byte)
}

//! Safetensors files and indices: what is read, and what each kind of damage is called.
#![allow(clippy::unwrap_used, reason = "tests on tiny files")]

use std::fs;
use std::path::Path;
use transformer::{Array, Error, Precision, Weights};

/// A file with this header and so many bytes of numbers, all zero.
fn file(header: &str, numbers: usize) -> Vec<u8> {
    with_length(header.len() as u64, header, numbers)
}

fn with_length(length: u64, header: &str, numbers: usize) -> Vec<u8> {
    [&length.to_le_bytes()[..], header.as_bytes(), &vec![0; numbers]].concat()
}

fn tensor(dtype: &str, shape: &str, start: u64, end: u64) -> String {
    format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}"#)
}

fn refusal(bytes: Vec<u8>) -> String {
    let error = Weights::from_bytes(bytes, "w.safetensors").unwrap_err();
    assert!(matches!(error, Error::Safetensors { .. }), "{error}");
    error.to_string()
}

#[test]
fn every_kind_of_damage_is_called_by_its_name() {
    let f32s = |start, end| tensor("F32", "[2]", start, end);
    let one = |tensor: String| format!(r#"{{"a":{tensor}}}"#);
    let two = |a: String, b: String| format!(r#"{{"a":{a},"b":{b}}}"#);
    let cases = [
        (Vec::new(), "it has 0 bytes"),
        (vec![0; 7], "it has 7 bytes"),
        (with_length(u64::MAX, "{}", 0), "18446744073709551615 bytes"),
        (with_length(100_000_001, "{}", 0), "the largest allowed is 100000000"),
        (with_length(3, "{}", 0), "ends at byte 11, but the file has 10 bytes"),
        (file("[]", 0), "expected a table of tensors"),
        (file("{", 0), "EOF"),
        (file("", 0), "EOF"),
        ([&2_u64.to_le_bytes()[..], b"\xff\xff"].concat(), "invalid utf-8"),
        (file(&one(f32s(0, 8)), 7), "bytes 0 to 8 of 7 bytes"),
        (file(&one(f32s(0, 8)), 9), "fill 8 bytes, but 9 bytes"),
        (file(&one(f32s(8, 0)), 8), "bytes 8 to 0"),
        (file(&one(f32s(1, 9)), 9), "leaves a gap"),
        (file(&two(f32s(0, 8), f32s(4, 12)), 12), "`b` overlaps"),
        (file(&two(f32s(0, 8), f32s(0, 8)), 8), "overlaps"),
        (file(&two(f32s(0, 8), f32s(12, 20)), 20), "`b` leaves a gap"),
        (file(&one(tensor("F32", "[3]", 0, 8)), 8), "do not hold [3] numbers of type F32"),
        (file(&one(tensor("F16", "[2]", 0, 8)), 8), "do not hold [2] numbers of type F16"),
        (file(&one(tensor("F4", "[3]", 0, 1)), 1), "do not hold [3] numbers of type F4"),
        (file(&one(tensor("F99", "[2]", 0, 8)), 8), "unknown variant `F99`"),
        (file(&one(tensor("F32", "[-2]", 0, 8)), 8), "-2"),
        (file(&one(tensor("F32", "[4611686018427387906]", 0, 8)), 8), "do not hold"),
        (file(&one(tensor("F32", "[4294967296,4294967296]", 0, 0)), 0), "do not hold"),
        (file(&one(tensor("F32", "[0.5]", 0, 0)), 0), "0.5"),
        (file(&one(tensor("F32", &format!("{:?}", [1; 17]), 0, 4)), 4), "at most 16 sizes"),
        (file(&format!(r#"{{"a":{0},"a":{0}}}"#, f32s(0, 8)), 8), "`a` stands there twice"),
        (file(r#"{"a":{"dtype":"F32","shape":[1]}}"#, 4), "data_offsets"),
        (file(r#"{"__metadata__":{"a":[1]}}"#, 0), "expected a string"),
        (file(&format!(r#"{{"a":{}"#, "[".repeat(50_000)), 0), "expected value"),
        (file(&format!(r#"{{"a":{{"x":{}"#, "[".repeat(50_000)), 0), "unknown field `x`"),
        (file(&format!(r#"{{"__metadata__":{}"#, "[".repeat(50_000)), 0), "expected a map"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0".to_vec(), "git lfs pull"),
        (b"PK\x03\x04and more".to_vec(), "save it as safetensors"),
        (b"\x80\x02}q\x00(X\x01".to_vec(), "save it as safetensors"),
        (b"<!DOCTYPE html>".to_vec(), "web page"),
    ];
    for (bytes, part) in cases {
        let message = refusal(bytes);
        assert!(message.contains(part) && message.contains("w.safetensors"), "{part}: {message}");
    }
}

/// Sizes that agree with their shapes and follow each other, but whose sum is the largest number there is.
#[test]
fn sizes_whose_sum_overflows_are_refused() {
    let most = (1_u64 << 61) - 1;
    let mut parts: Vec<String> = (0..8)
        .map(|index| {
            let shape = format!("[{most}]");
            format!(r#""t{index}":{}"#, tensor("U8", &shape, index * most, (index + 1) * most))
        })
        .collect();
    parts.push(format!(r#""u":{}"#, tensor("U8", "[7]", 8 * most, u64::MAX)));
    let message = refusal(file(&format!("{{{}}}", parts.join(",")), 8));
    assert!(message.contains("of 8 bytes of numbers"), "{message}");
}

#[test]
fn empty_tensors_and_other_orders_are_read() {
    let header = format!(
        r#"{{"__metadata__":{{"format":"pt"}},"b":{},"a":{},"none":{},"scalar":{}}}"#,
        tensor("F32", "[1]", 4, 8),
        tensor("F32", "[1,1]", 0, 4),
        tensor("F32", "[0,7]", 4, 4),
        tensor("F32", "[]", 8, 12),
    );
    let mut bytes = file(&header, 0);
    bytes.extend([1.0_f32, 2.0, 3.0].iter().flat_map(|number| number.to_le_bytes()));
    let mut weights = Weights::from_bytes(bytes, "w").unwrap();
    assert_eq!(weights.shape("none"), Some(&[0, 7][..]));
    assert_eq!(weights.take("b", &[1]).unwrap(), [2.0]);
    assert_eq!(weights.take("a", &[1, 1]).unwrap(), [1.0]);
    assert_eq!(weights.take("none", &[0, 7]).unwrap(), [0.0; 0]);
    assert_eq!(weights.take("scalar", &[]).unwrap(), [3.0]);
    weights.finish().unwrap();
    assert!(Weights::from_bytes(file("{}", 0), "w").unwrap().names().next().is_none());
}

fn weights(names: &[&str]) -> Weights {
    let mut weights = Weights::default();
    for name in names {
        weights.insert(*name, Array { shape: vec![2], data: vec![1.5, -2.0] });
    }
    weights
}

#[test]
fn every_precision_is_written_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    // The last does not fit F16's exponent; the third needs 9 significant bits, the second 12.
    let numbers = vec![1.5, 2049.0, 257.0, 1e-30];
    let mut weights = Weights::default();
    weights.insert("a", Array { shape: vec![4], data: numbers.clone() });
    let cases = [
        (Precision::F32, numbers),
        (Precision::F16, vec![1.5, 2048.0, 257.0, 0.0]),
        (Precision::Bf16, vec![1.5, 2048.0, 256.0, f32::from_bits(0x0da2_0000)]),
    ];
    for (precision, expected) in cases {
        weights.save(&path, precision).unwrap();
        assert_eq!(fs::read(&path).unwrap(), weights.to_bytes(precision).unwrap());
        let read = Weights::from_file(&path).unwrap();
        assert_eq!(read.get("a").unwrap().data, expected, "{precision:?}");
        // From a mapped file into the same file, in its own precision and another.
        read.save(&path, precision).unwrap();
        assert_eq!(Weights::from_file(&path).unwrap().get("a").unwrap().data, expected);
        read.save(&path, Precision::F32).unwrap();
        assert_eq!(Weights::from_file(&path).unwrap().get("a").unwrap().data, expected);
    }
}

#[test]
fn an_array_that_does_not_fill_its_shape_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let mut weights = Weights::default();
    weights.insert("a", Array { shape: vec![3], data: vec![0.0; 2] });
    let error = weights.save(&path, Precision::F32).unwrap_err();
    assert!(matches!(error, Error::Safetensors { .. }), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

fn write_index(folder: &Path, map: &str) {
    let index = format!(r#"{{"metadata": {{"total_size": 8}}, "weight_map": {map}}}"#);
    fs::write(folder.join("model.safetensors.index.json"), index).unwrap();
}

fn from_index(map: &str) -> (tempfile::TempDir, Result<Weights, Error>) {
    let folder = tempfile::tempdir().unwrap();
    weights(&["a"]).save(&folder.path().join("1.safetensors"), Precision::F32).unwrap();
    weights(&["b", "c"]).save(&folder.path().join("2.safetensors"), Precision::F16).unwrap();
    weights(&["a"]).save(&folder.path().join("again.safetensors"), Precision::F16).unwrap();
    write_index(folder.path(), map);
    let weights = Weights::from_folder(folder.path());
    (folder, weights)
}

#[test]
fn an_index_must_describe_the_files_beside_it() {
    let one = |shard: &str| format!(r#"{{"a": {}}}"#, serde_json::Value::from(shard));
    let outside = "which is not a file inside the folder";
    let cases = [
        (one("../1.safetensors"), outside),
        (one("../../etc/passwd"), outside),
        (one("/etc/passwd"), outside),
        (one("./1.safetensors"), outside),
        (one("sub/../1.safetensors"), outside),
        (one(r"..\1.safetensors"), outside),
        (one("1.safetensors\0"), outside),
        (one(""), outside),
        (one("model.safetensors.index.json"), "an index cannot name an index"),
        (one("other.index.json"), "an index cannot name an index"),
        (one("pytorch_model-1.bin"), "save the weights as safetensors"),
        (one("3.safetensors"), "names 3.safetensors, which is not there"),
        (one("sub/3.safetensors"), "names sub/3.safetensors, which is not there"),
        (one("2.safetensors"), "but is in none of the files"),
        (
            r#"{"a": "1.safetensors", "b": "1.safetensors", "c": "2.safetensors"}"#.to_owned(),
            "2.safetensors; the files do not belong together",
        ),
        (r#"{"a": "1.safetensors", "x": "again.safetensors"}"#.to_owned(), "tensor `a` is in "),
        (
            r#"{"a": "1.safetensors", "a": "again.safetensors"}"#.to_owned(),
            "`a` stands there twice",
        ),
        (r#"{"a": ["1.safetensors"]}"#.to_owned(), "expected a string"),
        ("[]".to_owned(), "expected a table from tensors to files"),
    ];
    for (map, part) in cases {
        let message = from_index(&map).1.unwrap_err().to_string();
        assert!(message.contains(part), "{map}: {message}");
    }
}

#[test]
fn tensors_that_the_index_leaves_out_are_there_nevertheless() {
    let (folder, weights) = from_index(r#"{"a": "1.safetensors", "b": "2.safetensors"}"#);
    let mut weights = weights.unwrap();
    for name in ["a", "b"] {
        assert_eq!(weights.take(name, &[2]).unwrap(), [1.5, -2.0]);
    }
    // What is wrong with a tensor is said of its own file.
    let second = folder.path().join("2.safetensors").display().to_string();
    let error = weights.clone().take("c", &[3]).unwrap_err().to_string();
    assert!(error.contains(&second) && error.contains("[2], expected [3]"), "{error}");
    let error = weights.finish().unwrap_err().to_string();
    assert!(error.contains(&second) && error.contains("`c`"), "{error}");
}

#[test]
fn a_folder_without_safetensors_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("pytorch_model.bin"), "PK").unwrap();
    let error = Weights::from_folder(folder.path()).unwrap_err().to_string();
    assert!(error.contains("save the weights there as safetensors"), "{error}");
    fs::create_dir(folder.path().join("model.safetensors")).unwrap();
    let error = Weights::from_folder(folder.path()).unwrap_err().to_string();
    assert!(error.contains("model.safetensors") && error.contains("directory"), "{error}");
}

#[cfg(unix)]
#[test]
fn links_are_followed_unless_they_lead_nowhere() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let (model, blob) = (folder.path().join("model"), folder.path().join("blob"));
    fs::create_dir(&model).unwrap();
    weights(&["a"]).save(&blob, Precision::F32).unwrap();
    let file = model.join("model.safetensors");
    let read = || Weights::from_folder(&model).map_err(|error| error.to_string());

    symlink("../blob", &file).unwrap();
    assert_eq!(read().unwrap().names().collect::<Vec<_>>(), ["a"]);
    // To itself, to nothing, to what never ends.
    for target in ["model.safetensors", "../nothing", "/dev/zero"] {
        fs::remove_file(&file).unwrap();
        symlink(target, &file).unwrap();
        let error = read().unwrap_err();
        assert!(error.contains("cannot read") && error.contains("model.safetensors"), "{error}");
    }
    fs::remove_file(&file).unwrap();

    let index = model.join("model.safetensors.index.json");
    symlink("model.safetensors.index.json", &index).unwrap();
    let error = read().unwrap_err();
    assert!(error.contains("cannot read") && error.contains("index.json"), "{error}");
    fs::remove_file(&index).unwrap();
    write_index(&model, r#"{"a": "loop.safetensors"}"#);
    symlink("loop.safetensors", model.join("loop.safetensors")).unwrap();
    let error = read().unwrap_err();
    assert!(error.contains("cannot read") && error.contains("loop.safetensors"), "{error}");
}

#[test]
fn a_replaced_file_stays_what_it_was_for_its_reader() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    weights(&["a"]).save(&path, Precision::F32).unwrap();
    let mut old = Weights::from_file(&path).unwrap();
    weights(&["b"]).save(&path, Precision::F16).unwrap();
    assert_eq!(old.take("a", &[2]).unwrap(), [1.5, -2.0]);
    let shown = format!("{:?}", Weights::from_file(&path).unwrap());
    assert!(shown.contains("F16") && shown.len() < 400, "{shown}");
}

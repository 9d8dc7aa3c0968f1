//! Types and shapes that follow from operators, against those that a file states.

use std::path::{Path, PathBuf};

use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::tensor_proto::DataType;
use akidb_onnx::proto::tensor_shape_proto::{Dimension, dimension};
use akidb_onnx::proto::{
    AttributeProto, GraphProto, ModelProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
    TypeProto, ValueInfoProto, type_proto,
};
use akidb_onnx::validate::{Finding, Severity, validate};

use akidb_testing::graphs::{encode, int, ints, new_node};

/// -1 is a variable axis.
fn info(name: &str, dtype: DataType, dims: &[i64]) -> ValueInfoProto {
    let dim = dims.iter().map(|&len| Dimension {
        value: Some(match len {
            -1 => dimension::Value::DimParam("n".to_owned()),
            len => dimension::Value::DimValue(len),
        }),
        denotation: None,
    });
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                elem_type: Some(dtype as i32),
                shape: Some(TensorShapeProto { dim: dim.collect() }),
            })),
            denotation: None,
        }),
        ..Default::default()
    }
}

/// One node: its inputs as `in0`, `in1` …, constants of integers as `c1`, `c2` … at their places,
/// and the stated output.
struct Case<'a> {
    op_type: &'a str,
    inputs: &'a [(DataType, &'a [i64])],
    /// Inputs behind `inputs`.
    constants: &'a [&'a [i64]],
    attributes: Vec<AttributeProto>,
    output: (DataType, &'a [i64]),
}

fn findings(case: &Case<'_>) -> Vec<Finding> {
    let names = (0..case.inputs.len()).map(|i| format!("in{i}"));
    let constants = (0..case.constants.len()).map(|i| format!("c{i}"));
    let all: Vec<String> = names.chain(constants).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let domain = match case.op_type {
        "MatMulNBits"
        | "GroupQueryAttention"
        | "MultiHeadAttention"
        | "SkipSimplifiedLayerNormalization" => "com.microsoft",
        _ => "",
    };
    let inputs = case.inputs.iter().enumerate();
    let constants = case.constants.iter().enumerate();
    let node = new_node(
        domain,
        case.op_type,
        "the node",
        &all,
        &["out"],
        case.attributes.clone(),
    );
    let graph = GraphProto {
        node: vec![node],
        input: inputs
            .map(|(i, (dtype, dims))| info(&format!("in{i}"), *dtype, dims))
            .collect(),
        output: vec![info("out", case.output.0, case.output.1)],
        initializer: constants
            .map(|(i, values)| TensorProto {
                name: Some(format!("c{i}")),
                data_type: Some(DataType::Int64 as i32),
                dims: vec![values.len() as i64],
                int64_data: values.to_vec(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let import = |domain: &str, version| OperatorSetIdProto {
        domain: Some(domain.to_owned()),
        version: Some(version),
    };
    let model = ModelProto {
        graph: Some(graph),
        opset_import: vec![import("", 21), import("com.microsoft", 1)],
        ..Default::default()
    };
    let mut findings = validate(&OnnxModel::from_bytes(encode(&model)).unwrap());
    findings.retain(|finding| finding.severity != Severity::Note);
    findings
}

const F32: DataType = DataType::Float;
const F16: DataType = DataType::Float16;
const I64: DataType = DataType::Int64;

fn case<'a>(
    op_type: &'a str,
    inputs: &'a [(DataType, &'a [i64])],
    constants: &'a [&'a [i64]],
    attributes: Vec<AttributeProto>,
    output: (DataType, &'a [i64]),
) -> Case<'a> {
    Case {
        op_type,
        inputs,
        constants,
        attributes,
        output,
    }
}

/// What each operator makes of its inputs.
fn right<'a>() -> Vec<Case<'a>> {
    vec![
        case(
            "MatMul",
            &[(F32, &[-1, 4, 3]), (F32, &[3, 5])],
            &[],
            vec![],
            (F32, &[-1, 4, 5]),
        ),
        case(
            "MatMul",
            &[(F32, &[3]), (F32, &[7, 3, 5])],
            &[],
            vec![],
            (F32, &[7, 5]),
        ),
        case(
            "Gemm",
            &[(F32, &[3, 4]), (F32, &[5, 3])],
            &[],
            vec![int("transA", 1), int("transB", 1)],
            (F32, &[4, 5]),
        ),
        case(
            "MatMulInteger",
            &[(DataType::Uint8, &[2, 3]), (DataType::Int8, &[3, 4])],
            &[],
            vec![],
            (DataType::Int32, &[2, 4]),
        ),
        case(
            "Add",
            &[(F32, &[8, 1, 6]), (F32, &[7, 1])],
            &[],
            vec![],
            (F32, &[8, 7, 6]),
        ),
        case(
            "Pow",
            &[(F32, &[2, 3]), (I64, &[3])],
            &[],
            vec![],
            (F32, &[2, 3]),
        ),
        case(
            "Equal",
            &[(I64, &[2, 1]), (I64, &[3])],
            &[],
            vec![],
            (DataType::Bool, &[2, 3]),
        ),
        case(
            "Where",
            &[(DataType::Bool, &[2, 1]), (F16, &[]), (F16, &[3])],
            &[],
            vec![],
            (F16, &[2, 3]),
        ),
        case(
            "Max",
            &[(F32, &[2]), (F32, &[4, 1]), (F32, &[])],
            &[],
            vec![],
            (F32, &[4, 2]),
        ),
        case("Softmax", &[(F16, &[2, 3])], &[], vec![], (F16, &[2, 3])),
        case(
            "Cast",
            &[(F32, &[2, 3])],
            &[],
            vec![int("to", 10)],
            (F16, &[2, 3]),
        ),
        case(
            "ReduceMean",
            &[(F32, &[2, 3, 4])],
            &[],
            vec![ints("axes", &[-1])],
            (F32, &[2, 3, 1]),
        ),
        case(
            "ReduceMean",
            &[(F32, &[2, 3, 4])],
            &[&[1]],
            vec![int("keepdims", 0)],
            (F32, &[2, 4]),
        ),
        case(
            "ReduceSum",
            &[(F32, &[2, 3])],
            &[],
            vec![int("keepdims", 0)],
            (F32, &[]),
        ),
        case(
            "Transpose",
            &[(F32, &[2, 3, 4])],
            &[],
            vec![ints("perm", &[2, 0, 1])],
            (F32, &[4, 2, 3]),
        ),
        case("Transpose", &[(F32, &[2, 3])], &[], vec![], (F32, &[3, 2])),
        case(
            "Reshape",
            &[(F32, &[2, 3, 4])],
            &[&[0, -1]],
            vec![],
            (F32, &[2, 12]),
        ),
        case(
            "Reshape",
            &[(F32, &[-1, 3, 4])],
            &[&[0, -1, 2]],
            vec![],
            (F32, &[-1, -1, 2]),
        ),
        case(
            "Reshape",
            &[(F32, &[-1, 3]), (I64, &[4])],
            &[],
            vec![],
            (F32, &[-1, -1, -1, -1]),
        ),
        case(
            "Unsqueeze",
            &[(F32, &[2, 3])],
            &[&[0, -1]],
            vec![],
            (F32, &[1, 2, 3, 1]),
        ),
        case(
            "Squeeze",
            &[(F32, &[1, 2, 1])],
            &[&[-1]],
            vec![],
            (F32, &[1, 2]),
        ),
        case(
            "Gather",
            &[(F32, &[9, 5]), (I64, &[-1, 3])],
            &[],
            vec![],
            (F32, &[-1, 3, 5]),
        ),
        case(
            "Gather",
            &[(F32, &[9, 5]), (I64, &[])],
            &[],
            vec![int("axis", 1)],
            (F32, &[9]),
        ),
        case(
            "Concat",
            &[(F32, &[2, 3]), (F32, &[-1, 4])],
            &[],
            vec![int("axis", -1)],
            (F32, &[2, 7]),
        ),
        case(
            "Slice",
            &[(F32, &[10, 4])],
            &[&[2], &[i64::MAX], &[0], &[3]],
            vec![],
            (F32, &[3, 4]),
        ),
        case(
            "Slice",
            &[(F32, &[10, 4])],
            &[&[-1], &[-100], &[1], &[-1]],
            vec![],
            (F32, &[10, 4]),
        ),
        case("Split", &[(F32, &[6, 4])], &[&[6]], vec![], (F32, &[6, 4])),
        case(
            "Expand",
            &[(F32, &[3, 1])],
            &[&[2, 1, 6]],
            vec![],
            (F32, &[2, 3, 6]),
        ),
        case(
            "Tile",
            &[(F32, &[3, 2])],
            &[&[2, 1]],
            vec![],
            (F32, &[6, 2]),
        ),
        case("Shape", &[(F32, &[3, -1, 2])], &[], vec![], (I64, &[3])),
        case("ConstantOfShape", &[], &[&[2, 3]], vec![], (F32, &[2, 3])),
        case(
            "DynamicQuantizeLinear",
            &[(F32, &[2, 3])],
            &[],
            vec![],
            (DataType::Uint8, &[2, 3]),
        ),
        case(
            "SimplifiedLayerNormalization",
            &[(F32, &[2, 3]), (F16, &[3])],
            &[],
            vec![],
            (F16, &[2, 3]),
        ),
        case(
            "MatMulNBits",
            &[(F16, &[-1, 64])],
            &[],
            vec![int("K", 64), int("N", 8)],
            (F16, &[-1, 8]),
        ),
        case(
            "SkipSimplifiedLayerNormalization",
            &[(F32, &[2, 3]), (F32, &[2, 3])],
            &[],
            vec![],
            (F32, &[2, 3]),
        ),
        case(
            "MultiHeadAttention",
            &[(F32, &[1, 7, 8]), (F32, &[1, 9, 8]), (F32, &[1, 9, 6])],
            &[],
            vec![],
            (F32, &[1, 7, 6]),
        ),
        case(
            "GroupQueryAttention",
            &[(F32, &[1, 7, 8]), (F32, &[1, 7, 4])],
            &[],
            vec![],
            (F32, &[1, 7, 8]),
        ),
    ]
}

#[test]
fn what_follows_from_an_operator_is_no_finding() {
    for case in right() {
        let found = findings(&case);
        assert_eq!(found, [], "{}", case.op_type);
    }
}

#[test]
fn another_type_or_shape_is_an_error_that_names_node_and_tensor() {
    for case in right() {
        let is_told = |output: (DataType, &[i64])| {
            let found = findings(&Case {
                op_type: case.op_type,
                inputs: case.inputs,
                constants: case.constants,
                attributes: case.attributes.clone(),
                output,
            });
            let [found] = found.as_slice() else {
                panic!("{} {output:?}: {found:?}", case.op_type);
            };
            assert_eq!(found.severity, Severity::Error);
            for word in ["\"the node\"", "\"out\"", case.op_type] {
                assert!(found.what.contains(word), "{}", found.what);
            }
        };
        let (dtype, dims) = case.output;
        is_told((dtype, &[dims, &[1]].concat()));
        is_told((DataType::String, dims));
        for axis in (0..dims.len()).filter(|&axis| dims[axis] > 0) {
            let mut other = dims.to_vec();
            other[axis] += 1;
            is_told((dtype, &other));
        }
    }
}

#[test]
fn inputs_that_do_not_fit_each_other() {
    for (case, word) in [
        (
            case(
                "MatMul",
                &[(F32, &[2, 3]), (F32, &[4, 5])],
                &[],
                vec![],
                (F32, &[2, 5]),
            ),
            "can't be multiplied",
        ),
        (
            case(
                "Add",
                &[(F32, &[2, 3]), (F32, &[2])],
                &[],
                vec![],
                (F32, &[2, 3]),
            ),
            "can't be combined",
        ),
        (
            case("Add", &[(F32, &[2]), (F16, &[2])], &[], vec![], (F32, &[2])),
            "\"in0\" is float, \"in1\" is float16",
        ),
        (
            case(
                "Concat",
                &[(F32, &[2, 3]), (F32, &[2])],
                &[],
                vec![int("axis", 0)],
                (F32, &[4, 3]),
            ),
            "can't follow",
        ),
        (
            case("Reshape", &[(F32, &[2, 3])], &[&[4]], vec![], (F32, &[4])),
            "can't have shape [4]",
        ),
        (
            case(
                "Reshape",
                &[(F32, &[2, 3])],
                &[&[4, -1]],
                vec![],
                (F32, &[4, -1]),
            ),
            "can't have shape",
        ),
        (
            case(
                "Transpose",
                &[(F32, &[2, 3])],
                &[],
                vec![ints("perm", &[0, 2])],
                (F32, &[2, 3]),
            ),
            "perm",
        ),
        (
            case(
                "Gather",
                &[(F32, &[2, 3]), (I64, &[])],
                &[],
                vec![int("axis", 2)],
                (F32, &[2]),
            ),
            "axis 2",
        ),
        (
            case(
                "MatMulNBits",
                &[(F32, &[2, 3])],
                &[],
                vec![int("K", 4), int("N", 5)],
                (F32, &[2, 5]),
            ),
            "takes 4",
        ),
        (
            case("Squeeze", &[(F32, &[2, 3])], &[&[0]], vec![], (F32, &[3])),
            "is not 1",
        ),
        (
            case("Split", &[(F32, &[6, 4])], &[&[5]], vec![], (F32, &[5, 4])),
            "6 long",
        ),
    ] {
        let found = findings(&case);
        let mut found = found.iter();
        assert!(
            found.any(|f| f.what.contains(word)),
            "{} {word}: {found:?}",
            case.op_type
        );
    }
}

#[test]
fn what_is_unknown_is_no_finding() {
    // Nothing is known of a custom operator, nor of what follows from it.
    for (op_type, output) in [
        ("NonMaxSuppression", (I64, &[3, 3][..])),
        ("If", (F32, &[2])),
    ] {
        let case = case(op_type, &[(F32, &[2, 3])], &[], vec![], output);
        assert_eq!(findings(&case), [], "{op_type}");
    }
    // -1 and 0 stand for variable lengths.
    let case = case(
        "Add",
        &[(F32, &[0, 3]), (F32, &[3])],
        &[],
        vec![],
        (F32, &[0, 3]),
    );
    assert_eq!(findings(&case), []);
}

/// All ONNX files under `dir`.
fn graphs(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in dir.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            graphs(&path, found);
        } else if path.extension().is_some_and(|e| e == "onnx") {
            found.push(path);
        }
    }
}

#[test]
fn sound_files_have_no_finding() {
    let mut found = Vec::new();
    let fixtures = akidb_testing::fixture("tiny").parent().unwrap().to_owned();
    graphs(&fixtures, &mut found);
    graphs(&akidb_testing::builtin_model_dir(), &mut found);
    match akidb_testing::minilm() {
        Some(dir) => graphs(&dir, &mut found),
        None => akidb_testing::skip("no all-MiniLM-L6-v2 (scripts/fetch_minilm.sh makes it)"),
    }
    match akidb_testing::mini_variants() {
        Some(dir) => graphs(&dir, &mut found),
        None => akidb_testing::skip(
            "no variants of akidb-mini (scripts/make_mini_variants.py makes them)",
        ),
    }
    assert!(found.len() > 10, "{found:?}");
    for path in found {
        let mut findings = validate(&OnnxModel::open(&path).unwrap());
        findings.retain(|finding| finding.severity != Severity::Note);
        assert_eq!(findings, [], "{}", path.display());
    }
}

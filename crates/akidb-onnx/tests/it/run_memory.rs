//! Graphs of a few bytes that ask for more memory than there is, and sound ones beside them.

use akidb_onnx::ErrorKind;
use akidb_onnx::model::OnnxModel;
use akidb_onnx::proto::attribute_proto::AttributeType;
use akidb_onnx::proto::tensor_proto::DataType;
use akidb_onnx::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, ValueInfoProto,
};
use akidb_onnx::run_memory::{Peak, RunInput, RunMemory};

use akidb_testing::graphs::{encode, float, int, ints, longs, new_node, string};

/// Most that a run may hold here.
const LIMIT: u64 = 64 << 20;

fn node(op_type: &str, inputs: &[&str], output: &str) -> NodeProto {
    with(op_type, inputs, output, Vec::new())
}

fn with(
    op_type: &str,
    inputs: &[&str],
    output: &str,
    attributes: Vec<AttributeProto>,
) -> NodeProto {
    new_node("", op_type, output, inputs, &[output], attributes)
}

fn with_graph(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        g: Some(Box::new(graph)),
        r#type: Some(AttributeType::Graph as i32),
        ..Default::default()
    }
}

fn named(name: &str) -> ValueInfoProto {
    ValueInfoProto {
        name: Some(name.into()),
        ..Default::default()
    }
}

fn subgraph(inputs: &[&str], nodes: Vec<NodeProto>, outputs: &[&str]) -> GraphProto {
    GraphProto {
        input: inputs.iter().map(|name| named(name)).collect(),
        output: outputs.iter().map(|name| named(name)).collect(),
        node: nodes,
        ..Default::default()
    }
}

/// A graph of token ids `[1, 16]`, their mask, states `[1, 16, 8]` and an input that isn't given; `one`, `many` and the like are
/// constants.
fn model(nodes: Vec<NodeProto>) -> ModelProto {
    let graph = GraphProto {
        node: nodes,
        input: ["ids", "mask", "states", "pixels"].map(named).into(),
        output: vec![named("out")],
        initializer: constants(),
        ..Default::default()
    };
    let import = |domain: &str| OperatorSetIdProto {
        domain: Some(domain.into()),
        version: Some(21),
    };
    ModelProto {
        graph: Some(graph),
        opset_import: ["", "other", "com.microsoft"].map(import).into(),
        ..Default::default()
    }
}

fn constants() -> Vec<TensorProto> {
    vec![
        longs("zero", &[], &[0]),
        longs("one", &[], &[1]),
        longs("minus", &[], &[-1]),
        longs("many", &[], &[1 << 30]),
        longs("half", &[], &[1 << 16]),
        longs("forty", &[], &[40]),
        longs("last", &[1], &[-1]),
        longs("first", &[1], &[0]),
        longs("square", &[2], &[1 << 31, 1 << 31]),
        longs("wide", &[3], &[1 << 22, 16, 8]),
        longs("times", &[3], &[1 << 22, 1, 1]),
        longs("around", &[6], &[0, 1 << 30, 0, 0, 0, 0]),
        longs("sizes", &[3], &[1, 1 << 14, 1 << 14]),
        longs("room", &[1], &[1 << 22]),
        longs("row", &[2], &[1, 1 << 16]),
        longs("column", &[2], &[1 << 16, 1]),
        longs("pair", &[2], &[0, 1]),
    ]
}

fn open(model: &ModelProto) -> OnnxModel {
    OnnxModel::from_bytes(encode(model)).unwrap()
}

fn inputs() -> [RunInput<'static>; 3] {
    let input = |name, dims: &[usize], elem_type, most| RunInput {
        name,
        dims: dims.to_vec(),
        elem_type,
        most,
    };
    [
        input("ids", &[1, 16], DataType::Int64, Some(i64::from(i32::MAX))),
        input("mask", &[1, 16], DataType::Int64, Some(1)),
        input("states", &[1, 16, 8], DataType::Float, None),
    ]
}

fn peak(nodes: Vec<NodeProto>) -> Result<Peak, akidb_onnx::Error> {
    RunMemory::of_output(&open(&model(nodes)), "out").peak(&inputs(), LIMIT)
}

/// Checks that `nodes` are refused for either engine, for `why`.
fn refused(attack: &str, nodes: Vec<NodeProto>, why: &str) {
    let onnx = open(&model(nodes));
    for memory in [RunMemory::of_output(&onnx, "out"), RunMemory::of_all(&onnx)] {
        match memory.peak(&inputs(), LIMIT) {
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Run { .. }), "{error}");
                assert!(error.to_string().contains(why), "{attack}: {error}");
            }
            Ok(peak) => panic!("{attack}: {peak:?}"),
        }
    }
}

const HELD: &str = "would be held in memory";
const UNKNOWN: &str = "isn't known before it runs";

#[test]
fn shapes_that_constants_ask_for() {
    for (attack, nodes) in [
        ("zeros", vec![node("ConstantOfShape", &["square"], "out")]),
        ("expanded", vec![node("Expand", &["states", "wide"], "out")]),
        ("tiled", vec![node("Tile", &["states", "times"], "out")]),
        (
            "counted",
            vec![node("Range", &["zero", "many", "one"], "out")],
        ),
        (
            "counted down",
            vec![node("Range", &["many", "zero", "minus"], "out")],
        ),
        ("padded", vec![node("Pad", &["states", "around"], "out")]),
        (
            "one-hot",
            vec![node("OneHot", &["ids", "many", "pair"], "out")],
        ),
        (
            "resized",
            vec![node("Resize", &["states", "", "", "sizes"], "out")],
        ),
        (
            "upsampled",
            vec![with(
                "Upsample",
                &["states"],
                "out",
                vec![AttributeProto {
                    floats: vec![1.0, 1e6, 1e30],
                    ..float("scales", 0.0)
                }],
            )],
        ),
    ] {
        refused(attack, nodes, HELD);
    }
}

#[test]
fn shapes_that_are_computed() {
    let tokens = || {
        vec![
            node("Shape", &["ids"], "shape"),
            node("Gather", &["shape", "one"], "tokens"),
        ]
    };
    let mut product = tokens();
    product.extend([
        node("Mul", &["tokens", "half"], "much"),
        node("Mul", &["much", "forty"], "more"),
        node("Unsqueeze", &["more", "first"], "length"),
        node("ConstantOfShape", &["length"], "out"),
    ]);
    refused("a product", product, HELD);
    let mut chosen = tokens();
    chosen.extend([
        node("Equal", &["tokens", "forty"], "equal"),
        node("Where", &["equal", "one", "many"], "length"),
        node("Range", &["zero", "length", "one"], "out"),
    ]);
    refused("for texts of any other length", chosen, HELD);
    let overflowing = vec![
        node("Mul", &["half", "half"], "wrapped"),
        node("Unsqueeze", &["wrapped", "first"], "length"),
        node("ConstantOfShape", &["length"], "out"),
    ];
    refused("a product that 32 bits don't hold", overflowing, UNKNOWN);
}

#[test]
fn shapes_that_the_text_asks_for() {
    let by_id = vec![
        with("ReduceMax", &["ids"], "largest", vec![int("keepdims", 0)]),
        node("Range", &["zero", "largest", "one"], "out"),
    ];
    refused("a token's id", by_id, HELD);
    let by_state = vec![
        with("ReduceSum", &["states"], "sum", vec![int("keepdims", 0)]),
        with("Cast", &["sum"], "count", vec![int("to", 7)]),
        node("Range", &["zero", "count", "one"], "out"),
    ];
    refused("a state", by_state, UNKNOWN);
}

#[test]
fn operators_that_repeat_without_being_asked() {
    let row = || node("ConstantOfShape", &["row"], "zeros");
    let both = |op_type: &str| {
        vec![
            row(),
            node("ConstantOfShape", &["column"], "others"),
            node(op_type, &["others", "zeros"], "out"),
        ]
    };
    for op_type in ["Add", "Where", "MatMul", "Max"] {
        let mut nodes = both(op_type);
        if op_type == "Where" {
            nodes[2].input.insert(0, "others".into());
        }
        refused(op_type, nodes, HELD);
    }
    let summed = with(
        "Einsum",
        &["zeros", "others"],
        "out",
        vec![string("equation", "ab,cd->")],
    );
    refused("Einsum", vec![row(), both("Add").remove(1), summed], HELD);
    refused(
        "Gather",
        vec![row(), node("Gather", &["zeros", "zeros"], "out")],
        HELD,
    );
    let transposed = with(
        "ConvTranspose",
        &["states", "states"],
        "out",
        vec![ints("strides", &[1 << 28])],
    );
    refused("ConvTranspose", vec![transposed], HELD);
    let positions = vec![
        row(),
        node("NonZero", &["zeros"], "positions"),
        node("Gather", &["positions", "one"], "columns"),
        node("Unsqueeze", &["columns", "last"], "turned"),
        node("Add", &["columns", "turned"], "out"),
    ];
    refused("NonZero", positions, HELD);
}

#[test]
fn many_that_are_small() {
    let mut doubled = vec![node("Identity", &["states"], "d0")];
    for i in 0..40 {
        let (before, after) = (format!("d{i}"), format!("d{}", i + 1));
        doubled.push(with(
            "Concat",
            &[&before, &before],
            &after,
            vec![int("axis", 0)],
        ));
    }
    doubled.push(node("Identity", &["d40"], "out"));
    refused("doubled", doubled, HELD);

    let names: Vec<String> = (0..40).map(|i| format!("part{i}")).collect();
    let mut kept: Vec<NodeProto> = names
        .iter()
        .map(|name| node("ConstantOfShape", &["room"], name))
        .collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    kept.push(node("Sum", &all, "out"));
    refused("kept at once", kept, HELD);
    // One after the other they are let go.
    let mut chain = vec![node("ConstantOfShape", &["room"], "c0")];
    for i in 0..40 {
        let (before, after) = (format!("c{i}"), format!("c{}", i + 1));
        chain.push(node("Abs", &[&before], &after));
    }
    chain.push(node("Identity", &["c40"], "out"));
    assert_eq!(peak(chain).unwrap().bytes, 2 * 4 * (1 << 22));
}

#[test]
fn loops_and_branches() {
    let body = |nodes: Vec<NodeProto>, outputs: &[&str]| {
        vec![with_graph(
            "body",
            subgraph(&["i", "go", "state"], nodes, outputs),
        )]
    };
    let doubles = with("Concat", &["state", "state"], "next", vec![int("axis", 0)]);
    let grown = with(
        "Loop",
        &["forty", "", "states"],
        "out",
        body(vec![doubles], &["go", "next"]),
    );
    refused("doubled by a loop", vec![grown], HELD);

    let keeps = vec![
        node("Identity", &["state"], "next"),
        node("Identity", &["states"], "kept"),
    ];
    let mut collected = with(
        "Loop",
        &["half", "", "states"],
        "last_state",
        body(keeps, &["go", "next", "kept"]),
    );
    collected.output.push("out".into());
    refused("collected by a loop", vec![collected.clone()], HELD);
    collected.input[0] = "forty".into();
    // 40 times 16 × 8 floats, twice: while they are put together.
    let bytes = peak(vec![collected.clone()]).unwrap().bytes;
    assert!((2 * 40 * 512..3 * 40 * 512).contains(&bytes), "{bytes}");
    collected.input[0] = "many".into();
    refused("without an end", vec![collected], "number of its steps");

    let branch = |op_type: &str, inputs: &[&str]| {
        subgraph(&[], vec![node(op_type, inputs, "inner")], &["inner"])
    };
    let branches = |condition: NodeProto| {
        let graphs = vec![
            with_graph("then_branch", branch("Identity", &["states"])),
            with_graph("else_branch", branch("Expand", &["states", "wide"])),
        ];
        vec![condition, with("If", &["yes"], "out", graphs)]
    };
    let unknown = with("Cast", &["one_id"], "yes", vec![int("to", 9)]);
    let mut nodes = branches(unknown);
    nodes.insert(
        0,
        with("ReduceMax", &["ids"], "one_id", vec![int("keepdims", 0)]),
    );
    refused("either branch", nodes, HELD);
    peak(branches(node("Equal", &["one", "one"], "yes"))).unwrap();
}

#[test]
fn functions_of_the_file_itself() {
    let mut model = model(vec![new_node(
        "other",
        "Grow",
        "out",
        &["wide"],
        &["out"],
        vec![],
    )]);
    model.functions.push(FunctionProto {
        name: Some("Grow".into()),
        domain: Some("other".into()),
        input: vec!["shape".into()],
        output: vec!["grown".into()],
        node: vec![node("ConstantOfShape", &["shape"], "grown")],
        ..Default::default()
    });
    let error = RunMemory::of_all(&open(&model))
        .peak(&inputs(), LIMIT)
        .unwrap_err();
    assert!(error.to_string().contains(HELD), "{error}");
}

#[test]
fn what_an_engine_lacks_is_left_to_it() {
    let nodes = vec![
        new_node("other", "Unheard", "unheard", &["states"], &["x"], vec![]),
        node("MatMul", &["x", "x"], "out"),
    ];
    let onnx = open(&model(nodes));
    for memory in [RunMemory::of_output(&onnx, "out"), RunMemory::of_all(&onnx)] {
        memory.peak(&inputs(), LIMIT).unwrap();
    }
}

#[test]
fn an_input_that_is_not_given_hides_nothing() {
    let missing = || node("Tile", &["pixels", "pixels"], "part");
    peak(vec![missing(), node("Neg", &["part"], "out")]).unwrap();
    let nodes = vec![
        missing(),
        node("ConstantOfShape", &["square"], "zeros"),
        node("Add", &["part", "zeros"], "out"),
    ];
    let memory = RunMemory::of_output(&open(&model(nodes)), "out");
    let error = memory.peak(&inputs(), LIMIT).unwrap_err();
    assert!(error.to_string().contains("zeros"), "{error}");
}

#[test]
fn nothing_is_asked_of_nodes_that_no_output_needs() {
    let nodes = vec![
        node("ConstantOfShape", &["square"], "unneeded"),
        with(
            "Transpose",
            &["states"],
            "turned",
            vec![ints("perm", &[0, 2, 1])],
        ),
        node("MatMul", &["states", "turned"], "out"),
    ];
    // `turned` has 8 × 16 floats, `out` 16 × 16.
    let peak = peak(nodes).unwrap();
    assert_eq!(
        (peak.bytes, peak.node.as_str()),
        (512 + 1024, "\"out\" (MatMul)")
    );
}

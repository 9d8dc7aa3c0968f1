//! The operators that the CoreML provider takes in ML Program form, as data.

use akidb_onnx::proto::tensor_proto::DataType::{
    self, Bool, Float as F32, Float16 as F16, Int32 as I32, Int64 as I64,
};

/// Where the table and its restrictions are documented, all in `microsoft/onnxruntime`.
pub const SOURCES: [&str; 3] = [
    "tools/ci_build/github/apple/coreml_supported_mlprogram_ops.md at commit 04f568d869ec",
    "pull request 22068, for the operators that take f16",
    "onnxruntime/core/providers/coreml/builders, for types, constant inputs and limits",
];

/// Longest axis of any input of a node (apple/coremltools#1003).
pub const MAX_DIMENSION: i64 = 16_384;
/// Most axes of any input of a node.
pub const MAX_RANK: usize = 5;

/// One row of the table.
#[derive(Debug)]
pub(super) struct Operator {
    /// Empty for ONNX's own.
    pub(super) domain: &'static str,
    pub(super) op_type: &'static str,
    /// What input 0 may hold.
    pub(super) types: &'static [DataType],
    pub(super) restrictions: &'static [Restriction],
}

/// What the documentation asks of a node beside its operator.
#[derive(Debug)]
pub(super) enum Restriction {
    /// This input, where given, is a constant.
    Constant(usize),
    /// This input has one of these numbers of axes.
    Rank(usize, &'static [usize]),
    /// This input is f32.
    F32(usize),
    /// This input's axes are numbers, none variable.
    Static(usize),
    /// The attribute, where given, has this value.
    Int(&'static str, i64),
    /// As `Int`.
    Float(&'static str, f32),
    /// The attribute is not given.
    Absent(&'static str),
    /// The attribute is none of these words.
    NotString(&'static str, &'static [&'static str]),
    /// This input comes from another node.
    FromNode(usize),
    /// Taken, but the result isn't ONNX's.
    Differs(&'static str),
}

use Restriction::{
    Absent, Constant, Differs, F32 as InF32, Float, FromNode, Int, NotString, Rank, Static,
};

const FLOATS: &[DataType] = &[F32, F16];
const FLOAT: &[DataType] = &[F32];
const INDEXED: &[DataType] = &[F32, F16, I64];
const NUMBERS: &[DataType] = &[F32, F16, I32, I64];
const ANY: &[DataType] = &[F32, F16, I32, I64, Bool];

const fn op(
    op_type: &'static str,
    types: &'static [DataType],
    restrictions: &'static [Restriction],
) -> Operator {
    Operator {
        domain: "",
        op_type,
        types,
        restrictions,
    }
}

const POOL: &[Restriction] = &[Rank(0, &[4])];
const AXES: &[Restriction] = &[Constant(1)];

/// The table, in alphabetical order.
pub(super) const OPERATORS: &[Operator] = &[
    op("Add", FLOATS, &[]),
    op("ArgMax", FLOAT, &[]),
    op("AveragePool", FLOATS, POOL),
    op("Cast", ANY, &[FromNode(0)]),
    op("Ceil", FLOAT, &[]),
    op("Clip", FLOATS, &[]),
    op("Concat", INDEXED, &[]),
    op("Conv", FLOATS, &[Rank(0, &[3, 4]), Constant(2)]),
    op(
        "ConvTranspose",
        FLOATS,
        &[
            Constant(1),
            Constant(2),
            Absent("output_shape"),
            Absent("output_padding"),
            NotString("auto_pad", &["SAME_UPPER", "SAME_LOWER"]),
        ],
    ),
    op("Cos", FLOAT, &[]),
    op("DepthToSpace", FLOATS, &[Static(0)]),
    op("Div", FLOATS, &[]),
    op("Elu", FLOAT, &[]),
    op("Erf", FLOAT, &[]),
    op("Exp", FLOAT, &[]),
    op("GatherND", FLOAT, &[Int("batch_dims", 0)]),
    op("Gelu", FLOAT, &[]),
    op(
        "Gemm",
        FLOATS,
        &[
            Constant(1),
            Constant(2),
            Int("transA", 0),
            Float("alpha", 1.0),
            Float("beta", 1.0),
        ],
    ),
    op("GlobalAveragePool", FLOATS, POOL),
    op("GlobalMaxPool", FLOATS, POOL),
    op("GridSample", FLOATS, POOL),
    op("GroupNormalization", FLOAT, &[]),
    op("HardSigmoid", FLOAT, &[]),
    op("Identity", NUMBERS, &[]),
    op("InstanceNormalization", FLOAT, &[]),
    op("LayerNormalization", FLOAT, AXES),
    op("LeakyRelu", FLOATS, &[]),
    op("MatMul", FLOATS, &[]),
    op("Max", FLOAT, &[]),
    op("MaxPool", FLOATS, POOL),
    op("Mul", FLOATS, &[]),
    op("PRelu", FLOAT, AXES),
    op("Pow", FLOAT, &[InF32(1)]),
    op("Range", &[I32, F16, F32], &[]),
    op(
        "Reciprocal",
        FLOATS,
        &[Differs("an epsilon of 1e-4 is added")],
    ),
    op("ReduceMax", FLOAT, AXES),
    op("ReduceMean", FLOAT, AXES),
    op("ReduceSum", FLOAT, AXES),
    op("Relu", FLOATS, &[]),
    op("Reshape", FLOATS, &[Constant(1), Int("allowzero", 0)]),
    op(
        "Resize",
        FLOATS,
        &[Differs("its many restrictions are not judged")],
    ),
    op("Round", FLOAT, &[]),
    op("Shape", NUMBERS, &[]),
    op("Sigmoid", FLOATS, &[]),
    op("Sin", FLOAT, &[]),
    op(
        "Slice",
        INDEXED,
        &[
            Static(0),
            Constant(1),
            Constant(2),
            Constant(3),
            Constant(4),
        ],
    ),
    op("Softmax", FLOAT, &[]),
    op("Softplus", FLOAT, &[]),
    op("Split", FLOATS, AXES),
    op("Sqrt", FLOATS, &[]),
    op("Squeeze", FLOAT, AXES),
    op("Sub", FLOATS, &[]),
    op("Tanh", FLOATS, &[]),
    op("Tile", FLOAT, &[]),
    op("Transpose", FLOATS, &[]),
    op("Unsqueeze", FLOAT, AXES),
    Operator {
        domain: "com.microsoft",
        op_type: "FusedConv",
        types: FLOATS,
        restrictions: &[Rank(0, &[3, 4]), Constant(2)],
    },
    Operator {
        domain: "com.microsoft",
        op_type: "QuickGelu",
        types: FLOATS,
        restrictions: &[],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_without_doubles() {
        let names: Vec<_> = OPERATORS.iter().map(|o| (o.domain, o.op_type)).collect();
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{names:?}");
    }
}

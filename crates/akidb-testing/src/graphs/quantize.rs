//! Linear layers of a small decoder in the forms that ONNX Runtime's quantizers write.

use akidb_onnx::proto::tensor_proto::DataType;
use akidb_onnx::proto::{ModelProto, TensorProto};

use super::{MS, floats, graph, initializer, int, new_node, node};

/// A tensor of these bytes.
pub fn bytes(name: &str, dtype: DataType, dims: &[usize], values: Vec<u8>) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        dims: dims.iter().map(|&d| d as i64).collect(),
        data_type: Some(dtype as i32),
        raw_data: Some(values.into()),
        ..Default::default()
    }
}

/// Codes that repeat only after a while.
fn codes(name: &str, dtype: DataType, dims: &[usize]) -> TensorProto {
    let len: usize = dims.iter().product();
    let values = (0..len).map(|i| (i * 41 % 251) as u8).collect();
    bytes(name, dtype, dims, values)
}

fn scales(name: &str, dims: &[usize]) -> TensorProto {
    let len: usize = dims.iter().product();
    let values: Vec<f32> = (1..=len).map(|i| i as f32 / 64.0).collect();
    floats(name, dims, &values)
}

/// Takes away the weight of `linear`; gives its K and N.
fn take_weight(model: &mut ModelProto, linear: &str) -> [usize; 2] {
    let weight = format!("{linear}.weight");
    let dims = &initializer(model, &weight).dims;
    let dims = [dims[0] as usize, dims[1] as usize];
    let initializers = &mut graph(model).initializer;
    initializers.retain(|t| t.name() != weight);
    dims
}

/// `linear` as `MatMulNBits` in blocks of 16: `{linear}.codes`, `.scales`, `.zero_points`.
pub fn to_nbits(model: &mut ModelProto, linear: &str, bits: usize) {
    let [k, n] = take_weight(model, linear);
    let blocks = k.div_ceil(16);
    let name = |part: &str| format!("{linear}.{part}");
    let zero_bytes = (blocks * bits).div_ceil(8);
    let tensors = [
        codes(&name("codes"), DataType::Uint8, &[n, blocks, 2 * bits]),
        scales(&name("scales"), &[n, blocks]),
        codes(&name("zero_points"), DataType::Uint8, &[n, zero_bytes]),
    ];
    let inputs = tensors.each_ref().map(|t| t.name().to_owned());
    graph(model).initializer.extend(tensors);
    let node = node(model, linear);
    node.op_type = Some("MatMulNBits".into());
    node.domain = Some(MS.into());
    node.input.truncate(1);
    node.input.extend(inputs);
    node.attribute = vec![
        int("K", k as i64),
        int("N", n as i64),
        int("bits", bits as i64),
        int("block_size", 16),
    ];
}

/// `linear` as `MatMulBnb4` in NF4 and blocks of 16: `{linear}.codes`, `.absmax`.
pub fn to_bnb4(model: &mut ModelProto, linear: &str) {
    let [k, n] = take_weight(model, linear);
    let name = |part: &str| format!("{linear}.{part}");
    let tensors = [
        codes(&name("codes"), DataType::Uint8, &[(k * n).div_ceil(2)]),
        scales(&name("absmax"), &[(k * n).div_ceil(16)]),
    ];
    let inputs = tensors.each_ref().map(|t| t.name().to_owned());
    graph(model).initializer.extend(tensors);
    let node = node(model, linear);
    node.op_type = Some("MatMulBnb4".into());
    node.domain = Some(MS.into());
    node.input.truncate(1);
    node.input.extend(inputs);
    node.attribute = vec![
        int("K", k as i64),
        int("N", n as i64),
        int("block_size", 16),
        int("quant_type", 1),
    ];
}

/// `linears`, which have one input, as `MatMulInteger` of the output of one
/// `DynamicQuantizeLinear` named `{input}.quantize`: `{linear}.codes`, `.scale`, `.zero_point`, and
/// nodes `.product`, `.cast`, `.scales`.
pub fn to_integer(model: &mut ModelProto, linears: &[&str], dtype: DataType) {
    let input = node(model, linears[0]).input[0].clone();
    let of_input = |part: &str| format!("{input}.{part}");
    let quantized = ["quantized", "scale", "zero_point"].map(of_input);
    graph(model).node.push(new_node(
        "",
        "DynamicQuantizeLinear",
        &of_input("quantize"),
        &[&input],
        &quantized.each_ref().map(|s| &**s),
        vec![],
    ));
    for linear in linears {
        let dims = take_weight(model, linear);
        let name = |part: &str| format!("{linear}.{part}");
        graph(model).initializer.extend([
            codes(&name("codes"), dtype, &dims),
            scales(&name("scale"), &[]),
            bytes(&name("zero_point"), dtype, &[], vec![3]),
        ]);
        let (product, cast, scales) = (name("product"), name("cast"), name("scales"));
        let operands = [
            &*quantized[0],
            &name("codes"),
            &*quantized[2],
            &name("zero_point"),
        ];
        let nodes = [
            new_node(
                "",
                "MatMulInteger",
                &product,
                &operands,
                &[&product],
                vec![],
            ),
            new_node("", "Cast", &cast, &[&product], &[&cast], vec![int("to", 1)]),
            new_node(
                "",
                "Mul",
                &scales,
                &[&quantized[1], &name("scale")],
                &[&scales],
                vec![],
            ),
        ];
        graph(model).node.extend(nodes);
        let node = node(model, linear);
        node.op_type = Some("Mul".into());
        node.input = vec![cast, scales];
    }
}

/// How [`to_dequantize`] is to store a weight.
#[derive(Clone, Copy)]
pub struct Dequantize {
    /// Of the codes.
    pub dtype: DataType,
    /// `[out, in]`, and a `Transpose`.
    pub transposed: bool,
    /// One scale when none.
    pub axis: Option<usize>,
    /// Blocks along `axis`, unless 0.
    pub block_size: usize,
}

/// `linear` as a `MatMul` behind a `DequantizeLinear` named `{linear}.dequantize`: `{linear}.codes`,
/// `.scales`, `.zero_points`.
pub fn to_dequantize(model: &mut ModelProto, linear: &str, form: Dequantize) {
    let mut dims = take_weight(model, linear);
    if form.transposed {
        dims.reverse();
    }
    let name = |part: &str| format!("{linear}.{part}");
    let scale_dims = match (form.axis, form.block_size) {
        (None, _) => vec![],
        (Some(axis), 0) => vec![dims[axis]],
        (Some(axis), size) => {
            let mut blocks = dims.to_vec();
            blocks[axis] = blocks[axis].div_ceil(size);
            blocks
        }
    };
    let mut codes_of = |part: &str, dims: &[usize]| {
        let len: usize = dims.iter().product();
        let mut tensor = codes(&name(part), form.dtype, dims);
        if matches!(form.dtype, DataType::Int4 | DataType::Uint4) {
            let packed = tensor.raw_data.take().unwrap().slice(..len.div_ceil(2));
            tensor.raw_data = Some(packed);
        }
        graph(model).initializer.push(tensor);
    };
    codes_of("codes", &dims);
    codes_of("zero_points", &scale_dims);
    let scales = scales(&name("scales"), &scale_dims);
    graph(model).initializer.push(scales);
    let (dequantize, transposed) = (name("dequantize"), name("transposed"));
    graph(model).node.push(new_node(
        "",
        "DequantizeLinear",
        &dequantize,
        &[&name("codes"), &name("scales"), &name("zero_points")],
        &[&dequantize],
        vec![
            int("axis", form.axis.unwrap_or(1) as i64),
            int("block_size", form.block_size as i64),
        ],
    ));
    node(model, linear).input[1].clone_from(&dequantize);
    if form.transposed {
        graph(model).node.push(new_node(
            "",
            "Transpose",
            &transposed,
            &[&dequantize],
            &[&transposed],
            vec![super::ints("perm", &[1, 0])],
        ));
        node(model, linear).input[1] = transposed;
    }
}

/// The embedding table in u8: `embed_tokens`, `embed_tokens.scale`, `.zero_point`, and the node
/// `dequantize`.
pub fn to_quantized_table(model: &mut ModelProto) {
    let table = initializer(model, "embed_tokens");
    let dims = [table.dims[0] as usize, table.dims[1] as usize];
    *table = codes("embed_tokens", DataType::Uint8, &dims);
    graph(model).initializer.extend([
        scales("embed_tokens.scale", &[]),
        bytes("embed_tokens.zero_point", DataType::Uint8, &[], vec![99]),
    ]);
    node(model, "embed").output[0] = "embed.codes".into();
    let inputs = [
        "embed.codes",
        "embed_tokens.scale",
        "embed_tokens.zero_point",
    ];
    let dequantize = new_node(
        "",
        "DequantizeLinear",
        "dequantize",
        &inputs,
        &["embed"],
        vec![],
    );
    graph(model).node.push(dequantize);
}

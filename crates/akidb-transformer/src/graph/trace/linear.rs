//! Products with constants, however they are stored.

use akidb_onnx::Error;
use akidb_onnx::proto::NodeProto;
use akidb_onnx::tensor::Tensor;

use super::expr::{Expr, Id, Value};
use super::tracer::Tracer;
use crate::graph::walk::{attribute, expect_int, int_attribute, unknown};
use crate::weights::{EmbeddingTable, Linear, LinearWeight, MatMulInteger};

impl<'m> Tracer<'m> {
    /// `MatMul` and `Gemm` of something of the model.
    pub(super) fn product(
        &mut self,
        node: &'m NodeProto,
        inputs: &[Option<Value>],
    ) -> Result<Value, Error> {
        let [Some(a), Some(b), rest @ ..] = inputs else {
            return Err(unknown(node, "two inputs are expected"));
        };
        if node.op_type() == "MatMul" {
            if matches!((a, b), (Value::Part(..), Value::Part(..))) {
                return self.attend(node, a, b);
            }
            let weight = self.recogniser.matmul_weight(node)?;
            return self.multiply(node, a, Linear::new(weight)?);
        }
        expect_int(node, "transA", 0, 0)?;
        let plain = |name: &str| attribute(node, name).is_none_or(|a| a.f() == 1.0);
        let Value::Constant(weight) = b else {
            return Err(unknown(node, "its weight is no constant"));
        };
        if !plain("alpha") || !plain("beta") {
            return Err(unknown(node, "it is scaled"));
        }
        let weight = match int_attribute(node, "transB", 0) {
            0 => LinearWeight::InOut(weight.clone()),
            _ => LinearWeight::OutIn(weight.clone()),
        };
        let mut linear = Linear::new(weight)?;
        if let [Some(bias)] = rest {
            linear = self.with_bias(node, linear, bias)?;
        }
        self.multiply(node, a, linear)
    }

    /// The layer with a bias that must be a constant.
    pub(super) fn with_bias(
        &self,
        node: &NodeProto,
        linear: Linear,
        bias: &Value,
    ) -> Result<Linear, Error> {
        match self.vector(bias, linear.out_features())? {
            Some(bias) => linear.with_bias(bias),
            None => Err(unknown(node, "its bias is no constant for each output")),
        }
    }

    /// What a layer makes of `x`.
    pub(super) fn multiply(
        &mut self,
        node: &NodeProto,
        x: &Value,
        linear: Linear,
    ) -> Result<Value, Error> {
        let dims = self.dims_of(x).unwrap_or_default();
        let id = self.whole(x);
        let (Some(id), Some((width, rows))) = (id, dims.split_last()) else {
            return Err(unknown(node, "it does not take a token's whole state"));
        };
        if *width != linear.in_features() {
            let why = format!("it takes {} values, not {width}", linear.in_features());
            return Err(unknown(node, why));
        }
        let dims = rows
            .iter()
            .copied()
            .chain([linear.out_features()])
            .collect();
        Ok(self.put(Expr::Linear { x: id, linear }, dims))
    }

    /// Products of codes, and tables of them.
    pub(super) fn quantized(
        &mut self,
        node: &'m NodeProto,
        inputs: &[Option<Value>],
    ) -> Result<Vec<Value>, Error> {
        let x = inputs.first().cloned().flatten();
        let id = x.as_ref().and_then(|x| self.whole(x));
        let (Some(id), Some(x)) = (id, x) else {
            return Err(unknown(node, "it does not take a token's whole state"));
        };
        let dims = self.dims_of(&x).unwrap_or_default();
        match node.op_type() {
            "DynamicQuantizeLinear" => Ok(vec![
                self.put(Expr::Quantized(id), dims),
                self.put(Expr::QuantizedScale(id), vec![]),
                self.put(Expr::QuantizedZero(id), vec![]),
            ]),
            "DequantizeLinear" => self.dequantized(node, inputs, &x),
            _ => self.integer_matmul(node, inputs, id, dims),
        }
    }

    /// `MatMulInteger` of what was quantized just before.
    fn integer_matmul(
        &mut self,
        node: &NodeProto,
        inputs: &[Option<Value>],
        id: Id,
        mut dims: Vec<usize>,
    ) -> Result<Vec<Value>, Error> {
        let Expr::Quantized(x) = *self.expr(id) else {
            return Err(unknown(node, "its input was not quantized at run time"));
        };
        let zero = inputs
            .get(2)
            .cloned()
            .flatten()
            .and_then(|zero| self.whole(&zero));
        let same =
            zero.is_some_and(|zero| matches!(self.expr(zero), Expr::QuantizedZero(y) if *y == x));
        let Some(Some(Value::Constant(codes))) = inputs.get(1) else {
            return Err(unknown(node, "its weight is no constant"));
        };
        let [k, n] = *codes.dims() else {
            let why = format!("its weight has shape {:?}, not two axes", codes.dims());
            return Err(unknown(node, why));
        };
        if !same || dims.pop() != Some(k) {
            return Err(unknown(node, "its input has another zero point or width"));
        }
        dims.push(n);
        let zero_points = match inputs.get(3).cloned().flatten() {
            None => None,
            Some(Value::Constant(zero_points)) => Some(zero_points),
            Some(_) => return Err(unknown(node, "its zero points are no constant")),
        };
        let codes = codes.clone();
        let product = Expr::IntegerProduct {
            x,
            codes,
            zero_points,
        };
        Ok(vec![self.put(product, dims)])
    }

    /// A table whose rows were looked up as codes.
    fn dequantized(
        &mut self,
        node: &NodeProto,
        inputs: &[Option<Value>],
        x: &Value,
    ) -> Result<Vec<Value>, Error> {
        let Value::Part(id, view) = x else {
            return Err(unknown(node, "it does not take the rows of a table"));
        };
        let constant = |i: usize| match inputs.get(i) {
            Some(Some(Value::Constant(tensor))) => Some(tensor),
            _ => None,
        };
        let Expr::Codes { codes, index } = self.expr(*id) else {
            return Err(unknown(node, "it does not take the rows of a table"));
        };
        let Some(scale) = constant(1).filter(|scale| scale.len() == 1) else {
            return Err(unknown(node, "one scale is expected"));
        };
        let table = EmbeddingTable::quantized(codes.clone(), scale, constant(2))?;
        let (index, dims) = (index.clone(), self.dims(*id).to_vec());
        // One scale for all: elements may have been moved before.
        match self.put(Expr::Rows { table, index }, dims) {
            Value::Part(rows, _) => Ok(vec![Value::Part(rows, view.clone())]),
            other => Ok(vec![other]),
        }
    }

    /// The layer that a product of codes and all scales are.
    pub(super) fn scaled_product(
        &mut self,
        x: Id,
        codes: Tensor,
        zero_points: Option<Tensor>,
        scales: Tensor,
        dims: Vec<usize>,
    ) -> Result<Value, Error> {
        MatMulInteger::SCALE.check(&scales)?;
        let weight = MatMulInteger::unscanned(codes, scales, zero_points)?;
        let linear = Linear::new(LinearWeight::MatMulInteger(weight))?;
        Ok(self.put(Expr::Linear { x, linear }, dims))
    }
}

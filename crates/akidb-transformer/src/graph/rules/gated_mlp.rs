//! Two linear layers, SiLU, a product and a linear layer → [`GatedMlp`].

use akidb_onnx::Error;

use crate::graph::normal::GatedMlp;
use crate::graph::recogniser::Recogniser;
use crate::graph::walk::{need_input, unknown};

impl<'m> Recogniser<'m> {
    /// `down(silu(gate(x)) * up(x))`.
    pub(in crate::graph) fn gated_mlp(&self, value: &'m str) -> Result<GatedMlp<'m>, Error> {
        let (down_proj, product) = self.linear(value)?;
        let product = self.walk.op(product, "", "Mul", "gate times up")?;
        let (a, b) = (need_input(product, 0)?, need_input(product, 1)?);
        let (gate, up) = match (self.is_linear(a), self.is_linear(b)) {
            (false, true) => (a, b),
            (true, false) => (b, a),
            _ => return Err(unknown(product, "gate times up is expected")),
        };
        let silu = self.walk.op(gate, "", "Mul", "silu(gate)")?;
        let (a, b) = (need_input(silu, 0)?, need_input(silu, 1)?);
        let (gate, sigmoid) = if self.is_linear(a) { (a, b) } else { (b, a) };
        let sigmoid = self.walk.op(sigmoid, "", "Sigmoid", "silu(gate)")?;
        if self.walk.uncast(need_input(sigmoid, 0)?) != self.walk.uncast(gate) {
            return Err(unknown(sigmoid, "it is not of the value it multiplies"));
        }
        let (gate_proj, gate_input) = self.linear(gate)?;
        let (up_proj, up_input) = self.linear(up)?;
        if gate_input != up_input {
            return Err(unknown(
                product,
                "gate and up are not made of the same value",
            ));
        }
        Ok(GatedMlp {
            input: gate_input,
            gate_proj,
            up_proj,
            down_proj,
        })
    }
}

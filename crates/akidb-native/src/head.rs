//! From the states of a text's tokens to its vector.

use akidb_kernels::{Epilogue, Isa, PackedF32, Rows, Weight};
use akidb_onnx::tensor::Tensor;
use akidb_transformer::{DenseActivation, Transformer};

use crate::error::EngineError;
use crate::weights::{check_finite, vector};

/// What follows the pooling.
#[derive(Debug)]
pub(crate) struct DenseLayers {
    layers: Vec<Layer>,
    isa: Isa,
}

/// A layer of f32 weights, whatever the model computes in: it is small, and works on one row a text.
#[derive(Debug)]
struct Layer {
    weight: Weight,
    bias: Option<Vec<f32>>,
    activation: DenseActivation,
}

impl DenseLayers {
    pub(crate) fn new(model: &Transformer, isa: Isa) -> Result<Self, EngineError> {
        let mut width = model.hidden_size();
        let layers = model.dense.iter().map(|dense| {
            let linear = &dense.linear;
            let (k, n) = (linear.in_features(), linear.out_features());
            check_width(linear.weight().tensor(), width, [n, k])?;
            width = n;
            let mut packed = PackedF32::zeros(k, n)?;
            let mut row = vec![0.0; k];
            for output in 0..n {
                linear.dequantize(output, &mut row)?;
                check_finite(linear.weight().tensor(), output * k, &row)?;
                packed.write_nk(output, &row)?;
            }
            let bias = linear.bias().map(|bias| vector(bias, n));
            Ok::<_, EngineError>(Layer {
                weight: Weight::F32(packed),
                bias: bias.transpose()?,
                activation: dense.activation,
            })
        });
        let layers = layers.collect::<Result<_, _>>()?;
        Ok(Self { layers, isa })
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// Takes `pooled`, `[texts, hidden_size]`, through all layers to `out`, `[texts, width]`.
    pub(crate) fn apply(&self, pooled: &[f32], out: &mut [f32]) -> Result<(), EngineError> {
        let mut states = pooled.to_vec();
        let mut rows = Rows::new(self.isa);
        for layer in &self.layers {
            let [k, n] = layer.weight.shape();
            let texts = states.len() / k;
            rows.pack_from::<EngineError>(&layer.weight, texts, |text, _| {
                Ok(Some(&states[text * k..][..k]))
            })?;
            let mut next = vec![0.0; texts * n];
            let mut c: Vec<&mut [f32]> = next.chunks_exact_mut(n).collect();
            let epilogue = Epilogue::store(layer.bias.as_deref());
            rows.multiply(&layer.weight, 0..layer.weight.panels(), &mut c, epilogue)?;
            if layer.activation == DenseActivation::Tanh {
                next.iter_mut().for_each(|x| *x = x.tanh());
            }
            states = next;
        }
        out.copy_from_slice(&states);
        Ok(())
    }
}

fn check_width(tensor: &Tensor, width: usize, [n, k]: [usize; 2]) -> Result<(), EngineError> {
    if k == width {
        return Ok(());
    }
    Err(EngineError::TensorShape {
        name: tensor.name().to_owned(),
        expected: vec![n, width],
        actual: vec![n, k],
    })
}

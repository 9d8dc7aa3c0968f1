//! Values that a scale or a zero point may have.

use akidb_onnx::Error;
use akidb_onnx::tensor::Tensor;

/// What every value of a tensor must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ValueCheck {
    Finite,
    FiniteAndNotNegative,
    FiniteAndPositive,
}

impl ValueCheck {
    /// # Errors
    /// When the tensor is of no float type, or a value is something else.
    pub(crate) fn check(self, tensor: &Tensor) -> Result<(), Error> {
        const AT_A_TIME: usize = 512;
        let mut buffer = [0.0; AT_A_TIME];
        for start in (0..tensor.len()).step_by(AT_A_TIME) {
            let values = &mut buffer[..AT_A_TIME.min(tensor.len() - start)];
            tensor.read_f32(start, values)?;
            if let Some((i, bad)) = values.iter().enumerate().find(|&(_, &v)| !self.allows(v)) {
                let why = format!("{bad} at element {} is not {}", start + i, self.wanted());
                return Err(Error::tensor(tensor.name(), why));
            }
        }
        Ok(())
    }

    fn allows(self, value: f32) -> bool {
        value.is_finite()
            && match self {
                Self::Finite => true,
                Self::FiniteAndNotNegative => value >= 0.0,
                Self::FiniteAndPositive => value > 0.0,
            }
    }

    fn wanted(self) -> &'static str {
        match self {
            Self::Finite => "finite",
            Self::FiniteAndNotNegative => "finite and at least 0",
            Self::FiniteAndPositive => "finite and positive",
        }
    }
}

//! 8-bit weights in the order in which the product reads them.

use crate::lanes::LANES;
use crate::{NR, ShapeError};

/// Weights along K that a column's sum takes at a time.
pub(crate) const K_STEP: usize = 4;

/// Largest K: 255 · 127 · K fits into the i32 that a product is summed in.
const MAX_K: usize = (i32::MAX / (255 * 127)) as usize;

/// The weights from [`K_STEP`] neighbouring inputs to [`NR`] neighbouring outputs, unsigned.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Int8PanelRow(pub(crate) [[u8; K_STEP * LANES]; 2]);

/// How the bytes of 8-bit weights and zero points count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Int8Type {
    /// -128 to 127 (ONNX `INT8`).
    I8,
    /// 0 to 255 (ONNX `UINT8`).
    U8,
}

impl Int8Type {
    /// What makes a byte unsigned: i8 + 128 is i8 with its sign bit turned.
    fn flip(self) -> u8 {
        match self {
            Self::I8 => 0x80,
            Self::U8 => 0,
        }
    }
}

/// A matrix `B[K, N]` of 8-bit weights `(byte - zero point) · scale`, a scale and a zero point for
/// each column, cut into panels of [`NR`] columns, each `[K / 4][2][16 columns · 4 along K]` and
/// contiguous.
///
/// ```
/// use akidb_kernels::{Accumulate, Int8Type, Isa, PackedInt8, QuantizedRows, gemm_int8};
///
/// // [1 2 -127] · [[1 -4], [2 -5], [3 -6]] / 2, given as two rows of K = 3 bytes
/// let mut b = PackedInt8::zeros(3, 2, Int8Type::U8)?;
/// b.write_nk(0, &[11, 12, 13, 6, 5, 4])?;
/// b.write_quantization(0, &[0.5; 2], &[10; 2])?;
/// let mut a = QuantizedRows::new(Isa::detect());
/// a.pack(&[1.0, 2.0, -127.0], 3)?;
/// let mut c = [0.0; 2];
/// gemm_int8(&a, &b, 0..b.panels(), &mut [&mut c], Accumulate::No)?;
/// assert_eq!(c, [-188.0, 374.0]);
/// # Ok::<(), akidb_kernels::ShapeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct PackedInt8 {
    k: usize,
    n: usize,
    flip: u8,
    data: Vec<Int8PanelRow>,
    /// Of each 16 columns, filled up to whole panels.
    quantization: Vec<Quantization>,
}

/// What the weights of 16 columns mean.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quantization {
    pub(crate) scales: [f32; LANES],
    /// Of unsigned weights.
    pub(crate) zero_points: [i32; LANES],
}

impl PackedInt8 {
    /// A matrix of zeros with `k` rows and `n` columns, every scale 1 and every zero point 0.
    ///
    /// # Errors
    /// When a size is zero, `k` is above 66 311 (a sum could overflow), or the matrix can't be
    /// allocated.
    pub fn zeros(k: usize, n: usize, int8_type: Int8Type) -> Result<Self, ShapeError> {
        let op = "PackedInt8::zeros";
        if k == 0 {
            return Err(ShapeError::size(op, "k", k));
        }
        if n == 0 {
            return Err(ShapeError::size(op, "n", n));
        }
        ShapeError::range(op, "k", k, MAX_K)?;
        let too_large = ShapeError::size(op, "n", n);
        let panels = n.div_ceil(NR);
        let rows = panels.checked_mul(k.div_ceil(K_STEP)).ok_or(too_large)?;
        let flip = int8_type.flip();
        let mut data = Vec::new();
        data.try_reserve_exact(rows).map_err(|_| too_large)?;
        data.resize(rows, Int8PanelRow([[flip; K_STEP * LANES]; 2]));
        let mut quantization = Vec::new();
        quantization
            .try_reserve_exact(2 * panels)
            .map_err(|_| too_large)?;
        let neutral = Quantization {
            scales: [1.0; LANES],
            zero_points: [i32::from(flip); LANES],
        };
        quantization.resize(2 * panels, neutral);
        Ok(Self {
            k,
            n,
            flip,
            data,
            quantization,
        })
    }

    /// Number of rows, the width of the input.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Number of columns, the width of the output.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Number of panels, `n` / [`NR`] rounded up.
    pub fn panels(&self) -> usize {
        self.n.div_ceil(NR)
    }

    /// Rows of a panel.
    fn panel_rows(&self) -> usize {
        self.k.div_ceil(K_STEP)
    }

    /// The weights of a panel; empty when there is no such panel.
    pub(crate) fn panel(&self, index: usize) -> &[Int8PanelRow] {
        let rows = self.panel_rows();
        let mut panels = self.data.chunks_exact(rows);
        panels.nth(index).unwrap_or_default()
    }

    /// What the weights of a panel mean; empty when there is no such panel.
    pub(crate) fn quantization(&self, panel: usize) -> &[Quantization] {
        self.quantization
            .get(2 * panel..2 * panel + 2)
            .unwrap_or_default()
    }

    /// Writes scale and zero point of the columns from `n0` on, one of each a column. Zero points
    /// are bytes of the same type as the weights.
    ///
    /// # Errors
    /// When there are more scales than zero points, or fewer, or they don't fit.
    pub fn write_quantization(
        &mut self,
        n0: usize,
        scales: &[f32],
        zero_points: &[u8],
    ) -> Result<(), ShapeError> {
        let op = "PackedInt8::write_quantization";
        ShapeError::length(op, "zero points", scales.len(), zero_points.len())?;
        ShapeError::range(op, "columns", n0.saturating_add(scales.len()), self.n)?;
        for ((n, scale), zero_point) in (n0..).zip(scales).zip(zero_points) {
            let target = &mut self.quantization[n / LANES];
            target.scales[n % LANES] = *scale;
            target.zero_points[n % LANES] = i32::from(zero_point ^ self.flip);
        }
        Ok(())
    }

    /// Writes the rows from `k0` on at the columns from `n0` on. `rows` is `[any, width]` bytes,
    /// row-major (ONNX `MatMulInteger`).
    ///
    /// # Errors
    /// When `rows` is no multiple of `width`, or doesn't fit.
    pub fn write_kn(
        &mut self,
        k0: usize,
        n0: usize,
        width: usize,
        rows: &[u8],
    ) -> Result<(), ShapeError> {
        let op = "PackedInt8::write_kn";
        if width == 0 {
            return Err(ShapeError::size(op, "width", width));
        }
        let count = rows.len() / width;
        ShapeError::length(op, "rows", count * width, rows.len())?;
        ShapeError::range(op, "rows", k0.saturating_add(count), self.k)?;
        ShapeError::range(op, "columns", n0.saturating_add(width), self.n)?;
        let flip = self.flip;
        let mut done = 0;
        while done < width {
            let lane = (n0 + done) % NR;
            let len = (NR - lane).min(width - done);
            let targets = self.panel_mut((n0 + done) / NR);
            for (k, row) in (k0..).zip(rows.chunks_exact(width)) {
                let target = targets[k / K_STEP].0.as_flattened_mut();
                let (columns, _) = target.as_chunks_mut::<K_STEP>();
                let columns = &mut columns[lane..lane + len];
                for (column, value) in columns.iter_mut().zip(&row[done..done + len]) {
                    column[k % K_STEP] = value ^ flip;
                }
            }
            done += len;
        }
        Ok(())
    }

    /// Writes the columns from `n0` on. `columns` is `[any, k]` bytes: all weights of one output,
    /// then of the next (PyTorch `nn.Linear`).
    ///
    /// # Errors
    /// When `columns` is no multiple of `k`, or doesn't fit.
    pub fn write_nk(&mut self, n0: usize, columns: &[u8]) -> Result<(), ShapeError> {
        let op = "PackedInt8::write_nk";
        let (k, flip) = (self.k, self.flip);
        let count = columns.len() / k;
        ShapeError::length(op, "columns", count * k, columns.len())?;
        ShapeError::range(op, "columns", n0.saturating_add(count), self.n)?;
        for (n, column) in (n0..).zip(columns.chunks_exact(k)) {
            let first = K_STEP * (n % NR);
            let targets = self.panel_mut(n / NR);
            for (target, values) in targets.iter_mut().zip(column.chunks(K_STEP)) {
                let target = &mut target.0.as_flattened_mut()[first..first + values.len()];
                for (target, value) in target.iter_mut().zip(values) {
                    *target = value ^ flip;
                }
            }
        }
        Ok(())
    }

    fn panel_mut(&mut self, index: usize) -> &mut [Int8PanelRow] {
        let rows = self.panel_rows();
        &mut self.data[index * rows..][..rows]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{LENGTHS, random_bytes};

    /// Byte `[k, n]` of the matrix, as written.
    fn element(b: &PackedInt8, k: usize, n: usize) -> u8 {
        let row = b.panel(n / NR)[k / K_STEP].0.as_flattened();
        row[n % NR * K_STEP + k % K_STEP] ^ b.flip
    }

    #[test]
    fn both_orders_give_the_same_panels() {
        for int8_type in [Int8Type::I8, Int8Type::U8] {
            for (k, n) in LENGTHS.map(|n| (7, n)).into_iter().chain([(8, 33), (1, 2)]) {
                let kn = random_bytes(n as u64, k * n);
                let nk: Vec<u8> = (0..k * n).map(|i| kn[i % k * n + i / k]).collect();
                let mut from_kn = PackedInt8::zeros(k, n, int8_type).unwrap();
                for (k0, rows) in kn.chunks(3 * n).enumerate() {
                    from_kn.write_kn(3 * k0, 0, n, rows).unwrap();
                }
                let mut from_nk = PackedInt8::zeros(k, n, int8_type).unwrap();
                for (n0, columns) in nk.chunks(5 * k).enumerate() {
                    from_nk.write_nk(5 * n0, columns).unwrap();
                }
                for (i, value) in kn.iter().enumerate() {
                    assert_eq!(element(&from_kn, i / n, i % n), *value);
                    assert_eq!(element(&from_nk, i / n, i % n), *value);
                }
            }
        }
    }

    #[test]
    fn columns_of_two_matrices_side_by_side() {
        let mut b = PackedInt8::zeros(2, 50, Int8Type::I8).unwrap();
        b.write_kn(0, 0, 20, &[1; 40]).unwrap();
        b.write_kn(0, 20, 30, &[0xfe; 60]).unwrap();
        b.write_quantization(20, &[0.5; 30], &[0x81; 30]).unwrap();
        for n in 0..50 {
            let quantization = &b.quantization(n / NR)[n % NR / LANES];
            let scale = quantization.scales[n % LANES];
            let zero_point = quantization.zero_points[n % LANES];
            let expected = if n < 20 {
                (1, 1.0, 128)
            } else {
                (0xfe, 0.5, 1)
            };
            assert_eq!((element(&b, 1, n), scale, zero_point), expected);
        }
        assert_eq!((b.k(), b.n(), b.panels()), (2, 50, 2));
    }

    #[test]
    fn panels_start_cache_lines() {
        let b = PackedInt8::zeros(5, 70, Int8Type::U8).unwrap();
        for panel in 0..b.panels() {
            assert_eq!(b.panel(panel).as_ptr() as usize % 64, 0);
            assert_eq!(b.panel(panel).len(), 2);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let zeros = |k, n| PackedInt8::zeros(k, n, Int8Type::I8);
        assert!(zeros(0, 1).is_err());
        assert!(zeros(1, 0).is_err());
        assert!(zeros(MAX_K, 1).is_ok());
        assert!(zeros(MAX_K + 1, 1).is_err());
        assert!(zeros(usize::MAX, usize::MAX).is_err());
        assert!(zeros(1, usize::MAX).is_err());
        assert!(zeros(1 << 16, 1 << 50).is_err());
        let mut b = zeros(4, 40).unwrap();
        assert!(b.write_kn(0, 0, 0, &[]).is_err());
        assert!(b.write_kn(0, 0, 3, &[0; 4]).is_err());
        assert!(b.write_kn(3, 0, 1, &[0; 2]).is_err());
        assert!(b.write_kn(usize::MAX, 0, 1, &[0; 2]).is_err());
        assert!(b.write_kn(0, 39, 2, &[0; 2]).is_err());
        assert!(b.write_nk(0, &[0; 5]).is_err());
        assert!(b.write_nk(39, &[0; 8]).is_err());
        assert!(b.write_nk(usize::MAX, &[0; 8]).is_err());
        assert!(b.write_quantization(0, &[1.0; 2], &[0]).is_err());
        assert!(b.write_quantization(39, &[1.0; 2], &[0; 2]).is_err());
        assert!(b.write_quantization(usize::MAX, &[1.0], &[0]).is_err());
    }
}

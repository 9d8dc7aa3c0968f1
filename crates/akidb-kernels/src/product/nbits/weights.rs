//! Weights of 4 or 8 bits with a scale for each block, in the order in which the product reads
//! them.

use bytes::Bytes;

use crate::lanes::LANES;
use crate::product::nbits::format::{NBitsCodes, NBitsFormat, level_bytes};
use crate::product::storage::Storage;
use crate::{NR, ShapeError};

pub(crate) use crate::product::storage::Line;

/// Weights along K in a word.
const K_STEP: usize = 4;

/// Weights of a column whose codes lie together: as many as a line has bytes for each of 16
/// columns, in both nibbles.
pub(crate) const UNIT: usize = 2 * LANES;

/// What 1 in a stored zero point is worth, in middles: 1/1024 of a 4-bit code, 1/64 of an 8-bit
/// one.
pub(crate) const ZERO_POINT_UNIT: f32 = 1.0 / 8192.0;

/// A matrix `B[K, N]` of codes of 4 or 8 bits with a scale, and where the format says so a zero
/// point, for each block of neighbours along K (ONNX `MatMulNBits`, `MatMulBnb4`), cut into panels
/// of [`NR`] columns, each contiguous.
///
/// Scales are kept as i16 times a power of two, one for each column: a scale is at most 2⁻¹⁵ of
/// its column's largest one off, or 10⁻³⁸. A product with few rows, which is as fast as memory, gains from
/// this: blocks of 32 take 4.5 bits a weight instead of 5 with f32. Zero points are kept to 1/1024
/// of a 4-bit code and 1/64 of an 8-bit one.
///
/// ```
/// # use akidb_kernels::{Epilogue, Isa, NBitsCodes, NBitsFormat, PackedNBits, Rows, ShapeError, Weight};
/// // [1 2 -127] · [[1 -4], [2 -5], [3 -6]] / 2
/// let format = NBitsFormat { codes: NBitsCodes::Int4, block_size: 32, zero_points: false };
/// let mut b = PackedNBits::zeros(3, 2, format)?;
/// b.write_column(0, &[9, 10, 11], &[0.5], None)?;
/// b.write_column(1, &[4, 3, 2], &[0.5], None)?;
/// let b = Weight::NBits(b);
/// let mut a = Rows::new(Isa::detect());
/// a.pack_from(&b, 1, |_, _| Ok::<_, ShapeError>(Some(&[1.0, 2.0, -127.0][..])))?;
/// let mut c = [0.0; 2];
/// a.multiply(&b, 0..b.panels(), &mut [&mut c], Epilogue::Store)?;
/// assert_eq!(c, [-188.0, 374.0]);
/// # Ok::<(), ShapeError>(())
/// ```
#[derive(Debug)]
pub struct PackedNBits {
    pub(super) k: usize,
    pub(super) n: usize,
    format: NBitsFormat,
    layout: Layout,
    /// What a difference of 1 between the bytes that the product multiplies with is worth, in
    /// scales.
    unit: f32,
    /// The bytes of the levels, where codes stand for levels.
    levels: [u8; 16],
    /// Of [`Line`]s.
    data: Storage,
    /// Of `[f32; LANES]`, one of each 16 columns, filled up to whole panels: what the stored scales
    /// are multiplied with.
    factors: Storage,
}

/// How the lines of a panel follow each other: spans of a header and the codes of some units.
///
/// A header is a line of scales for each block of the span (i16 of 32 columns), then a line of
/// zero points for each, where there are any. A unit is `[4][2][16 columns · 4 along K]`: low
/// nibbles are the first 16 along K, high nibbles the other 16; 8-bit codes take two of these, one
/// after the other. A span is one block, or two of 16.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// Blocks of a span.
    pub(crate) blocks: usize,
    /// Lines of a header.
    pub(crate) header: usize,
    /// Units of a span; the last one of a panel may have fewer.
    pub(crate) units: usize,
    /// Lines of a unit.
    unit_lines: usize,
}

impl Layout {
    fn new(format: &NBitsFormat) -> Self {
        let blocks = if format.block_size < UNIT { 2 } else { 1 };
        Self {
            blocks,
            header: blocks * (1 + usize::from(format.zero_points)),
            units: format.block_size.div_ceil(UNIT),
            unit_lines: match format.codes {
                NBitsCodes::Int8 => 4 * K_STEP,
                NBitsCodes::Int4 | NBitsCodes::Levels(_) => 2 * K_STEP,
            },
        }
    }

    /// Lines of a whole span.
    pub(crate) fn span(self) -> usize {
        self.header + self.units * self.unit_lines
    }

    /// Lines of a panel; `None` when they can't be counted.
    fn panel(self, k: usize) -> Option<usize> {
        let units = k.div_ceil(UNIT);
        let headers = units.div_ceil(self.units).checked_mul(self.header)?;
        units.checked_mul(self.unit_lines)?.checked_add(headers)
    }
}

impl PackedNBits {
    /// A matrix of zeros with `k` rows and `n` columns.
    ///
    /// # Errors
    /// When a size is zero, the format's block size is none that [`NBitsFormat`] names, or the
    /// matrix can't be allocated.
    pub fn zeros(k: usize, n: usize, format: NBitsFormat) -> Result<Self, ShapeError> {
        let op = "PackedNBits::zeros";
        let (lines, vectors) = checked_sizes(op, k, n, &format)?;
        let too_large = ShapeError::size(op, "n", n);
        let data = Storage::filled(Line([0; _]), lines).ok_or(too_large)?;
        let factors = Storage::filled([1.0_f32; LANES], vectors).ok_or(too_large)?;
        Ok(Self::with_storage(k, n, format, data, factors))
    }

    /// Scales, zero points and codes, and what the scales are multiplied with, as they lie in memory.
    pub(super) fn as_bytes(&self) -> [&[u8]; 2] {
        [self.data.as_bytes(), self.factors.as_bytes()]
    }

    /// What [`Self::as_bytes`] gave for a matrix of the same sizes and format.
    pub(super) fn from_bytes(
        k: usize,
        n: usize,
        format: NBitsFormat,
        [data, factors]: [Bytes; 2],
    ) -> Result<Self, ShapeError> {
        let op = "PackedNBits::from_bytes";
        let (lines, vectors) = checked_sizes(op, k, n, &format)?;
        let data = Storage::shared::<Line>(op, "weights", data, lines)?;
        let factors = Storage::shared::<[f32; LANES]>(op, "factors", factors, vectors)?;
        Ok(Self::with_storage(k, n, format, data, factors))
    }

    fn with_storage(
        k: usize,
        n: usize,
        format: NBitsFormat,
        data: Storage,
        factors: Storage,
    ) -> Self {
        Self {
            k,
            n,
            format,
            layout: Layout::new(&format),
            unit: format.codes.unit(),
            levels: match &format.codes {
                NBitsCodes::Levels(levels) => level_bytes(levels),
                NBitsCodes::Int4 | NBitsCodes::Int8 => [0; 16],
            },
            data,
            factors,
        }
    }

    /// What the codes mean.
    pub fn format(&self) -> &NBitsFormat {
        &self.format
    }

    /// Blocks of a column.
    fn blocks(&self) -> usize {
        self.k.div_ceil(self.format.block_size)
    }

    /// Lines of a panel.
    fn panel_lines(&self) -> usize {
        self.data.as_slice::<Line>().len() / self.n.div_ceil(NR)
    }

    /// The lines of a panel; empty when there is no such panel.
    pub(crate) fn panel(&self, index: usize) -> &[Line] {
        let lines = self.data.as_slice();
        let mut panels = lines.chunks_exact(self.panel_lines());
        panels.nth(index).unwrap_or_default()
    }

    /// How the lines of a panel follow each other.
    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// The byte of each level, 128 being zero.
    pub(crate) fn levels(&self) -> &[u8; 16] {
        &self.levels
    }

    /// The factors of a panel's columns.
    pub(crate) fn factors(&self, panel: usize) -> Option<&[[f32; LANES]; NR / LANES]> {
        self.factors.as_slice().get(panel)
    }

    /// Writes column `n`: a code for each of K, one in a byte (of 4-bit codes the low half counts),
    /// and a scale for each block. Zero points are given when the format has them; they count in
    /// codes, and need not be whole.
    ///
    /// A scale that is not finite makes the column NaN, and so does a zero point that is 32 (of
    /// 8-bit codes 512) or more away from the middle one.
    ///
    /// # Errors
    /// When there is no such column, the lengths are other ones, zero points are missing or not
    /// expected, or the matrix was taken from bytes.
    pub fn write_column(
        &mut self,
        n: usize,
        codes: &[u8],
        scales: &[f32],
        zero_points: Option<&[f32]>,
    ) -> Result<(), ShapeError> {
        let op = "PackedNBits::write_column";
        ShapeError::range(op, "column", n.saturating_add(1), self.n)?;
        ShapeError::length(op, "codes", self.k, codes.len())?;
        ShapeError::length(op, "scales", self.blocks(), scales.len())?;
        let expected = if self.format.zero_points {
            self.blocks()
        } else {
            0
        };
        let zero_points = zero_points.unwrap_or_default();
        ShapeError::length(op, "zero points", expected, zero_points.len())?;

        let middle = self.format.codes.middle();
        let offset = |z: &f32| (z - middle) / middle;
        let mut factor = power_of_two(scales);
        if !zero_points.iter().all(|z| offset(z).abs() < 4.0) {
            factor = f32::NAN;
        }
        // NaN becomes 0.
        let i16_of = |x: f32| x.round_ties_even() as i16;
        let mut scales = scales.iter().map(|scale| i16_of(scale / factor));
        let offsets = zero_points.iter().map(offset);
        let mut offsets = offsets.map(|z| i16_of(z / ZERO_POINT_UNIT));
        let shared = ShapeError::Shared { op };
        let factors = self.factors.as_mut_slice::<[f32; LANES]>().ok_or(shared)?;
        factors[n / LANES][n % LANES] = factor * self.unit;

        let (layout, nibbles) = (self.layout, !matches!(self.format.codes, NBitsCodes::Int8));
        let panel_lines = self.panel_lines();
        let lines = self.data.as_mut_slice::<Line>().ok_or(shared)?;
        let panel = &mut lines[n / NR * panel_lines..][..panel_lines];
        let column = n % NR;
        let (vector, lane) = (column / LANES, column % LANES);
        let spans = panel.chunks_mut(layout.span());
        for (span, codes) in spans.zip(codes.chunks(layout.units * UNIT)) {
            let (header, lines) = span.split_at_mut(layout.header);
            let (scale_lines, offset_lines) = header.split_at_mut(layout.blocks);
            for (line, scale) in scale_lines.iter_mut().zip(&mut scales) {
                line.0.as_chunks_mut().0[column] = scale.to_le_bytes();
            }
            for (line, offset) in offset_lines.iter_mut().zip(&mut offsets) {
                line.0.as_chunks_mut().0[column] = offset.to_le_bytes();
            }
            let units = lines.chunks_exact_mut(layout.unit_lines);
            for (lines, codes) in units.zip(codes.chunks(UNIT)) {
                let mut unit = [0; UNIT];
                unit[..codes.len()].copy_from_slice(codes);
                let mut steps: [[u8; K_STEP]; UNIT / K_STEP] = [[0; K_STEP]; _];
                steps.as_flattened_mut().copy_from_slice(&unit);
                if nibbles {
                    let (low, high) = steps.split_at_mut(K_STEP);
                    for (low, high) in low.as_flattened_mut().iter_mut().zip(high.as_flattened()) {
                        *low = *low & 15 | *high << 4;
                    }
                }
                for (lines, step) in lines.chunks_exact_mut(NR / LANES).zip(steps) {
                    lines[vector].0.as_chunks_mut().0[lane] = step;
                }
            }
        }
        Ok(())
    }
}

/// Number of lines, and of vectors of factors, of a matrix. An error when a size is zero, there
/// are too many, or products don't know the format.
fn checked_sizes(
    op: &'static str,
    k: usize,
    n: usize,
    format: &NBitsFormat,
) -> Result<(usize, usize), ShapeError> {
    format.check(op)?;
    if k == 0 {
        return Err(ShapeError::size(op, "k", k));
    }
    if n == 0 {
        return Err(ShapeError::size(op, "n", n));
    }
    let panels = n.div_ceil(NR);
    let panel = Layout::new(format).panel(k);
    let lines = panel.and_then(|panel| panels.checked_mul(panel));
    let sizes = lines.zip(panels.checked_mul(NR / LANES));
    sizes.ok_or(ShapeError::size(op, "n", n))
}

/// What brings the largest magnitude of `scales` to 2¹⁴ to 2¹⁵ when it is divided by it, or close
/// to that; NaN when one of them is not finite.
fn power_of_two(scales: &[f32]) -> f32 {
    // Magnitudes order as their bits do, with infinity and NaN on top.
    let magnitudes = scales.iter().map(|scale| scale.to_bits() & 0x7fff_ffff);
    let largest = magnitudes.fold(0, u32::max);
    if !f32::from_bits(largest).is_finite() {
        return f32::NAN;
    }
    if largest == 0 {
        return 1.0;
    }
    // Biased by 127; the factor stays a normal number.
    let exponent = largest >> 23;
    f32::from_bits(exponent.saturating_sub(14).max(1) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{aligned, random, random_bytes};

    fn format(codes: NBitsCodes, block_size: usize, zero_points: bool) -> NBitsFormat {
        NBitsFormat {
            codes,
            block_size,
            zero_points,
        }
    }

    impl PackedNBits {
        /// The scale of each block of a column, as the product reads it.
        fn scales(&self, n: usize) -> Vec<f64> {
            let panel = self.panel(n / NR);
            let factor = f64::from(self.factors(n / NR).unwrap().as_flattened()[n % NR]);
            let headers = panel.chunks(self.layout.span());
            let scales = headers.flat_map(|span| &span[..self.layout.blocks]);
            let scales = scales.map(|line| {
                let bytes: [u8; 2] = line.0.as_chunks().0[n % NR];
                factor * f64::from(i16::from_le_bytes(bytes))
            });
            scales.take(self.blocks()).collect()
        }
    }

    #[test]
    fn scales_are_close_over_the_whole_range() {
        for block_size in [16, 32, 96] {
            let blocks = 65;
            let k = block_size * blocks - 1;
            let mut b =
                PackedNBits::zeros(k, 40, format(NBitsCodes::Int8, block_size, false)).unwrap();
            for (n, size) in [(0, 1.0), (31, 1e-36), (32, 1e38), (39, 1e-6)] {
                let scales = random(n as u64, blocks).into_iter();
                let mut scales: Vec<f32> = scales.map(|x| x * size).collect();
                // At the upper end of a power of two.
                scales[64] = -1.999_999_9 * size;
                b.write_column(n, &vec![0; k], &scales, None).unwrap();
                for (found, scale) in b.scales(n).into_iter().zip(scales) {
                    let scale = f64::from(scale);
                    let tolerance = f64::from(size) * 2.0_f64.powi(-14) + 1e-38;
                    assert!((found - scale).abs() <= tolerance, "{found} {scale}");
                }
            }
        }
    }

    #[test]
    fn columns_do_not_touch_each_other() {
        let codes = random_bytes(1, 70);
        let scales = random(2, 70_usize.div_ceil(16));
        for codes_type in [NBitsCodes::Int4, NBitsCodes::Int8, NBitsCodes::NF4] {
            let format = format(codes_type, 16, false);
            let fill = |columns: &[usize]| {
                let mut b = PackedNBits::zeros(70, 70, format).unwrap();
                for n in columns {
                    b.write_column(*n, &codes, &scales, None).unwrap();
                }
                b
            };
            let (both, one, other) = (fill(&[5, 37]), fill(&[5]), fill(&[37]));
            let bytes = |b: &PackedNBits| b.as_bytes()[0].to_vec();
            let pairs = bytes(&one).into_iter().zip(bytes(&other));
            let merged: Vec<u8> = pairs.map(|(a, b)| a | b).collect();
            assert_eq!(bytes(&both), merged);
            assert_ne!(bytes(&both), bytes(&one));
        }
    }

    #[test]
    fn bytes_make_the_same_matrix_again() {
        let int4 = format(NBitsCodes::Int4, 32, true);
        let mut b = PackedNBits::zeros(70, 70, int4).unwrap();
        let (codes, scales) = (random_bytes(1, 70), random(2, 3));
        b.write_column(33, &codes, &scales, Some(&[7.0; 3]))
            .unwrap();
        let parts = || b.as_bytes().map(aligned);
        let mut again = PackedNBits::from_bytes(70, 70, int4, parts()).unwrap();
        assert_eq!(again.as_bytes(), b.as_bytes());
        assert_eq!(([again.k, again.n], again.format()), ([70, 70], &int4));
        assert_eq!(again.factors(1), b.factors(1));
        let written = again.write_column(33, &codes, &scales, Some(&[7.0; 3]));
        let op = "PackedNBits::write_column";
        assert_eq!(written, Err(ShapeError::Shared { op }));

        let from = |k, n, format, parts| PackedNBits::from_bytes(k, n, format, parts).is_err();
        assert!(from(0, 70, int4, parts()));
        assert!(from(usize::MAX, usize::MAX, int4, parts()));
        assert!(from(70, 97, int4, parts()));
        assert!(from(97, 70, int4, parts()));
        assert!(from(70, 70, format(NBitsCodes::Int8, 32, true), parts()));
        let [data, factors] = parts();
        assert!(from(70, 70, int4, [data.slice(64..), factors.clone()]));
        assert!(from(70, 70, int4, [data, factors.slice(64..)]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let int4 = |block_size| format(NBitsCodes::Int4, block_size, false);
        assert!(PackedNBits::zeros(0, 1, int4(32)).is_err());
        assert!(PackedNBits::zeros(1, 0, int4(32)).is_err());
        assert!(PackedNBits::zeros(usize::MAX, 1, int4(32)).is_err());
        assert!(PackedNBits::zeros(1, usize::MAX, int4(32)).is_err());
        assert!(PackedNBits::zeros(1 << 40, 1 << 20, int4(32)).is_err());
        for block_size in [0, 1, 8, 24, 48, (1 << 16) + 32, usize::MAX] {
            assert!(
                PackedNBits::zeros(64, 1, int4(block_size)).is_err(),
                "{block_size}"
            );
        }
        assert!(PackedNBits::zeros(64, 1, format(NBitsCodes::NF4, 32, true)).is_err());

        let mut b = PackedNBits::zeros(40, 2, int4(32)).unwrap();
        let zero_points = Some(&[8.0; 2][..]);
        assert!(b.write_column(1, &[0; 40], &[1.0; 2], None).is_ok());
        assert!(b.write_column(2, &[0; 40], &[1.0; 2], None).is_err());
        assert!(
            b.write_column(usize::MAX, &[0; 40], &[1.0; 2], None)
                .is_err()
        );
        assert!(b.write_column(1, &[0; 39], &[1.0; 2], None).is_err());
        assert!(b.write_column(1, &[0; 40], &[1.0; 1], None).is_err());
        assert!(b.write_column(1, &[0; 40], &[1.0; 2], zero_points).is_err());
        let mut b = PackedNBits::zeros(40, 2, format(NBitsCodes::Int4, 32, true)).unwrap();
        assert!(b.write_column(1, &[0; 40], &[1.0; 2], zero_points).is_ok());
        assert!(b.write_column(1, &[0; 40], &[1.0; 2], None).is_err());
        assert!(
            b.write_column(1, &[0; 40], &[1.0; 2], Some(&[8.0]))
                .is_err()
        );
    }
}

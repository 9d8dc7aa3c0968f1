//! Products of f32 and of bf16, whose sums are C's elements.

use std::ops::Range;

use crate::arch::{Operands, Target};
use crate::lanes::Lanes;
use crate::product::gemm::{Epilogue, Product, run};
use crate::product::panels::{PanelRow, Panels};
use crate::product::row_blocks::RowBlocks;
use crate::product::tile::{Tile, multiply};
use crate::product::weight_type::WeightType;
use crate::{Bf16Rows, PackedBf16, PackedF32, PackedRows, ShapeError};

/// Multiplies the rows of `a` with the columns of `b` that lie in `panels`.
///
/// `c` holds one slice per row of `a`. It is as wide as `panels`: [`NR`](crate::NR) columns a
/// panel, where the last panel of `b` ends with column `b.n()`. With [`Epilogue::SwiGlu`],
/// `panels` are whole pairs, NR columns of C a pair, and the last pair may have fewer columns in C,
/// at least one. Callers split work by giving each thread other panels or other rows; the bits
/// stay the same: each element is one sum over K, from zero upwards, which is added to C at its
/// end.
///
/// # Errors
/// When the widths of `a` and `b` differ, `panels` ends beyond `b` or cuts a pair, or `c` has
/// another shape.
pub fn gemm(
    a: &PackedRows,
    b: &PackedF32,
    panels: Range<usize>,
    c: &mut [&mut [f32]],
    epilogue: Epilogue,
) -> Result<(), ShapeError> {
    let product = Floats {
        a: a.row_blocks(),
        b: b.weights(),
    };
    run("gemm", &product, panels, c, epilogue)
}

/// [`gemm`] of operands rounded to bf16, summed in f32: with the bf16 dot instructions where
/// [`Isa::has_bf16`](crate::Isa::has_bf16). Those add two products at a time and take subnormal numbers for zeros.
///
/// # Errors
/// As [`gemm`].
pub fn gemm_bf16(
    a: &Bf16Rows,
    b: &PackedBf16,
    panels: Range<usize>,
    c: &mut [&mut [f32]],
    epilogue: Epilogue,
) -> Result<(), ShapeError> {
    let product = Floats {
        a: a.row_blocks(),
        b: b.weights(),
    };
    run("gemm_bf16", &product, panels, c, epilogue)
}

struct Floats<'a, W: WeightType> {
    a: &'a RowBlocks,
    b: &'a Panels<W>,
}

impl<W: WeightType<Sum = f32>> Product for Floats<'_, W> {
    const INT8: bool = false;
    const BF16: bool = matches!(W::OPERANDS, Operands::Bf16);
    type Sum = f32;
    type PanelRow = PanelRow<W::Vector>;

    fn rows(&self) -> &RowBlocks {
        self.a
    }

    fn weight_shape(&self) -> [usize; 2] {
        [self.b.k(), self.b.n()]
    }

    #[inline(always)]
    fn panel(&self, index: usize) -> &[Self::PanelRow] {
        self.b.panel(index)
    }

    #[inline(always)]
    fn multiply<T: Target>(
        &self,
        target: T,
        rows: &Range<usize>,
        panel: usize,
        next: &[Self::PanelRow],
        out: &mut Tile<f32>,
    ) {
        let (a, panel) = (self.a.groups(rows), self.b.panel(panel));
        multiply::<T, W>(target, rows.len(), a, panel, next, out);
    }

    #[inline(always)]
    fn elements(
        &self,
        rows: &Range<usize>,
        _: usize,
        sums: &Tile<f32>,
        mut row: impl FnMut(usize, &[Lanes; 2]),
    ) {
        for (index, sums) in sums.iter().enumerate().take(rows.len()) {
            row(index, sums);
        }
    }
}

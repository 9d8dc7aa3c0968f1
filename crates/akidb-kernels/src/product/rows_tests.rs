//! Rows of every format: packed, joined and refused.

use std::ops::Range;

use crate::product::quantized::outliers::reference::rows_with_outliers;
use crate::product::rows::RowsOf;
use crate::product::tile::MAX_MR;
use crate::testing::for_each_isa;
use crate::{Isa, ShapeError};

type F32Rows = RowsOf<crate::product::f32::F32Rows>;
type Bf16Rows = RowsOf<crate::product::bf16::Bf16Rows>;
type Int8Rows = RowsOf<crate::product::int8::RowScales>;
type NBitsRows = RowsOf<crate::product::nbits::BlockScales>;

/// Every type of rows is refused the same.
macro_rules! refusals {
    ($($rows:ident)*) => {$({
        let mut packed = $rows::new(Isa::detect());
        packed.pack(&[1.0; 4], 2).unwrap();
        let fill = |_: usize, _: &mut [f32]| Ok::<Option<&[f32]>, ShapeError>(None);
        assert!(packed.pack_from(usize::MAX, 20, fill).is_err());
        assert!(packed.pack_from(usize::MAX / 32, 2, fill).is_err());
        assert!(packed.pack_from(1, usize::MAX, fill).is_err());
        assert!(packed.pack_from(1, 0, fill).is_err());
        assert_eq!(packed.rows(), 0);
        let fail = |_: usize, _: &mut [f32]| {
            Err::<Option<&[f32]>, _>(ShapeError::size("test", "row", 7))
        };
        assert_eq!(packed.pack_from(3, 2, fail), Err(ShapeError::size("test", "row", 7)));
        assert_eq!(packed.rows(), 0);
        assert!(packed.pack_from(3, 2, |_, _| Ok::<_, ShapeError>(Some(&[1.0][..]))).is_err());
        packed.pack(&[1.0; 4], 2).unwrap();
        assert_eq!((packed.rows(), packed.k(), packed.isa()), (2, 2, Isa::detect()));
    })*};
}

#[test]
fn what_does_not_fit_is_refused() {
    refusals!(F32Rows Bf16Rows Int8Rows NBitsRows);
}

#[test]
fn tiles_are_as_tall_as_the_products_know() {
    for_each_isa(|isa| {
        let tiles = isa.tiles();
        for tallest in [tiles.f32.rows, tiles.bf16.rows, tiles.int8.rows] {
            assert!((1..=MAX_MR).contains(&tallest), "{isa}");
        }
    });
}

#[test]
fn parts_follow_each_other() {
    let k = 77;
    let a = rows_with_outliers(3, 40, k);
    let counts = [
        vec![],
        vec![0],
        vec![0, 1, 0],
        vec![3, 2],
        vec![13, 0, 14, 13],
    ];
    for_each_isa(|isa| {
        for counts in &counts {
            let rows = counts.iter().sum::<usize>();
            macro_rules! check {
                ($rows:ident, $own:expr, $($block_size:literal)?) => {{
                    let mut rest = &a[..];
                    let parts: Vec<$rows> = counts.iter().map(|count| {
                        let (own, others) = rest.split_at(count * k);
                        rest = others;
                        let mut part = $rows::new(isa);
                        // What an earlier use left behind doesn't matter.
                        $(part.encoding.block_size = 2 * $block_size;)?
                        part.pack(&a[..999], 111).unwrap();
                        $(part.encoding.block_size = $block_size;)?
                        part.pack(own, k).unwrap();
                        part
                    }).collect();
                    let mut whole = $rows::new(isa);
                    $(whole.encoding.block_size = $block_size;)?
                    whole.pack(&a[..rows * k], k).unwrap();
                    let mut joined = parts.first().cloned().unwrap_or_else(|| $rows::new(isa));
                    joined.concat(&parts.iter().collect::<Vec<_>>()).unwrap();
                    assert_eq!(joined.rows(), rows, "{isa}");
                    let (joined_blocks, blocks) = (joined.row_blocks(), whole.row_blocks());
                    for block in blocks.blocks().iter() {
                        let groups = blocks.groups(&block).iter().map(|group| group.0);
                        let joined_groups = joined_blocks.groups(&block).iter();
                        assert!(joined_groups.map(|group| group.0).eq(groups), "{isa}");
                        let own: fn(&$rows, &Range<usize>) -> String = $own;
                        assert_eq!(own(&joined, &block), own(&whole, &block), "{isa}");
                    }
                }};
            }
            check!(F32Rows, |_, _| String::new(),);
            check!(Bf16Rows, |_, _| String::new(),);
            check!(Int8Rows, |rows, block| {
                let high: Vec<_> = rows.high_digits().of(block).collect();
                format!("{:?} {high:?}", rows.scales(block))
            },);
            check!(
                NBitsRows,
                |rows, block| {
                    let high: Vec<_> = rows.high_digits().of(block).collect();
                    format!("{:?} {high:?}", rows.scales(block))
                },
                16
            );
        }
    });
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let isa = Isa::detect();
    macro_rules! refusals {
        ($($rows:ident)*) => {$({
            let packed = |a: &[f32], k: usize| {
                let mut packed = $rows::new(isa);
                packed.pack(a, k).unwrap();
                packed
            };
            let (narrow, wide) = (packed(&[1.0; 4], 2), packed(&[1.0; 4], 4));
            let (mut joined, none) = (packed(&[1.0; 9], 3), packed(&[], 3));
            assert!(joined.concat(&[&narrow, &wide]).is_err());
            assert_eq!(joined.rows(), 0);
            // Nothing has no width.
            joined.concat(&[&none, &narrow]).unwrap();
            assert_eq!((joined.rows(), joined.k()), (2, 2));
        })*};
    }
    refusals!(F32Rows Bf16Rows Int8Rows NBitsRows);
    let (mut short, mut long) = (NBitsRows::new(isa), NBitsRows::new(isa));
    short.pack(&[1.0; 4], 2).unwrap();
    long.encoding.block_size = 32;
    long.pack(&[1.0; 4], 2).unwrap();
    let mut joined = long.clone();
    assert!(joined.concat(&[&short, &long]).is_err());
    assert_eq!(joined.rows(), 0);
}

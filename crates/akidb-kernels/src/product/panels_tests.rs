//! Where weights lie in panels.

use crate::NR;
use crate::lanes::LANES;
use crate::product::bf16::Bf16;
use crate::product::f32::F32;
use crate::product::int8::Int8;
use crate::product::panels::Panels;
use crate::product::weight_type::WeightType;
use crate::testing::{LENGTHS, random_bytes};

const FILL: u8 = 7;

/// Panels whose weights are those of `kn` written by rows, or by columns.
fn written<W: WeightType>(
    (k, n): (usize, usize),
    kn: &[u8],
    fill: W::Vector,
    by_rows: bool,
    convert: impl Fn(u8) -> W::Element + Copy,
) -> Panels<W> {
    let mut panels = Panels::<W>::new("test", k, n, fill).unwrap();
    if by_rows {
        // Some rows, and some of their columns, at a time.
        for (k0, rows) in kn.chunks(3 * n).enumerate() {
            let split = n / 3;
            for (n0, end) in [(0, split), (split, n)] {
                let part = rows.chunks(n).flat_map(|row| &row[n0..end]);
                let part: Vec<u8> = part.copied().collect();
                if !part.is_empty() {
                    let at = (3 * k0, n0);
                    let written = panels.write_kn("test", at, end - n0, &part, convert);
                    written.unwrap();
                }
            }
        }
    } else {
        let nk: Vec<u8> = (0..k * n).map(|i| kn[i % k * n + i / k]).collect();
        for (n0, columns) in nk.chunks(5 * k).enumerate() {
            let written = panels.write_nk("test", 5 * n0, columns, convert);
            written.unwrap();
        }
    }
    panels
}

fn check<W: WeightType<Element: PartialEq + std::fmt::Debug>>(
    vector: W::Vector,
    convert: impl Fn(u8) -> W::Element + Copy,
) {
    let shapes = LENGTHS.map(|n| (7, n)).into_iter();
    for (k, n) in shapes.chain(LENGTHS.map(|k| (k, 33))) {
        let kn = random_bytes((k + n) as u64, k * n);
        for by_rows in [true, false] {
            let panels = written::<W>((k, n), &kn, vector, by_rows, convert);
            assert_eq!(panels.count(), n.div_ceil(NR));
            for n_at in 0..panels.count() * NR {
                for k_at in 0..k.div_ceil(W::STEP) * W::STEP {
                    let row = &panels.panel(n_at / NR)[k_at / W::STEP];
                    let elements: &[W::Element] = bytemuck::cast_slice(row);
                    let element = elements[n_at % NR * W::STEP + k_at % W::STEP];
                    let inside = k_at < k && n_at < n;
                    let byte = if inside { kn[k_at * n + n_at] } else { FILL };
                    assert_eq!(element, convert(byte), "{k_at} {n_at} of {k}x{n}");
                }
            }
        }
    }
}

#[test]
fn both_orders_put_each_weight_where_products_read_it() {
    check::<F32>([f32::from(FILL); LANES], f32::from);
    check::<Bf16>([u16::from(FILL); 2 * LANES], u16::from);
    check::<Int8>([FILL; 4 * LANES], |x| x);
}

#[test]
fn panels_start_cache_lines() {
    let panels = Panels::<Int8>::new("test", 5, 70, [0; 64]).unwrap();
    for index in 0..panels.count() {
        let panel = panels.panel(index);
        assert_eq!((panel.as_ptr() as usize % 64, panel.len()), (0, 2));
    }
    assert!(panels.panel(panels.count()).is_empty());
    assert!(panels.panel(usize::MAX).is_empty());
}

#[test]
fn what_does_not_fit_is_refused() {
    let new = |k, n| Panels::<F32>::new("test", k, n, [0.0; LANES]);
    assert!(new(0, 1).is_err());
    assert!(new(1, 0).is_err());
    assert!(new(usize::MAX, usize::MAX).is_err());
    assert!(new(1 << 40, 1 << 20).is_err());
    let mut b = new(4, 40).unwrap();
    let mut kn = |k0, n0, width, len| {
        let rows = vec![1.0; len];
        b.write_kn("test", (k0, n0), width, &rows, |x| x)
    };
    assert!(kn(0, 0, 0, 0).is_err());
    assert!(kn(0, 0, 3, 4).is_err());
    assert!(kn(3, 0, 1, 2).is_err());
    assert!(kn(usize::MAX, 0, 1, 2).is_err());
    assert!(kn(0, 39, 2, 2).is_err());
    assert!(kn(0, usize::MAX, 2, 2).is_err());
    let mut nk = |n0, len| b.write_nk("test", n0, &vec![1.0; len], |x| x);
    assert!(nk(0, 5).is_err());
    assert!(nk(39, 8).is_err());
    assert!(nk(usize::MAX, 8).is_err());
    assert!(b.as_bytes().iter().all(|byte| *byte == 0));
}

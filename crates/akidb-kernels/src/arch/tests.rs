//! The instructions of every tier against plain arithmetic.

use super::{Kernel, Target};
use crate::bf16::{to_bf16, to_bf16_pair};
use crate::lanes::LANES;
use crate::testing::{for_each_isa, random, random_bytes};

/// Runs `$body` with a target of type `$type` on every tier.
macro_rules! on_every_tier {
    ($argument:ident: $arguments:ty, $value:expr, |$target:ident: $type:ident, $isa:ident| $body:block) => {{
        struct Check<'a>($arguments, &'a str);
        impl Kernel for Check<'_> {
            const INT8: bool = true;
            const BF16: bool = true;

            #[inline(always)]
            fn run<$type: Target>(self, $target: $type) {
                let Check($argument, $isa) = self;
                $body
            }
        }
        for_each_isa(|isa| isa.run(Check($value, isa.tier().as_str())));
    }};
}

/// Repeatable bytes of a whole vector.
fn bytes(seed: u64) -> [u8; 4 * LANES] {
    let mut bytes = [0; 4 * LANES];
    bytes.copy_from_slice(&random_bytes(seed, 4 * LANES));
    bytes
}

fn dot(weights: &[u8; 4 * LANES], activations: i32, sums: &[i32; LANES]) -> [i32; LANES] {
    let a = activations.to_ne_bytes();
    std::array::from_fn(|l| {
        let terms = weights[4 * l..].iter().zip(a);
        terms.fold(sums[l], |sum, (w, a)| {
            sum.wrapping_add(i32::from(*w) * i32::from(a as i8))
        })
    })
}

const ACTIVATIONS: [[i8; 4]; 6] = [
    [1, 0, 0, 0],
    [3, -5, 7, -11],
    [-128; 4],
    [127; 4],
    [-128, 127, -128, 127],
    [0, 0, 0, -1],
];

#[test]
fn lanes_are_compared() {
    let random = bytes(3);
    let lanes: [u32; LANES] = bytemuck::cast(random);
    on_every_tier!(lanes: [u32; LANES], lanes, |target: T, isa| {
        for bar in lanes.into_iter().chain([0, u32::MAX]) {
            let above = target.above(&lanes, bar);
            for (l, lane) in lanes.into_iter().enumerate() {
                assert_eq!(above >> l & 1 == 1, lane > bar, "{isa} {l}");
            }
            assert_eq!(above >> LANES, 0, "{isa}");
        }
    });
}

#[test]
fn int8_products_are_exact_and_wrap_around() {
    for weights in [bytes(1), bytes(2), [255; 64], [128; 64], [127; 64], [0; 64]] {
        on_every_tier!(weights: [u8; 4 * LANES], weights, |target: T, isa| {
            let loaded = target.load_weights(&weights);
            for start in [0, 1 << 20, i32::MIN, i32::MAX] {
                let mut sums = target.add_sums(target.splat_sums(start), target.zero_sums());
                let mut expected = [start; LANES];
                for a in ACTIVATIONS.map(|a| i32::from_ne_bytes(a.map(i8::cast_unsigned))) {
                    let shifted = target.store_sums(target.dot_shifted(loaded, a, sums));
                    sums = target.dot(loaded, a, sums);
                    expected = dot(&weights, a, &expected);
                    assert_eq!(target.store_sums(sums), expected, "{isa}");
                    let sum_of_a: i32 = a.to_ne_bytes().map(|a| i32::from(a as i8)).iter().sum();
                    let lacking = if T::SHIFTED { 128 * sum_of_a } else { 0 };
                    assert_eq!(shifted.map(|sum| sum.wrapping_add(lacking)), expected, "{isa}");
                }
                let twice = target.store_sums(target.add_sums(sums, sums));
                assert_eq!(twice, expected.map(|x| x.wrapping_mul(2)), "{isa}");
                let rounded = target.store(target.sums_to_f32(sums));
                assert_eq!(rounded, expected.map(|x| x as f32), "{isa}");
            }
        });
    }
}

#[test]
fn nibbles_become_weights() {
    let codes = bytes(3);
    on_every_tier!(codes: [u8; 4 * LANES], codes, |target: T, isa| {
        let table: [u8; 16] = std::array::from_fn(|i| (i * 37 + 200) as u8);
        let loaded = target.load_table(&table);
        for a in ACTIVATIONS.map(|a| i32::from_ne_bytes(a.map(i8::cast_unsigned))) {
            let product = |weights| target.store_sums(target.dot(weights, a, target.zero_sums()));
            let expected = |weight: &dyn Fn(u8) -> u8| dot(&codes.map(weight), a, &[0; LANES]);
            let low = expected(&|code| code << 4);
            assert_eq!(product(target.nibbles::<false>(&codes)), low, "{isa}");
            let high = expected(&|code| code & 0xf0);
            assert_eq!(product(target.nibbles::<true>(&codes)), high, "{isa}");
            let low = expected(&|code| table[usize::from(code & 15)]);
            let found = product(target.look_up::<false>(loaded, &codes));
            assert_eq!(found, low, "{isa}");
            let high = expected(&|code| table[usize::from(code >> 4)]);
            let found = product(target.look_up::<true>(loaded, &codes));
            assert_eq!(found, high, "{isa}");
        }
    });
}

#[test]
fn i16_are_loaded() {
    let mut values = [0; 2 * LANES];
    values.copy_from_slice(&random_bytes(4, 2 * LANES));
    on_every_tier!(values: [u8; 2 * LANES], values, |target: T, isa| {
        let expected = std::array::from_fn(|l| {
            f32::from(i16::from_le_bytes([values[2 * l], values[2 * l + 1]]))
        });
        assert_eq!(target.store(target.load_i16(&values)), expected, "{isa}");
    });
}

#[test]
fn bf16_products_of_small_integers_are_exact() {
    let integers: Vec<f32> = random(5, 2 * LANES)
        .iter()
        .map(|x| (x * 100.0).round())
        .collect();
    on_every_tier!(integers: &'a [f32], &integers, |target: T, isa| {
        let pairs = integers.as_chunks::<2>().0;
        let mut words = [0; 2 * LANES];
        for (words, [first, second]) in words.as_chunks_mut::<2>().0.iter_mut().zip(pairs) {
            let word = to_bf16_pair(*first, *second);
            *words = [word as u16, (word >> 16) as u16];
        }
        let sums = target.splat(1000.0);
        let sums = target.dot_pairs(target.load_pairs(&words), to_bf16_pair(3.0, -7.0), sums);
        let expected = std::array::from_fn(|l| 1000.0 + 3.0 * pairs[l][0] - 7.0 * pairs[l][1]);
        assert_eq!(target.store(sums), expected, "{isa}");
    });
}

/// The f32 next to `x`, with an odd last bit where `x` lies between two. `x` is in f32's range.
fn to_odd(x: f64) -> f32 {
    let nearest = x as f32;
    let back = f64::from(nearest);
    if back == x || nearest.to_bits() & 1 == 1 {
        return nearest;
    }
    // The neighbour on the other side, which is odd.
    if (back < x) == (x > 0.0) {
        f32::from_bits(nearest.to_bits() + 1)
    } else {
        f32::from_bits(nearest.to_bits() - 1)
    }
}

/// Products of bf16 are exact in f32, so fused or not makes no difference: only the order of the
/// sums and their rounding do.
#[test]
fn bf16_products_are_rounded_as_the_instructions_do() {
    let values = random(6, 4 * LANES);
    on_every_tier!(values: &'a [f32], &values, |target: T, isa| {
        let round = |x: f32| f32::from_bits(u32::from(to_bf16(x)) << 16);
        let (pairs, factors) = values.split_at(2 * LANES);
        let mut words = [0; 2 * LANES];
        for (word, x) in words.iter_mut().zip(pairs) {
            *word = to_bf16(*x);
        }
        let loaded = target.load_pairs(&words);
        let mut sums = target.splat(0.7);
        let mut expected = [0.7; LANES];
        for factors in factors.as_chunks::<2>().0 {
            sums = target.dot_pairs(loaded, to_bf16_pair(factors[0], factors[1]), sums);
            for (sum, pair) in expected.iter_mut().zip(pairs.as_chunks::<2>().0) {
                let [low, high] = [0, 1].map(|i| round(pair[i]) * round(factors[i]));
                *sum = match isa {
                    "neoni8mm" => {
                        let both = to_odd(f64::from(low) + f64::from(high));
                        to_odd(f64::from(*sum) + f64::from(both))
                    }
                    "avx512bf16" => low + (high + *sum),
                    _ => high + (low + *sum),
                };
            }
            assert_eq!(target.store(sums), expected, "{isa}");
        }
    });
}

#[test]
fn f32_goes_through_registers() {
    let lanes: [f32; LANES] = std::array::from_fn(|l| l as f32 - 7.5);
    on_every_tier!(lanes: [f32; LANES], lanes, |target: T, isa| {
        assert_eq!(target.store(target.load(&lanes)), lanes, "{isa}");
        let sums = target.mul_add(target.load(&lanes), target.splat(3.0), target.splat(-1.0));
        assert_eq!(target.store(sums), lanes.map(|x| 3.0 * x - 1.0), "{isa}");
        target.prefetch(&lanes);
    });
}

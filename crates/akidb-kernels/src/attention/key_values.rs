//! Keys and values of one text and one key/value head, in the order in which attention reads them.

use crate::arch::{Kernel, Target};
use crate::bf16::to_bf16;
use crate::lanes::{LANES, Lanes};
use crate::product::NR;
use crate::{Isa, ShapeError};

/// Positions of a tile. Tiles lie at fixed places: tile `t` of a text holds the positions
/// `t · KEY_TILE ..`, whatever part of the text is being worked on.
pub const KEY_TILE: usize = 64;

/// How keys and values are held and multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyValueType {
    /// As they are.
    F32,
    /// Rounded to bf16, and so are queries and weights when they are multiplied. Sums and the
    /// softmax are f32. Twice as fast where [`Isa::has_bf16`](crate::Isa::has_bf16), slower
    /// elsewhere; half the memory.
    Bf16,
}

/// Keys and values of [`KEY_TILE`] neighbouring positions of one text and one key/value head.
///
/// Memory may be used for one text after the other: what a query doesn't see never matters.
///
/// ```
/// use akidb_kernels::{Isa, KeyValueTile, KeyValueType};
///
/// let mut tile = KeyValueTile::new(2, KeyValueType::F32)?;
/// tile.write(Isa::detect(), 0, &[1.0, 2.0], &[3.0, 4.0])?;
/// let mut other = KeyValueTile::new(2, KeyValueType::F32)?;
/// other.copy_from(&tile, 1)?;
/// # Ok::<(), akidb_kernels::ShapeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct KeyValueTile {
    head_dim: usize,
    data: Data,
}

#[derive(Debug, Clone)]
enum Data {
    F32(Panels<Lanes>),
    Bf16(Panels<Pairs>),
}

/// Sixteen columns of two bf16 that are neighbours along K.
pub(crate) type Pairs = [u16; 2 * LANES];

/// What is multiplied at a time: [`NR`] columns as two vectors.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Row<V>(pub(crate) [V; 2]);

/// A tile as the products take it. A row is one index along K in f32, and two in bf16.
#[derive(Debug, Clone)]
pub(crate) struct Panels<V> {
    /// Rows for `head_dim`.
    key_rows: usize,
    /// `[KEY_TILE / NR][key_rows]`, a column a key. An odd `head_dim` is filled up with 0.
    keys: Vec<Row<V>>,
    /// Rows for [`KEY_TILE`].
    value_rows: usize,
    /// `[head_dim / NR][value_rows]`, a column an element of the values.
    values: Vec<Row<V>>,
}

impl KeyValueTile {
    /// A tile for heads of width `head_dim`.
    ///
    /// # Errors
    /// When `head_dim` is zero or absurd (above 65 536), or memory runs out.
    pub fn new(head_dim: usize, key_value_type: KeyValueType) -> Result<Self, ShapeError> {
        let unusable = ShapeError::size("KeyValueTile::new", "head_dim", head_dim);
        if head_dim == 0 || head_dim > 1 << 16 {
            return Err(unusable);
        }
        let data = match key_value_type {
            KeyValueType::F32 => Panels::new(head_dim, 1, [0.0; LANES]).map(Data::F32),
            KeyValueType::Bf16 => Panels::new(head_dim, 2, [0; 2 * LANES]).map(Data::Bf16),
        };
        let data = data.ok_or(unusable)?;
        Ok(Self { head_dim, data })
    }

    /// Width of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// How keys and values are held.
    pub fn key_value_type(&self) -> KeyValueType {
        match self.data {
            Data::F32(_) => KeyValueType::F32,
            Data::Bf16(_) => KeyValueType::Bf16,
        }
    }

    /// Writes the key and the value, each `[head_dim]`, of the position that is `place` modulo
    /// [`KEY_TILE`].
    ///
    /// # Errors
    /// When a length is wrong, or there is no such place.
    pub fn write(
        &mut self,
        isa: Isa,
        place: usize,
        key: &[f32],
        value: &[f32],
    ) -> Result<(), ShapeError> {
        let op = "KeyValueTile::write";
        ShapeError::length(op, "key", self.head_dim, key.len())?;
        ShapeError::length(op, "value", self.head_dim, value.len())?;
        ShapeError::range(op, "place", place.saturating_add(1), KEY_TILE)?;
        isa.run(Write {
            data: &mut self.data,
            place,
            key,
            value,
        });
        Ok(())
    }

    /// Copies at least the first `places` positions of `other`.
    ///
    /// # Errors
    /// When `other` has another width or type, or fewer places.
    pub fn copy_from(&mut self, other: &Self, places: usize) -> Result<(), ShapeError> {
        let op = "KeyValueTile::copy_from";
        ShapeError::range(op, "places", places, KEY_TILE)?;
        ShapeError::length(op, "a head of other", self.head_dim, other.head_dim)?;
        match (&mut self.data, &other.data) {
            (Data::F32(panels), Data::F32(other)) => panels.copy_from(other, places),
            (Data::Bf16(panels), Data::Bf16(other)) => panels.copy_from(other, places),
            _ => return Err(other.wrong_type(op, self.key_value_type())),
        }
        Ok(())
    }

    /// The error of a tile that isn't of type `expected`.
    pub(crate) fn wrong_type(&self, op: &'static str, expected: KeyValueType) -> ShapeError {
        ShapeError::Length {
            op,
            operand: "an element of a tile in bytes",
            expected: expected.bytes(),
            actual: self.key_value_type().bytes(),
        }
    }

    /// The panels of an f32 tile.
    pub(crate) fn f32(&self) -> Option<&Panels<Lanes>> {
        match &self.data {
            Data::F32(panels) => Some(panels),
            Data::Bf16(_) => None,
        }
    }

    /// The panels of a bf16 tile.
    pub(crate) fn bf16(&self) -> Option<&Panels<Pairs>> {
        match &self.data {
            Data::F32(_) => None,
            Data::Bf16(panels) => Some(panels),
        }
    }
}

impl KeyValueType {
    /// Bytes of an element.
    fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
}

impl<V: Copy> Panels<V> {
    /// Panels full of `zero`, `step` indices along K to a row; `None` when memory runs out.
    fn new(head_dim: usize, step: usize, zero: V) -> Option<Self> {
        let rows = |len: usize| {
            let mut rows = Vec::new();
            rows.try_reserve_exact(len).ok()?;
            rows.resize(len, Row([zero; 2]));
            Some(rows)
        };
        let (key_rows, value_rows) = (head_dim.div_ceil(step), KEY_TILE / step);
        Some(Self {
            key_rows,
            keys: rows(KEY_TILE / NR * key_rows)?,
            value_rows,
            values: rows(head_dim.div_ceil(NR) * value_rows)?,
        })
    }

    /// Each panel of keys.
    #[inline(always)]
    pub(crate) fn key_panels(&self) -> impl Iterator<Item = &[Row<V>]> {
        self.keys.chunks_exact(self.key_rows)
    }

    /// `[head_dim / NR][rows of KEY_TILE]`.
    #[inline(always)]
    pub(crate) fn values(&self) -> &[Row<V>] {
        &self.values
    }

    /// The panel of keys with `place`, and the vector of its rows and the lane with it.
    fn key_panel_mut(&mut self, place: usize) -> (&mut [Row<V>], usize, usize) {
        let start = place / NR * self.key_rows;
        let panel = &mut self.keys[start..start + self.key_rows];
        (panel, place % NR / LANES, place % LANES)
    }

    /// Copies the panels of keys with the first `places`, and their values.
    fn copy_from(&mut self, other: &Self, places: usize) {
        let keys = places.div_ceil(NR) * self.key_rows;
        self.keys[..keys].copy_from_slice(&other.keys[..keys]);
        let rows = (places * self.value_rows).div_ceil(KEY_TILE);
        let panels = self.values.chunks_exact_mut(self.value_rows);
        for (panel, other) in panels.zip(other.values.chunks_exact(self.value_rows)) {
            panel[..rows].copy_from_slice(&other[..rows]);
        }
    }
}

struct Write<'a> {
    data: &'a mut Data,
    place: usize,
    key: &'a [f32],
    value: &'a [f32],
}

impl Kernel for Write<'_> {
    #[inline(always)]
    fn run<T: Target>(self, _: T) {
        match self.data {
            Data::F32(panels) => panels.write(self.place, self.key, self.value),
            Data::Bf16(panels) => panels.write(self.place, self.key, self.value),
        }
    }
}

impl Panels<Lanes> {
    #[inline(always)]
    fn write(&mut self, place: usize, key: &[f32], value: &[f32]) {
        let (panel, vector, lane) = self.key_panel_mut(place);
        for (row, key) in panel.iter_mut().zip(key) {
            row.0[vector][lane] = *key;
        }
        let panels = self.values.chunks_exact_mut(self.value_rows);
        for (panel, value) in panels.zip(value.chunks(NR)) {
            panel[place].0.as_flattened_mut()[..value.len()].copy_from_slice(value);
        }
    }
}

impl Panels<Pairs> {
    #[inline(always)]
    fn write(&mut self, place: usize, key: &[f32], value: &[f32]) {
        let (panel, vector, lane) = self.key_panel_mut(place);
        for (rows, keys) in panel.chunks_mut(LANES).zip(key.chunks(2 * LANES)) {
            spread(&rounded(keys), rows, vector, lane);
        }
        // As words, of which the other position's half stays.
        let other = u32::from_ne_bytes([[0, 0, 255, 255], [255, 255, 0, 0]][place % 2]);
        let panels = self.values.chunks_exact_mut(self.value_rows);
        for (panel, values) in panels.zip(value.chunks(NR)) {
            let rounded = rounded(values);
            let words: &mut [u32] = bytemuck::cast_slice_mut(&mut panel[place / 2].0);
            for (word, value) in words.iter_mut().zip(&rounded[..values.len()]) {
                let both = u32::from(*value) * 0x0001_0001;
                *word = *word & other | both & !other;
            }
        }
    }
}

/// Puts pairs to one column of `rows`. Compiled for no tier: scattering with vectors is slower.
#[inline(never)]
fn spread(pairs: &[u16; 2 * LANES], rows: &mut [Row<Pairs>], vector: usize, lane: usize) {
    for (row, pair) in rows.iter_mut().zip(pairs.as_chunks().0) {
        let column: &mut [[u16; 2]] = row.0[vector].as_chunks_mut().0;
        column[lane] = *pair;
    }
}

/// Up to 32 values as bf16, zeros behind.
#[inline(always)]
fn rounded(values: &[f32]) -> [u16; 2 * LANES] {
    let mut all = [0.0; 2 * LANES];
    match values.first_chunk() {
        Some(values) => all = *values,
        None => all[..values.len()].copy_from_slice(values),
    }
    all.map(to_bf16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::for_each_isa;

    const TYPES: [KeyValueType; 2] = [KeyValueType::F32, KeyValueType::Bf16];

    #[test]
    fn every_tier_writes_the_same_values_to_their_places() {
        let head_dim = 70;
        let x: Vec<f32> = (0..2 * KEY_TILE * head_dim)
            .map(|i| i as f32 + 0.3)
            .collect();
        let (keys, values) = x.split_at(KEY_TILE * head_dim);
        for_each_isa(|isa| {
            let mut tiles = TYPES.map(|t| KeyValueTile::new(head_dim, t).unwrap());
            let rows = keys.chunks(head_dim).zip(values.chunks(head_dim));
            for (place, (key, value)) in rows.enumerate() {
                for tile in &mut tiles {
                    tile.write(isa, place, key, value).unwrap();
                }
            }
            let [f32, bf16] = &tiles;
            let (f32, bf16) = (f32.f32().unwrap(), bf16.bf16().unwrap());
            for (place, i) in (0..KEY_TILE).flat_map(|p| (0..head_dim).map(move |i| (p, i))) {
                let at = place * head_dim + i;
                let (panel, column) = (place / NR, place % NR);
                let f32_key = f32.keys[panel * f32.key_rows + i].0.as_flattened()[column];
                let pairs = bf16.keys[panel * bf16.key_rows + i / 2].0.as_flattened();
                let key = (f32_key, pairs[2 * column + i % 2]);
                assert_eq!(key, (keys[at], to_bf16(keys[at])), "{isa}");
                let (panel, column) = (i / NR, i % NR);
                let f32_value = f32.values[panel * f32.value_rows + place].0.as_flattened();
                let pairs = bf16.values[panel * bf16.value_rows + place / 2]
                    .0
                    .as_flattened();
                let value = (f32_value[column], pairs[2 * column + place % 2]);
                assert_eq!(value, (values[at], to_bf16(values[at])), "{isa}");
            }
        });
    }

    #[test]
    fn copies_what_was_written() {
        for (key_value_type, head_dim) in TYPES.into_iter().flat_map(|t| [(t, 7), (t, 70)]) {
            let mut tile = KeyValueTile::new(head_dim, key_value_type).unwrap();
            let x = vec![1.5; head_dim];
            for place in 0..KEY_TILE {
                tile.write(Isa::detect(), place, &x, &x).unwrap();
            }
            for places in 0..=KEY_TILE {
                let mut copy = KeyValueTile::new(head_dim, key_value_type).unwrap();
                copy.copy_from(&tile, places).unwrap();
                // What was copied is as good as written.
                for place in places..KEY_TILE {
                    copy.write(Isa::detect(), place, &x, &x).unwrap();
                }
                assert_eq!(format!("{copy:?}"), format!("{tile:?}"), "{places}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for key_value_type in TYPES {
            assert!(KeyValueTile::new(0, key_value_type).is_err());
            assert!(KeyValueTile::new(usize::MAX, key_value_type).is_err());
            let mut tile = KeyValueTile::new(8, key_value_type).unwrap();
            assert_eq!(tile.head_dim(), 8);
            assert_eq!(tile.key_value_type(), key_value_type);
            let x = [1.0; 9];
            assert!(tile.write(Isa::detect(), 63, &x[..8], &x[..8]).is_ok());
            assert!(tile.write(Isa::detect(), 64, &x[..8], &x[..8]).is_err());
            assert!(
                tile.write(Isa::detect(), usize::MAX, &x[..8], &x[..8])
                    .is_err()
            );
            assert!(tile.write(Isa::detect(), 0, &x, &x[..8]).is_err());
            assert!(tile.write(Isa::detect(), 0, &x[..8], &x).is_err());

            let same = tile.clone();
            assert!(tile.copy_from(&same, 64).is_ok());
            assert!(tile.copy_from(&same, 65).is_err());
            assert!(tile.copy_from(&same, usize::MAX).is_err());
            for other in TYPES {
                let wide = KeyValueTile::new(9, other).unwrap();
                assert!(tile.copy_from(&wide, 1).is_err());
                let other = KeyValueTile::new(8, other).unwrap();
                let same_type = other.key_value_type() == key_value_type;
                assert_eq!(tile.copy_from(&other, 1).is_ok(), same_type);
            }
        }
    }
}

//! Small arrays whose elements are known: shapes, positions, masks, scalars.

use std::rc::Rc;

/// Most elements of an array.
pub(super) const MAX_LEN: usize = 1 << 18;

/// What elements are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int,
    Float,
}

/// Elements in row-major order. Integers are exact up to 2^53, which no size comes near.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Array {
    pub(super) kind: Kind,
    pub(super) dims: Vec<usize>,
    pub(super) data: Vec<f64>,
}

/// The number of elements, when it is not absurd.
pub(super) fn len_of(dims: &[usize]) -> Option<usize> {
    let len = dims
        .iter()
        .try_fold(1_usize, |len, dim| len.checked_mul(*dim))?;
    (len <= MAX_LEN).then_some(len)
}

/// From the elements of one axis to those of the next, in row-major order.
fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis] * dims[axis];
    }
    strides
}

/// The shape that both broadcast to.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |dims: &[usize], axis: usize| match (axis + dims.len()).checked_sub(rank) {
        Some(axis) => dims[axis],
        None => 1,
    };
    let dims = (0..rank).map(|axis| match (at(a, axis), at(b, axis)) {
        (a, b) if a == b => Some(a),
        (1, b) => Some(b),
        (a, 1) => Some(a),
        _ => None,
    });
    dims.collect()
}

impl Array {
    pub(super) fn new(kind: Kind, dims: Vec<usize>, data: Vec<f64>) -> Option<Self> {
        (len_of(&dims)? == data.len()).then_some(Self { kind, dims, data })
    }

    pub(super) fn ints(values: impl IntoIterator<Item = i64>) -> Self {
        let data: Vec<f64> = values.into_iter().map(|x| x as f64).collect();
        Self {
            kind: Kind::Int,
            dims: vec![data.len()],
            data,
        }
    }

    pub(super) fn scalar(&self) -> Option<f64> {
        match self.data[..] {
            [only] => Some(only),
            _ => None,
        }
    }

    pub(super) fn to_ints(&self) -> Vec<i64> {
        self.data.iter().map(|x| *x as i64).collect()
    }

    /// The array made of elements at `index(place)` of this one.
    fn gathered(&self, dims: Vec<usize>, index: impl Fn(&[usize]) -> usize) -> Option<Self> {
        let len = len_of(&dims)?;
        let mut place = vec![0; dims.len()];
        let mut data = Vec::with_capacity(len);
        for _ in 0..len {
            data.push(*self.data.get(index(&place))?);
            for axis in (0..dims.len()).rev() {
                place[axis] += 1;
                if place[axis] < dims[axis] {
                    break;
                }
                place[axis] = 0;
            }
        }
        Some(Self {
            kind: self.kind,
            dims,
            data,
        })
    }

    pub(super) fn expand(&self, dims: &[usize]) -> Option<Self> {
        if broadcast(&self.dims, dims)? != dims {
            return None;
        }
        let (own, strides) = (self.dims.clone(), strides(&self.dims));
        let skipped = dims.len() - own.len();
        self.gathered(dims.to_vec(), |place| {
            let axes = own.iter().zip(&strides).zip(&place[skipped..]);
            axes.map(|((dim, stride), i)| if *dim == 1 { 0 } else { i * stride })
                .sum()
        })
    }

    pub(super) fn reshape(&self, dims: Vec<usize>) -> Option<Self> {
        Self::new(self.kind, dims, self.data.clone())
    }

    pub(super) fn transpose(&self, perm: &[usize]) -> Option<Self> {
        let own = strides(&self.dims);
        let dims: Option<Vec<usize>> = perm
            .iter()
            .map(|axis| self.dims.get(*axis).copied())
            .collect();
        let dims = dims.filter(|dims| dims.len() == self.dims.len())?;
        self.gathered(dims, |place| {
            place.iter().zip(perm).map(|(i, axis)| i * own[*axis]).sum()
        })
    }

    /// Elements `start`, `start + step`, … of an axis.
    /// The product of matrices, one for each place of the axes before, which may be repeated.
    pub(super) fn matmul(&self, other: &Self) -> Option<Self> {
        let ([outer @ .., m, k], [others @ .., same, n]) = (&self.dims[..], &other.dims[..]) else {
            return None;
        };
        let (m, k, n) = (*m, *k, *n);
        let batch = broadcast(outer, others)?;
        let dims = [&batch[..], &[m, n]].concat();
        let len = len_of(&dims)?;
        if k != *same || len.checked_mul(k)? > MAX_LEN {
            return None;
        }
        let a = self.expand(&[&batch[..], &[m, k]].concat())?;
        let b = other.expand(&[&batch[..], &[k, n]].concat())?;
        let data = (0..len).map(|place| {
            let (matrix, i, j) = (place / (m * n), place / n % m, place % n);
            let term =
                |l: usize| a.data[(matrix * m + i) * k + l] * b.data[(matrix * k + l) * n + j];
            (0..k).map(term).sum()
        });
        Self::new(self.kind, dims, data.collect())
    }

    pub(super) fn slice(&self, axis: usize, start: usize, step: i64, count: usize) -> Option<Self> {
        let own = strides(&self.dims);
        let mut dims = self.dims.clone();
        *dims.get_mut(axis)? = count;
        self.gathered(dims, |place| {
            let at = |(i, place): (usize, &usize)| match i == axis {
                true => (start as i64 + *place as i64 * step).max(0) as usize * own[i],
                false => place * own[i],
            };
            place.iter().enumerate().map(at).sum()
        })
    }

    pub(super) fn gather(&self, axis: usize, index: &Array) -> Option<Self> {
        let extent = *self.dims.get(axis)?;
        let own = strides(&self.dims);
        let at = strides(&index.dims);
        let rank = index.dims.len();
        let rows: Option<Vec<usize>> = index.data.iter().map(|i| wrap(*i as i64, extent)).collect();
        let rows = rows?;
        let dims = [&self.dims[..axis], &index.dims, &self.dims[axis + 1..]].concat();
        self.gathered(dims, |place| {
            let row: usize = place[axis..axis + rank]
                .iter()
                .zip(&at)
                .map(|(i, s)| i * s)
                .sum();
            let before = place[..axis].iter().zip(&own);
            let after = place[axis + rank..].iter().zip(&own[axis + 1..]);
            let others: usize = before.chain(after).map(|(i, s)| i * s).sum();
            others + rows.get(row).copied().unwrap_or_default() * own[axis]
        })
    }

    /// Along `axis`, element `index` of each place.
    pub(super) fn gather_elements(&self, axis: usize, index: &Array) -> Option<Self> {
        let extent = *self.dims.get(axis)?;
        let (own, at) = (strides(&self.dims), strides(&index.dims));
        let rows: Option<Vec<usize>> = index.data.iter().map(|i| wrap(*i as i64, extent)).collect();
        let rows = rows?;
        if index.dims.len() != self.dims.len() {
            return None;
        }
        self.gathered(index.dims.clone(), |place| {
            let row: usize = place.iter().zip(&at).map(|(i, s)| i * s).sum();
            let row = rows.get(row).copied().unwrap_or_default();
            let at = |(i, place): (usize, &usize)| own[i] * if i == axis { row } else { *place };
            place.iter().enumerate().map(at).sum()
        })
    }

    /// Elements whose places are the rows of `index`, which cover all axes.
    pub(super) fn gather_nd(&self, index: &Array) -> Option<Self> {
        let (rank, outer) = index.dims.split_last()?;
        if *rank != self.dims.len() || *rank == 0 {
            return None;
        }
        let own = strides(&self.dims);
        let mut data = Vec::new();
        for place in index.data.chunks_exact(*rank) {
            let mut at = 0;
            for ((i, extent), stride) in place.iter().zip(&self.dims).zip(&own) {
                at += wrap(*i as i64, *extent)? * stride;
            }
            data.push(*self.data.get(at)?);
        }
        Self::new(self.kind, outer.to_vec(), data)
    }

    pub(super) fn concat(arrays: &[Rc<Array>], axis: usize) -> Option<Self> {
        let first = arrays.first()?;
        let inner: usize = first.dims.get(axis + 1..)?.iter().product();
        let outer: usize = first.dims[..axis].iter().product();
        let mut dims = first.dims.clone();
        dims[axis] = 0;
        for array in arrays {
            let same = array.dims.len() == dims.len()
                && (0..dims.len()).all(|i| i == axis || array.dims[i] == dims[i]);
            if !same {
                return None;
            }
            dims[axis] += array.dims[axis];
        }
        let mut data = Vec::with_capacity(len_of(&dims)?);
        for i in 0..outer {
            for array in arrays {
                let row = array.dims[axis] * inner;
                data.extend_from_slice(array.data.get(i * row..(i + 1) * row)?);
            }
        }
        Self::new(first.kind, dims, data)
    }

    pub(super) fn map(&self, kind: Kind, of: impl Fn(f64) -> f64) -> Self {
        Self {
            kind,
            dims: self.dims.clone(),
            data: self.data.iter().map(|x| of(*x)).collect(),
        }
    }

    /// `of` each pair of elements, broadcast.
    pub(super) fn zip(
        &self,
        other: &Self,
        kind: Kind,
        of: impl Fn(f64, f64) -> f64,
    ) -> Option<Self> {
        let dims = broadcast(&self.dims, &other.dims)?;
        let (a, b) = (self.expand(&dims)?, other.expand(&dims)?);
        let data = a
            .data
            .iter()
            .zip(&b.data)
            .map(|(a, b)| of(*a, *b))
            .collect();
        Some(Self { kind, dims, data })
    }

    /// Folds `axes` from `start` on; they stay as 1 if `keep`.
    pub(super) fn reduce(
        &self,
        axes: &[usize],
        keep: bool,
        start: f64,
        of: impl Fn(f64, f64) -> f64,
    ) -> Option<Self> {
        if axes.iter().any(|axis| *axis >= self.dims.len()) {
            return None;
        }
        let kept: Vec<usize> = (0..self.dims.len())
            .map(|i| if axes.contains(&i) { 1 } else { self.dims[i] })
            .collect();
        let (own, target) = (strides(&self.dims), strides(&kept));
        let mut data = vec![start; len_of(&kept)?];
        for (i, x) in self.data.iter().enumerate() {
            let place = (0..own.len()).map(|axis| i / own[axis] % self.dims[axis].max(1));
            let at: usize = place
                .enumerate()
                .filter(|(axis, _)| !axes.contains(axis))
                .map(|(axis, i)| i * target[axis])
                .sum();
            data[at] = of(data[at], *x);
        }
        let dims = (0..kept.len()).filter(|i| keep || !axes.contains(i));
        let dims = dims.map(|i| kept[i]).collect();
        Self::new(self.kind, dims, data)
    }

    /// Where the largest element along `axis` is; of several, the first.
    pub(super) fn arg_max(&self, axis: usize, keep: bool) -> Option<Self> {
        let size = *self.dims.get(axis)?;
        let mut largest = self.slice(axis, 0, 1, 1)?;
        let mut places = largest.map(Kind::Int, |_| 0.0);
        for i in 1..size {
            let one = self.slice(axis, i, 1, 1)?;
            for ((x, largest), place) in
                one.data.iter().zip(&mut largest.data).zip(&mut places.data)
            {
                if *x > *largest {
                    (*largest, *place) = (*x, i as f64);
                }
            }
        }
        let mut dims = places.dims.clone();
        if !keep {
            dims.remove(axis);
        }
        places.reshape(dims)
    }

    /// Sums of all elements along `axis` up to each.
    pub(super) fn cumulative_sum(&self, axis: usize) -> Option<Self> {
        let extent = *self.dims.get(axis)?;
        let stride = strides(&self.dims)[axis];
        let mut data = self.data.clone();
        for i in 0..data.len() {
            if !(i / stride).is_multiple_of(extent.max(1)) {
                data[i] += data[i - stride];
            }
        }
        Self::new(self.kind, self.dims.clone(), data)
    }
}

/// An index that may count from the end.
pub(super) fn wrap(index: i64, extent: usize) -> Option<usize> {
    let index = if index < 0 {
        index.checked_add(extent as i64)?
    } else {
        index
    };
    usize::try_from(index).ok().filter(|index| *index < extent)
}

//! How a value's axes lie in what it is a part of.

use super::array::len_of;

/// Neighbours along an axis: how many, and how far apart they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Run {
    pub(super) size: usize,
    pub(super) stride: usize,
}

/// A run of an inner view as a digit of the place in it.
struct Digit {
    run: Run,
    /// Places from one of its values to the next.
    weight: usize,
    /// Its value at the first element.
    first: usize,
    /// How much it grows from there.
    used: usize,
}

impl Run {
    /// What this run of places is in `digits`, the fastest first: outermost run first.
    fn in_digits(self, digits: &mut [Digit]) -> Option<Vec<Self>> {
        if self.stride == 0 {
            return Some(vec![self]);
        }
        let (mut left, mut step) = (self.size, self.stride);
        let mut runs = Vec::new();
        for digit in digits {
            let end = digit.weight * digit.run.size;
            if left == 1 || step >= end {
                continue;
            }
            let each = step / digit.weight;
            if !step.is_multiple_of(digit.weight) || !digit.run.size.is_multiple_of(each) {
                return None;
            }
            let there = digit.run.size / each;
            let size = left.min(there);
            if !left.is_multiple_of(size) {
                return None;
            }
            digit.used += (size - 1) * each;
            runs.push(Self {
                size,
                stride: digit.run.stride * each,
            });
            (left, step) = (left / size, end);
        }
        runs.reverse();
        (left == 1).then_some(runs)
    }
}

/// Axes, each of runs, the outermost first: a reshape splits and joins runs, a transposition
/// permutes axes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct View {
    pub(super) axes: Vec<Vec<Run>>,
    pub(super) offset: usize,
}

/// Most elements of a value that repeats others.
const MAX_ELEMENTS: usize = 1 << 40;

impl View {
    /// All of an array of this shape.
    pub(super) fn whole(dims: &[usize]) -> Self {
        let mut stride = 1;
        let mut axes: Vec<Vec<Run>> = Vec::new();
        for &size in dims.iter().rev() {
            axes.push(vec![Run { size, stride }]);
            stride *= size;
        }
        axes.reverse();
        Self { axes, offset: 0 }
    }

    pub(super) fn dims(&self) -> Vec<usize> {
        let size = |axis: &Vec<Run>| axis.iter().map(|run| run.size).product();
        self.axes.iter().map(size).collect()
    }

    /// Where each element lies; nothing when there are too many.
    pub(super) fn places(&self) -> Option<Vec<usize>> {
        len_of(&self.dims())?;
        let mut places = vec![self.offset];
        for run in self.axes.iter().flatten() {
            let steps = |place: &usize| {
                let first = *place;
                (0..run.size).map(move |i| first + i * run.stride)
            };
            places = places.iter().flat_map(steps).collect();
        }
        Some(places)
    }

    /// Runs of some axes, joined where they are neighbours in memory.
    pub(super) fn runs(&self, axes: std::ops::Range<usize>) -> Vec<Run> {
        let mut joined: Vec<Run> = Vec::new();
        for run in self.axes.get(axes).unwrap_or_default().iter().flatten() {
            match joined.last_mut() {
                _ if run.size == 1 => {}
                Some(last) if last.stride == run.stride * run.size => {
                    *last = Run {
                        size: last.size * run.size,
                        stride: run.stride,
                    };
                }
                _ => joined.push(*run),
            }
        }
        joined
    }

    /// Whether it is all of an array of `len` elements, in order.
    pub(super) fn is_whole(&self, len: usize) -> bool {
        let runs = self.runs(0..self.axes.len());
        let all = match runs[..] {
            [] => len == 1,
            [run] => {
                run == Run {
                    size: len,
                    stride: 1,
                }
            }
            _ => false,
        };
        all && self.offset == 0
    }

    /// This view of an array that is itself `inner`'s elements in order, as a view of what `inner` views.
    pub(super) fn of(&self, inner: &Self) -> Option<Self> {
        let mut weight = 1_usize;
        let mut digits: Vec<Digit> = Vec::new();
        for run in inner
            .axes
            .iter()
            .flatten()
            .rev()
            .filter(|run| run.size != 1)
        {
            digits.push(Digit {
                run: *run,
                weight,
                first: self.offset / weight % run.size,
                used: 0,
            });
            weight = weight.checked_mul(run.size)?;
        }
        let mut axes = Vec::new();
        for axis in &self.axes {
            let mut runs = Vec::new();
            for run in axis.iter().filter(|run| run.size != 1) {
                runs.extend(run.in_digits(&mut digits)?);
            }
            axes.push(runs);
        }
        let mut offset = inner.offset;
        for digit in &digits {
            // No carry from one digit to the next.
            if digit.first + digit.used >= digit.run.size {
                return None;
            }
            offset += digit.first * digit.run.stride;
        }
        (self.offset < weight).then_some(Self { axes, offset })
    }

    pub(super) fn transpose(&self, perm: &[usize]) -> Option<Self> {
        let axes: Option<Vec<_>> = perm
            .iter()
            .map(|axis| self.axes.get(*axis).cloned())
            .collect();
        let axes = axes.filter(|axes| axes.len() == self.axes.len())?;
        Some(Self {
            axes,
            offset: self.offset,
        })
    }

    pub(super) fn reshape(&self, dims: &[usize]) -> Option<Self> {
        let mut runs = self
            .axes
            .iter()
            .flatten()
            .filter(|run| run.size != 1)
            .copied();
        let mut next = runs.next();
        let mut axes = Vec::new();
        for &dim in dims {
            let mut axis = Vec::new();
            let mut size = 1_usize;
            while size < dim {
                let run = next?;
                let wanted = dim / size;
                if run.size <= wanted && wanted.is_multiple_of(run.size) {
                    axis.push(run);
                    size *= run.size;
                    next = runs.next();
                } else if run.size.is_multiple_of(wanted) {
                    let inner = run.size / wanted;
                    axis.push(Run {
                        size: wanted,
                        stride: run.stride * inner,
                    });
                    size *= wanted;
                    next = Some(Run { size: inner, ..run });
                } else {
                    return None;
                }
            }
            if size != dim {
                return None;
            }
            axes.push(axis);
        }
        next.is_none().then_some(Self {
            axes,
            offset: self.offset,
        })
    }

    /// The same elements again along axes of length 1, or in front of all axes.
    pub(super) fn expand(&self, dims: &[usize]) -> Option<Self> {
        let new = dims.len().checked_sub(self.axes.len())?;
        let len = dims
            .iter()
            .try_fold(1_usize, |len, dim| len.checked_mul(*dim));
        len.filter(|len| *len <= MAX_ELEMENTS)?;
        let own = self.dims();
        let axes = dims.iter().enumerate().map(|(i, &size)| {
            let again = Run { size, stride: 0 };
            match i.checked_sub(new) {
                Some(axis) if own[axis] == size => Some(self.axes[axis].clone()),
                Some(axis) if own[axis] == 1 => Some(vec![again]),
                Some(_) => None,
                None => Some(vec![again]),
            }
        });
        Some(Self {
            axes: axes.collect::<Option<_>>()?,
            offset: self.offset,
        })
    }

    /// `count` elements of an axis from `start` on.
    pub(super) fn slice(&self, axis: usize, start: usize, count: usize) -> Option<Self> {
        let mut view = self.clone();
        let runs = view.axes.get_mut(axis)?;
        let (outer, inner) = match runs.as_mut_slice() {
            [] => return (start == 0 && count == 1).then_some(view),
            [run] => (run, 1),
            [run, rest @ ..] => (run, rest.iter().map(|run| run.size).product()),
        };
        // Whole neighbours of the outermost run.
        if inner == 0 || !start.is_multiple_of(inner) || !count.is_multiple_of(inner) {
            return None;
        }
        let (first, size) = (start / inner, count / inner);
        if first.checked_add(size)? > outer.size {
            return None;
        }
        view.offset += first * outer.stride;
        outer.size = size;
        Some(view)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_found_however_they_are_reached() {
        // [2, 3, 12] as [2, 4, 3, 3] heads, and back.
        let heads = View::whole(&[2, 3, 12]).reshape(&[2, 3, 4, 3]).unwrap();
        let heads = heads.transpose(&[0, 2, 1, 3]).unwrap();
        let run = |size, stride| Run { size, stride };
        assert_eq!(heads.runs(1..2), [run(4, 3)]);
        // Batch and heads as one axis, and apart again.
        let merged = heads.reshape(&[8, 3, 3]).unwrap();
        let turned = merged.transpose(&[0, 2, 1]).unwrap();
        let apart = turned.reshape(&[2, 4, 3, 3]).unwrap();
        let same = heads.transpose(&[0, 1, 3, 2]).unwrap();
        assert_eq!(apart.runs(0..2), same.runs(0..2));
        assert_eq!(
            (apart.runs(2..3), apart.runs(3..4)),
            (same.runs(2..3), same.runs(3..4))
        );
        let back = heads
            .transpose(&[0, 2, 1, 3])
            .unwrap()
            .reshape(&[2, 3, 12])
            .unwrap();
        assert!(back.is_whole(72));
        assert!(!heads.is_whole(72));
    }

    #[test]
    fn views_of_views_are_views() {
        // The second of three parts of a product, by heads, then keys turned over.
        let packed = View::whole(&[2, 5, 36]);
        let part = packed.slice(2, 12, 12).unwrap();
        let heads = part.reshape(&[2, 5, 3, 4]).unwrap();
        let by_heads = heads.transpose(&[0, 2, 1, 3]).unwrap();
        let turned = by_heads.transpose(&[0, 1, 3, 2]).unwrap();
        let of_array = View::whole(&[2, 3, 5, 4]).transpose(&[0, 1, 3, 2]);
        let composed = of_array.unwrap().of(&by_heads).unwrap();
        assert_eq!((composed.offset, composed.dims()), (12, vec![2, 3, 4, 5]));
        for axis in 0..4 {
            assert_eq!(composed.runs(axis..axis + 1), turned.runs(axis..axis + 1));
        }
        // The second half of each head.
        let half = View::whole(&[2, 3, 5, 4]).slice(3, 2, 2).unwrap();
        let half = half.of(&by_heads).unwrap();
        assert_eq!(half.offset, 14);
        assert_eq!(half.runs(3..4), [Run { size: 2, stride: 1 }]);
        // Places that go on in another head are no view.
        let across = View {
            axes: vec![vec![Run { size: 4, stride: 1 }]],
            offset: 2,
        };
        assert!(across.of(&by_heads).is_none());
        let beyond = View::whole(&[121]);
        assert!(beyond.of(&by_heads).is_none());
        let again = View::whole(&[2, 1, 5, 4]).expand(&[2, 3, 5, 4]).unwrap();
        let one = View::whole(&[2, 5, 4]).reshape(&[2, 1, 5, 4]).unwrap();
        let repeated = again.of(&one).unwrap();
        assert_eq!(repeated.runs(1..2), [Run { size: 3, stride: 0 }]);
    }

    #[test]
    fn parts_have_an_offset() {
        let packed = View::whole(&[2, 3, 24]).reshape(&[2, 3, 2, 12]).unwrap();
        let second = packed.slice(2, 1, 1).unwrap().reshape(&[2, 3, 12]).unwrap();
        assert_eq!((second.offset, second.dims()), (12, vec![2, 3, 12]));
        assert!(packed.slice(2, 2, 1).is_none());
        assert!(packed.reshape(&[2, 3, 23]).is_none());
        assert!(packed.reshape(&[5, 29]).is_none());
        let half = View::whole(&[2, 3, 24]).slice(2, 12, 12).unwrap();
        assert_eq!(
            half.runs(0..3),
            [
                Run {
                    size: 6,
                    stride: 24
                },
                Run {
                    size: 12,
                    stride: 1
                }
            ]
        );
    }
}
